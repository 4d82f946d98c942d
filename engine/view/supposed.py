"""`Supposed`: a run as it would be after a command; `Reach`: what that command would touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.ground.text import one_line
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode
from engine.view.run_view import RunView
from engine.view.scope_view import ScopeView
from engine.view.task_view import MET_BY

NAMED: Final = 6
"""How many tasks are called by name; the rest is counted."""

IN_FLIGHT: Final = frozenset({TaskState.RUNNING, TaskState.STOPPING})
WAITING: Final = frozenset({TaskState.PENDING, TaskState.READY})
_GOING: Final = frozenset({TaskState.RUNNING, TaskState.RETRYING})
_OVER_FOR_NOW: Final = TERMINAL | {TaskState.RETRYING}
_SEEN_TO: Final = frozenset({TaskState.SUCCESS, TaskState.SKIPPED, TaskState.RETRYING, TaskState.STOPPING})


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that a command would touch, by index, in plan order; each stands in one place at most. Those
    that stand for subplans are left out: what is inside is told. What follows when a subplan ends by it at
    once is told as well; what its end will bring about once something has stopped is not foreseen.

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


class Supposed:
    """The run as it would be. Only what would differ from the view is kept."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.graph = view.graph
        self.stops: set[int] = set()
        self._later: set[int] = set()  # skipped as soon as what is to be stopped has stopped
        self._followed: set[int] = set()  # skipped on account of what is supposed
        self._tolerated: set[int] = set()
        self._states: dict[int, TaskState] = {}

    def state(self, index: int) -> TaskState:
        return self._states.get(index) or self.view.tasks[index].state

    def suppose(self, index: int, state: TaskState) -> None:
        self._states[index] = state

    def forget(self, indices: Sequence[int]) -> None:
        """Suppose nothing about these any more."""
        for index in indices:
            self._states.pop(index, None)

    def is_met(self, needed: int, dependent: int) -> bool:
        condition = self.graph.special_conditions.get((needed, dependent), Condition.SUCCESS)
        if self.state(needed) in MET_BY[condition]:
            return True
        tolerated = self.view.tasks[needed].tolerated and needed not in self._states
        tolerated = tolerated or needed in self._tolerated
        return tolerated and condition is Condition.SUCCESS

    def is_doomed(self, index: int) -> bool:
        """Whether a need of it is over and has not ended as asked, or the subplan that it belongs to has."""
        return self.is_shut_out(index) or any(
            self.state(needed) in TERMINAL and not self.is_met(needed, index)
            for needed in self.graph.needs[index]
        )

    def is_open(self, index: int) -> bool:
        """Whether it would not be over yet when the next command comes."""
        return self.state(index) not in TERMINAL or index in self._later

    def is_shut_out(self, index: int) -> bool:
        """Whether the subplan that it belongs to does not let it run any more."""
        around = self.graph.nesting.around(index)
        return bool(around) and self.state(around[0]) not in (*WAITING, *_GOING)

    def around(self, index: int) -> list[int]:
        """The subplans around it that must be reopened for it to run."""
        found = self.graph.nesting.around(index)
        return [parent for parent in found if self.state(parent) in _OVER_FOR_NOW]

    def is_excused(self, index: int) -> bool:
        """Whether the subplan around it makes up for its failure, or will try it again or end it."""
        return any(self.state(parent) in _SEEN_TO for parent in self.graph.nesting.around(index))

    def settle(self) -> None:
        """A subplan in which nothing is left ends, and with it perhaps another."""
        while any(self.ends(parent) for parent in reversed(self.graph.nesting.inside)):
            pass

    def ends(self, parent: int) -> bool:
        """Whether a subplan ends now."""
        nesting = self.graph.nesting
        if self.state(parent) is TaskState.RUNNING or self.begins(parent):
            ends = {self.state(inner) for inner in nesting.children[parent]}
            if ends <= TERMINAL and not any(inner in self.stops for inner in nesting.inside[parent]):
                if TaskState.FAILED in ends:
                    self._fail(parent)
                else:
                    cancelled = TaskState.CANCELLED in ends
                    self.end(parent, TaskState.CANCELLED if cancelled else TaskState.SUCCESS)
                return True
        return False

    def _fail(self, parent: int) -> None:
        """A subplan fails: it is tried again, or tolerated, or answered as the scope around it has it."""
        task = self.graph.plan.tasks[parent]
        used = 0 if parent in self._states else self.view.tasks[parent].retries
        if used < task.retry.limit:
            self.suppose(parent, TaskState.RETRYING)
        elif task.skip_on_failure:
            self._tolerated.add(parent)
            self.end(parent, TaskState.SKIPPED)
        else:
            self.end(parent, TaskState.FAILED)
            scope = self.view.scopes.of(parent)
            if scope.failure_mode is FailureMode.FAIL_FAST:
                self._fail_fast(scope)

    def _fail_fast(self, scope: ScopeView) -> None:
        """What runs in a scope is stopped and what waits is cancelled, but for what answers a failure."""
        nesting = self.graph.nesting
        inside = nesting.inside.get(scope.task)
        spared: set[int] = set()
        cancelled: list[int] = []
        for index in self.graph.order:
            state = self.state(index)
            if state in TERMINAL or (inside is not None and index not in inside):
                continue
            around = nesting.parents[index]
            if around in spared or (
                around == scope.task and state in WAITING and self._answers_failure(index, spared)
            ):
                spared.add(index)
            elif index in nesting.children and state in IN_FLIGHT:
                continue  # it ends when nothing is left inside
            elif state in IN_FLIGHT:
                if state is TaskState.RUNNING:
                    self.stops.add(index)
            else:
                cancelled.append(index)
        for index in cancelled:
            self.suppose(index, TaskState.CANCELLED)
        for index in cancelled:
            self.end(index, TaskState.CANCELLED)

    def _answers_failure(self, index: int, spared: set[int]) -> bool:
        """As `engine.core.survivors` has it."""
        answers = False
        for needed in self.graph.needs[index]:
            is_over = self.state(needed) in TERMINAL
            if is_over and self.is_met(needed, index):
                answers = answers or self._stems_from_failure(needed)
            elif needed in spared:
                answers = True
            elif is_over or self.graph.special_conditions.get((needed, index)) is not Condition.FINISHED:
                return False
        return answers

    def _stems_from_failure(self, index: int) -> bool:
        blocked_by = self.view.tasks[index].blocked_by
        while self.state(index) is TaskState.SKIPPED and blocked_by is not None:
            index = self.graph.index_of[blocked_by]
            blocked_by = self.view.tasks[index].blocked_by
        return self.state(index) is TaskState.FAILED

    def end(self, index: int, state: TaskState) -> None:
        """Suppose an end; what it makes impossible is skipped, and what that makes impossible in turn."""
        self.suppose(index, state)
        self._later.discard(index)
        self._followed.discard(index)
        ended = [index]
        while ended:
            index = ended.pop()
            is_late = index in self.stops or index in self._later
            for dependent in (*self.graph.dependents[index], *self.graph.nesting.children.get(index, ())):
                waits = self.state(dependent) in WAITING or (dependent in self._later and not is_late)
                if waits and self.is_doomed(dependent):
                    self.suppose(dependent, TaskState.SKIPPED)
                    self._followed.add(dependent)
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
        for index in self.graph.order if blocked or self._followed else ():
            if index in self._followed and not self.is_doomed(index):
                self._followed.discard(index)  # an earlier command would have had it skipped
                self._later.discard(index)
                self._states.pop(index, None)
            if index not in blocked or index in self._states:
                continue
            if self.state(index) is TaskState.CANCELLED and self.state(blocked[index]) is TaskState.FAILED:
                continue  # the failure that set fail-fast off still stands
            if not self.is_doomed(index):
                self.suppose(index, TaskState.PENDING)
        for index in [index for index, state in self._states.items() if state is TaskState.PENDING]:
            if self.is_doomed(index):
                self.end(index, TaskState.SKIPPED)

    def begins(self, parent: int) -> bool:
        """Whether a subplan that waits, or is reopened, begins at once."""
        if self.state(parent) not in WAITING or self.view.phase is RunPhase.PAUSED:
            return False
        around = (parent, *self.graph.nesting.around(parent))
        return all(self.state(each) is TaskState.RUNNING or self._is_free(each) for each in around)

    def _is_free(self, index: int) -> bool:
        """Whether a subplan has all that it needs now. One that had it before is held up by another thing."""
        task = self.view.tasks[index]
        scopes = self.view.scopes.of(index).chain()
        is_held_up = task.held or task.state is TaskState.READY or any(scope.paused for scope in scopes)
        return not is_held_up and all(self.is_met(needed, index) for needed in self.graph.needs[index])

    def reach(self) -> Reach:
        tasks, subplans = self.view.tasks, self.graph.nesting.children
        self.stops -= subplans.keys()
        if self._states:
            self.settle()
        # what was brought back only to be skipped again has in effect been left alone
        self._states = {i: state for i, state in self._states.items() if state is not tasks[i].state}
        ended = {index for index in self._states if self.state(index) in TERMINAL}
        waiting = {dependent for index in ended for dependent in self.graph.dependents[index]}
        frees = [
            index
            for index in sorted(waiting - self._states.keys() - subplans.keys())
            if tasks[index].state is TaskState.PENDING
            and all(self.is_met(needed, index) for needed in self.graph.needs[index])
        ]
        # only now: what ends with a subplan is known by its state
        self._states = {i: state for i, state in self._states.items() if i not in subplans}
        touched = self._states.keys() | self.stops
        return Reach(
            graph=self.graph,
            stops=tuple(sorted(self.stops)),
            resets=self._now(TaskState.PENDING),
            cancels=self._now(TaskState.CANCELLED),
            skips=self._now(TaskState.SKIPPED),
            frees=tuple(frees),
            keeps=tuple(
                task.index
                for task in tasks
                if task.index not in touched and task.state not in WAITING and task.index not in subplans
            ),
        )

    def _now(self, state: TaskState) -> tuple[int, ...]:
        return tuple(
            sorted(i for i, supposed in self._states.items() if supposed is state and i not in self.stops)
        )
