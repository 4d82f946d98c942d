"""Recorded workflows: both versions, edges told by either side, and bad records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PlanInvalid
from engine.plan.load import load_plan, parse_plan
from engine.plan.model import Plan


def flat(*tasks: dict[str, Any], **more: Any) -> str:
    """WfFormat 1.4."""
    return json.dumps(
        {"name": "bakery", "schemaVersion": "1.4", "workflow": {"tasks": tasks, **more}}, indent=1
    )


def split(tasks: list[dict[str, Any]], executed: list[dict[str, Any]]) -> str:
    """WfFormat 1.5."""
    workflow = {
        "specification": {"tasks": tasks, "files": []},
        "execution": {"makespanInSeconds": 9, "tasks": executed},
    }
    return json.dumps({"name": "bakery", "schemaVersion": "1.5", "workflow": workflow})


def edges(plan: Plan) -> dict[str, list[str]]:
    return {task.name: [need.task for need in task.needs] for task in plan.tasks}


def runtimes(plan: Plan) -> dict[str, float | None]:
    return {task.name: task.simulate.duration if task.simulate else None for task in plan.tasks}


def faults(text: str) -> list[str]:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(text, source="f")
    return [str(fault) for fault in caught.value.faults]


def test_version_1_4() -> None:
    plan = parse_plan(
        flat(
            {"name": "knead", "id": "ID1", "runtimeInSeconds": 1.5, "parents": [], "children": ["ID2"]},
            {"name": "bake", "id": "ID2", "runtime": 20, "parents": ["ID1"], "children": [], "cores": 2},
            machines=[],
        )
    )
    assert plan.name == "bakery"
    assert edges(plan) == {"ID1": [], "ID2": ["ID1"]}
    assert runtimes(plan) == {"ID1": 1.5, "ID2": 20.0}
    assert [task.description for task in plan.tasks] == ["knead", "bake"]
    assert [task.stall_after for task in plan.tasks] == [None, None]
    assert [task.type for task in plan.tasks] == ["simulate", "simulate"]


def test_version_1_5() -> None:
    plan = parse_plan(
        split(
            [
                {"name": "bake", "id": "bake_2", "parents": ["knead_1"], "children": []},
                {"name": "knead", "id": "knead_1", "parents": [], "children": ["bake_2"]},
                {"name": "eat", "id": "eat_3", "parents": ["bake_2"], "children": []},
            ],
            [
                {"id": "knead_1", "runtimeInSeconds": 2, "command": {"program": "knead"}},
                {"id": "bake_2", "runtimeInSeconds": 0.25},
                {"id": "burnt_9", "runtimeInSeconds": "not ours to judge"},
            ],
        )
    )
    assert edges(plan) == {"bake_2": ["knead_1"], "knead_1": [], "eat_3": ["bake_2"]}
    assert runtimes(plan) == {"bake_2": 0.25, "knead_1": 2.0, "eat_3": 0.0}


def test_an_edge_may_be_told_by_either_side_and_by_id_or_name() -> None:
    plan = parse_plan(
        flat(
            {"id": "1", "name": "a", "children": ["2", "c"]},
            {"id": "2", "name": "b"},
            {"id": "3", "name": "c", "parents": ["b", "1"]},
            {"id": 4, "name": "b2", "parents": [3]},
        )
    )
    assert edges(plan) == {"1": [], "2": ["1"], "3": ["1", "2"], "4": ["3"]}


def test_an_id_comes_before_a_name() -> None:
    plan = parse_plan(flat({"id": "1", "name": "2"}, {"id": "2", "name": "1"}, {"id": "3", "parents": ["1"]}))
    assert edges(plan)["3"] == ["1"]


def test_names_may_repeat_where_ids_do_not() -> None:
    plan = parse_plan(flat({"id": "1", "name": "a"}, {"id": "2", "name": "a", "parents": ["1"]}))
    assert edges(plan) == {"1": [], "2": ["1"]}


def test_without_ids_names_do() -> None:
    plan = parse_plan(flat({"name": "a"}, {"name": "b", "parents": ["a"]}))
    assert edges(plan) == {"a": [], "b": ["a"]}
    assert [task.description for task in plan.tasks] == ["", ""]


def test_ids_become_names_that_a_screen_can_bear() -> None:
    ids = ["A/B (1)", "A:B (1)", "\x1b[2J", " ", "x" * 300, "x" * 301]
    plan = parse_plan(flat(*({"id": given} for given in ids), {"id": "last", "parents": ids}))
    expected = ["A:B (1)", "A:B (1)~2", "\\x1b[2J", "task", "x" * 200, "x" * 198 + "~2"]
    assert edges(plan)["last"] == expected


@pytest.mark.parametrize(
    ("name", "shown"), [("bakery", "bakery"), ("\x1b[2J", "f"), (None, "f"), (5, "f"), ("", "f")]
)
def test_the_name_of_the_plan(name: object, shown: str) -> None:
    text = json.dumps({"name": name, "workflow": {"tasks": []}})
    assert parse_plan(text, source="f.json").name == shown


def test_a_plan_with_a_task_named_workflow_is_a_plan() -> None:
    assert [task.name for task in parse_plan('{"tasks": {"workflow": {"run": "x"}}}').tasks] == ["workflow"]


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    path.write_text(flat({"id": "1"}))
    plan = load_plan(path)
    assert (plan.source, plan.directory) == (str(path), str(tmp_path))


def test_everything_wrong_is_told_at_once_and_in_its_place() -> None:
    text = """\
{"workflow": {"tasks": [
  {"id": "a", "parents": ["b", "aa", 5.5, true], "runtimeInSeconds": -1},
  {"id": "a", "children": "b"},
  {"id": "aaa", "name": "b", "runtimeInSeconds": "5"},
  {"id": "c", "name": "b", "runtime": 1%s},
  {"id": true},
  {"name": ""},
  {"id": "d", "parents": null, "runtime": null}
]}}
""" % ("0" * 400)
    assert faults(text) == [
        "f:2:27: 2 tasks are named 'b'; use an id",
        "f:2:32: unknown task 'aa', did you mean 'aaa'?",
        "f:2:38: parents must be a list of ids",
        "f:2:43: parents must be a list of ids",
        "f:2:70: runtimeInSeconds must be a number of seconds, 0 to 1000000000",
        "f:3:3: two tasks have the id 'a'",
        "f:3:27: children must be a list of ids",
        "f:4:50: runtimeInSeconds must be a number of seconds, 0 to 1000000000",
        "f:5:39: runtime must be a number of seconds, 0 to 1000000000",
        "f:6:3: a task must have an id or a name, as text",
        "f:7:3: a task must have an id or a name, as text",
    ]


def test_a_bad_runtime_in_the_execution() -> None:
    text = split([{"id": "a"}], [{"id": "a", "runtimeInSeconds": True}])
    assert faults(text) == ["f:1:193: runtimeInSeconds must be a number of seconds, 0 to 1000000000"]


def test_a_cycle_and_a_task_that_needs_itself() -> None:
    text = '{"workflow": {"tasks": [\n{"id": "a", "parents": ["b"]},\n{"id": "b", "parents": ["a", "b"]}]}}'
    assert faults(text) == [
        "f:2:1: cycle: a -> b -> a (each needs the next)",
        "f:3:1: task 'b' needs itself",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"workflow": 5}', "f:1:14: not WfFormat: expected `object`, got `int`"),
        ('{"workflow": {"tasks": [{}, 5]}}', "f:1:29: not WfFormat: expected `object`, got `int`"),
        (
            '{"workflow": {"jobs": []}}',
            "f:1:2: no tasks: WfFormat 1.4 keeps them in workflow.tasks, 1.5 in workflow.specification.tasks",
        ),
    ],
)
def test_what_is_no_workflow(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_what_is_no_json_is_read_as_yaml() -> None:
    assert faults('{"workflow": {"tasks": [}}') == [
        "f:1:25: not YAML: did not find expected node content while parsing a flow node that begins on line 1"
    ]
    assert faults('{"workflow": ' + "[" * 100_000) == ["f:1:77: nested more than 64 deep"]


def test_a_workflow_with_more_values_than_a_plan_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.plan.compose.VALUES", 10)
    text = flat({"id": "a"}, {"id": "b", "children": ["a", "nobody"]}, files=list(range(20)))
    assert faults(text) == ["f: unknown task 'nobody'"]
    assert len(parse_plan(text.replace("nobody", "a")).tasks) == 2
