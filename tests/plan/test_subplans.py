"""Plans made of plans: how files become one plan, and what is told of which file."""

# ruff: noqa: E501 (messages stand in one piece, to be found by searching)
from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import PlanInvalid
from engine.plan import flatten
from engine.plan.document import ProfileSection
from engine.plan.graph import Graph
from engine.plan.levels import Levels
from engine.plan.load import load_plan, parse_plan
from engine.plan.model import Condition, FailureMode, Need, Plan


class Folder:
    """Plan files in a folder, written and loaded by their names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def load(self, name: str = "a.yaml", **params: str) -> Plan:
        return load_plan(str(self.path / name), params=params)

    def faults(self, name: str = "a.yaml", **params: str) -> list[str]:
        """The paths in them from the folder on."""
        with pytest.raises(PlanInvalid) as caught:
            self.load(name, **params)
        return [str(fault).replace(f"{self.path}/", "") for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


OUTER = """\
env: {STAGE: prod}
defaults: {timeout: 5m}
tasks:
  build: {run: make}
  rollout:
    needs: {build: finished}
    plan: parts/rollout.yaml
    with: {version: "${{ tasks.build.outputs.tag }}"}
    skip_on_failure: true
    description: To everybody
  tell: {needs: {rollout: failed}, run: ./tell}
"""
INNER = """\
name: another
goal: Not told
failure_mode: continue_on_error
max_parallel: 2
params: {version: {}, pace: slow, odd: "$${{ x }}"}
env: {PACE: "${{ params.pace }}"}
defaults: {retry: 1}
outputs: {url: "${{ tasks.two.outputs.url }}"}
tasks:
  one: {run: "echo ${{ params.version }}", timeout: 1m}
  two: {needs: [one], run: x, working_dir: w}
"""


def test_a_subplan_stands_in_the_plan(folder: Folder) -> None:
    folder.write("a.yaml", OUTER)
    folder.write("parts/rollout.yaml", INNER)
    plan = folder.load()
    assert [task.name for task in plan.tasks] == [
        "build", "rollout", "rollout/one", "rollout/two", "tell",
    ]  # fmt: skip
    _, parent, one, two, tell = plan.tasks
    assert (parent.plan, parent.type, parent.scope) == ("parts/rollout.yaml", "plan", 0)
    assert parent.needs == (Need("build", Condition.FINISHED),)
    assert (parent.retry.limit, parent.timeout, parent.stall_after) == (0, None, None)
    assert (parent.skip_on_failure, parent.description) == (True, "To everybody")
    assert (one.scope, two.scope, tell.scope) == (1, 1, 0)
    assert (one.needs, two.needs) == ((), (Need("rollout/one"),))
    assert tell.needs == (Need("rollout", Condition.FAILED),)
    assert (one.timeout, one.retry.limit, two.timeout) == (60.0, 1, None)  # its own defaults, not the outer's
    assert (one.line, two.line) == (10, 11)
    parts = folder.path / "parts"
    assert (one.working_dir, two.working_dir) == (str(parts), str(parts / "w"))
    [subplan] = plan.subplans
    assert (subplan.name, subplan.task, subplan.parent) == ("rollout", 1, 0)
    assert (subplan.failure_mode, subplan.max_parallel) == (FailureMode.CONTINUE_ON_ERROR, 2)
    assert subplan.params == {"version": "${{ tasks.build.outputs.tag }}", "pace": "slow", "odd": "$${{ x }}"}
    assert subplan.env == {"PACE": "${{ params.pace }}"}
    assert subplan.outputs == {"url": "${{ tasks.two.outputs.url }}"}
    assert (subplan.directory, subplan.source) == (str(parts), str(parts / "rollout.yaml"))
    assert (plan.name, plan.goal, plan.env) == ("a", None, {"STAGE": "prod"})
    Graph(plan)


def test_a_file_is_read_once_and_may_stand_in_many_places(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a.yaml", "tasks: {p: {plan: b.yaml}, q: {needs: [p], plan: ./b.yaml}, r: {plan: d/c.yaml}}")
    folder.write("b.yaml", "tasks: {x: {run: x}}")
    folder.write("d/c.yaml", "tasks: {y: {plan: ../b.yaml}}")
    read: list[str] = []
    monkeypatch.setattr(
        "engine.plan.reading.read_source", lambda path, file: read.append(path) or Path(path).read_text()
    )
    plan = folder.load()
    assert [task.name for task in plan.tasks] == ["p", "p/x", "q", "q/x", "r", "r/y", "r/y/x"]
    assert [task.scope for task in plan.tasks] == [0, 1, 0, 2, 0, 3, 4]
    assert [(s.name, s.task, s.parent) for s in plan.subplans] == [
        ("p", 0, 0), ("q", 2, 0), ("r", 4, 0), ("r/y", 5, 3),
    ]  # fmt: skip
    assert sorted(Path(path).name for path in read) == ["b.yaml", "c.yaml"]


def test_a_matrix_of_subplans(folder: Folder) -> None:
    folder.write("a.yaml", """\
