"""The real command where nothing, or not all, can be kept: that is said plainly, and the run goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from engine.ground.folders import database_path, state_directory
from tests.support.inside import Cli

ROOT = Path(__file__).parents[2]

WELL = "name: well\ntasks: {one: {run: echo fine}, two: {run: 'true', needs: [one]}}\n"


def plandeck(*arguments: object, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "tui", *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(WELL)
    return path


def damage(path: Path) -> None:
    path.write_bytes(b"this is no database, and has never been one" * 100)


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "said"), [(damage, "is damaged"), (make_newer, "was written by a newer plandeck")]
)
def test_a_database_that_cannot_be_used_is_told_and_left_alone(
    plan: Path, call: Cli, spoil: Callable[[Path], None], said: str
) -> None:
    database = database_path(state_directory())
    assert call("run", plan)[0] == 0
    _, runs, _ = call("runs")
    (name,) = (line.split()[1] for line in runs.splitlines() if "well" in line)
    spoil(database)
    content = database.read_bytes()
    done = plandeck("run", plan)
    assert done.returncode == 0
    assert f"plandeck: this run is not kept: {database} {said}" in done.stderr
    assert "well succeeded after" in done.stdout
    for command in (
        ("runs",),
        ("show", "last"),
        ("resume", name),
        ("retry", name),
        ("attach",),
        ("cancel", name),
    ):
        code, _, refused = call(*command)
        assert code == 2
        assert refused.startswith(f"Error: {database} {said}")
        assert refused.count("\n") == 1
    assert database.read_bytes() == content


def test_a_place_that_cannot_be_written_is_told(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    done = plandeck("run", plan)
    assert done.returncode == 0
    assert "plandeck: this run is not kept: cannot " in done.stderr
    assert "plandeck: nobody can attach to this run: cannot listen at " in done.stderr
    assert "plandeck: not all output could be kept: cannot write " in done.stderr
    assert "Traceback" not in done.stderr
    assert "well succeeded after" in done.stdout


def test_a_full_disk_is_told_and_the_run_goes_on(
    plan: Path, call: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as a limit on the size of files is like one. It holds for what is measured as well."""
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    tasks = "".join(f"  t{n}: {{run: 'head -c 20000 /dev/zero'}}\n" for n in range(20))
    plan.write_text(f"name: long\ntasks:\n{tasks}")
    assert call("run", plan)[0] == 0  # the database is there
    done = plandeck("run", plan, before=["sh", "-c", 'ulimit -f 16; exec "$@"', "-"])
    assert done.returncode == 0
    assert "kept: cannot " in done.stderr
    assert "Traceback" not in done.stderr
    assert "20 success" in done.stdout


def test_logs_that_are_deleted_under_a_running_task_are_told(plan: Path, call: Cli) -> None:
    logs = f"{state_directory()}/runs/*/logs"
    delete = f"until rm {logs}/*.log; do sleep 0.01; done 2>&-; rmdir {logs}"
    plan.write_text(f"name: hasty\ntasks: {{one: {{run: 'echo one; {delete}; sleep 1.1; echo two'}}}}\n")
    done = plandeck("run", plan)
    assert done.returncode == 0
    assert "was deleted: its beginning is lost" in done.stderr
    assert "hasty succeeded after" in done.stdout
    assert call("logs", "last", "one") == (0, "two\n", "")


def test_a_run_that_lost_events_is_gone_on_with_only_on_request(plan: Path, call: Cli) -> None:
    assert call("run", plan)[0] == 0
    with sqlite3.connect(database_path(state_directory())) as connection:
        connection.execute("DELETE FROM turns WHERE events LIKE '%TASK_COMPLETED%'")
        connection.execute("UPDATE runs SET outcome = NULL, ended = NULL")
        connection.execute("INSERT INTO gaps VALUES (1, 3, 5, 'the disk was full')")
    connection.close()
    assert call("retry", "last")[0] == 2
    code, _, refused = call("resume", "last")
    assert code == 2
    assert "3 events of run " in refused
    assert "--anyway" in refused
    done = plandeck("resume", "last", "--anyway")
    assert done.returncode == 0
    assert "well succeeded after" in done.stdout
