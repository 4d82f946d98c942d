"""The way of a command: to what carries it out, or refuses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.core import plan_commands, task_commands
from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    Command,
    DrainPlan,
    HoldTask,
    KillTask,
    MarkSucceeded,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    ScopeCommand,
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
    TaskCommand,
)
from engine.core.refusal import Refusal
from engine.core.state import RunPhase

if TYPE_CHECKING:
    from engine.core.scheduler import Scheduler


def obey(scheduler: Scheduler, command: Command) -> None:
    """Carry a command out. Raises `Refusal`, having changed nothing."""
    if scheduler.phase is RunPhase.PENDING:
        raise Refusal("the run has not started yet")
    if isinstance(command, TaskCommand) and not 0 <= command.index < len(scheduler.tasks):
        raise Refusal(f"there is no task number {command.index}")
    if isinstance(command, ScopeCommand) and not 0 <= command.scope < len(scheduler.ledger.scopes.all):
        raise Refusal(f"there is no subplan number {command.scope}")
    _COMMANDS[type(command)](scheduler, command)


_COMMANDS: dict[type[Command], Callable[[Scheduler, Any], None]] = {
    CancelTask: task_commands.cancel_task,
    KillTask: task_commands.kill_task,
    RetryTask: task_commands.retry_task,
    RetryFailed: task_commands.retry_failed,
    HoldTask: task_commands.hold_task,
    ReleaseTask: task_commands.release_task,
    SkipTask: task_commands.skip_task,
    MarkSucceeded: task_commands.mark_succeeded,
    CancelPlan: plan_commands.cancel_plan,
    DrainPlan: plan_commands.drain_plan,
    PausePlan: plan_commands.pause_plan,
    ResumePlan: plan_commands.resume_plan,
    SetFailureMode: plan_commands.set_failure_mode,
    SetMaxParallel: plan_commands.set_max_parallel,
}
