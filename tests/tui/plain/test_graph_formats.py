"""A plan's graph as text, Mermaid, dot and JSON."""

from __future__ import annotations

import json

import pytest

from engine.plan.graph import Graph
from engine.plan.model import Condition, Need, Plan, Retry, Simulation, Subplan, Task
from tui.cli.main import GRAPH_FORMATS
from tui.plain.graph_formats import FORMATS, as_dot, as_dry_run, as_json, as_mermaid, as_text

GRAPH = Graph(
    Plan(
        name="release",
        tasks=(
            Task(name="build", run="set -e\n\nmake build\n", timeout=600),
            Task(name='un"it', run=("pytest", "-k", "a b"), needs=(Need("build"),), retry=Retry(limit=2)),
            Task(
                name="tell",
                simulate=Simulation(duration=3),
                needs=(Need("build", Condition.FINISHED), Need('un"it')),
                skip_on_failure=True,
                working_dir="/srv",
            ),
        ),
    )
)
HOSTILE = Graph(
    Plan(name='x"; system("rm")', tasks=(Task(name='a"]\n<b>`\x1b[31m#quot;\\', simulate=Simulation()),))
)


def test_text() -> None:
    assert as_text(GRAPH) == (
        "release: 3 tasks in 3 waves, 4 slots, fail-fast\n"
        "\n"
        "wave 1\n"
        "  build\n"
        "\n"
        "wave 2\n"
        '  un"it  needs build\n'
        "\n"
        "wave 3\n"
        '  tell  needs build (finished), un"it'
    )


def test_dry_run_shows_what_would_run_and_its_limits() -> None:
    assert as_dry_run(GRAPH).splitlines()[3:] == [
        "  build",
        "      $ set -e",
        "      $ make build",
        "      (time-out 10m)",
        "",
        "wave 2",
        '  un"it  needs build',
        "      $ pytest -k 'a b'",
        "      (retried up to 2 times)",
        "",
        "wave 3",
        '  tell  needs build (finished), un"it',
        "      simulate 3s",
        "      (in /srv, failure tolerated)",
    ]


def test_mermaid() -> None:
    assert as_mermaid(GRAPH).splitlines() == [
        "flowchart LR",
        '    t0["build"]',
        '    t1["un#34;it"]',
        '    t2["tell"]',
        "    t0 --> t1",
        "    t0 -. finished .-> t2",
        "    t1 --> t2",
    ]


def test_dot() -> None:
    assert as_dot(GRAPH).splitlines() == [
        'digraph "release" {',
        "    rankdir=LR;",
        "    node [shape=box];",
        '    t0 [label="build"];',
        '    t1 [label="un\\"it"];',
        '    t2 [label="tell"];',
        "    t0 -> t1;",
        '    t0 -> t2 [style=dashed, label="finished"];',
        "    t1 -> t2;",
        "}",
    ]


def test_json() -> None:
    graph = json.loads(as_json(GRAPH))
    assert graph["schema"] == 1
    assert graph["tasks"][2]["needs"] == {"build": "finished", 'un"it': "success"}
    assert graph["waves"] == [["build"], ['un"it'], ["tell"]]
    assert graph["critical_path"] == ["build", 'un"it', "tell"]


@pytest.mark.parametrize("name", ["text", "mermaid", "dot"])
def test_names_become_neither_markup_nor_control_sequences(name: str) -> None:
    text = FORMATS[name](HOSTILE)
    assert "\x1b" not in text
    if name == "mermaid":
        assert '    t0["a#34;#93; #60;b#62;#96;#35;quot#59;#92;"]' in text
    if name == "dot":
        assert '    t0 [label="a\\"] <b>`#quot;\\\\"];' in text
        assert text.startswith('digraph "x\\"; system(\\"rm\\")" {')


def test_empty_plan_has_a_graph_in_every_format() -> None:
    empty = Graph(Plan(name="empty", tasks=()))
    assert all(FORMATS[name](empty) for name in GRAPH_FORMATS)


def test_command_line_offers_every_format() -> None:
    assert tuple(FORMATS) == GRAPH_FORMATS


NESTED = Graph(
    Plan(
        name="nested",
        params={"v": "1"},
        directory="/plans",
        tasks=(
            Task(name="u[1]", group="u", matrix={"n": "1"}, python="m:f"),
            Task(name="u[2]", group="u", matrix={"n": "2"}, run="x"),
            Task(name="p", plan="parts/p.yaml", needs=(Need("u[1]"), Need("u[2]"))),
            Task(name="p/q", plan="q.yaml", scope=1),
            Task(name="p/q/a", run="x", scope=2, working_dir="/plans/parts"),
            Task(name="p/z", run="x", scope=1, needs=(Need("p/q", Condition.FINISHED),)),
            Task(name="z", run="x", needs=(Need("u[2]", Condition.FINISHED), Need("p"))),
        ),
        subplans=(
            Subplan(name="p", task=2, parent=0, directory="/plans/parts", source="/plans/parts/p.yaml"),
            Subplan(name="p/q", task=3, parent=1, directory="/plans/parts"),
        ),
    )
)


def test_a_matrix_that_is_needed_as_a_whole_is_one_need() -> None:
    lines = as_text(NESTED).splitlines()
    assert lines[0] == "nested: 5 tasks in 6 waves and 2 subplans, 4 slots, fail-fast"
    assert "  p  needs all 2 of u" in lines
    assert "  z  needs u[2] (finished), p" in lines


def test_dry_run_of_all_kinds() -> None:
    lines = [line.strip() for line in as_dry_run(NESTED).splitlines()]
    assert lines[lines.index("u[1]") + 1] == "python m:f"
    assert lines[lines.index("p  needs all 2 of u") + 1] == "plan parts/p.yaml"
    assert lines[lines.index("p/q/a") + 1 :][:2] == ["$ x", ""]  # its directory goes without saying


def test_subplans_are_subgraphs() -> None:
    assert as_mermaid(NESTED).splitlines()[1:10] == [
        '    t0["u#91;1#93;"]',
        '    t1["u#91;2#93;"]',
        '    subgraph t2["p"]',
        '        subgraph t3["p/q"]',
        '            t4["p/q/a"]',
        "        end",
        '        t5["p/z"]',
        "    end",
        '    t6["z"]',
    ]


def test_subplans_are_clusters() -> None:
    assert as_dot(NESTED).splitlines()[5:14] == [
        "    subgraph cluster_2 {",
        '        t2 [label="p", shape=folder];',
        "        subgraph cluster_3 {",
        '            t3 [label="p/q", shape=folder];',
        '            t4 [label="p/q/a"];',
        "        }",
        '        t5 [label="p/z"];',
        "    }",
        '    t6 [label="z"];',
    ]


def test_json_tells_what_belongs_together() -> None:
    whole = json.loads(as_json(NESTED))
    assert whole["params"] == {"v": "1"}
    assert [task["subplan"] for task in whole["tasks"]] == [None, None, None, "p", "p/q", "p", None]
    assert [task["group"] for task in whole["tasks"]][:3] == ["u", "u", None]
    assert whole["tasks"][0]["matrix"] == {"n": "1"}
    assert [(each["name"], each["source"]) for each in whole["subplans"]] == [
        ("p", "/plans/parts/p.yaml"),
        ("p/q", None),
    ]