tasks:
  roll:
    plan: b.yaml
    matrix: {region: [eu, us]}
    with: {where: "${{ matrix.region }}"}
  after: {needs: [roll], run: "echo ${{ tasks.roll[eu].outputs.url }}"}
""")  # fmt: skip
    folder.write("b.yaml", """\
params: {where: {}}
outputs: {url: x}
tasks:
  unit: {run: x, matrix: {py: ["3.11"]}}
  pack: {needs: {unit: finished}, run: x}
""")  # fmt: skip
    plan = folder.load()
    assert [(task.name, task.group, task.matrix) for task in plan.tasks] == [
        ("roll[eu]", "roll", {"region": "eu"}),
        ("roll[eu]/unit[3.11]", "roll[eu]/unit", {"py": "3.11"}),
        ("roll[eu]/pack", None, None),
        ("roll[us]", "roll", {"region": "us"}),
        ("roll[us]/unit[3.11]", "roll[us]/unit", {"py": "3.11"}),
        ("roll[us]/pack", None, None),
        ("after", None, None),
    ]
    assert plan.tasks[2].needs == (Need("roll[eu]/unit[3.11]", Condition.FINISHED),)
    assert plan.tasks[-1].needs == (Need("roll[eu]"), Need("roll[us]"))
    graph = Graph(plan)
    assert graph.group("roll") == [0, 3]
    assert graph.group("roll[us]/unit") == [4]
    assert graph.group("after") == [6]
    assert graph.group("nobody") == []


def test_deep_and_wide(folder: Folder) -> None:
    """Five levels of plans with four tasks each that stand for a plan: 1,364 tasks of one file a level."""
    for level in range(5):
        inner = f"plan: {level + 1}.yaml" if level < 4 else "run: x"
        rows = "".join(f"  t{n}: {{{inner}{', needs: [t0]' if n else ''}}}\n" for n in range(4))
        folder.write(f"{level}.yaml", f"tasks:\n{rows}")
    plan = folder.load("0.yaml")
    assert len(plan.tasks) == 4 + 16 + 64 + 256 + 1024
    assert len(plan.subplans) == 4 + 16 + 64 + 256
    for number, subplan in enumerate(plan.subplans, 1):
        assert plan.tasks[subplan.task].name == subplan.name
        assert plan.tasks[subplan.task].scope == subplan.parent < number
    for task in plan.tasks:
        prefix = plan.subplans[task.scope - 1].name + "/" if task.scope else ""
        assert task.name.startswith(prefix)
        assert all(need.task.startswith(prefix) for need in task.needs)


def test_secrets_of_a_subplan_are_secrets(folder: Folder) -> None:
    folder.write("a.yaml", "secrets: [A, B]\ntasks: {p: {plan: b.yaml}}")
    folder.write("b.yaml", "secrets: [B, C]\ntasks: {x: {run: x}}")
    assert folder.load().secrets == ("A", "B", "C")


def test_a_recorded_workflow_is_a_subplan_too(folder: Folder) -> None:
    folder.write("a.yaml", "tasks: {p: {plan: w.json}}")
    folder.write("w.json", '{"workflow": {"tasks": [{"name": "x", "runtime": 2}]}}')
    assert [(task.name, task.type) for task in folder.load().tasks] == [("p", "plan"), ("p/x", "simulate")]


def test_what_the_command_line_says_of_a_plan_it_says_of_the_outermost(folder: Folder) -> None:
    folder.write("a.yaml", "tasks: {p: {plan: b.yaml}}")
    folder.write("b.yaml", "max_parallel: 3\ntasks: {x: {run: x}}")
    line = ProfileSection(max_parallel=9, timeout="7s")  # type: ignore[arg-type]
    plan = load_plan(folder.path / "a.yaml", levels=Levels(line))
    assert (plan.max_parallel, plan.subplans[0].max_parallel, plan.tasks[1].timeout) == (9, 3, 7.0)


# ── faults ──────────────────────────────────────────────────────────────────────────────────────


def test_every_file_tells_its_own_faults_in_its_own_place(folder: Folder) -> None:
    folder.write("a.yaml", "nmae: x\ntasks:\n  p: {plan: d/b.yaml}\n  q: {plan: d/c.yaml, needs: [z]}\n")
    folder.write("d/b.yaml", "tasks:\n  x: {runs: y}\n  y: {plan: c.yaml}\n")
    folder.write("d/c.yaml", "tasks:\n  x: {run: y, needs: [x]}\n")
    assert folder.faults() == [
        "a.yaml:1:1: unknown key 'nmae', did you mean 'name'?",
        "a.yaml:4:31: unknown task 'z'",
        "d/b.yaml:2:7: unknown key 'runs', did you mean 'run'?",
    ]
    folder.write("d/b.yaml", "tasks: {x: {run: y}}\n")
    folder.write("a.yaml", "tasks:\n  p: {plan: d/b.yaml}\n  q: {plan: d/c.yaml}\n")
    assert folder.faults() == ["d/c.yaml:2:23: task 'x' needs itself"]


def test_a_plan_cannot_be_part_of_itself(folder: Folder) -> None:
    folder.write("a.yaml", "tasks: {p: {plan: d/b.yaml}}")
    folder.write("d/b.yaml", "tasks:\n  q: {plan: ../c.yaml}")
    folder.write("c.yaml", "tasks:\n  r: {plan: ./a.yaml}")
    assert folder.faults() == [
        "c.yaml:2:13: a plan cannot be part of itself: a.yaml -> d/b.yaml -> c.yaml -> a.yaml"
    ]
    folder.write("self.yaml", "tasks: {p: {plan: link.yaml}}")
    (folder.path / "link.yaml").symlink_to("self.yaml")
    assert folder.faults("self.yaml") == [
        "self.yaml:1:19: a plan cannot be part of itself: self.yaml -> link.yaml"
    ]


def test_plans_cannot_stand_too_deep(folder: Folder) -> None:
    for level in range(40):
        folder.write(f"{level}.yaml", f"tasks: {{p: {{plan: {level + 1}.yaml}}}}")
    assert folder.faults("0.yaml") == ["31.yaml:1:19: plans stand more than 32 deep within one another"]


WITH = {
    "{plan: b.yaml}": ["2:13: param 'version' of 'b.yaml' needs a value: give it one in with"],
    "{plan: b.yaml, with: {versoin: '1'}}": [
        "2:13: param 'version' of 'b.yaml' needs a value: give it one in with",
        "2:28: 'b.yaml' has no param 'versoin', did you mean 'version'?",
    ],
    "{plan: b.yaml, with: 5}": ["2:27: with must be a mapping, not 5"],
    "{plan: b.yaml, with: {version: [1]}}": ["2:37: with 'version' must be text"],
    "{plan: b.yaml, with: {version: '${{ params.x }}'}}": ["2:37: there is no param 'x': the plan has no params"],
    "{plan: b.yaml, with: {version: '${{ tasks.c.outputs.x }}'}}": [
        "2:37: task 'c' is not among the needs of 'p', so it may not have ended"
    ],
    "{plan: b.yaml, with: {version: '1'}, env: {A: b}, timeout: 1m}": [
        "2:43: a subplan has no env of its own: give it to the tasks inside",
        "2:56: a subplan has no timeout of its own: give it to the tasks inside",
    ],
    "{plan: b.yaml, with: {version: '1'}, needs: [p/x]}": ["2:51: unknown task 'p/x'"],
    "{plan: nowhere.yaml}": ["2:13: 'nowhere.yaml': there is no such file"],
    "{plan: .}": ["2:13: '.': this is a directory, not a plan file"],
}  # fmt: skip


@pytest.mark.parametrize(("task", "faults"), WITH.items())
def test_what_is_wrong_with_a_task_that_stands_for_a_subplan(
    folder: Folder, task: str, faults: list[str]
) -> None:
    folder.write("a.yaml", f"tasks:\n  p: {task}\n  c: {{run: x}}\n")
    folder.write("b.yaml", "params: {version: {}}\ntasks: {x: {run: x}}")
    assert folder.faults() == [f"a.yaml:{fault}" for fault in faults]


def test_an_output_that_a_subplan_does_not_declare(folder: Folder) -> None:
    folder.write(
        "a.yaml", "tasks:\n  p: {plan: b.yaml}\n  c: {needs: [p], run: 'x ${{ tasks.p.outputs.tga }}'}"
    )
    folder.write("b.yaml", "outputs: {tag: '${{ tasks.x.outputs.tag }}'}\ntasks: {x: {run: x}}")
    assert folder.faults() == ["a.yaml:3:24: the subplan 'p' has no output 'tga', did you mean 'tag'?"]


def test_a_task_outside_cannot_need_one_inside(folder: Folder) -> None:
    folder.write("a.yaml", "tasks:\n  p: {plan: b.yaml}\n  c: {needs: [p/x], run: x}")
    folder.write("b.yaml", "tasks: {x: {run: x}}")
    assert folder.faults() == ["a.yaml:3:15: unknown task 'p/x'"]
    folder.write("a.yaml", "tasks:\n  p: {plan: b.yaml}\n  c: {run: x}")
    folder.write("b.yaml", "tasks: {x: {run: x, needs: [c]}}")
    assert folder.faults() == ["b.yaml:1:29: unknown task 'c'"]


def test_growth_has_an_end(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "TASKS", 10)
    folder.write("a.yaml", "tasks:\n  p: {plan: b.yaml, matrix: {n: ['1', '2', '3', '4']}}")
    folder.write("b.yaml", "tasks:\n  x: {run: x, matrix: {n: ['1', '2', '3']}}")
    assert folder.faults() == ["b.yaml:2:1: here the plan has grown to more than 10 tasks"]


def test_needs_of_matrices_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten, "NEEDS", 10)
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(
            "tasks:\n  a: {run: x, matrix: {n: [1, 2, 3, 4]}}\n  b: {run: x, needs: [a], matrix: {n: [1, 2, 3]}}"
        )
    assert str(caught.value) == "plan:3:1: here the plan has grown to more than 10 needs"


# ── params ──────────────────────────────────────────────────────────────────────────────────────


def test_params_have_defaults_and_are_given_from_outside(folder: Folder) -> None:
    folder.write("a.yaml", "params: {version: 2.40, pace: {default: slow}, who: {description: You}}\n"
                 "tasks: {x: {run: x}}")  # fmt: skip
    assert folder.load(who="me").params == {"version": "2.40", "pace": "slow", "who": "me"}
    assert folder.load(who="${{", version="").params == {"version": "", "pace": "slow", "who": "${{"}
    assert folder.faults(wo="me") == [
        "a.yaml: param 'who' needs a value: give it one with -p who=...",
        "a.yaml: there is no param 'wo', did you mean 'who'?",
    ]
    assert parse_plan("params: {a: b}\ntasks: {}", params={"a": "c"}).params == {"a": "c"}


def test_params_for_a_plan_without(folder: Folder) -> None:
    folder.write("a.yaml", "tasks: {x: {run: x}}")
    assert folder.faults(who="me") == ["a.yaml: there is no param 'who': the plan has no params"]


# ── matrices ────────────────────────────────────────────────────────────────────────────────────


def test_a_matrix_fans_out() -> None:
    plan = parse_plan("""\
