"""`Branches`: the DAG as a tree, and which of its branches are folded."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from typing import Final

from engine.core.state import TaskState
from engine.plan.graph import Graph

STATES: Final = tuple(TaskState)
CODES: Final[dict[TaskState, int]] = {state: code for code, state in enumerate(STATES)}
URGENT: Final = frozenset({TaskState.RUNNING, TaskState.RETRYING, TaskState.STOPPING, TaskState.FAILED})
"""No fold ever hides a task in one of these states."""
QUIET: Final = frozenset({TaskState.SUCCESS, TaskState.SKIPPED, TaskState.CANCELLED})
"""A branch folds by itself only if all of it is in these states."""
NO_PARENT: Final = -1
_NO_CODE: Final = 255
"""Of a node that is no task."""


class Branches:
    """Every task once, under its *deciding parent*: of its needs the one that comes last.

    A node is a task, by its index, or a matrix of several tasks, its *group*, by a number from `count` on.
    The members stand under their group, and the group where they would stand; what needs all of them comes
    after them, under the group as well, which folds the members only.

    Last is the need with the longest path to it; of equal ones the last in topological order. What is first
    inside of a subplan stands under the task that stands for it, before what comes after that task; such a
    task folds what is inside, and not what comes after.

    count: how many tasks there are. parent[i]: its deciding parent or `NO_PARENT`. order: all nodes, each
    followed by its branch, those of one parent in plan order. place[i]: where i stands in it; end[i]: one
    past the place where its branch ends, as far as it folds. last[i]: whether no other node of the same
    parent follows. guest_of[i]: for each task that is shown although it lies within a folded branch, the
    node whose branch that is. members[g]: the tasks of a group; group_of[i]: the group of a task.

    Building takes about 2 us a task; `rows` costs what it returns.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.count = len(graph.plan.tasks)
        self.members = _groups(graph)
        self.group_of = {index: group for group, members in self.members.items() for index in members}
        self.parent = _parents(graph)
        if self.members:
            self._enter_groups()
        count = len(self.parent)
        children: list[list[int]] = [[] for _ in range(count)]
        roots: list[int] = []
        for index in self._in_plan_order():
            parent = self.parent[index]
            (roots if parent == NO_PARENT else children[parent]).append(index)
        inside = graph.nesting.inside
        for group in self.members:
            children[group].sort(key=lambda index, group=group: self.group_of.get(index) != group)  # type: ignore[misc]
        for subplan, tasks in inside.items():
            children[subplan].sort(key=lambda index, tasks=tasks: index not in tasks)  # type: ignore[misc]
        self.last = bytearray(count)
        for siblings in (roots, *children):
            if siblings:
                self.last[siblings[-1]] = True
        self.order: list[int] = []
        pending = roots[::-1]
        while pending:
            index = pending.pop()
            self.order.append(index)
            pending.extend(reversed(children[index]))
        self.place = [0] * count
        for place, index in enumerate(self.order):
            self.place[index] = place
        self.end = [place + 1 for place in self.place]
        for index in reversed(self.order):
            parent = self.parent[index]
            if parent != NO_PARENT and self.end[index] > self.end[parent]:
                self.end[parent] = self.end[index]
        firsts = sorted(members[0] for members in self.members.values())
        for subplan, tasks in inside.items():
            groups = bisect_left(firsts, tasks.stop) - bisect_left(firsts, tasks.start)
            self.end[subplan] = self.place[subplan] + 1 + len(tasks) + groups
        for group, members in self.members.items():
            self.end[group] = max(self.end[index] for index in members)

        self.guest_of: dict[int, int] = {}
        self._chosen: dict[int, bool] = {}
        self._folded: set[int] = set()
        self._codes = bytearray(count)
        self.tallies = {group: Counter({STATES[0]: len(members)}) for group, members in self.members.items()}
        """Of each group, how many members there are in each state."""
        self._restless = bytearray(b"\x01" * count)
        for group in self.members:
            self._codes[self.place[group]] = _NO_CODE
            self._restless[self.place[group]] = False
        self._urgent: list[int] = []  # places, in order

    def _enter_groups(self) -> None:
        """Put each group between its members and their parent, and what needs all of them under it."""
        needs, parent = self.graph.needs, self.parent
        for index in range(self.count):
            group = self.group_of.get(parent[index])
            if group is not None:
                wanted = sum(self.group_of.get(need) == group for need in needs[index])
                if wanted == len(self.members[group]):
                    parent[index] = group
        for members in self.members.values():
            parent.append(parent[members[0]])
        for index, group in self.group_of.items():
            parent[index] = group

    def _in_plan_order(self) -> Iterable[int]:
        """All nodes, each group before its first member."""
        first = {members[0]: group for group, members in self.members.items()}
        for index in range(self.count):
            if index in first:
                yield first[index]
            yield index

    # ── states ──────────────────────────────────────────────────────────────────────────────────

    def enter(self, index: int, state: TaskState) -> bool:
        """Note the state of a task; return whether some branch became finished by that, or unfinished."""
        place = self.place[index]
        code = CODES[state]
        if self._codes[place] == code:
            return False
        if (group := self.group_of.get(index)) is not None:
            self.tallies[group][STATES[self._codes[place]]] -= 1
            self.tallies[group][state] += 1
        self._codes[place] = code
        was_urgent = self._is_urgent(place)
        if was_urgent != (state in URGENT):
            if was_urgent:
                del self._urgent[bisect_left(self._urgent, place)]
            else:
                insort(self._urgent, place)
        was_restless = self._restless[place]
        if was_restless == (state not in QUIET):
            return False
        self._restless[place] = False  # so that the branches are judged by all the others
        decides = self._would_fold(index)
        self._restless[place] = not was_restless
        return decides

    def _is_urgent(self, place: int) -> bool:
        at = bisect_left(self._urgent, place)
        return at < len(self._urgent) and self._urgent[at] == place

    def _would_fold(self, index: int) -> bool:
        parent = self.parent[index]
        return (self.has_branch(index) and self.is_quiet(index)) or (
            parent != NO_PARENT and self.is_quiet(parent)
        )

    def is_quiet(self, index: int) -> bool:
        """Whether the task and all of its branch are finished without a failure."""
        return self._restless.find(1, self.place[index], self.end[index]) < 0

    def has_branch(self, index: int) -> bool:
        return self.end[index] > self.place[index] + 1

    def hidden_counts(self, branch: int) -> list[tuple[TaskState, int]]:
        """What a folded branch hides, by state."""
        start, end = self.place[branch] + 1, self.end[branch]
        codes = self._codes
        if self.graph.nesting.inside:  # those that stand for subplans are not counted
            work = (p for p in range(start, end) if self.order[p] not in self.graph.nesting.inside)
            codes, start, end = bytearray(codes[place] for place in work), 0, end - start
        counts = ((state, codes.count(code, start, end)) for state, code in CODES.items())
        return [(state, count) for state, count in counts if count and state not in URGENT]

    # ── folds ───────────────────────────────────────────────────────────────────────────────────

    def fold(self, index: int, folded: bool = True) -> None:
        """What a person wants; it stands until it is changed by a person."""
        if self.has_branch(index):
            self._chosen[index] = folded

    def fold_all(self, folded: bool) -> None:
        self._chosen = {index: folded for index in self.order if self.has_branch(index)}

    def unfold_to(self, index: int) -> None:
        """Open what a person has folded over the task."""
        node = self.parent[index]
        while node != NO_PARENT:
            if self._chosen.get(node):
                del self._chosen[node]
            node = self.parent[node]

    def is_folded(self, index: int) -> bool:
        """As of the last `rows`."""
        return index in self._folded

    def rows(self, *, automatic: bool, keep: int | None = None) -> list[int]:
        """The tasks to show, in their order.

        automatic: finished branches and groups fold, except where a person wants it otherwise or `keep`, the
        node under the cursor, would vanish.
        """
        order, end, place_of, chosen = self.order, self.end, self.place, self._chosen
        kept_at = place_of[keep] if keep is not None else -1
        is_kept_in_view = kept_at >= 0 and self._is_urgent(kept_at)
        self.guest_of = {}
        self._folded = set()
        rows: list[int] = []
        place, count = 0, len(order)
        while place < count:
            index = order[place]
            rows.append(index)
            after = end[index]
            if after > place + 1:
                folded = chosen.get(index)
                if folded is None:
                    vanishes = place < kept_at < after and not is_kept_in_view
                    folded = automatic and not vanishes and (index >= self.count or self.is_quiet(index))
                if folded:
                    self._folded.add(index)
                    guests = self._guests(place + 1, after)
                    self.guest_of.update(dict.fromkeys(guests, index))
                    rows.extend(guests)
                    place = after
                    continue
            place += 1
        return rows

    def _guests(self, start: int, end: int) -> list[int]:
        urgent = self._urgent
        return [self.order[p] for p in urgent[bisect_left(urgent, start) : bisect_left(urgent, end)]]

    # ── lines ───────────────────────────────────────────────────────────────────────────────────

    def ancestry(self, index: int, levels: int) -> tuple[list[bool], bool]:
        """For each of the nearest `levels` levels, outermost first, whether its line ends there; and
        whether there are more levels above."""
        ends: list[bool] = []
        node = index
        while (parent := self.parent[node]) != NO_PARENT:
            if len(ends) == levels:
                return ends[::-1], True
            ends.append(bool(self.last[node]))
            node = parent
        return ends[::-1], False

    def other_needs(self, index: int) -> list[int]:
        """The needs beside the deciding parent; a group in the place of its first member where it needs all
        of them. Of a group those that its members share."""
        index = self.members[index][0] if index in self.members else index
        needs, parent = self.graph.needs[index], self.parent[self.group_of.get(index, index)]
        if not self.members:
            return [need for need in needs if need != parent]
        wanted = Counter(self.group_of[need] for need in needs if need in self.group_of)
        whole = {group for group, count in wanted.items() if count == len(self.members[group])}
        nodes = (group if (group := self.group_of.get(need)) in whole else need for need in needs)
        return [node for node in dict.fromkeys(nodes) if node != parent]


