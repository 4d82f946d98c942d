"""`ScopeView`: one plan of a run, the outermost or a subplan, as it is shown."""

from __future__ import annotations

from collections.abc import Iterator

from engine.plan.model import FailureMode, Plan
from engine.plan.nesting import OUTERMOST


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


def scopes_of(plan: Plan) -> list[ScopeView]:
    """All scopes of a plan before it has started, by number."""
    scopes = [ScopeView(0, plan.name, OUTERMOST, None, plan.max_parallel, plan.failure_mode)]
    for number, subplan in enumerate(plan.subplans, 1):
        outer = scopes[subplan.parent]
        scopes.append(
            ScopeView(number, subplan.name, subplan.task, outer, subplan.max_parallel, subplan.failure_mode)
        )
    return scopes
