"""The course of a task: when it waited, ran, was stopping and sat out a back-off."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from engine.core.records import INTERRUPTED, AttemptRecord
from engine.core.state import TaskState

if TYPE_CHECKING:
    from engine.view.run_view import RunView
    from engine.view.task_view import TaskView


class Doing(Enum):
    """What a task does for a while. WAIT: it could start and does not. STOP: told to stop, not over yet."""

    WAIT = "waits"
    RUN = "runs"
    STOP = "stops"
    BACK_OFF = "back-off"


class Stretch(NamedTuple):
    """A while in the life of a task. start, end: offsets in seconds, end None while it goes on.

    outcome: how the attempt ended whose last stretch it is, as the state that such an end leads to;
    RUNNING or STOPPING while it goes on; None if it is not the last one of an attempt.
    """

    doing: Doing
    start: float
    end: float | None
    outcome: TaskState | None = None


def course(view: RunView, task: TaskView) -> list[Stretch]:
    """All that is known of how the task spent its time, in order. Costs what its attempts and needs are."""
    stretches: list[Stretch] = []
    free = _ready_at(view, task)
    for record in task.attempts:
        if free is not None and free < record.started:
            stretches.append(Stretch(Doing.WAIT, free, record.started))
        _append_attempt(stretches, task, record)
        free = None
        if record.ended is not None and record.retry_at is not None:
            following = _after(task, record)
            free = record.retry_at if following is None else min(record.retry_at, following.started)
            goes_on = following is None and task.state is TaskState.RETRYING
            if following is not None or goes_on:
                stretches.append(Stretch(Doing.BACK_OFF, record.ended, free))
            if goes_on:
                stretches.append(Stretch(Doing.WAIT, free, None))  # once the back-off is over
    if task.state is TaskState.READY:
        since = _ready_at(view, task)
        if task.attempts:  # reset: it waits since it was, of which the end before is the best that is known
            since = max(since or 0.0, task.attempts[-1].ended or 0.0)
        if since is not None:
            stretches.append(Stretch(Doing.WAIT, since, None))
    return stretches


def outcome_of(task: TaskView, record: AttemptRecord) -> TaskState:
    """How an attempt ended, as the state that such an end leads to; RUNNING or STOPPING if it has not."""
    if record.ended is None:
        return TaskState.RUNNING if record.stopping is None else TaskState.STOPPING
    if record.is_cancelled or record.error == INTERRUPTED:
        return TaskState.CANCELLED
    if record.error is None:
        return TaskState.SUCCESS
    is_last = record is task.attempts[-1]
    return TaskState.SKIPPED if is_last and task.tolerated else TaskState.FAILED


def _append_attempt(stretches: list[Stretch], task: TaskView, record: AttemptRecord) -> None:
    outcome = outcome_of(task, record)
    told = record.stopping
    if told is None:
        stretches.append(Stretch(Doing.RUN, record.started, record.ended, outcome))
        return
    stretches.append(Stretch(Doing.RUN, record.started, told))
    stretches.append(Stretch(Doing.STOP, told, record.ended, outcome))


def _after(task: TaskView, record: AttemptRecord) -> AttemptRecord | None:
    """The attempt that follows."""
    attempts = task.attempts
    return next((later for later in attempts if later.number > record.number), None)


def _ready_at(view: RunView, task: TaskView) -> float | None:
    """When it had all that it needs for the first time, as far as that is known.

    That is when the last of its needs ended; of one that was settled by hand nothing is known.
    """
    ready = view.started_at
    if ready is None:
        return None
    first = task.attempts[0].started if task.attempts else None
    for needed in view.graph.needs[task.index]:
        end = _ended_before(view.tasks[needed], first)
        if end is not None and end > ready:
            ready = end
    return ready


def _ended_before(task: TaskView, moment: float | None) -> float | None:
    """When it ended last, before `moment` if that is given: it may have been run again since."""
    for record in reversed(task.attempts):
        if record.ended is not None and (moment is None or record.ended <= moment):
            return record.ended
    return None
