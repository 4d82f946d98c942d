"""`Waves`: how long each wave of a run takes. Nothing waits for a wave; it is a measure alone."""

from __future__ import annotations

from collections.abc import Iterator

from engine.core.events import Event, TaskEvent, TaskRetried, TaskStarted
from engine.core.state import TERMINAL
from engine.view.run_view import RunView


class Waves:
    """The tasks with equally many tasks before them, on the longest way, are a wave.

    A wave lasts from the first start in it to the last end. One that a retry opens again lasts anew.
    """

    def __init__(self, view: RunView) -> None:
        """view: the run as it stands. What ended before is not measured."""
        graph = view.graph
        self._parents = parents = graph.nesting.children  # these do nothing themselves
        self._wave_of = wave_of = [0] * len(view.tasks)
        for index in graph.order:
            after = wave_of[index] + (index not in parents)
            for following in graph.paths[index]:
                wave_of[following] = max(wave_of[following], after)
        self._open: set[int] = set()
        self._unfinished = [0] * (max(wave_of, default=-1) + 1)
        self._began: dict[int, float] = {}
        for task in view.tasks:
            if task.index in parents:
                continue
            if task.state not in TERMINAL:
                self._open.add(task.index)
                self._unfinished[wave_of[task.index]] += 1
            if task.attempts:
                self._begin(task.index, task.attempts[0].started)
        for wave, count in enumerate(self._unfinished):
            if not count:
                self._began.pop(wave, None)

    def take(self, event: Event) -> Iterator[float]:
        """How long a wave took, in seconds, if this event ends one in which anything ran."""
        if not isinstance(event, TaskEvent) or event.index in self._parents:
            return
        index, wave = event.index, self._wave_of[event.index]
        if isinstance(event, TaskStarted | TaskRetried):
            self._begin(index, event.offset)
        ended = event.state in TERMINAL
        if ended == (index not in self._open):
            return
        if not ended:
            self._open.add(index)
            self._unfinished[wave] += 1
            return
        self._open.remove(index)
        self._unfinished[wave] -= 1
        if not self._unfinished[wave] and wave in self._began:
            yield event.offset - self._began.pop(wave)

    def _begin(self, index: int, offset: float) -> None:
        wave = self._wave_of[index]
        self._began[wave] = min(offset, self._began.get(wave, offset))
