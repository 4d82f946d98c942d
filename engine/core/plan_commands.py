"""Commands to the plan that is run, or to a subplan: its end, its pause, its failure mode and its slots.

What each is for stands with the command in `engine.core.inputs`. Each function takes the scheduler and its
command, and raises `Refusal` before it changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.core.events import (
    FailureModeChanged,
    MaxParallelChanged,
    PlanPaused,
    PlanResumed,
)
from engine.core.inputs import (
    CancelPlan,
    Command,
    DrainPlan,
    PausePlan,
    ResumePlan,
    SetFailureMode,
    SetMaxParallel,
)
from engine.core.ledger import Stop, StopKind
from engine.core.refusal import Refusal
from engine.core.scopes import Scope
from engine.core.state import TERMINAL, RunPhase
from engine.plan.model import MAX_PARALLEL, MIN_PARALLEL

if TYPE_CHECKING:
    from engine.core.scheduler import Scheduler


def cancel_plan(scheduler: Scheduler, command: CancelPlan) -> None:
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


def drain_plan(scheduler: Scheduler, command: DrainPlan) -> None:
    if scheduler.phase not in (RunPhase.RUNNING, RunPhase.PAUSED):
        raise Refusal(f"the run is {scheduler.phase}")
    _pause(scheduler, RunPhase.DRAINING, command)


def pause_plan(scheduler: Scheduler, command: PausePlan) -> None:
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


def resume_plan(scheduler: Scheduler, command: ResumePlan) -> None:
    scope = scheduler.ledger.scopes.all[command.scope]
    if scope.outer is not None:
        if not scope.is_paused:
            raise Refusal(f"{scope.name} is not paused")
        scheduler.subplans.lift_pause(scope, command.actor)
        return
    if scheduler.phase not in (RunPhase.PAUSED, RunPhase.DRAINING):
        raise Refusal(f"the run is {scheduler.phase}")
    _resume(scheduler, command.actor)


def set_failure_mode(scheduler: Scheduler, command: SetFailureMode) -> None:
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


def set_max_parallel(scheduler: Scheduler, command: SetMaxParallel) -> None:
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


def set_going(scheduler: Scheduler, actor: str, indices: Sequence[int]) -> None:
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
