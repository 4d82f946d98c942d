"""The graph that is run: integer lists compiled from a plan.

(contract: the plan helper fills this in; the scheduler relies on exactly these attributes)
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.plan.model import Condition, Plan


class Graph:
    """Tasks are numbered by their place in the plan, from 0.

    needs[i], dependents[i]: indices, in plan order. conditions[i]: one per entry of needs[i].
    order: a topological order. waves: topological generations (computed on first use, for display and metrics only).
    """

    plan: Plan
    index_of: dict[str, int]
    needs: Sequence[Sequence[int]]
    dependents: Sequence[Sequence[int]]
    special_conditions: dict[tuple[int, int], Condition]  # (needed, dependent) -> condition, only where it is not SUCCESS
    order: Sequence[int]

    def __init__(self, plan: Plan) -> None:
        """Raises PlanInvalid naming every unknown need, self-dependency and cycle."""
        raise NotImplementedError

    @property
    def waves(self) -> list[list[int]]:
        raise NotImplementedError

    def ranks(self, durations: Sequence[float] | None = None) -> list[int]:
        """rank[i]: place of task i in the total order in which ready tasks start (0 first): by priority (high first),
        then longest remaining path (by durations in seconds, else 1 unit a task), then plan order."""
        raise NotImplementedError

    def critical_path(self, durations: Sequence[float] | None = None) -> list[int]:
        raise NotImplementedError
