"""The DAG as a tree, and its folds, without a screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from engine.core.state import TaskState
from engine.plan.graph import Graph
from engine.plan.model import Need, Plan, Task
from tests.support.scene import plan_of
from tests.support.world import plan, subplan
from tui.widgets.branches import NO_PARENT, QUIET, URGENT, Branches

DIAMOND: Mapping[str, str] = {"a": "", "b": "a", "c": "a", "d": "b c"}


def branches_of(needs: Mapping[str, str]) -> Branches:
    return Branches(Graph(plan_of(needs)))


def names(branches: Branches, indices: list[int]) -> list[str]:
    return [branches.graph.plan.tasks[index].name for index in indices]


def rows(branches: Branches, *, automatic: bool = False, keep: str | None = None) -> list[str]:
    kept = None if keep is None else branches.graph.index_of[keep]
    return names(branches, branches.rows(automatic=automatic, keep=kept))


def enter(branches: Branches, **states: TaskState) -> list[bool]:
    return [branches.enter(branches.graph.index_of[name], state) for name, state in states.items()]


def parents(branches: Branches) -> dict[str, str | None]:
    tasks = branches.graph.plan.tasks
    return {
        task.name: None if parent == NO_PARENT else tasks[parent].name
        for task, parent in zip(tasks, branches.parent, strict=True)
    }


def test_of_equal_needs_the_last_in_topological_order_decides() -> None:
    assert parents(branches_of(DIAMOND)) == {"a": None, "b": "a", "c": "a", "d": "c"}


def test_the_need_with_the_longest_path_decides_wherever_it_stands_in_the_plan() -> None:
    branches = branches_of({"z": "y", "y": "x", "x": "", "short": "", "end": "z short"})
    assert parents(branches)["end"] == "z"


def test_a_branch_follows_its_task_and_siblings_keep_the_order_of_the_plan() -> None:
    branches = branches_of({"late": "root", "root": "", "other": "", "leaf": "late", "early": "root"})
    assert names(branches, branches.order) == ["root", "late", "leaf", "early", "other"]


def test_a_fold_hides_the_branch_and_counts_it() -> None:
    branches = branches_of(DIAMOND)
    enter(branches, b=TaskState.SUCCESS, c=TaskState.SUCCESS)
    branches.fold(0)
    assert rows(branches) == ["a"]
    assert branches.is_folded(0)
    assert branches.hidden_counts(0) == [(TaskState.PENDING, 1), (TaskState.SUCCESS, 2)]


def test_failed_and_running_tasks_stay_in_view_whatever_is_folded() -> None:
    branches = branches_of({"a": "", "b": "a", "c": "b", "d": "c", "e": "a"})
    branches.fold_all(True)
    enter(branches, c=TaskState.FAILED, e=TaskState.RUNNING)
    assert rows(branches) == ["a", "c", "e"]
    assert branches.guest_of == {2: 0, 4: 0}
    enter(branches, c=TaskState.PENDING, e=TaskState.SUCCESS, d=TaskState.RETRYING)
    assert rows(branches) == ["a", "d"]


def test_a_branch_folds_by_itself_once_all_of_it_is_finished_without_a_failure() -> None:
    branches = branches_of({"a": "", "b": "a", "c": "b", "d": "a"})
    assert enter(branches, b=TaskState.SUCCESS) == [False]
    assert rows(branches, automatic=True) == ["a", "b", "c", "d"]
    assert enter(branches, c=TaskState.SKIPPED) == [True]
    assert rows(branches, automatic=True) == ["a", "b", "d"]
    assert enter(branches, a=TaskState.SUCCESS, d=TaskState.FAILED) == [False, False]
    assert rows(branches, automatic=True) == ["a", "b", "d"]
    assert enter(branches, d=TaskState.CANCELLED) == [True]
    assert rows(branches, automatic=True) == ["a"]
    assert enter(branches, c=TaskState.PENDING) == [True], "what was finished goes on"
    assert rows(branches, automatic=True) == ["a", "b", "c", "d"]


def test_the_task_under_the_cursor_does_not_vanish_by_itself() -> None:
    branches = branches_of({"a": "", "b": "a", "c": "b"})
    enter(branches, a=TaskState.SUCCESS, b=TaskState.SUCCESS, c=TaskState.SUCCESS)
    assert rows(branches, automatic=True, keep="c") == ["a", "b", "c"]
    assert rows(branches, automatic=True, keep="b") == ["a", "b"]
    assert rows(branches, automatic=True, keep="a") == ["a"]


def test_what_a_person_unfolds_stays_unfolded() -> None:
    branches = branches_of({"a": "", "b": "a"})
    enter(branches, a=TaskState.SUCCESS, b=TaskState.SUCCESS)
    branches.fold(0, False)
    assert rows(branches, automatic=True) == ["a", "b"]


def test_unfolding_to_a_task_opens_only_what_hides_it() -> None:
    branches = branches_of({"a": "", "b": "a", "c": "b", "x": "", "y": "x"})
    branches.fold_all(True)
    branches.unfold_to(2)
    assert rows(branches) == ["a", "b", "c", "x"]


def test_a_task_without_a_branch_does_not_fold() -> None:
    branches = branches_of(DIAMOND)
    branches.fold(1)
    assert rows(branches) == ["a", "b", "c", "d"]
    assert not branches.is_folded(1)


def test_ancestry_says_which_lines_go_on_and_stops_at_the_levels_asked_for() -> None:
    branches = branches_of({"a": "", "b": "a", "c": "b", "d": "a"})
    assert branches.ancestry(0, 9) == ([], False)
    assert branches.ancestry(2, 9) == ([False, True], False)
    assert branches.ancestry(2, 1) == ([True], True)


def test_a_chain_of_ten_thousand_is_no_deeper_than_the_machine_can_go() -> None:
    chain = {"t0": ""} | {f"t{i}": f"t{i - 1}" for i in range(1, 10_000)}
    branches = branches_of(chain)
    assert branches.rows(automatic=True) == list(range(10_000))
    assert branches.ancestry(9_999, 3) == ([True, True, True], True)


@given(st.data())
def test_every_task_is_shown_once_or_counted_in_a_fold_and_none_that_is_urgent_is_hidden(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(1, 14))
    needs = [
        data.draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else [] for i in range(count)
    ]
    groups: list[str | None] = [None] * count
    for i in range(1, count):
        if data.draw(st.booleans()):  # one more of the matrix that the task before belongs to
            needs[i], groups[i - 1] = needs[i - 1], groups[i - 1] or f"g{i}"
            groups[i] = groups[i - 1]
    tasks = [
        Task(name=str(i), run="true", needs=tuple(Need(str(need)) for need in row), group=groups[i])
        for i, row in enumerate(needs)
    ]
    branches = Branches(Graph(Plan(name="p", tasks=tuple(tasks))))
    nodes = range(len(branches.order))
    states = [TaskState.PENDING] * count
    for _ in range(data.draw(st.integers(0, 20))):
        index = data.draw(st.integers(0, count - 1))
        quiet_before = {i for i in nodes if branches.has_branch(i) and branches.is_quiet(i)}
        states[index] = data.draw(st.sampled_from(TaskState))
        told = branches.enter(index, states[index])
        quiet_after = {i for i in nodes if branches.has_branch(i) and branches.is_quiet(i)}
        assert told == (quiet_before != quiet_after)
    for index in data.draw(st.lists(st.sampled_from(nodes), max_size=5)):
        branches.fold(index, data.draw(st.booleans()))
    keep = data.draw(st.none() | st.sampled_from(nodes))
    shown = branches.rows(automatic=data.draw(st.booleans()), keep=keep)

    assert len(shown) == len(set(shown))
    hidden = set(range(count)) - set(shown)
    assert not any(states[index] in URGENT for index in hidden)
    folded = [index for index in shown if branches.is_folded(index)]
    assert sum(n for index in folded for _, n in branches.hidden_counts(index)) == len(hidden)
    assert set(branches.guest_of) <= set(shown)
    assert sorted(branches.order) == list(nodes)
    for index in nodes:
        within = branches.order[branches.place[index] : branches.end[index]]
        assert branches.is_quiet(index) == all(states[other] in QUIET for other in within if other < count)
    for group, members in branches.members.items():
        assert set(members) <= set(branches.order[branches.place[group] : branches.end[group]])
        assert +branches.tallies[group] == Counter(states[index] for index in members)


# ── subplans ────────────────────────────────────────────────────────────────────────────────────


def nested() -> Branches:
    inside = subplan({"a": "", "b": "a", "deep": subplan({"x": ""})}, "build")
    return Branches(Graph(plan(tell="sub", build="", sub=inside, end="tell")))


def test_what_is_inside_of_a_subplan_stands_under_it_before_what_comes_after() -> None:
    branches = nested()
    assert names(branches, branches.order) == [
        "build",
        "sub",
        "sub/a",
        "sub/b",
        "sub/deep",
        "sub/deep/x",
        "tell",
        "end",
    ]
    assert parents(branches)["sub/a"] == "sub"
    assert parents(branches)["tell"] == "sub"


def test_a_subplan_folds_what_is_inside_and_counts_what_does_work() -> None:
    branches = nested()
    enter(branches, **{"sub/a": TaskState.SUCCESS, "sub/deep": TaskState.SUCCESS})
    enter(branches, **{"sub/deep/x": TaskState.SUCCESS})
    sub = branches.graph.index_of["sub"]
    branches.fold(sub)
    assert rows(branches) == ["build", "sub", "tell", "end"]
    assert branches.hidden_counts(sub) == [(TaskState.PENDING, 1), (TaskState.SUCCESS, 2)]


def test_what_fails_or_runs_inside_stays_in_view() -> None:
    branches = nested()
    enter(branches, **{"sub/a": TaskState.FAILED, "sub/deep/x": TaskState.RUNNING})
    branches.fold(branches.graph.index_of["sub"])
    assert rows(branches) == ["build", "sub", "sub/a", "sub/deep/x", "tell", "end"]


def test_a_matrix_of_subplans_folds_with_all_that_is_inside() -> None:
    built = plan(build="", a=subplan({"x": ""}, "build"), b=subplan({"x": ""}, "build"), tell="a b")
    grouped = (structs.replace(task, group="roll" if task.plan is not None else None) for task in built.tasks)
    branches = Branches(Graph(structs.replace(built, tasks=tuple(grouped))))
    (group,) = branches.members
    assert branches.order == [0, group, 1, 2, 3, 4, 5]
    branches.fold(group)
    assert branches.rows(automatic=False) == [0, group, 5]
    enter(branches, **{"b/x": TaskState.RUNNING})
    assert branches.rows(automatic=False) == [0, group, 4, 5]
    assert branches.hidden_counts(group) == [(TaskState.PENDING, 1)]
    branches.fold(group, False)
    assert branches.rows(automatic=True) == branches.order


def test_tasks_of_one_name_that_do_not_stand_in_one_place_are_no_matrix() -> None:
    tasks = (
        Task(name="a", run="true", group="g", needs=(Need("b"),)),
        Task(name="b", run="true", group="g"),
    )
    branches = Branches(Graph(Plan(name="p", tasks=tasks)))
    assert branches.order == [1, 0]
