"""Several processes at once, and processes that are killed: what was said to be on disk is on disk."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from random import Random

from engine.core.events import Event
from engine.core.state import Outcome
from engine.ground.folders import run_directory
from engine.plan.graph import Graph
from engine.store.history import History
from engine.store.journal import Journal
from engine.store.lock import RunLock
from engine.view.snapshot import snapshot_after
from tests.support.events import EventFactory
from tests.support.journals import DIAMOND, child

WRITE = """
import sys
from pathlib import Path
from tests.store.test_kills import write
write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


def retried_diamond(run_id: str, times: int) -> list[Event]:
    """A run in which A is reset and run again so many times: 3 events each, and one before."""
    made = EventFactory(Graph(DIAMOND), run_id=run_id, step=0.01)
    made.plan_started()
    for _ in range(times):
        made.started("A")
        made.completed("A")
        made.reset("A")
    return made.events


def write(state: Path, run_id: str, times: int, turn: int) -> None:
    """What a child does: go on with the run where it ends, and say after each turn what is written."""
    with RunLock(run_directory(state, run_id)), Journal.reopen(state, run_id) as journal:
        rest = retried_diamond(run_id, times)[journal.last_seq :]
        for first in range(0, len(rest), turn):
            journal.commit(rest[first : first + turn])
            print(journal.last_seq, flush=True)
        assert journal.fault is None, journal.fault


def said(process: subprocess.Popen[str], lines: int) -> int:
    """The number in the last of so many lines; 0 if there are no more."""
    assert process.stdout is not None
    last = ""
    for _ in range(lines):
        last = process.stdout.readline() or last
    return int(last or 0)


def test_what_was_said_to_be_written_survives_sigkill_at_any_moment(tmp_path: Path) -> None:
    random = Random(7)
    times, written = 3_000, 0
    events = retried_diamond("run", times)
    Journal.create(tmp_path, "run", DIAMOND).close()
    with History(tmp_path) as history:
        for _ in range(6):
            process = child(WRITE, tmp_path, "run", times, random.choice((1, 3, 7)))
            written = max(written, said(process, random.randint(1, 150)))
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate()
            written = max(written, int(rest.split()[-1]) if rest.strip() else 0)
            found = history.events("run")
            assert len(found) >= written
            assert found == events[: len(found)]  # no turn in part, none twice, none out of order
            written = len(found)
            record = history.find("run")
            assert record.outcome is None
            assert record.holder is None
            assert snapshot_after(Graph(DIAMOND), found).seq == written
    assert 0 < written < len(events)
    with RunLock(run_directory(tmp_path, "run")) as lock:
        assert lock.stale is not None
        assert lock.stale.pid == process.pid


def test_several_runs_write_at_once_while_others_read(tmp_path: Path) -> None:
    times = 150
    names = ["one", "two"]
    for name in names:
        Journal.create(tmp_path, name, DIAMOND).close()
    children = [child(WRITE, tmp_path, name, times, 1) for name in names]
    with History(tmp_path) as history:
        while any(process.poll() is None for process in children):
            for name, process in zip(names, children, strict=True):
                number = said(process, 50)
                found = history.events(name)
                assert len(found) >= number
                assert found == retried_diamond(name, times)[: len(found)]
        for name, process in zip(names, children, strict=True):
            process.communicate()
            assert process.returncode == 0
            assert history.events(name) == retried_diamond(name, times)
            assert history.gaps(name) == []


def test_a_run_can_be_ended_by_another_process_than_began_it(tmp_path: Path) -> None:
    Journal.create(tmp_path, "run", DIAMOND).close()
    process = child(WRITE, tmp_path, "run", 5, 2)
    process.communicate()
    made = EventFactory(Graph(DIAMOND), run_id="run", step=0.01)
    made.events = retried_diamond("run", 5)
    with Journal.reopen(tmp_path, "run") as journal, History(tmp_path) as history:
        assert history.find("run").pid != process.pid
        assert journal.last_seq == 16
        journal.commit([made.plan_completed(Outcome.CANCELLED)])
        assert history.find("run").outcome is Outcome.CANCELLED
