"""The commands: what each does to a run, and when it is refused.

Each function takes the scheduler and its command, and raises `Refusal` before it changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    ScopeCommand,
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
    TaskCommand,
)
from engine.core.ledger import Ledger, Stop, StopKind, Verdict
from engine.core.scopes import Scope
from engine.core.state import FAILED, RETRYING, RUNNING, SKIPPED, STOPPING, SUCCESS, TERMINAL, RunPhase
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
    if isinstance(command, ScopeCommand) and not 0 <= command.scope < len(scheduler.ledger.scopes.all):
        raise Refusal(f"there is no subplan number {command.scope}")
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
    if ledger.is_waiting(index):
        ledger.forget(index)
        scheduler.consequences.cancel(index, command.actor, reason)
        return
    stop = ledger.stops.get(index)
    if stop is not None and stop.kind is StopKind.CANCEL and not kill:
        raise Refusal(f"{name} is stopping already; killing it ends it at once")
    ends = scheduler.subplans if ledger.is_subplan(index) else scheduler.attempts
    ends.stop(index, Stop(StopKind.CANCEL, command.actor, reason), kill=kill)


def _retry_task(scheduler: Scheduler, command: RetryTask) -> None:
    index, ledger = command.index, scheduler.ledger
    name, state = ledger.names[index], ledger.state[index]
    _refuse_while_ending(scheduler)
    is_in_back_off = state is RETRYING and not command.downstream  # then a retry cuts that short
    if state not in TERMINAL and not is_in_back_off:
        raise Refusal(f"{name} is {ledger.word(index)}: only a task that is over can be retried")
    around = _to_reopen(scheduler, index)
    for each in (index, *around):
        for needed in ledger.graph.needs[each]:
            if ledger.verdict(needed, each) is Verdict.NEVER:
                why = scheduler.consequences.why_doomed(needed, each)
                raise Refusal(f"{ledger.names[each]} cannot run: {why}; retry that first")
    again = _downstream(scheduler, index, around) if command.downstream else _again(ledger, index)
    indices = [*reversed(around), *again]
    _set_going(scheduler, command.actor, indices)
    scheduler.consequences.reset(indices, command.actor)


def _to_reopen(scheduler: Scheduler, index: int) -> list[int]:
    """The subplans around a task that have ended, or failed for now, and must go on for it to run."""
    ledger = scheduler.ledger
    around = ledger.graph.nesting.around(index)
    for parent in around:
        if ledger.state[parent] is STOPPING:
            raise Refusal(f"{ledger.names[parent]} is stopping: wait until it has ended")
    return [parent for parent in around if _is_over_for_now(ledger, parent)]


def _is_over_for_now(ledger: Ledger, index: int) -> bool:
    return ledger.state[index] in TERMINAL or index in ledger.due


def _again(ledger: Ledger, index: int) -> list[int]:
    """The task, and of a subplan what has not succeeded inside; if the subplan has, all of it."""
    parents, state = ledger.graph.nesting.parents, ledger.state
    is_whole = state[index] is SUCCESS
    again = {index}
    for inner in ledger.inside(index):
        is_over = state[inner] in TERMINAL and (is_whole or state[inner] is not SUCCESS)
        if is_over and parents[inner] in again:
            again.add(inner)
    return sorted(again)


def _downstream(scheduler: Scheduler, first: int, reopened: Sequence[int]) -> list[int]:
    """The task and everything after it that is over and can run again, in topological order. A subplan runs
    again with all that is inside. reopened: the subplans around it that go on for it."""
    ledger = scheduler.ledger
    nesting = ledger.graph.nesting
    chosen = set(_again(ledger, first))
    reached = {first, *ledger.inside(first)}
    begun = {first, *nesting.around(first)}  # what comes after one of these comes after it
    for index in ledger.graph.order:
        if index in reached:
            continue
        if nesting.parents and nesting.parents[index] in chosen and index not in begun:
            chosen.add(index)
            continue
        needs = ledger.graph.needs[index]
        if not any(needed in begun for needed in needs):
            continue
        begun.add(index)
        if ledger.state[index] in TERMINAL and all(
            needed in chosen or needed in reopened or ledger.verdict(needed, index) is not Verdict.NEVER
            for needed in needs
        ):
            chosen.add(index)
    return [index for index in ledger.graph.order if index in chosen]


def _hold_task(scheduler: Scheduler, command: HoldTask) -> None:
    index, ledger = command.index, scheduler.ledger
    name = ledger.names[index]
    scope = ledger.scopes.by_task.get(index)
    if not ledger.is_waiting(index) and (scope is None or ledger.state[index] is not RUNNING):
        raise Refusal(f"{name} is {ledger.word(index)}: only a task that has not started can be held")
    if index in ledger.held:
        raise Refusal(f"{name} is held already")
    ledger.held[index] = command.actor
    if scope is not None:
        scope.is_held = True
        scheduler.subplans.shut(scope)
    scheduler.recorder.emit_task(TaskHeld, index, command.actor)


def _release_task(scheduler: Scheduler, command: ReleaseTask) -> None:
    index, ledger = command.index, scheduler.ledger
    if index not in ledger.held:
        raise Refusal(f"{ledger.names[index]} is not held")
    del ledger.held[index]
    scheduler.recorder.emit_task(TaskReleased, index, command.actor)
    scope = ledger.scopes.by_task.get(index)
    if scope is not None:
        scope.is_held = False
        scheduler.subplans.reopen(scope)
    if ledger.is_startable(index):
        scheduler.consequences.enqueue(index)


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
    if any(each in ledger.in_flight for each in (index, *ledger.inside(index))):
        do = "wait until it has ended" if state is STOPPING else "cancel it first"
        raise Refusal(f"{name} is {ledger.word(index)}: {do}")
    if state is SUCCESS:
        raise Refusal(f"{name} has succeeded already")
    if not command.reason.strip():
        raise Refusal("marking a task as succeeded needs a reason")
    _refuse_while_ending(scheduler)
    around = _to_reopen(scheduler, index)
    _set_going(scheduler, command.actor, [*around, index])
    scheduler.consequences.mark_succeeded(index, command.actor, command.reason)
    left = [parent for parent in reversed(around) if _is_over_for_now(ledger, parent)]
    if left:  # of those that were not brought back with what the task had blocked
        scheduler.consequences.reset(left, command.actor)


# ── the whole run ───────────────────────────────────────────────────────────────────────────────


def _retry_failed(scheduler: Scheduler, command: RetryFailed) -> None:
    _refuse_while_ending(scheduler)
    ledger = scheduler.ledger
    failed = [
        index
        for index in scheduler.graph.order
        if ledger.state[index] is FAILED and not _is_seen_to(ledger, index)
    ]
    if not failed:
        raise Refusal("no task has failed")
    again = set(failed)
    again.update(*(_to_reopen(scheduler, index) for index in failed))
    indices = [index for index in scheduler.graph.order if index in again]
    _set_going(scheduler, command.actor, indices)
    scheduler.consequences.reset(indices, command.actor)


def _is_seen_to(ledger: Ledger, index: int) -> bool:
    """Whether a failure is made up for by the subplan around it, or will be tried again or ended with it."""
    around = (ledger.state[parent] for parent in ledger.graph.nesting.around(index))
    return any(state in (SUCCESS, SKIPPED, RETRYING, STOPPING) for state in around)


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
    scheduler.attempts.stop_all(Stop(StopKind.CANCEL, command.actor, reason), kill=command.kill)


def _drain_plan(scheduler: Scheduler, command: DrainPlan) -> None:
    if scheduler.phase not in (RunPhase.RUNNING, RunPhase.PAUSED):
        raise Refusal(f"the run is {scheduler.phase}")
    _pause(scheduler, RunPhase.DRAINING, command)


def _pause_plan(scheduler: Scheduler, command: PausePlan) -> None:
    # a pause that a failure brought can be made one's own: then a retry does not lift it
    scope = scheduler.ledger.scopes.all[command.scope]
    if scope.outer is not None:
        _pause_subplan(scheduler, scope, command.actor)
        return
    is_brought = scheduler.phase is RunPhase.PAUSED and scope.is_paused_by_failure
    if scheduler.phase not in (RunPhase.RUNNING, RunPhase.DRAINING) and not is_brought:
        raise Refusal(f"the run is {scheduler.phase}")
    _pause(scheduler, RunPhase.PAUSED, command)


def _pause(scheduler: Scheduler, phase: RunPhase, command: Command) -> None:
    scheduler.phase = phase
    scheduler.ledger.scopes.outermost.is_paused_by_failure = False
    scheduler.recorder.emit(PlanPaused, cause=command.actor, phase=phase)


def _pause_subplan(scheduler: Scheduler, scope: Scope, actor: str) -> None:
    _refuse_if_over(scheduler, scope)
    if scope.is_paused and not scope.is_paused_by_failure:
        raise Refusal(f"{scope.name} is paused already")
    scope.is_paused, scope.is_paused_by_failure = True, False
    scheduler.subplans.shut(scope)
    scheduler.recorder.emit(PlanPaused, cause=actor, phase=scheduler.phase, scope=scope.number)


def _resume_plan(scheduler: Scheduler, command: ResumePlan) -> None:
    scope = scheduler.ledger.scopes.all[command.scope]
    if scope.outer is not None:
        if not scope.is_paused:
            raise Refusal(f"{scope.name} is not paused")
        scheduler.subplans.lift_pause(scope, command.actor)
        return
    if scheduler.phase not in (RunPhase.PAUSED, RunPhase.DRAINING):
        raise Refusal(f"the run is {scheduler.phase}")
    _resume(scheduler, command.actor)


def _set_failure_mode(scheduler: Scheduler, command: SetFailureMode) -> None:
    scope = scheduler.ledger.scopes.all[command.scope]
    old = scope.failure_mode
    if command.mode is old:
        raise Refusal(f"the failure mode{_of(scope)} is {old} already")
    scope.failure_mode = command.mode
    scheduler.recorder.emit(
        FailureModeChanged,
        cause=command.actor,
        phase=scheduler.phase,
        old=old,
        new=command.mode,
        scope=scope.number,
    )


def _set_max_parallel(scheduler: Scheduler, command: SetMaxParallel) -> None:
    scope = scheduler.ledger.scopes.all[command.scope]
    old, new = scope.max_parallel, command.slots
    if not MIN_PARALLEL <= new <= MAX_PARALLEL:
        raise Refusal(f"max_parallel must be {MIN_PARALLEL}..{MAX_PARALLEL}, not {new}")
    if new == old:
        raise Refusal(f"max_parallel{_of(scope)} is {old} already")
    scope.max_parallel = new
    scheduler.ready.reconsider([scope])
    scheduler.recorder.emit(
        MaxParallelChanged,
        cause=command.actor,
        phase=scheduler.phase,
        old=old,
        new=new,
        scope=scope.number,
    )


def _of(scope: Scope) -> str:
    return "" if scope.outer is None else f" of {scope.name}"


def _refuse_if_over(scheduler: Scheduler, scope: Scope) -> None:
    state = scheduler.ledger.state[scope.task]
    if state in TERMINAL:
        raise Refusal(f"{scope.name} is over already: {state}")


# ── shared steps ────────────────────────────────────────────────────────────────────────────────


def _refuse_while_ending(scheduler: Scheduler) -> None:
    if scheduler.phase is RunPhase.CANCELLING:
        raise Refusal("the run is being cancelled")
    if scheduler.phase is RunPhase.DRAINING:
        raise Refusal("the run is draining: resume it first")


def _set_going(scheduler: Scheduler, actor: str, indices: Sequence[int]) -> None:
    """A retry reopens a complete run and lifts the pauses that failures brought where its tasks are, not a
    person's."""
    scopes = scheduler.ledger.scopes
    if scheduler.phase is RunPhase.COMPLETE or (
        scheduler.phase is RunPhase.PAUSED and scopes.outermost.is_paused_by_failure
    ):
        _resume(scheduler, actor)
    for index in indices:
        for scope in scopes.of(index).chain():
            if scope.is_paused_by_failure:
                scheduler.subplans.lift_pause(scope, actor)


def _resume(scheduler: Scheduler, actor: str) -> None:
    scheduler.phase = RunPhase.RUNNING
    scheduler.outcome = None
    scheduler.diagnosis = None
    scheduler.is_interrupted = False
    scheduler.ledger.scopes.outermost.is_paused_by_failure = False
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
