"""`Forecast`: how long the rest of a run may take, and what decides that (see `engine.view.play`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.core.state import RunPhase
from engine.plan.nesting import OUTERMOST
from engine.view.play import Play
from engine.view.run_view import RunView
from engine.view.timing import Estimate

STEPS: Final = 300
"""Ends of tasks that are played in one go: about a millisecond."""

AGAIN_AFTER: Final = 1.0
"""Seconds after which it is played again, and longer in a plan with more than `LEFT_A_SECOND` tasks left."""

LEFT_A_SECOND: Final = 1_000

CALM: Final = 0.3
"""How far the answer goes at once to where a new play puts it; the rest it goes in the plays that follow."""


class Forecast:
    """Call `advance` on every tick, and ask what is needed.

    Only a run that goes on has an end that can be foretold; before anything is known, `left` is None, but
    there is a critical path all the same, by the number of tasks.
    """

    def __init__(self, view: RunView) -> None:
        self.rebind(view)

    def rebind(self, view: RunView) -> None:
        """Foretell another view of the same run, as if nothing had been foretold before."""
        self._view = view
        self._play: Play | None = None
        self._began = 0.0
        self._circumstances: tuple[object, ...] = ()
        self._end: Estimate | None = None  # offsets, not spans
        self.path: frozenset[int] = frozenset()
        """The tasks that decide when the run ends: each is waited for by the next."""
        self.ends: Sequence[float] = ()
        """By index, when each task ended or may end, as of the last play; 0 where that is not known."""

    def advance(self, now: float, steps: int = STEPS) -> None:
        """Go on with the play, or begin another if it is time to. steps: how much may be done now."""
        view = self._view
        circumstances = (view.phase, view.max_parallel, len(view.failures))
        has_changed = circumstances != self._circumstances
        if self._play is None:
            left = view.total - view.finished
            if not has_changed and (
                view.phase is RunPhase.COMPLETE or now - self._began < max(AGAIN_AFTER, left / LEFT_A_SECOND)
            ):
                return
            self._began = now
            self._circumstances = circumstances
            self._play = Play(view, now)
            if has_changed:
                self._end = None
        if self._play.go_on(steps):
            self._take(self._play)
            self._play = None

    def left(self, now: float) -> Estimate | None:
        """How long the run still takes; None where that is not known, nor in a run that is not going on."""
        end, view = self._end, self._view
        if end is None or view.phase not in (RunPhase.RUNNING, RunPhase.DRAINING):
            return None
        return Estimate(*(max(0.0, moment - now) for moment in (end.low, end.likely, end.high)))

    def _take(self, play: Play) -> None:
        self.ends = play.ends
        path = _critical_path(self._view, play.ends)
        self.path = frozenset(path)
        found = play.estimate(path)
        if found is None:
            self._end = None
            return
        before = self._end
        self._end = (
            found
            if before is None
            else Estimate(
                before.low + CALM * (found.low - before.low),
                before.likely + CALM * (found.likely - before.likely),
                before.high + CALM * (found.high - before.high),
            )
        )


def estimate(view: RunView, now: float) -> Estimate | None:
    """The first forecast of a view, all in one go."""
    forecast = Forecast(view)
    forecast.advance(now, steps=2 * len(view.tasks) + 1)  # an end of each, and of its back-off
    return forecast.left(now)


def _critical_path(view: RunView, ends: Sequence[float]) -> list[int]:
    """From the task that ends last back over what each has waited for longest, first one first. A subplan has
    waited for what is inside, and what is first in it for what the subplan needs."""
    graph, nesting = view.graph, view.graph.nesting
    path: list[int] = []
    candidates: Sequence[int] = [
        index for index in range(len(ends)) if not nesting.parents or nesting.parents[index] == OUTERMOST
    ]
    while candidates:
        last = max(candidates, key=ends.__getitem__)
        if not ends[last]:
            break
        path.append(last)
        if last in nesting.children:
            candidates = nesting.children[last] or graph.needs[last]
            continue
        before = last
        while not graph.needs[before] and nesting.parents and nesting.parents[before] != OUTERMOST:
            before = nesting.parents[before]
        candidates = graph.needs[before]
    return path[::-1]
