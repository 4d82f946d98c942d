"""The graph that is run: integer lists compiled from a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from engine.errors import Fault, PlanInvalid
from engine.ground.spelling import quoted
from engine.plan.model import Condition, Plan
from engine.plan.nesting import OUTERMOST, Nesting, misplaced
from engine.plan.tangle import find_tangles


class Graph:
    """Tasks are numbered by their place in the plan, from 0.

    index_of: number by name. needs[i], dependents[i]: indices, in plan order. special_conditions:
    (needed, dependent) -> condition, only where it is not SUCCESS. order: a topological order, in which
    each task that stands for a subplan is followed by all that is inside. nesting: what is inside what.
    paths[i]: what comes after it, subplans entered and left; without any the same as dependents.
    Compiling takes about 2 us and keeps about 0.2 kB a task of two needs; nothing here changes afterwards.
    """

    def __init__(self, plan: Plan, explain: Callable[[], list[Fault]] | None = None) -> None:
        """Raises `PlanInvalid` naming every unknown need, self-dependency and cycle, or what is not in the
        plan that it belongs to.

        explain: called for the faults if there are any, by who knows better where in a file things
        stand; without it they name the task's line.
        """
        self.plan = plan
        tasks = plan.tasks
        self.index_of: dict[str, int] = {task.name: index for index, task in enumerate(tasks)}
        self.needs: Sequence[Sequence[int]]
        self.dependents: Sequence[Sequence[int]]
        self.special_conditions: dict[tuple[int, int], Condition] = {}
        self.order: Sequence[int]

        index_of, special = self.index_of, self.special_conditions
        success = Condition.SUCCESS
        needs: list[tuple[int, ...]] = []
        following: list[list[int] | None] = [None] * len(tasks)
        sound = len(index_of) == len(tasks)
        # The values of index_of are used everywhere, so that each number exists as one object.
        for task, index in zip(tasks, index_of.values(), strict=False):
            row = []
            for need in task.needs:
                needed = index_of.get(need.task)
                if needed is None:
                    sound = False
                    continue
                row.append(needed)
                if need.condition is not success:
                    special[needed, index] = need.condition
                others = following[needed]
                if others is None:
                    following[needed] = [index]
                else:
                    others.append(index)
            if len(row) > 1:
                row.sort()
                sound = sound and len(set(row)) == len(row)
            needs.append(tuple(row))
        self.needs = needs
        # Tuples of integers cost less than lists, and the garbage collector stops looking at them.
        self.dependents = [() if others is None else tuple(others) for others in following]
        self.order = self._sort() if sound else ()
        if len(self.order) < len(tasks):
            raise PlanInvalid(explain() if explain else _faults(plan))
        self.nesting = Nesting(plan)
        self.paths = self.dependents
        if plan.subplans:
            self._enter_subplans()

    def _enter_subplans(self) -> None:
        parents = self.nesting.parents
        for index, row in enumerate(self.needs):
            for needed in row:
                if parents[needed] != parents[index]:
                    name, need = (quoted(self.plan.tasks[each].name) for each in (index, needed))
                    raise misplaced(self.plan, f"task {name} needs {need}, which is in another plan")
        self.order = self.nesting.expand(self.order)
        self.paths = self.nesting.paths(self.needs, self.dependents, self.order)

    def _sort(self) -> list[int]:
        """Kahn's algorithm; shorter than the plan if there is a cycle."""
        dependents = self.dependents
        waiting = [len(row) for row in self.needs]
        order = [index for index in self.index_of.values() if not waiting[index]]
        for index in order:
            for dependent in dependents[index]:
                waiting[dependent] -= 1
                if not waiting[dependent]:
                    order.append(dependent)
        return order

    def group(self, name: str) -> list[int]:
        """The tasks meant by a name, in plan order: one task, or all members of a matrix; none if there
        is neither."""
        if name in self.index_of:
            return [self.index_of[name]]
        return [index for index, task in enumerate(self.plan.tasks) if task.group == name]

    @cached_property
    def waves(self) -> list[list[int]]:
        """Topological generations, each in plan order.

        For display and metrics only: nothing waits for a wave.
        """
        import networkx  # costs 100 ms, and a run does not need it

        graph: networkx.DiGraph[int] = networkx.DiGraph()
        graph.add_nodes_from(range(len(self.needs)))
        graph.add_edges_from((index, after) for index, row in enumerate(self.paths) for after in row)
        return [sorted(wave) for wave in networkx.topological_generations(graph)]

    def ranks(self, durations: Sequence[float | None] | None = None) -> list[int]:
        """rank[i]: place of task i in the total order in which ready tasks start (0 first).

        By priority (high first), then by longest remaining path (long first), then by plan order.
        durations: seconds a task, finite and not negative; one that is None takes as long as the usual one.
        Where none is known, each task counts one unit. A task that stands for a subplan counts nothing:
        what is inside does.
        """
        remaining = self._remaining(durations)
        priorities = [task.priority for task in self.plan.tasks]
        # Two stable sorts, the weightier last, are several times faster than one with tuples.
        queue = sorted(self.index_of.values(), key=remaining.__getitem__, reverse=True)
        queue.sort(key=priorities.__getitem__, reverse=True)
        ranks = [0] * len(queue)
        for rank, index in enumerate(queue):
            ranks[index] = rank
        return ranks

    def critical_path(self, durations: Sequence[float | None] | None = None) -> list[int]:
        """The longest path, first task first; of equals the first in plan order.

        durations: as for `ranks`.
        """
        remaining = self._remaining(durations)
        path: list[int] = []
        parents = self.nesting.parents or None
        candidates: Sequence[int] = [
            index
            for index, row in enumerate(self.needs)
            if not row and (parents is None or parents[index] == OUTERMOST)
        ]
        while candidates:
            path.append(max(candidates, key=remaining.__getitem__))
            candidates = self.paths[path[-1]]
        return path

    def _remaining(self, durations: Sequence[float | None] | None) -> list[float]:
        """The longest path from each task to an end of the graph, its own duration included."""
        if durations is not None and len(durations) != len(self.needs):
            raise ValueError(f"{len(durations)} durations for {len(self.needs)} tasks")
        known = [seconds for seconds in durations or () if seconds is not None]
        usual = median(known) if known else 1.0
        remaining = [
            usual if seconds is None else seconds for seconds in durations or [None] * len(self.needs)
        ]
        for parent in self.nesting.scopes:
            remaining[parent] = 0
        paths = self.paths
        for index in reversed(self.order):
            longest: float = 0
            for dependent in paths[index]:
                if remaining[dependent] > longest:  # a call of max() would take longer than all the rest
                    longest = remaining[dependent]
            remaining[index] += longest
        return remaining


def median(values: Sequence[float]) -> float:
    """The middle one, or between the two in the middle. Not of `statistics`, which takes long to load."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _faults(plan: Plan) -> list[Fault]:
    tasks = plan.tasks
    names, needs = [task.name for task in tasks], [[need.task for need in task.needs] for task in tasks]
    faults = []
    for index, _, message in find_tangles(names, needs):
        line = tasks[index].line
        text = message if line else f"task {quoted(names[index])}: {message}"
        faults.append(Fault(plan.file_of(tasks[index]), line, 1 if line else 0, text))
    return faults
