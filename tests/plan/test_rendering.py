"""References become values at the hand-over of an attempt, and nowhere else."""

# ruff: noqa: E501 (plans stand in one piece)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.plan.graph import Graph
from engine.plan.load import load_plan, parse_plan
from engine.plan.model import Plan, Task
from engine.plan.references import MalformedReference, escape, parse
from engine.plan.rendering import Rendering, Unresolved
from engine.store.rows import encode_plan

HOME = {"HOME": "/home/me", "TOKEN": "hunter22"}


def rendering(plan: Plan, **outputs: dict[str, str]) -> Rendering:
    """outputs: by the name of the task."""
    graph = Graph(plan)
    return Rendering(graph, {graph.index_of[name]: left for name, left in outputs.items()}, HOME)


def rendered(text: str, name: str = "x", params: dict[str, str] | None = None, **outputs: Any) -> Task:
    plan = parse_plan(text, directory="/plans", params=params)
    return rendering(plan, **outputs).task(Graph(plan).index_of[name])


def test_a_task_without_references_is_handed_over_as_it_is() -> None:
    plan = parse_plan("env: {A: '${{ env.HOME }}'}\ntasks: {x: {run: x, env: {B: c}}}")
    assert rendering(plan).task(0) is plan.tasks[0]


def test_everywhere() -> None:
    task = rendered("""\
params: {v: "2.4"}
env: {STAGE: "s-${{ params.v }}"}
tasks:
  b: {run: x}
  x:
    needs: [b]
    run: [cp, "a${{ params.v }}b", "${{ env.HOME }}", "$${{ params.v }}", "${{ tasks.b.outputs.tag }}"]
    env: {STAGE: "${{ env.STAGE }}/${{ env.HOME }}", V: "${{ tasks.b.outputs.tag }}"}
    working_dir: ${{ params.v }}/w
""", b={"tag": "t 1"})  # fmt: skip
    assert task.run == ("cp", "a2.4b", "/home/me", "${{ params.v }}", "t 1")
    assert task.env == {"STAGE": "s-2.4//home/me", "V": "t 1"}
    assert task.working_dir == "/plans/2.4/w"


def test_a_script_gets_its_values_by_variables() -> None:
    task = rendered("params: {v: '$(x)'}\ntasks: {x: {run: 'echo ${{ params.v }} \"${{ params.v }}${{ env.A }}\"',"
                    " env: {A: b}}}")  # fmt: skip
    assert task.run == 'echo "${PLANDECK_VALUE_1}" "${PLANDECK_VALUE_1}${PLANDECK_VALUE_2}"'
    assert task.env == {"A": "b", "PLANDECK_VALUE_1": "$(x)", "PLANDECK_VALUE_2": "b"}


def test_arguments_of_a_callable() -> None:
    task = rendered("""\
params: {v: "5"}
tasks:
  x:
    python: m:f
    with: {a: "${{ params.v }}", n: 5, t: true, s: "5", l: [1.5, {k: "-${{ params.v }}"}]}
""")  # fmt: skip
    assert task.arguments == {"a": "5", "n": 5, "t": True, "s": "5", "l": [1.5, {"k": "-5"}]}


def test_a_directory_that_a_value_makes_absolute() -> None:
    assert rendered("tasks: {x: {run: x, working_dir: '${{ env.HOME }}/w'}}").working_dir == "/home/me/w"


def test_a_value_is_not_looked_into_again() -> None:
    task = rendered(
        "params: {v: '', w: x}\ntasks: {x: {run: [a, '${{ params.v }}']}}", params={"v": "${{ params.w }}"}
    )
    assert task.run == ("a", "${{ params.w }}")


INNER = """\
params: {tag: {}, pace: "p${{ '$' }}"}
outputs: {url: "u-${{ tasks.one.outputs.url }}-${{ params.tag }}"}
env: {TAG: "[${{ params.tag }}]", HOME: "${{ env.STAGE }}:${{ env.HOME }}"}
tasks:
  one:
    run: [x, "${{ params.tag }}", "${{ env.HOME }}", "${{ params.pace }}"]
    env: {OWN: "${{ env.TAG }}"}
  two: {needs: [one], run: [x, "${{ tasks.one.outputs.url }}"]}
  bare: {run: x}
""".replace("p${{ '$' }}", "$${{ x }}")
OUTER = """\
params: {v: "1"}
env: {STAGE: prod}
tasks:
  b: {run: x}
  p:
    needs: [b]
    plan: inner.yaml
    matrix: {r: [eu, us]}
    with: {tag: "${{ params.v }}-${{ matrix.r }}-${{ tasks.b.outputs.tag }}"}
  z: {needs: [p], run: [x, "${{ tasks.p[us].outputs.url }}"]}
"""


