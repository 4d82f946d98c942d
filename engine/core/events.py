"""What happened: the typed, numbered events of a run, in the order in which they happened.

Every event knows its number, its two times, its run and who or what caused it. Events about a task
add the task, the attempt and the state the task is in *after* the event. `type` is the fixed name
by which other programs know the event.
"""

from __future__ import annotations

from typing import ClassVar, get_args

import msgspec

from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.model import FailureMode


def _fixed_name(name: str) -> str:
    """TaskStarted: TASK_STARTED."""
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)[1:]


class Event(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True, tag_field="type", tag=_fixed_name):
    """What all events carry. As JSON they say their `type` besides, and leave out what is at its default.

    seq: 1, 2, 3, ... within the run. utc: seconds since the epoch. offset: monotonic seconds since
    the run began. cause: who or what brought it about, for people ("operator", "needs met").
    """

    type: ClassVar[str] = ""

    seq: int
    utc: float
    offset: float
    run_id: str
    cause: str


class TaskEvent(Event, kw_only=True, gc=False):
    """An event about one task.

    index: the task's place in the plan, from 0. attempt: 1 for the first; 0 before any.
    """

    task: str
    index: int
    attempt: int
    state: TaskState


class TaskStarted(TaskEvent, kw_only=True, gc=False):
    """The first attempt was taken up. where: "pid 4711", a worker's name, ..."""

    type: ClassVar[str] = "TASK_STARTED"
    where: str = ""


class TaskRetried(TaskEvent, kw_only=True, gc=False):
    """An attempt after the first was taken up."""

    type: ClassVar[str] = "TASK_RETRIED"
    where: str = ""


class TaskCompleted(TaskEvent, kw_only=True, gc=False):
    """The task is SUCCESS. reason is set when a person marked it so. outputs: by key, of the attempt that
    succeeded; None if it left none."""

    type: ClassVar[str] = "TASK_COMPLETED"
    duration: float
    exit_code: int | None = None
    reason: str = ""
    outputs: dict[str, str] | None = None


class TaskFailed(TaskEvent, kw_only=True, gc=False):
    """The task is FAILED: it ran, and its retries are exhausted."""

    type: ClassVar[str] = "TASK_FAILED"
    duration: float
    error: str
    exit_code: int | None = None
    retry_count: int
    max_retries: int


class TaskSkipped(TaskEvent, kw_only=True, gc=False):
    """The task is SKIPPED.

    reason: why it never ran, or that its failure is tolerated (then `error` holds the failure and
    dependents run). blocked_by: the name of the task whose end made it impossible, if any.
    """

    type: ClassVar[str] = "TASK_SKIPPED"
    reason: str
    blocked_by: str | None = None
    duration: float = 0.0
    error: str | None = None
    exit_code: int | None = None
    tolerated: bool = False


class TaskCancelled(TaskEvent, kw_only=True, gc=False):
    """The task is CANCELLED: stopped or never started because of a person or of fail-fast.

    blocked_by: the name of the task whose failure set fail-fast off, if that was the cause.
    """

    type: ClassVar[str] = "TASK_CANCELLED"
    reason: str
    blocked_by: str | None = None
    duration: float = 0.0
    exit_code: int | None = None


class RetryScheduled(TaskEvent, kw_only=True, gc=False):
    """An attempt failed and another will follow at offset `due`. delay: seconds of back-off."""

    type: ClassVar[str] = "RETRY_SCHEDULED"
    due: float
    delay: float
    duration: float
    error: str
    exit_code: int | None = None


class TaskStopping(TaskEvent, kw_only=True, gc=False):
    """The running attempt was told to stop. kill: at once, without the grace period."""

    type: ClassVar[str] = "TASK_STOPPING"
    reason: str
    kill: bool = False


class TaskReset(TaskEvent, kw_only=True, gc=False):
    """The task is to run again: PENDING (or READY straight after). Its attempts count on.

    interrupted: it, or its back-off, was cut off by the end of the engine: it has the retries that it had.
    """

    type: ClassVar[str] = "TASK_RESET"
    interrupted: bool = False


class TaskHeld(TaskEvent, kw_only=True, gc=False):
    """The task will not start until it is released."""

    type: ClassVar[str] = "TASK_HELD"


