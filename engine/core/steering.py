"""The commands: what each does to a run, and when it is refused.

Each function takes the scheduler and its command, and raises `Refusal` before it changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.core.events import (
    FailureModeChanged,
    MaxParallelChanged,
    PlanPaused,
    PlanResumed,
    TaskHeld,
    TaskReleased,
)
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
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
    TaskCommand,
)
from engine.core.ledger import Stop, StopKind, Verdict
from engine.core.state import FAILED, RETRYING, STOPPING, SUCCESS, TERMINAL, RunPhase
from engine.plan.model import MAX_PARALLEL, MIN_PARALLEL

if TYPE_CHECKING:
    from engine.core.scheduler import Scheduler


class Refusal(Exception):
    """The command makes no sense now. The message says why, for people."""


def obey(scheduler: Scheduler, command: Command) -> None:
    """Carry a command out. Raises `Refusal`, having changed nothing."""
    if scheduler.phase is RunPhase.PENDING:
        raise Refusal("the run has not started yet")
    if isinstance(command, TaskCommand) and not 0 <= command.index < len(scheduler.tasks):
        raise Refusal(f"there is no task number {command.index}")
    _COMMANDS[type(command)](scheduler, command)


# ── one task ────────────────────────────────────────────────────────────────────────────────────


def _cancel_task(scheduler: Scheduler, command: CancelTask) -> None:
    _end_task(scheduler, command, kill=False)


def _kill_task(scheduler: Scheduler, command: KillTask) -> None:
    _end_task(scheduler, command, kill=True)


def _end_task(scheduler: Scheduler, command: TaskCommand, *, kill: bool) -> None:
    index, ledger = command.index, scheduler.ledger
    name, state = ledger.names[index], ledger.state[index]
    if state in TERMINAL:
        raise Refusal(f"{name} is over already: {state}")
    reason = f"{'killed' if kill else 'cancelled'} by {command.actor}"
    if index not in ledger.in_flight:
        ledger.forget(index)
        scheduler.consequences.cancel(index, command.actor, reason)
        return
    stop = ledger.stops.get(index)
    if stop is not None and stop.kind is StopKind.CANCEL and not kill:
        raise Refusal(f"{name} is stopping already; killing it ends it at once")
    scheduler.attempts.stop(index, Stop(StopKind.CANCEL, command.actor, reason), kill=kill)


def _retry_task(scheduler: Scheduler, command: RetryTask) -> None:
    index, ledger = command.index, scheduler.ledger
    name, state = ledger.names[index], ledger.state[index]
    _refuse_while_ending(scheduler)
    is_in_back_off = state is RETRYING and not command.downstream  # then a retry cuts that short
    if state not in TERMINAL and not is_in_back_off:
        raise Refusal(f"{name} is {ledger.word(index)}: only a task that is over can be retried")
    for needed in ledger.graph.needs[index]:
        if ledger.verdict(needed, index) is Verdict.NEVER:
            raise Refusal(
                f"{name} cannot run: {scheduler.consequences.why_doomed(needed, index)}; retry that first"
            )
    indices = _downstream(scheduler, index) if command.downstream else [index]
    _set_going(scheduler, command.actor)
    scheduler.consequences.reset(indices, command.actor)


def _downstream(scheduler: Scheduler, first: int) -> list[int]:
    """The task and everything after it that is over and can run again, in topological order."""
    ledger = scheduler.ledger
    chosen = {first}
    reached = {first}
    for index in ledger.graph.order:
        needs = ledger.graph.needs[index]
        if index in reached or not any(needed in reached for needed in needs):
            continue
        reached.add(index)
        if ledger.state[index] in TERMINAL and all(
            needed in chosen or ledger.verdict(needed, index) is not Verdict.NEVER for needed in needs
        ):
            chosen.add(index)
    return [index for index in ledger.graph.order if index in chosen]


def _hold_task(scheduler: Scheduler, command: HoldTask) -> None:
    index, ledger = command.index, scheduler.ledger
    name = ledger.names[index]
    if not ledger.is_waiting(index):
        raise Refusal(f"{name} is {ledger.word(index)}: only a task that has not started can be held")
    if index in ledger.held:
        raise Refusal(f"{name} is held already")
    ledger.held.add(index)
    scheduler.recorder.emit_task(TaskHeld, index, command.actor)


def _release_task(scheduler: Scheduler, command: ReleaseTask) -> None:
    index, ledger = command.index, scheduler.ledger
    if index not in ledger.held:
        raise Refusal(f"{ledger.names[index]} is not held")
    ledger.held.discard(index)
    scheduler.recorder.emit_task(TaskReleased, index, command.actor)
    if ledger.is_startable(index):
        scheduler.ready.push(index)


def _skip_task(scheduler: Scheduler, command: SkipTask) -> None:
    index, ledger = command.index, scheduler.ledger
    if not ledger.is_waiting(index):
        name, word = ledger.names[index], ledger.word(index)
        raise Refusal(f"{name} is {word}: only a task that has not started can be skipped")
    ledger.forget(index)
    scheduler.consequences.skip(index, command.actor, f"skipped by {command.actor}")


def _mark_succeeded(scheduler: Scheduler, command: MarkSucceeded) -> None:
    index, ledger = command.index, scheduler.ledger
    name, state = ledger.names[index], ledger.state[index]
    if index in ledger.in_flight:
        do = "wait until it has ended" if state is STOPPING else "cancel it first"
        raise Refusal(f"{name} is {ledger.word(index)}: {do}")
    if state is SUCCESS:
        raise Refusal(f"{name} has succeeded already")
    if not command.reason.strip():
        raise Refusal("marking a task as succeeded needs a reason")
    _refuse_while_ending(scheduler)
    _set_going(scheduler, command.actor)
    scheduler.consequences.mark_succeeded(index, command.actor, command.reason)


# ── the whole run ───────────────────────────────────────────────────────────────────────────────


def _retry_failed(scheduler: Scheduler, command: RetryFailed) -> None:
    _refuse_while_ending(scheduler)
    states = scheduler.ledger.state
    failed = [index for index in scheduler.graph.order if states[index] is FAILED]
    if not failed:
        raise Refusal("no task has failed")
    _set_going(scheduler, command.actor)
    scheduler.consequences.reset(failed, command.actor)


def _cancel_plan(scheduler: Scheduler, command: CancelPlan) -> None:
    ledger = scheduler.ledger
    if scheduler.phase is RunPhase.COMPLETE:
        raise Refusal("the run is complete")
    first = scheduler.phase is not RunPhase.CANCELLING
    if not first and not command.kill:
        raise Refusal("the run is being cancelled already")
    reason = f"{'killed' if command.kill else 'cancelled'} by {command.actor}"
    if first:
        scheduler.is_interrupted = command.interrupted
        scheduler.phase = RunPhase.CANCELLING
        scheduler.recorder.emit(PlanPaused, cause=command.actor, phase=scheduler.phase)
        scheduler.consequences.cancel_all(ledger.waiting(), command.actor, reason)
    stop = Stop(StopKind.CANCEL, command.actor, reason)
    for index in sorted(ledger.in_flight):
        if ledger.state[index] is STOPPING and not command.kill:
            ledger.stops[index] = stop  # a person's wish outranks the time-out or fail-fast before it
        else:
            scheduler.attempts.stop(index, stop, kill=command.kill)


def _drain_plan(scheduler: Scheduler, command: DrainPlan) -> None:
    if scheduler.phase not in (RunPhase.RUNNING, RunPhase.PAUSED):
        raise Refusal(f"the run is {scheduler.phase}")
    _pause(scheduler, RunPhase.DRAINING, command)


def _pause_plan(scheduler: Scheduler, command: PausePlan) -> None:
    # a pause that a failure brought can be made one's own: then a retry does not lift it
    is_brought = scheduler.phase is RunPhase.PAUSED and scheduler.is_paused_by_failure
    if scheduler.phase not in (RunPhase.RUNNING, RunPhase.DRAINING) and not is_brought:
        raise Refusal(f"the run is {scheduler.phase}")
    _pause(scheduler, RunPhase.PAUSED, command)


def _pause(scheduler: Scheduler, phase: RunPhase, command: Command) -> None:
    scheduler.phase = phase
    scheduler.is_paused_by_failure = False
    scheduler.recorder.emit(PlanPaused, cause=command.actor, phase=phase)


def _resume_plan(scheduler: Scheduler, command: ResumePlan) -> None:
    if scheduler.phase not in (RunPhase.PAUSED, RunPhase.DRAINING):
        raise Refusal(f"the run is {scheduler.phase}")
    _resume(scheduler, command.actor)


def _set_failure_mode(scheduler: Scheduler, command: SetFailureMode) -> None:
    old = scheduler.failure_mode
    if command.mode is old:
        raise Refusal(f"the failure mode is {old} already")
    scheduler.failure_mode = command.mode
    scheduler.recorder.emit(
        FailureModeChanged, cause=command.actor, phase=scheduler.phase, old=old, new=command.mode
    )


def _set_max_parallel(scheduler: Scheduler, command: SetMaxParallel) -> None:
    old, new = scheduler.max_parallel, command.slots
    if not MIN_PARALLEL <= new <= MAX_PARALLEL:
        raise Refusal(f"max_parallel must be {MIN_PARALLEL}..{MAX_PARALLEL}, not {new}")
    if new == old:
        raise Refusal(f"max_parallel is {old} already")
    scheduler.max_parallel = new
    scheduler.recorder.emit(MaxParallelChanged, cause=command.actor, phase=scheduler.phase, old=old, new=new)


# ── shared steps ────────────────────────────────────────────────────────────────────────────────


def _refuse_while_ending(scheduler: Scheduler) -> None:
    if scheduler.phase is RunPhase.CANCELLING:
        raise Refusal("the run is being cancelled")
    if scheduler.phase is RunPhase.DRAINING:
        raise Refusal("the run is draining: resume it first")


def _set_going(scheduler: Scheduler, actor: str) -> None:
    """A retry reopens a complete run and lifts the pause that a failure brought, not a person's."""
    if scheduler.phase is RunPhase.COMPLETE or (
        scheduler.phase is RunPhase.PAUSED and scheduler.is_paused_by_failure
    ):
        _resume(scheduler, actor)


def _resume(scheduler: Scheduler, actor: str) -> None:
    scheduler.phase = RunPhase.RUNNING
    scheduler.outcome = None
    scheduler.is_interrupted = False
    scheduler.is_paused_by_failure = False
    scheduler.recorder.emit(PlanResumed, cause=actor, phase=scheduler.phase)


_COMMANDS: dict[type[Command], Callable[[Scheduler, Any], None]] = {
    CancelTask: _cancel_task,
    KillTask: _kill_task,
    RetryTask: _retry_task,
    RetryFailed: _retry_failed,
    HoldTask: _hold_task,
    ReleaseTask: _release_task,
    SkipTask: _skip_task,
    MarkSucceeded: _mark_succeeded,
    CancelPlan: _cancel_plan,
    DrainPlan: _drain_plan,
    PausePlan: _pause_plan,
    ResumePlan: _resume_plan,
    SetFailureMode: _set_failure_mode,
    SetMaxParallel: _set_max_parallel,
}
