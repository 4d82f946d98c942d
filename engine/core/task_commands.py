"""Commands to tasks: to one, to what follows from it, or to all that have failed.

What each is for stands with the command in `engine.core.inputs`. Each function takes the scheduler and its
command, and raises `Refusal` before it changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.core.events import TaskHeld, TaskReleased
from engine.core.inputs import (
    CancelTask,
    HoldTask,
    KillTask,
    MarkSucceeded,
    ReleaseTask,
    RetryFailed,
    RetryTask,
    SkipTask,
    TaskCommand,
)
from engine.core.ledger import Ledger, Stop, StopKind, Verdict
from engine.core.plan_commands import set_going
from engine.core.refusal import Refusal, refuse_while_ending
from engine.core.state import FAILED, RETRYING, RUNNING, SKIPPED, STOPPING, SUCCESS, TERMINAL

if TYPE_CHECKING:
    from engine.core.scheduler import Scheduler


def cancel_task(scheduler: Scheduler, command: CancelTask) -> None:
    _end_task(scheduler, command, kill=False)


def kill_task(scheduler: Scheduler, command: KillTask) -> None:
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


def retry_task(scheduler: Scheduler, command: RetryTask) -> None:
    index, ledger = command.index, scheduler.ledger
    name, state = ledger.names[index], ledger.state[index]
    refuse_while_ending(scheduler.phase)
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
    set_going(scheduler, command.actor, indices)
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


def hold_task(scheduler: Scheduler, command: HoldTask) -> None:
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


def release_task(scheduler: Scheduler, command: ReleaseTask) -> None:
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


def skip_task(scheduler: Scheduler, command: SkipTask) -> None:
    index, ledger = command.index, scheduler.ledger
    if not ledger.is_waiting(index):
        name, word = ledger.names[index], ledger.word(index)
        raise Refusal(f"{name} is {word}: only a task that has not started can be skipped")
    ledger.forget(index)
    scheduler.consequences.skip(index, command.actor, f"skipped by {command.actor}")


def mark_succeeded(scheduler: Scheduler, command: MarkSucceeded) -> None:
    index, ledger = command.index, scheduler.ledger
    name, state = ledger.names[index], ledger.state[index]
    if any(each in ledger.in_flight for each in (index, *ledger.inside(index))):
        do = "wait until it has ended" if state is STOPPING else "cancel it first"
        raise Refusal(f"{name} is {ledger.word(index)}: {do}")
    if state is SUCCESS:
        raise Refusal(f"{name} has succeeded already")
    if not command.reason.strip():
        raise Refusal("marking a task as succeeded needs a reason")
    refuse_while_ending(scheduler.phase)
    around = _to_reopen(scheduler, index)
    set_going(scheduler, command.actor, [*around, index])
    scheduler.consequences.mark_succeeded(index, command.actor, command.reason)
    left = [parent for parent in reversed(around) if _is_over_for_now(ledger, parent)]
    if left:  # of those that were not brought back with what the task had blocked
        scheduler.consequences.reset(left, command.actor)


def retry_failed(scheduler: Scheduler, command: RetryFailed) -> None:
    refuse_while_ending(scheduler.phase)
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
    set_going(scheduler, command.actor, indices)
    scheduler.consequences.reset(indices, command.actor)


def _is_seen_to(ledger: Ledger, index: int) -> bool:
    """Whether a failure is made up for by the subplan around it, or will be tried again or ended with it."""
    around = (ledger.state[parent] for parent in ledger.graph.nesting.around(index))
    return any(state in (SUCCESS, SKIPPED, RETRYING, STOPPING) for state in around)
