"""A secret, in everything that a real run writes and prints: it must stand nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.secrets import MASK
from tests.support.inside import Cli

ROOT = Path(__file__).parents[2]

SECRET = "s3cr3t-of-the-registry"

TASKS = {
    "whole": 'echo "token is $TOKEN"',
    "cut": "for c in s3cr3t - of-the - registry; do printf %s $c; sleep 0.02; done; echo",
    "grandchild": "sh -c 'sh -c \"echo $TOKEN\" & wait' >&2",
    "last words": 'echo "refused: $TOKEN" >&2; exit 3',
    "spelled": 'printf \'%s\' "$TOKEN" | base64; printf \'{"token": "%s"}\' "$TOKEN"',
    "at the end": "printf %s $TOKEN",
    "reference": "echo ${TOKEN}${TOKEN} '${{ env.TOKEN }}'",
    "output": 'echo "token=$TOKEN" >> "$PLANDECK_OUTPUT"; echo "other=fine" >> "$PLANDECK_OUTPUT"',
}

MODULE = """
import os

def tell(token):
    print("python has", token)
    raise ValueError("no entry with " + os.environ["TOKEN"])
"""


@pytest.fixture(autouse=True)
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def plandeck(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    (tmp_path / "telling.py").write_text(MODULE)
    tasks: dict[str, object] = {name: {"run": run} for name, run in TASKS.items()}
    tasks["python"] = {"python": "telling:tell", "with": {"token": "${{ env.TOKEN }}"}}
    tasks["taken"] = {"run": "echo ${{ tasks.output.outputs.other }}", "needs": ["output"]}
    tasks["kept back"] = {"run": "echo ${{ tasks.output.outputs.token }}", "needs": ["output"]}
    path.write_text(
        json.dumps(
            {
                "secrets": ["TOKEN"],
                "failure_mode": "continue_on_error",
                "max_parallel": 8,
                "tasks": tasks,
                "hooks": {"failure": 'cat; echo "hook: $TOKEN"; env'},
            }
        )
    )
    return path


def exposed(folder: Path) -> list[Path]:
    """The files below that hold the secret, or a good part of it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if SECRET[:12].encode() in path.read_bytes()]


@pytest.mark.parametrize("form", ["--plain", "--json"])
def test_it_is_neither_kept_nor_printed(tmp_path: Path, plan: Path, call: Cli, form: str) -> None:
    run = plandeck(tmp_path, "run", str(plan), form, "-v")
    assert run.returncode == 1, run.stderr
    (_, shown, _), (_, as_json, _) = call("show", "last"), call("show", "last", "--json")
    logs = {task: call("logs", "last", task)[1] for task in (*TASKS, "python")}
    for printed in (run.stdout, run.stderr, shown, as_json, *logs.values()):
        assert SECRET[:12] not in printed
    assert exposed(tmp_path / "state") == []
    assert logs["whole"] == f"token is {MASK}\n"
    assert logs["cut"] == f"{MASK}\n"
    assert logs["grandchild"] == f"{MASK}\n"
    assert logs["reference"] == f"{MASK}{MASK} {MASK}\n"
    assert logs["output"] == "plandeck: the output token holds a secret and is not passed on\n"
    assert f"python has {MASK}\n" in logs["python"]
    assert f"no entry with {MASK}" in shown
    assert "'output' has left no output 'token'" in shown
    assert logs["at the end"].strip() == MASK
    assert f"refused: {MASK}" in shown


def test_a_plan_that_holds_it_is_refused_and_not_kept(tmp_path: Path, plan: Path, call: Cli) -> None:
    plan.write_text(json.dumps({"secrets": ["TOKEN"], "tasks": {"a": {"run": f"login {SECRET}"}}}))
    code, out, err = call("run", plan)
    assert code == 2
    assert "task 'a': run holds the value of the secret TOKEN: use ${{ env.TOKEN }}" in err
    assert SECRET not in out + err
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []
