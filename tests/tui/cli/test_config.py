"""`plandeck config`: which settings hold for a plan, and who has said so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.plan.levels import Effective, effective
from engine.plan.model import Plan, Subplan, Task
from engine.settings.reader import settings_path
from tui.cli.config import _spelled
from tui.cli.main import run_command_line

PLAN = """\
name: nightly
profile: cautious
profiles: {cautious: {timeout: 90s}}
defaults: {retry: 2}
tasks:
  fetch: {run: "true", timeout: 1h30m, shutdown: {signal: INT}}
  pack: {run: "true", needs: [fetch]}
"""


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "nightly.yaml"
    path.write_text(PLAN)
    return str(path)


def write_settings(text: str) -> None:
    settings_path().parent.mkdir(parents=True, exist_ok=True)
    settings_path().write_text(text)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_each_setting_is_told_with_its_level(plan: str, capfd: pytest.CaptureFixture[str]) -> None:
    write_settings("[defaults]\npriority = 60\ntimeout = '1m'\n")
    assert run_command_line(["config", "explain", plan, "--max-parallel", "3"]) == 0
    told = lines(capfd.readouterr().out)
    assert told[:3] == ["plan nightly", "failure_mode fail_fast built-in", "max_parallel 3 command line"]
    common = told[told.index("tasks of plan nightly") : told.index("task fetch")]
    assert "timeout 1m30s profile cautious" in common
    assert "retry.limit 2 plan" in common
    assert "retry.delay 500ms built-in" in common
    assert "priority 60 global" in common
    assert told[told.index("task fetch") :] == [
        "task fetch",
        "timeout 1h30m task",
        "shutdown.signal INT task",
    ]


def test_one_task_in_full(plan: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["config", "explain", plan, "--task", "pack"]) == 0
    told = lines(capfd.readouterr().out)
    assert "task fetch" not in told
    assert "timeout 1m30s profile cautious" in told[told.index("task pack") :]


def test_for_other_programs(plan: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["config", "explain", plan, "--failure-mode", "pause_on_failure", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert rows[0] == {
        "scope": "",
        "task": None,
        "field": "failure_mode",
        "value": "pause_on_failure",
        "level": "command line",
    }
    assert {"scope": "", "task": "fetch", "field": "timeout", "value": 5400.0, "level": "task"} in rows


def test_a_signal_has_its_name_for_other_programs_too(plan: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["config", "explain", plan, "--task", "fetch", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["value"] for row in rows if row["field"] == "shutdown.signal"] == ["INT"]


def test_what_a_route_says_of_one_task_is_not_told_of_all(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_settings('routes = [{labels = {gpu = "yes"}, executor = "cluster"}]\n')
    path = tmp_path / "plan.yaml"
    path.write_text('tasks: {train: {run: "true", labels: {gpu: "yes"}}, pack: {run: "true"}}')
    assert run_command_line(["config", "explain", str(path)]) == 0
    told = lines(capfd.readouterr().out)
    assert told[-3:] == ["", "task train", "executor cluster route 1"]
    assert told[-4] == "executor local built-in"


def test_a_plan_that_needs_params_is_given_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("params: {where: {}}\ntasks: {a: {run: 'true', working_dir: '${{ params.where }}'}}")
    assert run_command_line(["config", "explain", str(path)]) == 2
    assert "param 'where' needs a value" in capfd.readouterr().err
    assert run_command_line(["config", "explain", str(path), "-p", "where=/srv"]) == 0
    assert "working_dir ${{ params.where }} task" in lines(capfd.readouterr().out)


def test_an_unknown_task_is_bad_usage(plan: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["config", "explain", plan, "--task", "pak"]) == 2
    assert "there is no task 'pak'" in capfd.readouterr().err


@pytest.mark.parametrize("command", [["config", "explain"], ["check"], ["run", "--plain"], ["graph"]])
def test_settings_that_cannot_be_used_are_refused_with_their_place(
    plan: str, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    write_settings("[defaults]\nmax_parallel = 64\n")
    assert run_command_line([*command, plan]) == 2
    assert f"{settings_path()}:2:1: max_parallel must be at most 32, not 64" in capfd.readouterr().err


def test_a_plan_that_cannot_be_read_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["config", "explain", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capfd.readouterr().err


def test_where_the_file_is(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["config", "path"]) == 0
    assert capfd.readouterr().out == f"{settings_path()}\n"


def test_a_subplan_has_settings_of_its_own() -> None:
    plan = Plan(
        name="outer",
        tasks=(
            Task(name="rollout", plan="rollout.yaml"),
            Task(name="rollout/step", run="true", scope=1, priority=7, given=("priority",)),
        ),
        subplans=(
            Subplan(name="rollout", task=0, parent=0, max_parallel=2, origins={"max_parallel": "plan"}),
        ),
    )
    rows = list(effective(plan))
    assert Effective("rollout", None, "max_parallel", 2, "plan") in rows
    assert Effective("rollout", "rollout/step", "priority", 7, "task") in rows
    assert [row.field for row in rows if row.scope == "rollout" and row.task is None] == [
        "failure_mode",
        "max_parallel",
    ]


@pytest.mark.parametrize(
    ("field", "value", "spelled"),
    [
        ("timeout", None, "never"),
        ("timeout", 5400.0, "1h30m"),
        ("retry.jitter", 0.05, "50ms"),
        ("shutdown.grace", 0.0, "0s"),
        ("stall_after", 90061.5, "1d1h1m1s500ms"),
        ("shutdown.signal", 15, "TERM"),
        ("skip_on_failure", True, "true"),
        ("retry.exit_codes", (75, -9), "[75, -9]"),
        ("retry.backoff", 2.0, "2"),
        ("hooks.success", None, "-"),
        ("executor", "local", "local"),
    ],
)
def test_values_are_spelled_as_in_a_plan(field: str, value: object, spelled: str) -> None:
    assert _spelled(field, value) == spelled
