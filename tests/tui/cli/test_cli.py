"""The command line as far as it goes without running a plan: help, usage, faults, graphs, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.plan.model import MAX_PARALLEL, MIN_PARALLEL, FailureMode
from tests.support.inside import Cli
from tui.cli.main import SHELLS, cli
from tui.cli.plan_options import FAILURE_MODES
from tui.plain.streams import EXIT_UNREAD

ROOT = Path(__file__).parents[3]
HEAVY = {"anyio", "asyncio", "msgspec", "networkx", "pydantic", "rich", "textual", "yaml", "engine"}

GOOD = """\
name: release
tasks:
  build: {run: make}
  unit: {run: [pytest], needs: [build], retry: 2, timeout: 10m}
"""
BAD = """\
name: release
max_parallel: 99
tasks:
  build: {rum: make}
  unit: {run: pytest, needs: [biuld]}
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# ── help ────────────────────────────────────────────────────────────────────────────────────────


def test_help_names_every_command_and_exit_code(call: Cli) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert all(f"  {name} " in out for name in cli.commands)
    assert "130 cancelled" in " ".join(out.split())


def test_help_loads_nothing_heavy() -> None:
    """That is what makes it quick: every command imports what it needs when it runs."""
    show = (
        "import sys\nfrom tui.cli.main import run_command_line as run\nrun(['--help'])\nprint(*sys.modules)"
    )
    result = python("-c", show)
    loaded = {name.partition(".")[0] for name in result.stdout.splitlines()[-1].split()}
    assert "click" in loaded
    assert not loaded & HEAVY


def test_who_looks_at_a_run_does_not_load_what_reads_plans_and_runs_them() -> None:
    result = python("-c", "import sys, tui.app, tui.hosting.visit\nprint(*sys.modules)")
    loaded = set(result.stdout.split())
    assert {"tui.app", "tui.hosting.visit"} <= loaded
    assert not loaded & {"engine.runner", "engine.dispatch.local", "engine.plan.load", "pydantic", "yaml"}


@pytest.mark.parametrize("command", cli.commands)
def test_every_command_has_help(call: Cli, command: str) -> None:
    code, out, _ = call(command, "--help")
    assert code == 0
    assert f"Usage: plandeck {command}" in out


def test_python_m_is_the_same_program() -> None:
    result = python("-m", "tui", "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: plandeck ")


# ── usage ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "No such command 'fly'"),
        (["run"], "Missing argument 'PLAN'"),
        (["run", "{good}", "--max-parallel", "0"], "--max-parallel"),
        (["run", "{good}", "--max-parallel", "33"], "--max-parallel"),
        (["run", "{good}", "--failure-mode", "hope"], "--failure-mode"),
        (["run", "{good}", "--speed", "0"], "--speed"),
        (["run", "{good}", "--speed", "nan"], "--speed"),
        (["run", "{good}", "--plain", "--json"], "exclude each other"),
        (["run", "{good}", "--dry-run", "--json"], "graph PLAN --format json"),
        (["demo", "nothing"], "there is no sample plan 'nothing'; there are continue-on-error, diamond"),
        (["completion", "cmd"], "'cmd' is not one of"),
    ],
)
def test_bad_usage_is_2_and_names_the_place(
    call: Cli, good: Path, arguments: list[str], message: str
) -> None:
    code, out, err = call(*(argument.format(good=good) for argument in arguments))
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not out


def test_limits_and_modes_are_those_of_the_plan(call: Cli, good: Path) -> None:
    """They are written out in the command line, so that `--help` need not load the engine."""
    assert tuple(FailureMode) == FAILURE_MODES
    for slots in (MIN_PARALLEL, MAX_PARALLEL):
        assert call("run", good, "--dry-run", "--max-parallel", str(slots))[0] == 0
    for slots in (MIN_PARALLEL - 1, MAX_PARALLEL + 1):
        assert call("run", good, "--dry-run", "--max-parallel", str(slots))[0] == 2