class TaskReleased(TaskEvent, kw_only=True, gc=False):
    """A held task may start again."""

    type: ClassVar[str] = "TASK_RELEASED"


class TaskStalled(TaskEvent, kw_only=True, gc=False):
    """A running attempt has shown no sign of life for `silent_for` seconds."""

    type: ClassVar[str] = "TASK_STALLED"
    silent_for: float
    last_line: str = ""


class StallCleared(TaskEvent, kw_only=True, gc=False):
    """A stalled attempt showed life again, or ended."""

    type: ClassVar[str] = "STALL_CLEARED"


class DispatchDeferred(TaskEvent, kw_only=True, gc=False):
    """The dispatcher had no capacity; the task is READY and offered again at offset `due`."""

    type: ClassVar[str] = "DISPATCH_DEFERRED"
    due: float
    reason: str


class PlanEvent(Event, kw_only=True, gc=False):
    """An event about the whole run. phase: the run's phase after the event."""

    phase: RunPhase


class PlanStarted(PlanEvent, kw_only=True, gc=False):
    """The run began. tasks: how many do work; those that stand for subplans do not count."""

    type: ClassVar[str] = "PLAN_STARTED"
    plan: str
    tasks: int
    max_parallel: int
    failure_mode: FailureMode


class PlanCompleted(PlanEvent, kw_only=True, gc=False):
    """Every task is terminal. The counts are of tasks that do work, not of those that stand for subplans;
    tolerated ones (`skip_on_failure`) are among the skipped, and so is what failed or was cancelled in a
    subplan that is tolerated or was marked as succeeded. retried: attempts after the first, but not in
    place of an interrupted one. diagnosis is set only when the run ended because of a defect."""

    type: ClassVar[str] = "PLAN_COMPLETED"
    outcome: Outcome
    duration: float
    success: int
    failed: int
    skipped: int
    cancelled: int
    tolerated: int = 0
    retried: int
    diagnosis: str | None = None


class PlanPaused(PlanEvent, kw_only=True, gc=False):
    """Nothing new starts. With phase DRAINING the rest is cancelled once nothing runs; with
    CANCELLING it is being cancelled already. scope: 0 for the whole run, or the number of the subplan
    that alone is meant; then the phase is what it was. So in the next three."""

    type: ClassVar[str] = "PLAN_PAUSED"
    scope: int = 0


class PlanResumed(PlanEvent, kw_only=True, gc=False):
    """Tasks start again, after a pause or because a retry reopened a complete run."""

    type: ClassVar[str] = "PLAN_RESUMED"
    scope: int = 0


class FailureModeChanged(PlanEvent, kw_only=True, gc=False):
    """The mode for the failures that follow."""

    type: ClassVar[str] = "FAILURE_MODE_CHANGED"
    old: FailureMode
    new: FailureMode
    scope: int = 0


class MaxParallelChanged(PlanEvent, kw_only=True, gc=False):
    """The number of slots changed; lowering it stops nothing that runs."""

    type: ClassVar[str] = "MAX_PARALLEL_CHANGED"
    old: int
    new: int
    scope: int = 0


class HookEnded(PlanEvent, kw_only=True, gc=False):
    """A command of the plan's `hooks` has ended; for the run itself that makes no difference.

    hook: the occasion. about: the name of the task that it was about, "" for the whole run. error: None
    if it ended well.
    """

    type: ClassVar[str] = "HOOK_ENDED"
    hook: str
    about: str = ""
    duration: float
    error: str | None = None
    exit_code: int | None = None


AnyEvent = (
    PlanStarted
    | PlanCompleted
    | PlanPaused
    | PlanResumed
    | FailureModeChanged
    | MaxParallelChanged
    | HookEnded
    | TaskStarted
    | TaskCompleted
    | TaskFailed
    | TaskRetried
    | TaskSkipped
    | RetryScheduled
    | TaskStopping
    | TaskCancelled
    | TaskReset
    | TaskHeld
    | TaskReleased
    | TaskStalled
    | StallCleared
    | DispatchDeferred
)
"""For what reads events back."""

EVENT_TYPES: dict[str, type[Event]] = {cls.type: cls for cls in get_args(AnyEvent)}
