"""The compiled graph: what it knows, its orders, and what it says of a plan that cannot be run."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PlanInvalid
from engine.ground.spelling import COMPARISONS, Speller, quoted, shown
from engine.plan.graph import Graph
from engine.plan.model import Condition, Need, Plan, Task
from engine.plan.tangle import CYCLES, find_tangles


def plan(needs: dict[str, str], **priorities: int) -> Plan:
    """needs: the names that each task needs, with blanks between them."""
    return Plan(
        name="p",
        tasks=tuple(
            Task(name=name, run="x", needs=tuple(map(Need, row.split())), priority=priorities.get(name, 50))
            for name, row in needs.items()
        ),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans without cycles, in any order of the file, with all conditions and priorities."""
    count = draw(st.integers(0, 12))
    order = draw(st.permutations(range(count)))
    tasks: list[Task] = [Task(name="")] * count
    for place, index in enumerate(order):
        earlier = [order[i] for i in range(place)]
        chosen = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=4)) if earlier else []
        needs = tuple(Need(f"t{i}", draw(st.sampled_from(Condition))) for i in chosen)
        tasks[index] = Task(
            name=f"t{index}", run="x", needs=needs, priority=draw(st.sampled_from([10, 50, 90]))
        )
    return Plan(name="p", tasks=tuple(tasks))


def as_networkx(graph: Graph) -> networkx.DiGraph[int]:
    reference: networkx.DiGraph[int] = networkx.DiGraph()
    reference.add_nodes_from(range(len(graph.plan.tasks)))
    for index, task in enumerate(graph.plan.tasks):
        reference.add_edges_from((int(need.task[1:]), index) for need in task.needs)
    return reference


def durations(graph: Graph) -> st.SearchStrategy[list[float]]:
    count = len(graph.plan.tasks)
    return st.lists(st.integers(0, 20).map(float), min_size=count, max_size=count)


# ── what it knows ───────────────────────────────────────────────────────────────────────────────


def test_a_diamond() -> None:
    graph = Graph(plan({"a": "", "b": "a", "c": "a", "d": "c b"}))
    assert graph.index_of == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert list(graph.needs) == [(), (0,), (0,), (1, 2)]
    assert list(graph.dependents) == [(1, 2), (3,), (3,), ()]
    assert list(graph.order) == [0, 1, 2, 3]
    assert graph.waves == [[0], [1, 2], [3]]
    assert graph.special_conditions == {}


def test_no_tasks() -> None:
    graph = Graph(Plan(name="p", tasks=()))
    assert (list(graph.order), graph.waves, graph.ranks(), graph.critical_path()) == ([], [], [], [])


@given(plans())
def test_edges_are_those_of_the_plan_in_plan_order(p: Plan) -> None:
    graph = Graph(p)
    reference = as_networkx(graph)
    assert [list(row) for row in graph.needs] == [sorted(reference.predecessors(i)) for i in reference]
    assert [list(row) for row in graph.dependents] == [sorted(reference.successors(i)) for i in reference]
    assert graph.special_conditions == {
        (graph.index_of[need.task], index): need.condition
        for index, task in enumerate(p.tasks)
        for need in task.needs
        if need.condition is not Condition.SUCCESS
    }


@given(plans())
def test_the_order_is_topological_and_waves_are_the_generations(p: Plan) -> None:
    graph = Graph(p)
    place = {index: place for place, index in enumerate(graph.order)}
    assert sorted(place) == list(range(len(p.tasks)))
    assert all(place[need] < place[index] for index, row in enumerate(graph.needs) for need in row)
    assert graph.waves == [sorted(wave) for wave in networkx.topological_generations(as_networkx(graph))]
    assert graph.waves is graph.waves


@given(st.data())
def test_ranks_are_a_total_order_by_priority_then_path_then_place(data: st.DataObject) -> None:
    graph = Graph(data.draw(plans()))
    seconds = data.draw(st.none() | durations(graph))
    reference = as_networkx(graph)
    weights = seconds or [1] * len(reference)

    def remaining(index: int) -> float:
        return weights[index] + max(map(remaining, reference.successors(index)), default=0)

    keys = [(-task.priority, -remaining(index), index) for index, task in enumerate(graph.plan.tasks)]
    ranks = graph.ranks(seconds)
    assert sorted(ranks) == list(range(len(ranks)))
    assert [key for _, key in sorted(zip(ranks, keys, strict=True))] == sorted(keys)


@given(st.data())
def test_the_critical_path_is_a_longest_path(data: st.DataObject) -> None:
    graph = Graph(data.draw(plans()))
    seconds = data.draw(durations(graph))
    path = graph.critical_path(seconds)
    reference = as_networkx(graph)
    assert all(reference.has_edge(*pair) for pair in pairwise(path))
    longest = max((seconds[i] + after for i, after in _longest_after(reference, seconds).items()), default=0)
    assert sum(seconds[index] for index in path) == longest


def _longest_after(reference: networkx.DiGraph[int], seconds: list[float]) -> dict[int, float]:
    after: dict[int, float] = {}
    for index in reversed(list(networkx.topological_sort(reference))):
        after[index] = max((seconds[i] + after[i] for i in reference.successors(index)), default=0)
    return after


