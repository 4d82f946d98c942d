"""Which events a person has brought about, and which tell of trouble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.core.events import (
    DispatchDeferred,
    Event,
    FailureModeChanged,
    HookEnded,
    MaxParallelChanged,
    PlanCompleted,
    PlanPaused,
    PlanResumed,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskHeld,
    TaskReleased,
    TaskReset,
    TaskSkipped,
    TaskStalled,
    TaskStopping,
)
from engine.core.state import Outcome, RunPhase


def is_steering(event: Event) -> bool:
    """Whether it is what somebody asked for; then its cause names who."""
    judge = _STEERING.get(type(event))
    return judge is not None and judge(event)


def is_trouble(event: Event) -> bool:
    """Whether it tells of a failure, a stall, or of what came of them."""
    judge = _TROUBLE.get(type(event))
    return judge is not None and judge(event)


def _always(event: Event) -> bool:
    return True


def _is_asked_for(event: TaskStopping | TaskCancelled) -> bool:
    return event.reason in (f"cancelled by {event.cause}", f"killed by {event.cause}")


def _is_reset_by_somebody(event: TaskReset) -> bool:
    return not event.interrupted and not event.cause.startswith("retry of ")


def _is_paused_by_somebody(event: PlanPaused) -> bool:
    is_end = event.phase in (RunPhase.DRAINING, RunPhase.CANCELLING) and not event.scope
    return is_end or not event.cause.endswith(" failed")


def _is_resumed_by_somebody(event: PlanResumed) -> bool:
    return event.cause != "resume" and not (event.scope and event.cause.endswith(" ended"))


_STEERING: Final[dict[type[Event], Callable[[Any], bool]]] = {
    TaskHeld: _always,
    TaskReleased: _always,
    FailureModeChanged: _always,
    MaxParallelChanged: _always,
    TaskStopping: _is_asked_for,
    TaskCancelled: _is_asked_for,
    TaskSkipped: lambda event: event.reason == f"skipped by {event.cause}",
    TaskCompleted: lambda event: bool(event.reason),
    TaskReset: _is_reset_by_somebody,
    PlanPaused: _is_paused_by_somebody,
    PlanResumed: _is_resumed_by_somebody,
}

_TROUBLE: Final[dict[type[Event], Callable[[Any], bool]]] = {
    TaskFailed: _always,
    RetryScheduled: _always,
    TaskStalled: _always,
    DispatchDeferred: _always,
    TaskSkipped: lambda event: event.blocked_by is not None or event.tolerated,
    TaskCancelled: lambda event: event.blocked_by is not None,
    TaskStopping: lambda event: not _is_asked_for(event),
    PlanPaused: lambda event: not _is_paused_by_somebody(event),
    HookEnded: lambda event: bool(event.error),
    PlanCompleted: lambda event: event.outcome is not Outcome.SUCCESS,
}