class TestSubplans:
    @pytest.fixture
    def plan(self, tmp_path: Path) -> Plan:
        (tmp_path / "outer.yaml").write_text(OUTER)
        (tmp_path / "inner.yaml").write_text(INNER)
        return load_plan(tmp_path / "outer.yaml")

    def task(self, plan: Plan, name: str, outputs: dict[str, dict[str, str]]) -> Task:
        return rendering(plan, **outputs).task(Graph(plan).index_of[name])

    def test_params_come_from_the_plan_around(self, plan: Plan) -> None:
        task = self.task(plan, "p[us]/one", {"b": {"tag": "t"}})
        assert task.run == ("x", "1-us-t", "prod:/home/me", "${{ x }}")

    def test_the_variables_of_its_scopes_reach_every_task(self, plan: Plan) -> None:
        one = self.task(plan, "p[eu]/one", {"b": {"tag": "t"}})
        assert one.env == {"STAGE": "prod", "TAG": "[1-eu-t]", "HOME": "prod:/home/me", "OWN": "[1-eu-t]"}
        bare = self.task(plan, "p[eu]/bare", {"b": {"tag": "t"}})
        assert bare.env == {"STAGE": "prod", "TAG": "[1-eu-t]", "HOME": "prod:/home/me"}

    def test_outputs_inside_and_out(self, plan: Plan) -> None:
        outputs = {"b": {"tag": "t"}, "p[us]/one": {"url": "here"}, "p[eu]/one": {"url": "there"}}
        assert self.task(plan, "p[us]/two", outputs).run == ("x", "here")
        assert self.task(plan, "z", outputs).run == ("x", "u-here-1-us-t")

    def test_what_is_missing_inside(self, plan: Plan) -> None:
        with pytest.raises(Unresolved, match=r"^'p\[us\]/one' has left no output 'url'$"):
            self.task(plan, "z", {"b": {"tag": "t"}})
        with pytest.raises(Unresolved, match=r"^'b' has left no output 'tag'$"):
            self.task(plan, "p[us]/bare", {})


MISSING = {
    "tasks: {b: {run: x}, x: {needs: [b], run: 'x ${{ tasks.b.outputs.tga }}'}}": (
        "'b' has left no output 'tga', did you mean 'tag'?"
    ),
    "tasks: {b: {run: x}, x: {run: 'x ${{ env.NOWHERE }}'}}": "${{ env.NOWHERE }}: variable 'NOWHERE' is not set",
    "tasks: {b: {run: x}, x: {run: x, env: {A: b, B: '${{ env.A }}'}}}": "${{ env.A }}: variable 'A' is not set",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISSING.items())
def test_what_has_no_value(text: str, message: str) -> None:
    with pytest.raises(Unresolved) as caught:
        rendered(text, b={"tag": "x"})
    assert str(caught.value) == message


def test_a_plan_whose_own_variables_have_no_value() -> None:
    plan = parse_plan("env: {A: '${{ env.NOWHERE }}'}\ntasks: {x: {run: x}}")
    with pytest.raises(Unresolved, match=r"'NOWHERE' is not set"):
        rendering(plan).plan()


def test_the_plans_own_variables() -> None:
    plan = parse_plan(
        "params: {v: '1'}\nenv: {A: '${{ params.v }}', B: '${{ env.HOME }}'}\ntasks: {x: {run: x}}"
    )
    given = rendering(plan)
    assert given.plan().env == {"A": "1", "B": "/home/me"}
    assert given.plan() is given.plan()


@pytest.mark.parametrize(
    "task", [Task(name="x", run="echo `${{ env.HOME }}`"), Task(name="x", run=("a", "${{ b"))]
)
def test_a_reference_in_a_plan_from_elsewhere_that_is_none(task: Task) -> None:
    with pytest.raises(Unresolved, match=r"backticks|never closed"):
        rendering(Plan(name="p", tasks=(task,))).task(0)


def test_variables_of_a_plan_from_elsewhere_that_hold_no_reference() -> None:
    with pytest.raises(Unresolved, match="never closed"):
        rendering(Plan(name="p", tasks=(), env={"A": "${{"})).plan()
    with pytest.raises(Unresolved, match="no value"):
        rendering(Plan(name="p", tasks=(), env={"A": "${{ tasks.x.outputs.y }}"})).plan()


def test_a_nul_has_no_place() -> None:
    plan = Plan(name="p", params={"v": "a\0b"}, tasks=(Task(name="x", run="echo ${{ params.v }}"),))
    with pytest.raises(Unresolved, match=r"^a NUL character cannot stand in run$"):
        rendering(plan).task(0)


def test_nothing_of_it_is_kept() -> None:
    plan = parse_plan(
        "tasks: {b: {run: x}, x: {needs: [b], run: 'echo ${{ env.TOKEN }}', env: {T: '${{ env.TOKEN }}'}}}"
    )
    given = rendering(plan)
    assert (given.task(1).env or {})["T"] == "hunter22"
    assert "hunter22" not in encode_plan(plan)


# ── references ──────────────────────────────────────────────────────────────────────────────────


@given(st.text("${} a.\n"))
def test_what_is_escaped_comes_back(text: str) -> None:
    assert "".join(map(str, parse(escape(text)))) == text


@given(st.text("${} params.x"))
def test_any_text_is_parts_or_refused(text: str) -> None:
    try:
        parts = parse(text)
    except MalformedReference:
        return
    assert all(parts)
