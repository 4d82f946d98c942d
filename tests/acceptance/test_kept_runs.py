"""Runs through the real command that are killed, left and come back to: nothing is lost, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from engine.core.events import TaskCompleted, TaskStarted
from engine.ground.folders import run_directory, state_directory
from engine.store.history import History
from engine.store.lock import holder_of

ROOT = Path(__file__).parents[2]

MARK = "PLANDECK_TEST_MARK"


def plandeck(*arguments: object, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tui", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, **more,
    )  # type: ignore[call-overload,no-any-return]  # fmt: skip


def said(*arguments: object) -> str:
    """What a command printed, once it has ended well."""
    command = plandeck(*arguments)
    output, _ = command.communicate(timeout=60)
    assert command.returncode == 0, output
    return output


def write_plan(folder: Path, tasks: int) -> Path:
    """Layers of ten; each task adds its name to a file, as its first and as its last deed."""
    plan = {
        "name": "marks",
        "max_parallel": 8,
        "tasks": {
            f"t{number}": {
                "run": f"echo t{number} >> begun; sleep 0.02; echo t{number} >> done",
                "needs": [f"t{number - 10}"] if number >= 10 else [],
            }
            for number in range(tasks)
        },
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    return path


def finished(run_id: str) -> set[str]:
    """The tasks of which the journal says that they have succeeded."""
    with History(state_directory()) as history:
        return {event.task for event in history.events(run_id) if isinstance(event, TaskCompleted)}


def marked_processes(mark: str) -> list[str]:
    """The command lines of what lives with this mark in its environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def kill_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tasks: int, kills: int) -> None:
    random = Random(kills)
    monkeypatch.setenv(MARK, str(tmp_path))
    begun = tmp_path / "begun"
    begun.touch()
    command = plandeck("run", write_plan(tmp_path, tasks), "--json", cwd=tmp_path)
    assert command.stdout is not None
    run_id = json.loads(command.stdout.readline())["run_id"]
    for _ in range(kills):
        for _ in range(random.randrange(2 * tasks // kills)):
            if not command.stdout.readline():
                break
        holder = holder_of(run_directory(state_directory(), run_id))
        if holder is not None and holder.pid:
            os.kill(holder.pid, signal.SIGKILL)
        command.communicate(timeout=60)
        assert marked_processes(str(tmp_path)) == []
        before = finished(run_id)
        counts = Counter(begun.read_text().split())
        command = plandeck("resume", run_id, "--json", cwd=tmp_path)
        assert command.stdout is not None
        if not command.stdout.readline().startswith("{"):
            break  # it had ended before it was killed
        ran_since = Counter(begun.read_text().split()) - counts
        assert not before & set(ran_since), "what was recorded as finished ran again"
    output, _ = command.communicate(timeout=60)
    names = {f"t{number}" for number in range(tasks)}
    assert finished(run_id) == names, output
    assert set((tmp_path / "done").read_text().split()) == names
    assert marked_processes(str(tmp_path)) == []


def test_an_engine_that_is_killed_again_and_again_finishes_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_and_resume(tmp_path, monkeypatch, tasks=40, kills=5)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_an_engine_that_is_killed_fifty_times_finishes_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_and_resume(tmp_path, monkeypatch, tasks=200, kills=50)


def test_a_run_is_left_found_again_and_cancelled_from_elsewhere(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("tasks: {long: {run: 'echo up; exec sleep 1000'}}")
    assert "goes on; to see it: plandeck attach" in said("run", plan, "--detach")
    (run,) = map(json.loads, said("runs", "--json").splitlines())
    second = plandeck("resume", run["run_id"], "--plain")
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "is in the hands of process" in output
    watcher = plandeck("attach", run["run_id"][:8], stdin=subprocess.DEVNULL)
    assert watcher.stdout is not None
    watcher.stdout.readline()
    assert "is being cancelled" in said("cancel", "last")
    rest, _ = watcher.communicate(timeout=60)
    assert "cancelled" in rest
    (run,) = map(json.loads, said("runs", "--json").splitlines())
    assert run["outcome"] == "cancelled"


def test_resuming_waits_until_nothing_is_left_of_a_killed_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, up = tmp_path / "plan.yaml", tmp_path / "up"
    os.mkfifo(up)
    first = f"touch begun; trap '' TERM; echo up > {up}; while :; do sleep 1; done"
    deaf = f"cd {tmp_path}; test -e begun || {{ {first}; }}"
    plan.write_text(json.dumps({"name": "deaf", "tasks": {"deaf": {"run": deaf}}}))
    monkeypatch.setenv(MARK, str(tmp_path))
    said("run", plan, "--detach")
    assert up.read_text() == "up\n"
    (run,) = map(json.loads, said("runs", "--json").splitlines())
    holder = holder_of(run_directory(state_directory(), run["run_id"]))
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    retried = plandeck("retry", "last")
    output, _ = retried.communicate(timeout=60)
    assert retried.returncode == 2
    assert "was interrupted; to go on with it: plandeck resume" in output
    resumed = said("resume", "last", "--plain")
    assert "deaf succeeded after" in resumed
    assert "retried" not in resumed
    assert marked_processes(str(tmp_path)) == []


def test_what_a_signal_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    plan.write_text(f"tasks: {{a: {{run: 'true'}}, b: {{run: 'cat {gate}', needs: [a]}}}}")
    command = plandeck("run", plan, "--json")
    assert command.stdout is not None
    while "TASK_STARTED" not in (line := command.stdout.readline()) or '"task":"b"' not in line:
        assert line
    command.send_signal(signal.SIGTERM)
    command.communicate(timeout=60)
    assert command.returncode == 143
    again = plandeck("resume", "last", "--json")
    gate.write_text("go\n")
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    ran = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert {event["task"] for event in ran if event["type"] == "TASK_RETRIED"} == {"b"}


def test_the_second_run_of_a_plan_starts_first_what_took_longest(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    durations = {"short": "10ms", "middle": "150ms", "long": "400ms"}
    tasks = {name: {"simulate": {"duration": each}} for name, each in durations.items()}
    plan.write_text(json.dumps({"name": "order", "max_parallel": 1, "tasks": tasks}))
    orders = []
    for _ in range(2):
        said("run", plan)
        with History(state_directory()) as history:
            events = history.events(history.find("last").run_id)
        orders.append([event.task for event in events if isinstance(event, TaskStarted)])
    assert orders == [["short", "middle", "long"], ["long", "middle", "short"]]
