"""What a command would do, worked out beforehand: no key destroys work before it has said what it will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

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
from engine.plan.graph import Graph
from engine.plan.model import Condition
from engine.view.reasons import MET_BY
from engine.view.run_view import RunView
from engine.view.text import one_line

NAMED: Final = 6
"""How many tasks are called by name; the rest is counted."""

_IN_FLIGHT: Final = frozenset({TaskState.RUNNING, TaskState.STOPPING})
_WAITING: Final = frozenset({TaskState.PENDING, TaskState.READY})
_ENDING: Final = frozenset({RunPhase.DRAINING, RunPhase.CANCELLING})


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that a command would touch, by index, in plan order; each stands in one place at most.

    stops: told to stop (or to hurry). resets: run again. cancels: never run or not tried again. skips:
    what is skipped, because it was asked or because a need of it cannot be met any more. frees: waiting
    tasks that have all they need through it. keeps: what has run or is running and stays as it is.
    """

    graph: Graph
    stops: tuple[int, ...] = ()
    resets: tuple[int, ...] = ()
    cancels: tuple[int, ...] = ()
    skips: tuple[int, ...] = ()
    frees: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()

    def words(self) -> str:
        """ "stops unit now; resets 4: a, b, c, d; keeps 12"; "changes nothing" if it is so."""
        parts = [
            f"{verb} {names(self.graph, indices, now)}"
            for verb, indices, now in (
                ("stops", self.stops, " now"),
                ("resets", self.resets, ""),
                ("cancels", self.cancels, ""),
                ("skips", self.skips, ""),
                ("frees", self.frees, ""),
            )
            if indices
        ]
        if not parts:
            return "changes nothing"
        if self.keeps:
            parts.append(f"keeps {len(self.keeps)}")
        return "; ".join(parts)


def names(graph: Graph, indices: Sequence[int], when: str = "") -> str:
    """ "unit", "unit and lint", "4: a, b, c, d", "9: a, b, c, d, e, f and 3 more". when: what is said after
    them, or after their number."""
    called = [one_line(graph.plan.tasks[index].name) for index in indices[:NAMED]]
    if len(indices) <= 2:
        return " and ".join(called) + when
    more = f" and {len(indices) - NAMED} more" if len(indices) > NAMED else ""
    return f"{len(indices)}{when}: {', '.join(called)}{more}"


def reach(view: RunView, *commands: Command) -> Reach:
    """What the commands would do together, one after the other, to the run as it stands now. One that
    would be refused touches nothing."""
    supposed = _Supposed(view)
    for command in commands:
        foresee = _FORESEE.get(type(command))
        if foresee is not None and view.phase is not RunPhase.PENDING:
            foresee(supposed, command)
    return supposed.reach()


def reach_of_failure(view: RunView) -> Reach:
    """What fail-fast would stop and cancel if one of the tasks that run failed now, which is among them.

    Of what it would cancel, the tasks that are there to answer a failure may be spared: which, depends
    on the task that fails.
    """
    stops = [index for index in sorted(view.active) if view.tasks[index].state is TaskState.RUNNING]
    waiting = (
        task.index for task in view.tasks if task.state not in TERMINAL and task.state not in _IN_FLIGHT
    )
    return Reach(graph=view.graph, stops=tuple(stops), cancels=tuple(waiting))