def test_the_path_without_durations_counts_tasks() -> None:
    graph = Graph(plan({"a": "", "b": "a", "c": "a", "d": "b", "e": ""}, e=90))
    assert graph.critical_path() == [0, 1, 3]
    assert graph.critical_path([1, 1, 5, 1, 9]) == [4]
    assert graph.ranks() == [1, 2, 3, 4, 0]


def test_durations_must_fit() -> None:
    graph = Graph(plan({"a": "", "b": "a"}))
    with pytest.raises(ValueError, match="1 durations for 2 tasks"):
        graph.ranks([1.0])


def test_a_long_chain_needs_no_deep_stack() -> None:
    count = 20_000
    graph = Graph(plan({f"t{i}": f"t{i - 1}" if i else "" for i in range(count)}))
    assert graph.critical_path() == list(range(count))


def test_nothing_heavy_is_imported_for_a_sound_plan() -> None:
    code = """
import sys
from engine.plan.graph import Graph
from engine.plan.model import Need, Plan, Task
graph = Graph(Plan(name="p", tasks=(Task(name="a", run="x"), Task(name="b", run="x", needs=(Need("a"),)))))
graph.ranks(), graph.critical_path()
print({"networkx", "pydantic", "yaml", "numpy"} & set(sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


# ── what it says ────────────────────────────────────────────────────────────────────────────────


def faults(p: Plan) -> list[str]:
    with pytest.raises(PlanInvalid) as caught:
        Graph(p)
    return [str(fault) for fault in caught.value.faults]


def test_everything_wrong_is_told_at_once() -> None:
    assert faults(plan({"build": "biuld", "unit": "unit", "a": "b", "b": "c", "c": "a build build"})) == [
        "p: task 'a': cycle: a -> b -> c -> a (each needs the next)",
        "p: task 'build': unknown task 'biuld', did you mean 'build'?",
        "p: task 'c': task 'build' is needed twice",
        "p: task 'unit': task 'unit' needs itself",
    ]


def test_a_name_given_twice() -> None:
    a, b = Task(name="a", run="x"), Task(name="b", run="x", needs=(Need("a"),))
    assert faults(Plan(name="p", tasks=(a, b, a))) == ["p: task 'a': task 'a' is defined twice"]


def test_faults_know_the_line_where_there_is_one() -> None:
    task = Task(name="a", run="x", needs=(Need("b"),), line=7)
    assert faults(Plan(name="p", source="plan.yaml", tasks=(task,))) == ["plan.yaml:7:1: unknown task 'b'"]


@given(st.integers(2, 8), st.randoms(use_true_random=False))
def test_every_cycle_is_found(count: int, dice: random.Random) -> None:
    names = [f"t{i}" for i in range(count)]
    needs = [[name for name in names if name != own and dice.random() < 0.3] for own in names]
    edges = [(own, name) for own, row in zip(names, needs, strict=True) for name in row]
    found = [tangle.message for tangle in find_tangles(names, needs)]
    reference: networkx.DiGraph[str] = networkx.DiGraph(edges)
    expected = list(networkx.simple_cycles(reference))
    assert len(found) == min(len(expected), CYCLES + 1)
    for message in found[:CYCLES]:
        path = message.removeprefix("cycle: ").removesuffix(" (each needs the next)").split(" -> ")
        assert path[0] == path[-1] == min(path, key=names.index)
        assert all(pair in edges for pair in pairwise(path))


def test_cycles_without_number_are_cut_short() -> None:
    names = [f"t{i}" for i in range(30)]
    tangles = find_tangles(names, [[name for name in names if name != own] for own in names])
    assert len(tangles) == CYCLES + 1
    assert tangles[-1].message == f"there are more cycles than the {CYCLES} shown"


def test_a_long_cycle_is_shown_by_its_ends() -> None:
    count = 2_000
    (tangle,) = find_tangles([f"t{i}" for i in range(count)], [[f"t{(i + 1) % count}"] for i in range(count)])
    assert tangle.message == (
        "cycle: t0 -> t1 -> t2 -> t3 -> t4 -> t5 -> t6 -> t7 -> t8 -> t9 -> (1,981 more) -> "
        "t1991 -> t1992 -> t1993 -> t1994 -> t1995 -> t1996 -> t1997 -> t1998 -> t1999 -> t0 "
        "(each needs the next)"
    )


# ── names ───────────────────────────────────────────────────────────────────────────────────────


def test_names_in_messages_are_harmless_and_short() -> None:
    assert quoted("\x1b[31mred") == "'\\x1b[31mred'"
    assert shown("a\nb\u202ec") == "a\\nb\\u202ec"
    assert shown("x" * 1000) == "x" * 39 + "..." + "x" * 39
    assert shown("bl\u00e5b\u00e6r \u2714") == "bl\u00e5b\u00e6r \u2714"


def test_hints_stop_before_they_cost_too_much() -> None:
    words = [f"task-{i}" for i in range(5000)]
    speller = Speller(words)
    hints = [speller.hint("tsak-1") for _ in range(COMPARISONS // len(words) + 1)]
    assert set(hints[:-1]) == {", did you mean 'task-1'?"}
    assert hints[-1] == ""
    assert Speller(words).hint("task-1" * 100) == ""
