"""The journal: what it has taken is on disk, and what goes wrong with the disk never reaches the run."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from engine.core.events import Event, PlanPaused, RetryScheduled
from engine.core.state import Outcome, RunPhase, TaskState
from engine.errors import StoreError
from engine.ground.folders import database_path
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Subplan
from engine.store import journal as journal_module
from engine.store.database import open_database
from engine.store.history import History
from engine.store.journal import Journal, digest_of
from engine.store.records import Gap
from tests.store.conftest import Disk, Frozen
from tests.support.events import EventFactory
from tests.support.journals import DIAMOND, broken_diamond, diamond, write_run


def turns(events: Sequence[Event], size: int = 1) -> Iterator[Sequence[Event]]:
    for first in range(0, len(events), size):
        yield events[first : first + size]


def read(state: Path, run_id: str = "run") -> list[Event]:
    with History(state) as history:
        return history.events(run_id)


def later(event: Event, seconds: float) -> Event:
    return msgspec.structs.replace(event, offset=event.offset + seconds)


# ── all goes well ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_what_was_committed_is_there_at_once(state: Path, size: int) -> None:
    events = broken_diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal, History(state) as history:
        for turn in turns(events, size):
            journal.commit(turn)
            assert history.events("run") == events[: turn[-1].seq]
            assert journal.last_seq == turn[-1].seq
        assert journal.fault is None
        assert journal.missing == 0


def test_a_turn_of_more_than_one_statement_is_one_transaction(state: Path) -> None:
    events = [
        RetryScheduled(
            seq=seq, utc=0.0, offset=0.0, run_id="run", cause="attempt failed", task="B", index=1, attempt=1,
            state=TaskState.RETRYING, due=1.0, delay=0.5, duration=0.5, error=f"number {seq}",
        )
        for seq in range(1, 1001)
    ]  # fmt: skip
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events)
        assert journal.missing == 0
    assert read(state) == events


def test_the_row_of_a_run_tells_what_it_was_started_with(state: Path, tmp_path: Path) -> None:
    source = tmp_path / "diamond.yaml"
    source.write_text("tasks: {}\n")
    plan = msgspec.structs.replace(DIAMOND, source=str(source))
    options = {"max_parallel": 7, "failure_mode": FailureMode.PAUSE_ON_FAILURE, "seed": 3, "speed": 100.0}
    with Journal.create(state, "run", plan, **options) as journal:  # type: ignore[arg-type]
        assert journal.plan is plan
    with History(state) as history:
        record = history.find("run")
        assert history.plan("run") == plan
    assert (record.plan, record.goal, record.tasks) == ("diamond", "see it through", 4)
    assert (record.max_parallel, record.failure_mode) == (7, FailureMode.PAUSE_ON_FAILURE)
    assert (record.seed, record.speed, record.pid) == (3, 100.0, os.getpid())
    assert record.source == str(source)
    assert record.source_digest == digest_of(plan) == sha256(source.read_bytes()).hexdigest()
    assert not record.has_changed()
    source.write_text("tasks: {a: {run: 'true'}}\n")
    assert record.has_changed()
    source.unlink()
    assert record.has_changed()


def test_a_plan_has_changed_when_one_of_its_subplans_has(state: Path, tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer.yaml", tmp_path / 'odd\n \u00e6".yaml'
    outer.write_text("outer")
    inner.write_text("inner")
    subplans = tuple(Subplan(name=name, task=0, parent=0, source=str(inner)) for name in ("a", "b"))
    plan = msgspec.structs.replace(DIAMOND, source=str(outer), subplans=subplans)
    with Journal.create(state, "run", plan), History(state) as history:
        record = history.find("run")
    assert not record.has_changed()
    inner.write_text("changed")
    assert record.has_changed()
    inner.unlink()
    assert record.has_changed()


def test_a_plan_from_nowhere_has_not_changed(state: Path) -> None:
    write_run(state, diamond("run"))
    with History(state) as history:
        record = history.find("run")
    assert record.source_digest is None
    assert record.max_parallel == DIAMOND.max_parallel
    assert record.failure_mode is DIAMOND.failure_mode
    assert not record.has_changed()


def test_the_end_is_written_with_the_last_event_and_taken_back_by_a_retry(state: Path) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run")
    made.events = broken_diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal, History(state) as history:
        journal.commit(made.events)
        record = history.find("run")
        assert record.outcome is Outcome.FAILED
        assert record.ended == made.events[-1].utc
        assert (record.success, record.failed, record.skipped, record.retried) == (2, 1, 1, 1)
        made.offset = 100.0
        journal.commit([made.resumed()])
        record = history.find("run")
        assert record.outcome is record.ended is None
        assert record.failed == 1  # counted from the events now
        journal.commit([made.reset("B"), made.started("B"), made.completed("B")])
        assert history.find("run").failed == 0
        journal.commit([made.plan_completed()])
        assert history.find("run").outcome is Outcome.SUCCESS


def test_two_runs_share_the_database_and_the_plan(state: Path) -> None:
    for run_id in ("one", "two"):
        write_run(state, diamond(run_id))
    assert read(state, "one") == diamond("one")
    assert read(state, "two") == diamond("two")
    connection = open_database(state)
    assert connection.execute("SELECT count(*) FROM plans").fetchone() == (1,)
    connection.close()


def test_a_run_is_created_once(state: Path) -> None:
    write_run(state, diamond("run"))
    with pytest.raises(StoreError, match="has a run run already"):
        Journal.create(state, "run", DIAMOND)
    assert read(state) == diamond("run")


def test_a_run_can_be_gone_on_with(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events[:4])
    with Journal.reopen(state, "run") as journal:
        assert journal.plan == DIAMOND
        assert journal.last_seq == 4
        journal.commit(events[4:])
        assert journal.missing == 0
    assert read(state) == events


def test_a_run_that_is_not_there_cannot_be_gone_on_with(state: Path) -> None:
    with pytest.raises(StoreError, match=str(state)):
        Journal.reopen(state, "run")
    write_run(state, diamond("other"))
    with pytest.raises(StoreError, match="there is no run run in"):
        Journal.reopen(state, "run")


def test_a_plan_that_cannot_be_read_is_told(state: Path) -> None:
    write_run(state, diamond("run"))
    connection = open_database(state)
    connection.execute("UPDATE plans SET definition = '{}'")
    connection.close()
    with pytest.raises(StoreError, match="not written"):
        Journal.reopen(state, "run")


def test_words_that_are_no_text_are_kept_as_far_as_they_can_be(state: Path) -> None:
    name = "/srv/\udcff"
    plan = msgspec.structs.replace(DIAMOND, directory=name, source=name, goal=name)
    made = EventFactory(Graph(plan), run_id="run")
    made.plan_started()
    made.started("A", where=name)
    made.completed("A")
    made.started("B", where=name)
    paused = PlanPaused(seq=5, utc=9.0, offset=9.0, run_id="run", cause=name, phase=RunPhase.PAUSED)
    with Journal.create(state, "run", plan) as journal, History(state) as history:
        journal.commit(made.events[:2])
        journal.commit(made.events[2:])
        journal.commit([paused, msgspec.structs.replace(made.plan_completed(), seq=6)])
        assert journal.fault is None
        assert journal.missing == 0
        assert [event.seq for event in history.events("run")] == [1, 2, 3, 4, 5, 6]
        assert history.events("run")[4].cause == "/srv/?"
        assert history.plan("run") == plan
        assert history.find("run").goal == "/srv/?"


def test_nothing_is_not_a_turn(state: Path) -> None:
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit([])
        assert journal.last_seq == 0


# ── trouble ─────────────────────────────────────────────────────────────────────────────────────


def test_a_state_directory_that_cannot_be_written_is_told_at_the_beginning(frozen: Frozen) -> None:
    frozen.freeze()
    with pytest.raises(StoreError, match="XDG_STATE_HOME"):
        Journal.create(frozen.directory / "state", "run", DIAMOND)


def test_a_database_that_cannot_be_written_is_told_at_the_beginning(frozen: Frozen) -> None:
    write_run(frozen.directory, diamond("run"))
    frozen.freeze()
    with pytest.raises(StoreError, match="XDG_STATE_HOME"):
        Journal.reopen(frozen.directory, "run")


def check_full_disk(disk: Disk) -> None:
    events = [later(event, 10.0 * event.seq) for event in diamond("run")]
    with Journal.create(disk.directory, "run", DIAMOND) as journal:
        journal.commit(events[:3])
        disk.fill()
        bulk = "x" * 20_000
        noisy = [msgspec.structs.replace(event, cause=bulk) for event in events[3:7]]
        for event in noisy:
            journal.commit([event])
        assert journal.missing > 0
        assert journal.fault is not None
        assert "full" in journal.fault
        assert str(database_path(disk.directory)) in journal.fault
        disk.free()
        journal.commit(events[7:])
        assert journal.missing == 0
        assert journal.fault is None
    assert read(disk.directory) == [*events[:3], *noisy, *events[7:]]


def test_a_full_disk_costs_nothing_if_it_is_freed_in_time(small_disk: Disk) -> None:
    check_full_disk(small_disk)


def test_a_limit_on_files_is_as_a_full_disk(limited_files: Disk) -> None:
    check_full_disk(limited_files)


def test_while_it_is_locked_events_wait(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events[:2])
        other = open_database(state)
        other.execute("BEGIN IMMEDIATE")
        journal.commit(events[2:3])
        assert journal.missing == 1
        assert "locked by another program" in str(journal.fault)
        assert journal.last_seq == 2
        journal.commit([msgspec.structs.replace(events[3], offset=events[2].offset + 0.5)])
        assert journal.missing == 2
        other.execute("ROLLBACK")
        journal.commit([msgspec.structs.replace(events[4], offset=events[2].offset + 0.9)])
        assert journal.missing == 3  # it is not tried at every turn
        journal.commit([later(events[5], 60.0)])
        assert journal.missing == 0
        assert journal.fault is None
        other.close()
    assert [event.seq for event in read(state)] == [1, 2, 3, 4, 5, 6]


def test_the_end_of_the_run_is_tried_in_any_case(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        other = open_database(state)
        other.execute("BEGIN IMMEDIATE")
        journal.commit(events[:-1])
        other.execute("ROLLBACK")
        journal.commit([msgspec.structs.replace(events[-1], offset=events[-2].offset)])
        assert journal.missing == 0
        other.close()


@pytest.mark.parametrize("is_free", [True, False])
def test_closing_is_the_last_try(state: Path, is_free: bool) -> None:
    events = diamond("run")
    journal = Journal.create(state, "run", DIAMOND)
    other = open_database(state)
    other.execute("BEGIN IMMEDIATE")
    journal.commit(events)
    if is_free:
        other.execute("ROLLBACK")
    journal.close()
    assert journal.missing == (0 if is_free else len(events))
    assert (journal.fault is None) == is_free
    other.close()
    assert read(state) == (events if is_free else [])
    journal.close()  # once more does no harm


def test_too_many_to_keep_are_given_up_and_the_gap_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "HELD_LIMIT", 3)
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal, History(state) as history:
        journal.commit(events[:2])
        other = open_database(state)
        other.execute("BEGIN IMMEDIATE")
        for event in events[2:9]:  # 3..6 are given up together, and 7..9 wait
            journal.commit([msgspec.structs.replace(event, offset=5.0)])
        assert journal.lost == 4
        assert journal.missing == 7
        journal.commit([later(events[9], 60.0)])  # 7..10 as well
        assert journal.missing == journal.lost == 8
        other.execute("ROLLBACK")
        other.close()
        journal.commit([msgspec.structs.replace(events[9], seq=11, offset=120.0)])
        assert journal.missing == journal.lost == 8
        assert "locked" in str(journal.fault)  # what is lost stays said
        assert [event.seq for event in history.events("run")] == [1, 2, 11]
        [gap] = history.gaps("run")
        assert (gap.first, gap.last) == (3, 10)
        assert "locked" in gap.reason
        assert history.find("run").missing == 8


def test_a_database_that_was_deleted_is_begun_anew(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events[:4])
        shutil.rmtree(state)
        journal.commit([later(events[4], 60.0)])
        assert journal.lost == journal.missing == 4
        assert "was deleted" in str(journal.fault)
        journal.commit([later(event, 60.0) for event in events[5:]])
        assert journal.lost == 4
        with History(state) as history:
            assert [event.seq for event in history.events("run")] == [event.seq for event in events[4:]]
            assert history.gaps("run") == [Gap(1, 4, str(journal.fault))]
            assert history.plan("run") == DIAMOND
            assert history.find("last").outcome is Outcome.SUCCESS


def test_a_database_that_was_deleted_before_anything_was_in_it_is_no_loss(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        shutil.rmtree(state)
        journal.commit(events)
        assert journal.missing == 0
        assert journal.fault is None
    assert read(state) == events


def test_another_file_in_its_place_is_noticed(state: Path, tmp_path: Path) -> None:
    """A backup that was played back, say: it has the run, but not all of it."""
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events[:2])
    shutil.copytree(state, tmp_path / "backup")
    with Journal.reopen(state, "run") as journal:
        journal.commit(events[2:5])
        shutil.rmtree(state)
        shutil.copytree(tmp_path / "backup", state)
        journal.commit([later(events[5], 60.0)])
        assert journal.lost == 3
    with History(state) as history:
        assert [event.seq for event in history.events("run")] == [1, 2, 6]
        assert [(gap.first, gap.last) for gap in history.gaps("run")] == [(3, 5)]


def test_a_place_that_is_gone_for_good_never_reaches_the_run(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events[:2])
        shutil.rmtree(state)
        state.touch()  # nothing can be made here now
        for event in events[2:]:
            journal.commit([later(event, 60.0 * event.seq)])
        assert journal.missing == len(events) - 2
        assert str(state) in str(journal.fault)


def test_a_database_that_becomes_garbage_never_reaches_the_run(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events[:2])
        for path in state.iterdir():
            with path.open("r+b") as file:
                file.write(b"garbage " * (path.stat().st_size // 8))
        for event in events[2:]:
            journal.commit([later(event, 60.0 * event.seq)])
        assert journal.fault is not None
        assert journal.missing > 0


def test_a_commit_whose_answer_was_lost_is_not_made_twice(state: Path) -> None:
    """An error at COMMIT does not say whether it was carried out; then the same events come again."""
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(events[:4])
        journal.commit(events[2:6])
        assert journal.missing == 0
    assert read(state) == events[:6]


def test_who_closes_a_broken_connection_is_not_bothered(state: Path) -> None:
    journal = Journal.create(state, "run", DIAMOND)

    class Broken:
        def close(self) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    assert journal._connection is not None
    journal._connection.close()
    journal._connection = Broken()  # type: ignore[assignment]
    journal.close()
    assert journal.fault is None
