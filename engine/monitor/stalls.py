"""`StallWatch`: tells when a running attempt shows no sign of life, and when it shows one again."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from engine.core.events import (
    Event,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
    TaskStopping,
)
from engine.core.inputs import AttemptRevived, AttemptStalled
from engine.plan.model import Plan, StallMeasure

POLL_INTERVAL: Final = 1.0
"""Seconds between two looks at what is stalled, to see it come back to life."""

COMPACT_FROM: Final = 1_000
"""How many alarms of attempts long over are kept at least before they are thrown away."""

_STARTS: Final = frozenset({TaskStarted, TaskRetried})
_ENDS: Final = frozenset(
    {TaskCompleted, TaskFailed, TaskSkipped, TaskCancelled, TaskReset, TaskStopping, RetryScheduled}
)


class _Watched(NamedTuple):
    """An attempt that is watched. started: offset in seconds. patience: its task's `stall_after`."""

    attempt: int
    started: float
    patience: float


class StallWatch:
    """Finds stalls from what it is told: it reads no clock and never waits.

    `listen` takes the events of a run, `next_deadline` says when to ask, `check` answers with reports
    for the scheduler: one when a stall begins and one when it ends by a sign of life, however often it
    is asked in between. An attempt is looked at once per `stall_after`, not once per sign of life; only
    what is stalled is looked at every second. All times are offsets in seconds.

    life: the offset of the last sign of life of a task's current attempt. last_line: the last line that
    it printed; both are asked only about tasks whose attempt is running.
    """

    def __init__(self, plan: Plan, life: Callable[[int], float], last_line: Callable[[int], str]) -> None:
        self._tasks = plan.tasks
        self._life = life
        self._last_line = last_line
        self._watched: dict[int, _Watched] = {}
        self._alarms: list[tuple[float, int, int]] = []  # (offset, index, attempt); may be out of date
        self._stalled: dict[int, float] = {}  # index -> the last sign of life when the stall was raised
        self._next_poll: float | None = None

    def listen(self, events: Sequence[Event]) -> None:
        """Begin and end to watch attempts as they start and end."""
        for event in events:
            kind = type(event)
            if kind in _STARTS:
                self._begin(event)  # type: ignore[arg-type]
            elif kind in _ENDS:
                self._end(event.index)  # type: ignore[attr-defined]

    def next_deadline(self) -> float | None:
        """When `check` next has something to look at; None if nothing is watched."""
        alarms = self._alarms
        while alarms and not self._is_current(alarms[0]):
            heapq.heappop(alarms)
        if not alarms:
            return self._next_poll
        due = alarms[0][0]
        return due if self._next_poll is None else min(due, self._next_poll)

    def check(self, now: float) -> list[AttemptStalled | AttemptRevived]:
        """What began and what ended to be stalled until `now`, in the order of the alarms."""
        reports: list[AttemptStalled | AttemptRevived] = []
        if self._next_poll is not None and now >= self._next_poll:
            self._find_revived(now, reports)
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            alarm = heapq.heappop(alarms)
            if self._is_current(alarm):
                self._look(alarm[1], now, reports)
        return reports

    def _begin(self, event: TaskStarted | TaskRetried) -> None:
        task = self._tasks[event.index]
        stall_after = task.stall_after
        if stall_after is None or task.plan is not None:  # a subplan says nothing itself
            return
        self._watched[event.index] = _Watched(event.attempt, event.offset, stall_after)
        if len(self._alarms) > COMPACT_FROM and len(self._alarms) > 2 * len(self._watched):
            self._alarms = [alarm for alarm in self._alarms if self._is_current(alarm)]
            heapq.heapify(self._alarms)
        heapq.heappush(self._alarms, (event.offset + stall_after, event.index, event.attempt))

    def _end(self, index: int) -> None:
        self._watched.pop(index, None)
        if self._stalled.pop(index, None) is not None and not self._stalled:
            self._next_poll = None

    def _is_current(self, alarm: tuple[float, int, int]) -> bool:
        watched = self._watched.get(alarm[1])
        return watched is not None and watched.attempt == alarm[2]

    def _look(self, index: int, now: float, reports: list[AttemptStalled | AttemptRevived]) -> None:
        """An alarm went off: it is a stall, or the attempt has lived since and the alarm is set again."""
        watched = self._watched[index]
        seen = watched.started
        if self._tasks[index].stall_measure is StallMeasure.SILENCE:
            seen = max(seen, self._life(index))
            if seen + watched.patience > now:
                heapq.heappush(self._alarms, (seen + watched.patience, index, watched.attempt))
                return
            self._stalled[index] = seen
            if self._next_poll is None:
                self._next_poll = now + POLL_INTERVAL
        # by elapsed time nothing but the end of the attempt ends the stall, so there is nothing to look for
        reports.append(
            AttemptStalled(
                index=index,
                attempt=watched.attempt,
                silent_for=now - seen,
                last_line=self._last_line(index),
            )
        )

    def _find_revived(self, now: float, reports: list[AttemptStalled | AttemptRevived]) -> None:
        for index, last_seen in list(self._stalled.items()):
            seen = self._life(index)
            if seen > last_seen:
                del self._stalled[index]
                watched = self._watched[index]
                reports.append(AttemptRevived(index=index, attempt=watched.attempt))
                heapq.heappush(self._alarms, (seen + watched.patience, index, watched.attempt))
        self._next_poll = now + POLL_INTERVAL if self._stalled else None
