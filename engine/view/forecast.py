"""`Forecast`: how the rest of a run may go, found by playing it through with what tasks usually take.

The play knows slots, the order in which ready tasks start, back-offs, and needs of every kind. It takes
everything to succeed that is not over: a failure to come would make any other answer a wild one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.plan.model import Condition
from engine.view.run_view import RunView
from engine.view.timing import OVERTIME, SPREAD, Estimate

STEPS: Final = 300
"""Ends of tasks that are played in one go: about a millisecond."""

AGAIN_AFTER: Final = 1.0
"""Seconds after which it is played again, and longer in a plan with more than `LEFT_A_SECOND` tasks left."""

LEFT_A_SECOND: Final = 1_000

CALM: Final = 0.3
"""How far the answer goes at once to where a new play puts it; the rest it goes in the plays that follow."""

BEYOND: Final = 4.0
"""Standard deviations above the mean from which on a distribution says nothing any more."""

LATE: Final = 2.0
"""How much further it may go wrong to the late side than to the early one: a run waits for its slowest."""

_WAITING: Final = frozenset({TaskState.PENDING, TaskState.READY, TaskState.RETRYING})


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
        self._play: _Play | None = None
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
            self._play = _Play(view, now)
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

    def _take(self, play: _Play) -> None:
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
    forecast.advance(now, steps=len(view.tasks) + 1)
    return forecast.left(now)


class _Play:
    """The rest of a run, played through from `now` on.

    ends: by index, offsets. To begin costs a walk over all tasks; each step is the end of one.
    """

    def __init__(self, view: RunView, now: float) -> None:
        self._view = view
        self._now = now
        tasks, pace = view.tasks, view.pace
        self._ranks = view.ranks
        self._unmet = [task.unmet for task in tasks]
        self._slots = view.max_parallel
        self.ends = [0.0] * len(tasks)
        self._variance = 0.0
        self._left = 0
        self._doomed: set[int] = set()
        self._ready: list[tuple[int, int]] = []  # rank and index
        self._going: list[tuple[float, int]] = []  # when it ends, or a back-off does, and the index
        self._running: set[int] = set()
        self._inside = {parent: len(inner) for parent, inner in view.graph.nesting.children.items()}
        """Of each subplan, how many of its tasks are not over."""
        starts = view.phase in (RunPhase.RUNNING, RunPhase.PAUSED, RunPhase.PENDING)
        for task in tasks:
            index, state = task.index, task.state
            if state in _WAITING:
                if not starts or task.held:
                    continue
                if state is TaskState.RETRYING and task.due is not None and task.due > now:
                    self._going.append((task.due, index))
                elif not task.unmet:
                    self._ready.append((self._ranks[index], index))
            elif index in view.active:
                seconds, deviation = pace.guess(index)
                elapsed = task.elapsed(now) or 0.0
                self._running.add(index)
                self._left += 1
                self._variance += deviation**2
                self._going.append((now + _rest(seconds, deviation, elapsed), index))
            elif task.attempts:
                self.ends[index] = task.attempts[-1].ended or 0.0
            if self._inside and state in TERMINAL and view.plan.tasks[index].scope:
                self._inside[view.graph.nesting.parents[index]] -= 1
        heapify(self._ready)
        heapify(self._going)

    def go_on(self, steps: int) -> bool:
        """Play so many ends; return whether there is nothing left to play."""
        going, running = self._going, self._running
        self._start(self._now)
        for _ in range(steps):
            if not going:
                return True
            moment, index = heappop(going)
            if index in running:
                running.discard(index)
                self.ends[index] = moment
                self._end(index, moment)
            else:  # its back-off is over
                heappush(self._ready, (self._ranks[index], index))
            self._start(moment)
        return not going

    def estimate(self, path: Sequence[int]) -> Estimate | None:
        """Offsets. None if nothing is known."""
        pace = self._view.pace
        if not pace.is_known:
            return None
        now = self._now
        last = max(self.ends, default=now) if self._left else now
        likely = max(0.0, last - now)
        # what many tasks do differently evens out over the slots, what the critical ones do does not, and
        # by what the whole run goes faster or slower all of them do alike
        ahead = sum(pace.guess(index)[1] ** 2 for index in path if self.ends[index] > now)
        several = self._variance / min(self._slots, max(1, self._left)) ** 2
        margin = SPREAD * (max(ahead, several) + (likely * pace.doubt) ** 2) ** 0.5
        low = max(likely - margin, likely * 0.25)
        return Estimate(now + low, now + likely, now + likely + margin * LATE)

    def _start(self, moment: float) -> None:
        ready, running, view = self._ready, self._running, self._view
        while ready and len(running) < self._slots:
            _, index = heappop(ready)
            if index in self._inside:  # a subplan takes no slot, and what its tasks take
                for inner in view.graph.nesting.children[index]:
                    self._need_met(inner)
                continue
            seconds, deviation = view.pace.guess(index)
            running.add(index)
            self._left += 1
            self._variance += deviation**2
            heappush(self._going, (moment + seconds, index))

    def _end(self, index: int, moment: float) -> None:
        """It succeeds; what asks for another end of it is skipped, and what follows from that."""
        view = self._view
        special = view.graph.special_conditions
        self._end_subplan(index, moment)
        if not special:
            for dependent in view.graph.dependents[index]:
                self._need_met(dependent)
            return
        ended = [(index, TaskState.SUCCESS)]
        while ended:
            index, state = ended.pop()
            for dependent in view.graph.dependents[index]:
                if dependent in self._doomed or view.tasks[dependent].state not in _WAITING:
                    continue
                condition = special.get((index, dependent), Condition.SUCCESS)
                if _meets(state, condition):
                    self._need_met(dependent)
                else:
                    self._doomed.add(dependent)
                    self._end_subplan(dependent, moment)
                    ended.append((dependent, TaskState.SKIPPED))

    def _end_subplan(self, index: int, moment: float) -> None:
        """Something inside has ended; the last of it ends the subplan."""
        if not self._inside or not self._view.plan.tasks[index].scope:
            return
        parent = self._view.graph.nesting.parents[index]
        self._inside[parent] -= 1
        if not self._inside[parent]:
            self.ends[parent] = moment
            self._end(parent, moment)

    def _need_met(self, index: int) -> None:
        self._unmet[index] -= 1
        if not self._unmet[index]:
            self._make_ready(index)

    def _make_ready(self, index: int) -> None:
        task = self._view.tasks[index]
        if task.state in _WAITING and not task.held:
            heappush(self._ready, (self._ranks[index], index))


def _rest(seconds: float, deviation: float, elapsed: float) -> float:
    """What a task still takes that has taken `elapsed` seconds: the mean of a normal distribution beyond
    that, and never less than a part of the whole."""
    least = seconds * OVERTIME
    if not deviation:
        return seconds - elapsed if elapsed < seconds else least
    beyond = (elapsed - seconds) / deviation
    if beyond > BEYOND:
        return least
    tail = math.erfc(beyond / math.sqrt(2)) / 2
    density = math.exp(-(beyond**2) / 2) / math.sqrt(2 * math.pi)
    rest = seconds - elapsed + deviation * density / tail
    return rest if elapsed < seconds else max(rest, least)


def _meets(state: TaskState, condition: Condition) -> bool:
    if state is TaskState.SUCCESS:
        return condition in (Condition.SUCCESS, Condition.FINISHED)
    return condition in (Condition.SKIPPED, Condition.FINISHED)


def _critical_path(view: RunView, ends: Sequence[float]) -> list[int]:
    """From the task that ends last back over the need that each has waited for longest, first one first."""
    path: list[int] = []
    candidates: Sequence[int] = range(len(ends))
    while candidates:
        last = max(candidates, key=ends.__getitem__)
        if not ends[last]:
            break
        path.append(last)
        candidates = view.graph.needs[last]
    return path[::-1]
