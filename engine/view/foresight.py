"""What a command would do, worked out beforehand: no key destroys work before it has said what it will do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    Command,
    DrainPlan,
    KillTask,
    MarkSucceeded,
    RetryFailed,
    RetryTask,
    SkipTask,
)
from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.view.run_view import RunView
from engine.view.supposed import IN_FLIGHT, NAMED, Reach, Supposed, names

__all__ = ["NAMED", "Reach", "names", "reach", "reach_of_failure"]

_ENDING: Final = frozenset({RunPhase.DRAINING, RunPhase.CANCELLING})


def reach(view: RunView, *commands: Command) -> Reach:
    """What the commands would do together, one after the other, to the run as it stands now. One that
    would be refused touches nothing."""
    supposed = Supposed(view)
    for command in commands:
        foresee = _FORESEE.get(type(command))
        if foresee is not None and view.phase is not RunPhase.PENDING:
            foresee(supposed, command)
    return supposed.reach()


def reach_of_failure(view: RunView, scope: int = 0) -> Reach:
    """What fail-fast would stop and cancel if one of the tasks that run failed now, which is among them.
    scope: in a subplan, by its number.

    Of what it would cancel, the tasks that are there to answer a failure may be spared: which, depends
    on the task that fails.
    """
    inside = view.graph.nesting.inside.get(view.scopes.all[scope].task, range(len(view.tasks)))
    active = sorted(view.active.intersection(inside))
    stops = [index for index in active if view.tasks[index].state is TaskState.RUNNING]
    waiting = (
        task.index
        for task in view.tasks[inside.start : inside.stop]
        if task.state not in TERMINAL and task.state not in IN_FLIGHT and not view.scopes.subplan(task.index)
    )
    return Reach(graph=view.graph, stops=tuple(stops), cancels=tuple(waiting))


# ── the commands ────────────────────────────────────────────────────────────────────────────────


def _cancel_task(supposed: Supposed, command: CancelTask | KillTask) -> None:
    state = supposed.state(command.index)
    if not supposed.is_open(command.index):
        return
    subplans = supposed.graph.nesting.inside
    for inner in subplans.get(command.index, ()):
        if supposed.state(inner) in IN_FLIGHT and inner not in subplans:
            if isinstance(command, KillTask) or supposed.state(inner) is TaskState.RUNNING:
                supposed.stops.add(inner)
        elif supposed.state(inner) not in TERMINAL:
            supposed.suppose(inner, TaskState.CANCELLED)
    if state in IN_FLIGHT and command.index not in subplans:
        supposed.stops.add(command.index)
    supposed.end(command.index, TaskState.CANCELLED)


def _skip_task(supposed: Supposed, command: SkipTask) -> None:
    state = supposed.state(command.index)
    if state not in IN_FLIGHT and state not in TERMINAL:
        supposed.end(command.index, TaskState.SKIPPED)


def _mark_succeeded(supposed: Supposed, command: MarkSucceeded) -> None:
    index = command.index
    state, subplans = supposed.state(index), supposed.graph.nesting.inside
    inside = subplans.get(index, ())
    at_work = [
        each for each in (index, *inside) if each not in subplans and supposed.state(each) in IN_FLIGHT
    ]
    stopping = any(
        supposed.state(parent) is TaskState.STOPPING for parent in supposed.graph.nesting.around(index)
    )
    if at_work or stopping or state is TaskState.SUCCESS or supposed.view.phase in _ENDING:
        return
    around = supposed.around(index)
    for inner in inside:
        if supposed.state(inner) not in TERMINAL:
            supposed.suppose(inner, TaskState.SKIPPED)
    supposed.end(index, TaskState.SUCCESS)
    for parent in around:
        supposed.suppose(parent, TaskState.PENDING)
    supposed.recover()


def _retry_task(supposed: Supposed, command: RetryTask) -> None:
    first = command.index
    state = supposed.state(first)
    parents = supposed.graph.nesting.around(first)
    if supposed.view.phase in _ENDING or any(supposed.state(each) is TaskState.STOPPING for each in parents):
        return
    if state not in TERMINAL and (state is not TaskState.RETRYING or command.downstream):
        return
    around = supposed.around(first)
    for parent in reversed(around):
        supposed.suppose(parent, TaskState.PENDING)
    if any(supposed.is_doomed(each) for each in (first, *around)):
        supposed.forget(around)
        return
    _retry_inside(supposed, first)
    if command.downstream:
        _retry_after(supposed, first)
    supposed.recover()


def _retry_inside(supposed: Supposed, first: int) -> None:
    """The task, and of a subplan what has not succeeded inside; if the subplan has, all of it."""
    nesting = supposed.graph.nesting
    is_whole = supposed.state(first) is TaskState.SUCCESS
    again = {first}
    for inner in nesting.inside.get(first, ()):
        state = supposed.state(inner)
        is_over = state in TERMINAL and (is_whole or state is not TaskState.SUCCESS)
        if is_over and nesting.parents[inner] in again:
            again.add(inner)
    for index in again:
        supposed.suppose(index, TaskState.PENDING)


def _retry_after(supposed: Supposed, first: int) -> None:
    """Everything behind it that is over and can run again, subplans with all that is inside."""
    graph = supposed.graph
    within = {first, *graph.nesting.inside.get(first, ())}
    behind = {first, *graph.nesting.around(first)}
    for index in graph.order:
        if index not in within and not behind.isdisjoint(graph.needs[index]):
            behind.add(index)
            if supposed.state(index) in TERMINAL and not supposed.is_doomed(index):
                supposed.suppose(index, TaskState.PENDING)
                for inner in graph.nesting.inside.get(index, ()):
                    supposed.suppose(inner, TaskState.PENDING)


def _retry_failed(supposed: Supposed, command: RetryFailed) -> None:
    if supposed.view.phase in _ENDING:
        return
    failed = [index for index in supposed.view.failures if not supposed.is_excused(index)]
    if not failed:
        return
    for index in failed:
        for parent in supposed.around(index):
            supposed.suppose(parent, TaskState.PENDING)
    for index in failed:
        supposed.suppose(index, TaskState.PENDING)
    supposed.recover()


def _cancel_plan(supposed: Supposed, command: CancelPlan) -> None:
    phase = supposed.view.phase
    if phase is RunPhase.COMPLETE or (phase is RunPhase.CANCELLING and not command.kill):
        return
    for task in supposed.view.tasks:
        if task.state in IN_FLIGHT:
            supposed.stops.add(task.index)
        elif task.state not in TERMINAL:
            supposed.suppose(task.index, TaskState.CANCELLED)


def _drain_plan(supposed: Supposed, command: DrainPlan) -> None:
    if supposed.view.phase not in _ENDING and supposed.view.phase is not RunPhase.COMPLETE:
        for task in supposed.view.tasks:
            if task.state not in IN_FLIGHT and task.state not in TERMINAL:
                supposed.suppose(task.index, TaskState.CANCELLED)


_FORESEE: Final[dict[type[Command], Callable[[Supposed, Any], None]]] = {
    CancelTask: _cancel_task,
    KillTask: _cancel_task,
    SkipTask: _skip_task,
    MarkSucceeded: _mark_succeeded,
    RetryTask: _retry_task,
    RetryFailed: _retry_failed,
    CancelPlan: _cancel_plan,
    DrainPlan: _drain_plan,
}
