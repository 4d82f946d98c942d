"""Which task of a plan lies inside which: the subplans as integer lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.errors import Fault, PlanInvalid
from engine.ground.spelling import quoted
from engine.plan.model import Plan

OUTERMOST: Final = -1
"""In place of a parent: the task belongs to the plan that is run."""


class Nesting:
    """The tasks that stand for subplans, their *parents*, and what lies inside each.

    parents[i]: the task that stands for the subplan which task i belongs to, or `OUTERMOST`; empty if there
    is no subplan at all. children: what belongs to a subplan itself, by its parent. inside: that, and all
    that lies deeper. scopes: the number of a subplan, by its parent.
    """

    __slots__ = ("children", "inside", "parents", "scopes")

    def __init__(self, plan: Plan) -> None:
        """Raises `PlanInvalid` unless the tasks of each subplan stand right after their parent."""
        self.parents: Sequence[int] = ()
        self.children: dict[int, tuple[int, ...]] = {}
        self.inside: dict[int, range] = {}
        self.scopes = {subplan.task: number for number, subplan in enumerate(plan.subplans, 1)}
        if plan.subplans:
            self._fill(plan)

    def _fill(self, plan: Plan) -> None:
        tasks = plan.tasks
        parent_of = [OUTERMOST, *(subplan.task for subplan in plan.subplans)]
        self.parents = [parent_of[task.scope] for task in tasks]
        children: dict[int, list[int]] = {parent: [] for parent in self.scopes}
        ends = {parent: parent + 1 for parent in self.scopes}
        for index, parent in enumerate(self.parents):
            if parent != OUTERMOST:
                children[parent].append(index)
            while parent != OUTERMOST:
                if index != ends[parent]:
                    raise misplaced(plan, f"task {quoted(tasks[index].name)} does not stand with its subplan")
                ends[parent] = index + 1
                parent = self.parents[parent]
        for number, subplan in enumerate(plan.subplans, 1):
            if tasks[subplan.task].scope != subplan.parent or not subplan.parent < number:
                raise misplaced(plan, f"subplan {quoted(subplan.name)} does not stand in its outer plan")
        self.children = {parent: tuple(indices) for parent, indices in children.items()}
        self.inside = {parent: range(parent + 1, end) for parent, end in ends.items()}

    def around(self, index: int) -> list[int]:
        """The parents around a task, the nearest first."""
        found = []
        if self.parents:
            while (index := self.parents[index]) != OUTERMOST:
                found.append(index)
        return found

    def expand(self, order: Sequence[int]) -> list[int]:
        """A topological order of the same tasks in which each parent is followed by all that is inside."""
        rows: dict[int, list[int]] = {}
        for index in reversed(order):
            rows.setdefault(self.parents[index], []).append(index)
        expanded: list[int] = []
        waiting = rows.get(OUTERMOST, [])
        while waiting:
            index = waiting.pop()
            expanded.append(index)
            waiting.extend(rows.get(index, ()))
        return expanded

    def paths(
        self, needs: Sequence[Sequence[int]], dependents: Sequence[Sequence[int]], order: Sequence[int]
    ) -> list[Sequence[int]]:
        """What comes after each task on its way to the end of the plan: after a parent what is first inside,
        after the last inside what follows their parent. order: as `expand` makes it."""
        following: list[Sequence[int]] = list(dependents)
        after: dict[int, Sequence[int]] = {}
        for index in order:
            parent = self.parents[index]
            if not dependents[index] and parent != OUTERMOST:
                following[index] = after[parent]
            if index in self.scopes:
                after[index] = following[index]
                first = tuple(child for child in self.children[index] if not needs[child])
                following[index] = first or following[index]
        return following


def misplaced(plan: Plan, message: str) -> PlanInvalid:
    """A fault that no plan file can have: the plan was put together wrongly."""
    return PlanInvalid([Fault(plan.source or plan.name, 0, 0, message)])