class _Supposed:
    """The run as it would be. Only what would differ from the view is kept."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.graph = view.graph
        self.stops: set[int] = set()
        self._later: set[int] = set()  # skipped as soon as what is to be stopped has stopped
        self._states: dict[int, TaskState] = {}

    def state(self, index: int) -> TaskState:
        return self._states.get(index) or self.view.tasks[index].state

    def suppose(self, index: int, state: TaskState) -> None:
        self._states[index] = state

    def is_met(self, needed: int, dependent: int) -> bool:
        condition = self.graph.special_conditions.get((needed, dependent), Condition.SUCCESS)
        if self.state(needed) in MET_BY[condition]:
            return True
        tolerated = self.view.tasks[needed].tolerated and needed not in self._states
        return tolerated and condition is Condition.SUCCESS

    def is_doomed(self, index: int) -> bool:
        """Whether a need of it is over and has not ended as asked."""
        return any(
            self.state(needed) in TERMINAL and not self.is_met(needed, index)
            for needed in self.graph.needs[index]
        )

    def is_open(self, index: int) -> bool:
        """Whether it would not be over yet when the next command comes."""
        return self.state(index) not in TERMINAL or index in self._later

    def end(self, index: int, state: TaskState) -> None:
        """Suppose an end; what it makes impossible is skipped, and what that makes impossible in turn."""
        self.suppose(index, state)
        self._later.discard(index)
        ended = [index]
        while ended:
            index = ended.pop()
            is_late = index in self.stops or index in self._later
            for dependent in self.graph.dependents[index]:
                waits = self.state(dependent) in _WAITING or (dependent in self._later and not is_late)
                if waits and self.is_doomed(dependent):
                    self.suppose(dependent, TaskState.SKIPPED)
                    ended.append(dependent)
                    if is_late:
                        self._later.add(dependent)
                    else:
                        self._later.discard(dependent)

    def recover(self) -> None:
        """What was skipped or cancelled only on account of what is supposed comes back with it; what was
        to run again but lacks something else is skipped at once.

        A task stands behind all that it needs, so one walk is enough.
        """
        tasks, index_of = self.view.tasks, self.graph.index_of
        blocked = {task.index: index_of[task.blocked_by] for task in tasks if task.blocked_by is not None}
        for index in self.graph.order if blocked else ():
            if index not in blocked or index in self._states:
                continue
            if self.state(index) is TaskState.CANCELLED and self.state(blocked[index]) is TaskState.FAILED:
                continue  # the failure that set fail-fast off still stands
            if not self.is_doomed(index):
                self.suppose(index, TaskState.PENDING)
        for index in [index for index, state in self._states.items() if state is TaskState.PENDING]:
            if self.is_doomed(index):
                self.end(index, TaskState.SKIPPED)

    def reach(self) -> Reach:
        tasks = self.view.tasks
        # what was brought back only to be skipped again has in effect been left alone
        self._states = {i: state for i, state in self._states.items() if state is not tasks[i].state}
        touched = self._states.keys() | self.stops
        ended = {index for index in self._states if self.state(index) in TERMINAL}
        waiting = {dependent for index in ended for dependent in self.graph.dependents[index]} - touched
        return Reach(
            graph=self.graph,
            stops=tuple(sorted(self.stops)),
            resets=self._now(TaskState.PENDING),
            cancels=self._now(TaskState.CANCELLED),
            skips=self._now(TaskState.SKIPPED),
            frees=tuple(
                index
                for index in sorted(waiting)
                if tasks[index].state is TaskState.PENDING
                and all(self.is_met(needed, index) for needed in self.graph.needs[index])
            ),
            keeps=tuple(
                task.index for task in tasks if task.index not in touched and task.state not in _WAITING
            ),
        )

    def _now(self, state: TaskState) -> tuple[int, ...]:
        return tuple(
            sorted(i for i, supposed in self._states.items() if supposed is state and i not in self.stops)
        )


# ── the commands ────────────────────────────────────────────────────────────────────────────────


def _cancel_task(supposed: _Supposed, command: CancelTask | KillTask) -> None:
    state = supposed.state(command.index)
    if state in _IN_FLIGHT:
        supposed.stops.add(command.index)
    if supposed.is_open(command.index):
        supposed.end(command.index, TaskState.CANCELLED)


def _skip_task(supposed: _Supposed, command: SkipTask) -> None:
    state = supposed.state(command.index)
    if state not in _IN_FLIGHT and state not in TERMINAL:
        supposed.end(command.index, TaskState.SKIPPED)


def _mark_succeeded(supposed: _Supposed, command: MarkSucceeded) -> None:
    state = supposed.state(command.index)
    if state not in _IN_FLIGHT and state is not TaskState.SUCCESS and supposed.view.phase not in _ENDING:
        supposed.end(command.index, TaskState.SUCCESS)
        supposed.recover()


def _retry_task(supposed: _Supposed, command: RetryTask) -> None:
    first = command.index
    state = supposed.state(first)
    if supposed.view.phase in _ENDING:
        return
    if state is TaskState.RETRYING and not command.downstream:  # its back-off is cut short
        if supposed.is_doomed(first):
            supposed.end(first, TaskState.SKIPPED)
        else:
            supposed.suppose(first, TaskState.PENDING)
    elif state in TERMINAL and not supposed.is_doomed(first):
        supposed.suppose(first, TaskState.PENDING)
        if command.downstream:
            _retry_after(supposed, first)
        supposed.recover()


def _retry_after(supposed: _Supposed, first: int) -> None:
    """Everything behind it that is over and can run again."""
    graph = supposed.graph
    behind = {first}
    for index in graph.order:
        if index != first and not behind.isdisjoint(graph.needs[index]):
            behind.add(index)
            if supposed.state(index) in TERMINAL and not supposed.is_doomed(index):
                supposed.suppose(index, TaskState.PENDING)


def _retry_failed(supposed: _Supposed, command: RetryFailed) -> None:
    if supposed.view.phase not in _ENDING:
        for index in supposed.view.failures:
            supposed.suppose(index, TaskState.PENDING)
        supposed.recover()


def _cancel_plan(supposed: _Supposed, command: CancelPlan) -> None:
    phase = supposed.view.phase
    if phase is RunPhase.COMPLETE or (phase is RunPhase.CANCELLING and not command.kill):
        return
    for task in supposed.view.tasks:
        if task.state in _IN_FLIGHT:
            supposed.stops.add(task.index)
        elif task.state not in TERMINAL:
            supposed.suppose(task.index, TaskState.CANCELLED)


def _drain_plan(supposed: _Supposed, command: DrainPlan) -> None:
    if supposed.view.phase not in _ENDING and supposed.view.phase is not RunPhase.COMPLETE:
        for task in supposed.view.tasks:
            if task.state not in _IN_FLIGHT and task.state not in TERMINAL:
                supposed.suppose(task.index, TaskState.CANCELLED)


_FORESEE: Final[dict[type[Command], Callable[[_Supposed, Any], None]]] = {
    CancelTask: _cancel_task,
    KillTask: _cancel_task,
    SkipTask: _skip_task,
    MarkSucceeded: _mark_succeeded,
    RetryTask: _retry_task,
    RetryFailed: _retry_failed,
    CancelPlan: _cancel_plan,
    DrainPlan: _drain_plan,
}
