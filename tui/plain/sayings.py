"""What each event says, in plain words: of a task a word and a detail, of the plan a sentence."""

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
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskHeld,
    TaskReleased,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    TaskStarted,
    TaskStopping,
)
from engine.core.state import RunPhase
from engine.ground.text import one_line
from engine.plan.model import Plan
from engine.view.timing import short
from tui.plain.marks import MODE_WORDS, counted

Said = tuple[str, str]


def of_task(event: TaskEvent) -> Said:
    """The state in a word, and what there is to know."""
    return _TASK_SAYS[type(event)](event)


def of_plan(event: Event, plan: Plan) -> str:
    """A sentence without a full stop; one about a subplan begins with its name."""
    scope = getattr(event, "scope", 0)
    said = _PLAN_SAYS[type(event)](event)
    return f"{one_line(plan.subplans[scope - 1].name)}: {said}" if scope else said


def _started(event: TaskStarted | TaskRetried) -> Said:
    return event.state, event.where


def _completed(event: TaskCompleted) -> Said:
    if event.reason:
        return event.state, f"marked as done by {event.cause}: {event.reason}"
    return event.state, short(event.duration)


def _failed(event: TaskFailed) -> Said:
    return event.state, f"{event.error}, after {short(event.duration)}"


def _skipped(event: TaskSkipped) -> Said:
    return event.state, f"tolerated: {event.error}" if event.tolerated else event.reason


def _cancelled(event: TaskCancelled) -> Said:
    return event.state, event.reason


def _retry_scheduled(event: RetryScheduled) -> Said:
    return event.state, f"{event.error}, again in {short(event.delay)}"


def _stopping(event: TaskStopping) -> Said:
    return event.state, f"{event.reason} (killed)" if event.kill else event.reason


def _stalled(event: TaskStalled) -> Said:
    last = f', last line: "{event.last_line}"' if event.last_line else ""
    return "stalled", f"silent {short(event.silent_for)}{last}"


def _stall_cleared(event: StallCleared) -> Said:
    return event.state, "shows life again"


def _reset(event: TaskReset) -> Said:
    return event.state, f"to run again ({'its engine was gone' if event.interrupted else event.cause})"


def _held(event: TaskHeld) -> Said:
    return event.state, f"held ({event.cause})"


def _released(event: TaskReleased) -> Said:
    return event.state, f"released ({event.cause})"


def _deferred(event: DispatchDeferred) -> Said:
    return event.state, f"no capacity: {event.reason}"


def _plan_started(event: PlanStarted) -> str:
    slots = counted(event.max_parallel, "slot")
    return f"{event.plan}: {counted(event.tasks, 'task')}, {slots}, {MODE_WORDS[event.failure_mode]}"


def _plan_completed(event: PlanCompleted) -> str:
    return f"{event.outcome} after {short(event.duration)}"


def _plan_paused(event: PlanPaused) -> str:
    return f"{RunPhase.PAUSED if event.scope else event.phase} ({event.cause})"


def _plan_resumed(event: PlanResumed) -> str:
    return f"goes on ({event.cause})"


def _mode_changed(event: FailureModeChanged) -> str:
    return f"{MODE_WORDS[event.new]} instead of {MODE_WORDS[event.old]} ({event.cause})"


def _slots_changed(event: MaxParallelChanged) -> str:
    return f"{counted(event.new, 'slot')} instead of {event.old} ({event.cause})"


def _hook_ended(event: HookEnded) -> str:
    how = f"failed: {event.error}" if event.error else "done"
    about = f" about {event.about}" if event.about else ""
    return f"{event.hook} hook{about} {how}, after {short(event.duration)}"


_TASK_SAYS: Final[dict[type[Event], Callable[[Any], Said]]] = {
    TaskStarted: _started,
    TaskRetried: _started,
    TaskCompleted: _completed,
    TaskFailed: _failed,
    TaskSkipped: _skipped,
    TaskCancelled: _cancelled,
    RetryScheduled: _retry_scheduled,
    TaskStopping: _stopping,
    TaskStalled: _stalled,
    StallCleared: _stall_cleared,
    TaskReset: _reset,
    TaskHeld: _held,
    TaskReleased: _released,
    DispatchDeferred: _deferred,
}

_PLAN_SAYS: Final[dict[type[Event], Callable[[Any], str]]] = {
    PlanStarted: _plan_started,
    PlanCompleted: _plan_completed,
    PlanPaused: _plan_paused,
    PlanResumed: _plan_resumed,
    FailureModeChanged: _mode_changed,
    MaxParallelChanged: _slots_changed,
    HookEnded: _hook_ended,
}