def test_interrupt_before_the_run_is_130(call: Cli, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: str, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.plan.load.load_plan", interrupted)
    code, out, err = call("check", good)
    assert (code, out, err.strip()) == (130, "", "")


# ── check ───────────────────────────────────────────────────────────────────────────────────────


def test_check_good_plan(call: Cli, good: Path) -> None:
    assert call("check", good) == (0, f"{good}: fine, 2 tasks\n", "")


@pytest.mark.parametrize("command", ["check", "run", "graph"])
def test_every_fault_is_printed_with_its_place(call: Cli, bad: Path, command: str) -> None:
    code, out, err = call(command, bad)
    assert code == 2
    assert not out
    places = [line.removeprefix(f"{bad}:").split(": ")[0] for line in err.splitlines()]
    assert places == ["2:15", "4:11", f"5:{BAD.splitlines()[4].index('biuld') + 1}"]


def test_params_of_check_and_graph(call: Cli, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("params: {version: {}}\ntasks: {a: {run: 'x ${{ params.version }}'}}")
    missing = f"{path}: param 'version' needs a value: give it one with -p version=...\n"
    assert call("check", path) == (2, "", missing)
    assert call("check", path, "-p", "version=") == (0, f"{path}: fine, 1 task\n", "")
    assert call("graph", path, "-p", "version=a=b")[0] == 0
    unknown = f"{path}: there is no param 'versoin', did you mean 'version'?\n"
    assert call("check", path, "-p", "version=1", "-p", "versoin=2") == (2, "", unknown)
    for wrong in ("version", "=x"):
        code, _, err = call("check", path, "-p", wrong)
        assert code == 2
        assert f"{wrong!r} must be NAME=VALUE" in err


def test_check_counts_subplans(call: Cli, good: Path) -> None:
    outer = good.with_name("outer.yaml")
    outer.write_text("tasks: {a: {plan: good.yaml}}")
    assert call("check", outer) == (0, f"{outer}: fine, 2 tasks, 1 subplan\n", "")


def test_check_goes_on_after_a_bad_plan(call: Cli, good: Path, bad: Path) -> None:
    code, out, err = call("check", bad, good)
    assert code == 2
    assert out == f"{good}: fine, 2 tasks\n"
    assert len(err.splitlines()) == 3


def test_missing_file_is_2(call: Cli, tmp_path: Path) -> None:
    code, _, err = call("run", tmp_path / "nowhere.yaml")
    assert code == 2
    assert err == f"{tmp_path}/nowhere.yaml: there is no such file\n"


def test_fault_prints_no_control_sequence(call: Cli, tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mplan.yaml"
    path.write_text('tasks: {"\\e[2J": {run: x}}\n')
    _, _, err = call("check", path)
    assert err
    assert "\x1b" not in err


# ── graph, schema, dry run ──────────────────────────────────────────────────────────────────────


def test_graph_as_text(call: Cli, good: Path) -> None:
    code, out, _ = call("graph", good)
    assert code == 0
    assert out.endswith("wave 2\n  unit  needs build\n")


@pytest.mark.parametrize(
    ("format", "beginning"),
    [("mermaid", "flowchart LR\n"), ("dot", 'digraph "release" {\n'), ("json", "{\n")],
)
def test_graph_for_other_programs(call: Cli, good: Path, format: str, beginning: str) -> None:
    code, out, _ = call("graph", good, "--format", format)
    assert code == 0
    assert out.startswith(beginning)


def test_schema_is_json(call: Cli) -> None:
    code, out, _ = call("schema")
    assert code == 0
    assert json.loads(out)["title"] == "plandeck plan"
    assert not out.endswith("\n\n")


def test_dry_run_shows_effective_settings_and_runs_nothing(call: Cli, good: Path) -> None:
    code, out, _ = call("run", good, "--dry-run", "--max-parallel", "7", "--failure-mode", "pause-on-failure")
    assert code == 0
    assert out.splitlines()[0] == "release: 2 tasks in 2 waves, 7 slots, pause-on-failure"
    assert "      (time-out 10m, retried up to 2 times)\n" in out


# ── the rest ────────────────────────────────────────────────────────────────────────────────────


def test_demo_lists_the_sample_plans(call: Cli) -> None:
    code, out, _ = call("demo")
    assert code == 0
    assert "diamond " in out
    assert out.endswith("Run one: plandeck demo NAME\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_script(call: Cli, shell: str) -> None:
    code, out, _ = call("completion", shell)
    assert code == 0
    assert "_PLANDECK_COMPLETE" in out


def test_completion_offers_the_commands() -> None:
    result = python("-m", "tui", _PLANDECK_COMPLETE="bash_complete", COMP_WORDS="plandeck ", COMP_CWORD="1")
    offered = {line.partition(",")[2] for line in result.stdout.splitlines()}
    assert offered == set(cli.commands)


def test_unread_output_ends_quietly() -> None:
    """`plandeck graph PLAN | head -1` with a reader that is gone before anything is written."""
    read, write = os.pipe()
    os.close(read)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "tui", "demo"],
            cwd=ROOT,
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert (result.returncode, result.stderr) == (EXIT_UNREAD, b"")


def test_closed_streams_are_replaced() -> None:
    command = [sys.executable, "-m", "tui", "demo"]
    result = python("-c", f"import os; os.closerange(0, 3); os.execv({sys.executable!r}, {command!r})")
    assert result.returncode == 0