tasks:
  build: {run: x}
  unit:
    needs: [build]
    run: [echo, "${{ matrix.py }}"]
    matrix:
      py: [3.10, "3.11"]
      os: [linux, mac os]
      exclude: [{py: 3.10, os: mac os}]
      include: [{py: 3.9, os: a/b}]
  pack: {needs: {unit: finished}, run: x}
  last: {needs: ["unit[3.11,linux]"], run: x}
""")
    names = ["unit[3.10,linux]", "unit[3.11,linux]", "unit[3.11,mac os]", "unit[3.9,a/b]"]
    assert [task.name for task in plan.tasks] == ["build", *names, "pack", "last"]
    unit = plan.tasks[1]
    assert (unit.group, unit.matrix) == ("unit", {"py": "3.10", "os": "linux"})
    assert all(task.needs == (Need("build"),) for task in plan.tasks[1:5])
    assert plan.tasks[5].needs == tuple(Need(name, Condition.FINISHED) for name in names)
    assert plan.tasks[6].needs == (Need("unit[3.11,linux]"),)


def test_a_matrix_of_too_many() -> None:
    values = ", ".join(str(n) for n in range(101))
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(f"tasks: {{a: {{run: x, matrix: {{x: [{values}], y: [{values}]}}}}}}")
    assert str(caught.value) == "plan:1:29: matrix stands for 10,201 tasks; at most 10,000 are allowed"


GRAPHS = {
    "a: {run: x, matrix: {n: ['1']}}\n  'a[1]': {run: x}": "2:15: task 'a[1]' is defined twice",
    "a: {run: x, matrix: {n: ['1']}, needs: ['a[1]']}": "2:43: cycle: a -> a[1] -> a (each needs the next)",
    "a: {run: x, matrix: {n: ['1']}, needs: [b]}\n  b: {run: x, needs: ['a[1]']}": (
        "2:43: cycle: a -> b -> a[1] -> a (each needs the next)"
    ),
    "a: {run: x, matrix: {n: ['1']}}\n  b: {run: x, needs: {a: failed}}": "3:26: 'a' is a matrix, of which only success and finished can be asked; a subplan with a matrix in it fails as one",
    "a: {run: x, matrix: {n: ['1']}, needs: [a]}": "2:43: task 'a' needs itself",
    "a: {run: x, matrix: {n: ['1']}}\n  b: {run: x, needs: ['a[2]']}": "3:23: unknown task 'a[2]', did you mean 'a[1]'?",
}  # fmt: skip


@pytest.mark.parametrize(("tasks", "fault"), GRAPHS.items())
def test_what_is_wrong_with_the_graph_around_a_matrix(tasks: str, fault: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(f"tasks:\n  {tasks}\n", source="f")
    assert [str(one) for one in caught.value.faults] == [f"f:{fault}"]


LOOKUPS = {
    "b: {run: 'x ${{ tasks.a.outputs.k }}'}": "task 'a' is not among the needs of 'b', so it may not have ended",
    "b: {needs: [m], run: 'x ${{ tasks.m.outputs.k }}'}": "'m' is a matrix: name one of its tasks, like 'm[1]'",
    "b: {needs: ['m[1]'], run: 'x ${{ tasks.m[2].outputs.k }}'}": (
        "task 'm[2]' is not among the needs of 'b', so it may not have ended"
    ),
    "b: {needs: [a], run: 'x ${{ tasks.mm.outputs.k }}'}": "unknown task 'mm', did you mean 'm'?",
    "b: {needs: [m], run: 'x ${{ tasks.m[2].outputs.k }} ${{ tasks.a.outputs.k }}'}": None,
    "b: {needs: [m], env: {A: '${{ tasks.a.outputs.k }}'}, run: x}": None,
    "b: {needs: {m: finished}, run: 'x ${{ tasks.m[1].outputs.k }}'}": None,
    "b: {needs: [b], run: 'x ${{ tasks.a.outputs.k }}'}": "task 'a' is not among the needs of 'b', so it may not have ended",
}  # fmt: skip


@pytest.mark.parametrize(("task", "fault"), LOOKUPS.items())
def test_outputs_are_those_of_tasks_that_have_ended(task: str, fault: str | None) -> None:
    text = f"tasks:\n  a: {{run: x}}\n  m: {{needs: [a], run: x, matrix: {{n: ['1', '2']}}}}\n  {task}"
    if fault is None:
        parse_plan(text)
        return
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(text)
    assert fault in [one.message for one in caught.value.faults]