def _groups(graph: Graph) -> dict[int, list[int]]:
    """The members of each matrix of several tasks, by numbers that follow those of the tasks."""
    by_name: dict[str, list[int]] = {}
    for index, task in enumerate(graph.plan.tasks):
        if task.group is not None:
            by_name.setdefault(task.group, []).append(index)
    tasks, needs = graph.plan.tasks, graph.needs

    def is_one(members: list[int]) -> bool:
        """Whether they stand in one place. Those of a plan file always do."""
        place = {(tasks[index].scope, tuple(needs[index])) for index in members}
        return len(members) > 1 and len(place) == 1

    return dict(enumerate(filter(is_one, by_name.values()), len(tasks)))


def _parents(graph: Graph) -> list[int]:
    needs = graph.needs
    level = [0] * len(needs)
    parents = [NO_PARENT] * len(needs)
    rank = [0] * len(needs)
    for position, index in enumerate(graph.order):
        rank[index] = position
        if not needs[index]:
            around = graph.nesting.around(index)
            if around:
                parents[index] = around[0]
                level[index] = level[around[0]] + 1
            continue
        best = NO_PARENT
        for need in needs[index]:
            if best == NO_PARENT or (level[need], rank[need]) > (level[best], rank[best]):
                best = need
        parents[index] = best
        level[index] = level[best] + 1
    return parents
