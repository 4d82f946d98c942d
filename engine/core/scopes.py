"""The tree of scopes: the plan that is run and every subplan, each with its own slots and failure mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.core.records import ScopeSnapshot, Snapshot
from engine.plan.graph import Graph
from engine.plan.model import FailureMode
from engine.plan.nesting import OUTERMOST

THE_PLAN: Final = 0
"""The number of the outermost scope."""


class Scope:
    """A plan within the run.

    number: 0 for the plan that is run, n for `Plan.subplans[n - 1]`. task: the task that stands for it, or
    `OUTERMOST`. outer: the scope around it. used: slots taken in it and in all within. unfinished: how many
    of the tasks that belong to it are not terminal. is_paused, is_held: nothing new starts in it; the first
    is not used for the plan that is run, whose pause is a phase of the run. is_paused_by_failure: a failure
    has paused it, and not a person.
    """

    __slots__ = (
        "failure_mode",
        "is_held",
        "is_paused",
        "is_paused_by_failure",
        "max_parallel",
        "name",
        "number",
        "outer",
        "task",
        "unfinished",
        "used",
    )

    def __init__(
        self, number: int, name: str, task: int, outer: Scope | None, max_parallel: int, mode: FailureMode
    ) -> None:
        self.number = number
        self.name = name
        self.task = task
        self.outer = outer
        self.max_parallel = max_parallel
        self.failure_mode = mode
        self.used = 0
        self.unfinished = 0
        self.is_paused = False
        self.is_paused_by_failure = False
        self.is_held = False

    @property
    def is_shut(self) -> bool:
        """Nothing new may start in it."""
        return self.is_paused or self.is_held

    @property
    def has_room(self) -> bool:
        """Another attempt may start in it, as far as this scope alone is concerned."""
        return self.used < self.max_parallel and not self.is_paused and not self.is_held

    def chain(self) -> Iterator[Scope]:
        """This scope and all around it, but for the outermost."""
        scope: Scope | None = self
        while scope is not None and scope.outer is not None:
            yield scope
            scope = scope.outer


class Scopes:
    """All scopes of a run, by number, each after the one around it.

    The slots of the plan that is run are counted by the ledger (`in_flight`); those of the subplans here.
    """

    def __init__(self, graph: Graph, max_parallel: int | None, mode: FailureMode | None) -> None:
        """max_parallel, mode: of the plan that is run, over its own."""
        plan = graph.plan
        self.outermost = Scope(
            THE_PLAN,
            plan.name,
            OUTERMOST,
            None,
            plan.max_parallel if max_parallel is None else max_parallel,
            plan.failure_mode if mode is None else mode,
        )
        self.all = [self.outermost]
        for number, subplan in enumerate(plan.subplans, 1):
            scope = Scope(
                number,
                subplan.name,
                subplan.task,
                self.all[subplan.parent],
                subplan.max_parallel,
                subplan.failure_mode,
            )
            scope.unfinished = len(graph.nesting.children[subplan.task])
            self.all.append(scope)
        self.by_task = {scope.task: scope for scope in self.all[1:]}
        self._numbers = [task.scope for task in plan.tasks] if plan.subplans else ()

    def of(self, index: int) -> Scope:
        """The scope that a task belongs to. One that stands for a subplan belongs to the scope around it."""
        return self.all[self._numbers[index]] if self._numbers else self.outermost

    def take(self, index: int) -> list[Scope]:
        """Count a slot; return the subplans that are full now."""
        filled = []
        for scope in self.of(index).chain():
            scope.used += 1
            if scope.used == scope.max_parallel:
                filled.append(scope)
        return filled

    def give_back(self, index: int) -> list[Scope]:
        """Count a slot less; return the subplans that were full and no longer are."""
        freed = []
        for scope in self.of(index).chain():
            if scope.used == scope.max_parallel:
                freed.append(scope)
            scope.used -= 1
        return freed

    def restore(self, snapshot: Snapshot) -> None:
        """Be as they were. A pause is a person's now: the failure that brought it is long ago."""
        self.outermost.max_parallel = snapshot.max_parallel
        self.outermost.failure_mode = snapshot.failure_mode
        for scope, kept in zip(self.all[1:], snapshot.scopes, strict=True):
            scope.max_parallel = kept.max_parallel
            scope.failure_mode = kept.failure_mode
            scope.is_paused = kept.paused

    def snapshots(self) -> tuple[ScopeSnapshot, ...]:
        """The subplans as they stand."""
        return tuple(
            ScopeSnapshot(
                failure_mode=scope.failure_mode, max_parallel=scope.max_parallel, paused=scope.is_paused
            )
            for scope in self.all[1:]
        )
