"""Evidence of a stall: what it printed, which processes it has, how long it usually takes, what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.monitor import evidence
from engine.monitor.evidence import Evidence, ProcessInfo, evidence_of
from engine.monitor.monitor import Monitor
from engine.view.run_view import RunView
from tests.support.run import FakeRun, plan_of

PLAN = plan_of({"fetch data": ""})


def stalled(run: FakeRun, where: str = "", usual: float | None = None) -> Evidence:
    """The task has run for 40 s, and been silent for 30 of them."""
    run.push(run.make.plan_started(), run.make.started("fetch data", where))
    run.make.wait(39)
    run.push(run.make.stalled("fetch data", 30.0))
    view = RunView(run.graph, run.run_id, [usual] if usual is not None else ())
    view.apply(run.make.events)
    return evidence_of(run, view, 0, run.offset)


def test_what_is_known_of_any_stall(tmp_path: Path) -> None:
    run = FakeRun(PLAN, directory=tmp_path)
    run.write_log("fetch data", "".join(f"line {number}\n" for number in range(9)))
    found = stalled(run, where="worker-3")
    assert (found.task, found.attempt, found.elapsed, found.silent_for) == ("fetch data", 1, 40.0, 30.0)
    assert found.last_lines == ("line 4", "line 5", "line 6", "line 7", "line 8")
    assert found.processes == ()
    assert found.usual is None
    assert found.advice == (
        "see what it waits for: plandeck logs 3f2a9c1e 'fetch data'; "
        "to cancel or retry it: plandeck attach 3f2a9c1e"
    )


def test_what_takes_no_longer_than_usual_is_given_time() -> None:
    found = stalled(FakeRun(PLAN), usual=50.0)
    assert found.usual == 50.0
    assert found.advice == "it usually takes 50s: give it time, or raise its stall_after"


def test_a_monitor_tells_of_every_stall() -> None:
    run = FakeRun(PLAN)
    monitor = Monitor(clock=lambda: 0.0)
    following = monitor.follow(run)
    expected = stalled(run)
    following.catch_up()
    assert monitor.stalls(run.run_id) == [expected]


FAMILY = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()  # a session of its own, and still below
    os.kill(os.getpid(), signal.SIGSTOP)
print("ready", flush=True)
signal.pause()
"""


def test_processes_are_found_with_those_that_have_moved_to_another_session() -> None:
    leader = subprocess.Popen([sys.executable, "-c", FAMILY], start_new_session=True, stdout=subprocess.PIPE)
    with leader:
        assert leader.stdout is not None
        leader.stdout.readline()
        try:
            found = stalled(FakeRun(PLAN), where=f"pid {leader.pid}")
            parent, child = found.processes
            while child.state != "T":  # on its way to be stopped
                [_, child] = evidence._processes_below(leader.pid)
            assert (parent.pid, child.parent) == (leader.pid, leader.pid)
            advice = evidence._advice("3f2a", "x", 40.0, None, (parent, child))
            assert advice.endswith(f"is stopped by a signal; to let it go on: kill -CONT {child.pid}")
        finally:
            for process in evidence._processes_below(leader.pid)[::-1]:
                os.kill(process.pid, signal.SIGKILL)


def test_a_process_that_waits_for_a_device_is_named() -> None:
    waiting = ProcessInfo(7, 1, "cp", "D")
    said = evidence._advice("3f2a", "x", 40.0, None, (waiting,))
    assert said == "cp (pid 7) waits for a disk or a network file system: see whether that answers"


def test_without_a_table_of_processes_there_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evidence, "_PROC", tmp_path / "nowhere")
    assert stalled(FakeRun(PLAN), where="pid 1").processes == ()


def test_a_process_that_ends_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "18").mkdir()
    (tmp_path / "18" / "stat").write_text("18 (a) b) c) S 1 18 18 0 -1")
    monkeypatch.setattr(evidence, "_PROC", tmp_path)
    assert stalled(FakeRun(PLAN), where="pid 18").processes == (ProcessInfo(18, 1, "a) b) c", "S"),)


def test_it_can_be_written_as_json() -> None:
    assert b'"silent_for":30.0' in msgspec.json.encode(stalled(FakeRun(PLAN)))
