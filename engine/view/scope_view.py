"""`ScopeView`: one plan of a run, the outermost or a subplan, as it is shown; `ScopeViews`: all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.core.records import Snapshot
from engine.core.state import TERMINAL, TaskState
from engine.plan.graph import Graph
from engine.plan.model import FailureMode
from engine.plan.nesting import OUTERMOST

_ACTIVE: Final = frozenset({TaskState.RUNNING, TaskState.STOPPING})


class ScopeView:
    """A plan within the run.

    number: 0 for the plan that is run, n for `Plan.subplans[n - 1]`. task: the task that stands for it, or
    `OUTERMOST`. outer: the scope around it. paused: nothing new starts in it; of the plan that is run the
    phase says so. used: slots taken in it and in all within. total, finished: how many tasks do work in it
    and in all within, and how many of them are terminal.
    """

    __slots__ = (
        "failure_mode",
        "finished",
        "max_parallel",
        "name",
        "number",
        "outer",
        "paused",
        "task",
        "total",
        "used",
    )

    def __init__(
        self, number: int, name: str, task: int, outer: ScopeView | None, slots: int, mode: FailureMode
    ) -> None:
        self.number = number
        self.name = name
        self.task = task
        self.outer = outer
        self.max_parallel = slots
        self.failure_mode = mode
        self.paused = False
        self.used = 0
        self.total = 0
        self.finished = 0

    def chain(self) -> Iterator[ScopeView]:
        """This scope and all around it, but for the outermost."""
        scope: ScopeView | None = self
        while scope is not None and scope.outer is not None:
            yield scope
            scope = scope.outer


class ScopeViews:
    """All scopes of a run, by number."""

    def __init__(self, graph: Graph) -> None:
        plan = graph.plan
        self.outermost = ScopeView(0, plan.name, OUTERMOST, None, plan.max_parallel, plan.failure_mode)
        self.all = [self.outermost]
        for number, subplan in enumerate(plan.subplans, 1):
            outer = self.all[subplan.parent]
            self.all.append(
                ScopeView(
                    number, subplan.name, subplan.task, outer, subplan.max_parallel, subplan.failure_mode
                )
            )
        self._numbers = graph.nesting.scopes
        self._tasks = plan.tasks
        for index, parent in enumerate(graph.nesting.parents):
            if parent != OUTERMOST and index not in self._numbers:
                for scope in self.of(index).chain():
                    scope.total += 1

    def of(self, index: int) -> ScopeView:
        """The scope that a task belongs to. One that stands for a subplan belongs to the scope around it."""
        return self.all[self._tasks[index].scope]

    def subplan(self, index: int) -> ScopeView | None:
        """The scope that a task stands for, None if it does work itself."""
        number = self._numbers.get(index)
        return None if number is None else self.all[number]

    def adopt(self, snapshot: Snapshot) -> None:
        """Be as in a snapshot, but for what is counted."""
        self.outermost.failure_mode = snapshot.failure_mode
        self.outermost.max_parallel = snapshot.max_parallel
        for scope, kept in zip(self.all[1:], snapshot.scopes, strict=True):
            scope.failure_mode = kept.failure_mode
            scope.max_parallel = kept.max_parallel
            scope.paused = kept.paused

    def count(self, index: int, old: TaskState, state: TaskState) -> list[int]:
        """Count the move of a task that does work; return the tasks that stand for the subplans concerned."""
        started = (state in _ACTIVE) - (old in _ACTIVE)
        ended = (state in TERMINAL) - (old in TERMINAL)
        if not started and not ended:
            return []
        concerned = []
        for scope in self.of(index).chain():
            scope.used += started
            scope.finished += ended
            concerned.append(scope.task)
        return concerned
