"""What the history tells: which runs there were, how each went, and how long things take."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.completion import Completion
from engine.core.records import AttemptRecord
from engine.core.state import Outcome
from engine.errors import StoreError
from engine.ground.folders import database_path, run_directory
from engine.plan.graph import Graph
from engine.plan.model import Plan, Task
from engine.store.database import open_database
from engine.store.history import RUNS_COUNTED, History
from engine.store.journal import Journal
from engine.store.lock import RunLock
from tests.store.conftest import Frozen
from tests.support.events import EventFactory
from tests.support.journals import DIAMOND, broken_diamond, diamond, write_run
from tests.support.world import plan, subplan

# ── which runs there are ────────────────────────────────────────────────────────────────────────


def test_where_nothing_has_run_the_history_is_empty(state: Path) -> None:
    with History(state) as history:
        assert history.runs() == []
        assert history.durations("diamond") == {}
        assert history.expected(DIAMOND) is None
        with pytest.raises(StoreError, match="no runs yet"):
            history.find("last")
        with pytest.raises(StoreError, match="no run begins with 'abc'"):
            history.find("abc")
        with pytest.raises(StoreError, match="there is no run abc"):
            history.events("abc")
        assert not state.exists()
        write_run(state, diamond("run"))
        assert [record.run_id for record in history.runs()] == ["run"]


def test_runs_stand_newest_first(state: Path) -> None:
    other = msgspec.structs.replace(DIAMOND, name="other")
    write_run(state, diamond("first"))
    write_run(state, broken_diamond("second"), other)
    write_run(state, diamond("third"))
    with History(state) as history:
        assert [record.run_id for record in history.runs()] == ["third", "second", "first"]
        assert [record.run_id for record in history.runs(2)] == ["third", "second"]
        assert [record.run_id for record in history.runs(None, plan="diamond")] == ["third", "first"]
        assert history.find("last").run_id == "third"


def test_what_stands_for_a_subplan_is_no_task_of_the_record(state: Path) -> None:
    nested = plan(build="", sub=subplan({"a": "", "b": ""}))
    with Journal.create(state, "run", nested), History(state) as history:
        assert history.find("run").tasks == 3


def test_a_record_tells_how_the_run_went(state: Path) -> None:
    write_run(state, broken_diamond("run"))
    with History(state) as history:
        record = history.find("run")
    assert (record.plan, record.goal, record.tasks) == ("diamond", "see it through", 4)
    assert record.outcome is Outcome.FAILED
    assert record.duration == broken_diamond("run")[-1].duration  # type: ignore[attr-defined]
    assert (record.success, record.failed, record.skipped, record.cancelled, record.retried) == (
        2,
        1,
        1,
        0,
        1,
    )
    assert record.missing == 0
    assert record.holder is None


@pytest.mark.parametrize("kept", range(11))
def test_a_run_that_has_not_ended_is_counted_from_its_events(state: Path, kept: int) -> None:
    events = broken_diamond("run")[:kept]
    with Journal.create(state, "run", DIAMOND) as journal, History(state) as history:
        journal.commit(events)
        record = history.find("run")
    assert record.outcome is record.ended is None
    names = [event.type for event in events]
    assert record.success == names.count("TASK_COMPLETED")
    assert record.failed == names.count("TASK_FAILED")
    assert record.skipped == names.count("TASK_SKIPPED")
    assert record.retried == names.count("TASK_RETRIED")
    assert record.duration == (events[-1].offset if events else 0.0)


def test_who_has_a_run_is_told(state: Path) -> None:
    write_run(state, diamond("run"))
    with History(state) as history, RunLock(run_directory(state, "run")):
        holder = history.find("run").holder
        assert holder is not None
        assert holder.pid == history.find("run").pid


# ── finding one ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "word", ["3f2a", "3f2a9c14-1", "3F2A", " 3f2a ", "3f2a9c14-1111-4000-8000-000000000000"]
)
def test_any_beginning_that_no_other_has_will_do(state: Path, word: str) -> None:
    for run_id in ("3f2a9c14-1111-4000-8000-000000000000", "3f9b0000-2222-4000-8000-000000000000"):
        write_run(state, diamond(run_id))
    with History(state) as history:
        assert history.find(word).run_id == "3f2a9c14-1111-4000-8000-000000000000"


def test_what_may_be_several_names_them(state: Path) -> None:
    for run_id in ("3f2a", "3f9b", "77aa"):
        write_run(state, diamond(run_id))
    with History(state) as history:
        with pytest.raises(
            StoreError, match=r"'3f' may be any of these: 3f9b \(diamond\), 3f2a \(diamond\)$"
        ):
            history.find("3f")
        with pytest.raises(StoreError, match=r"77aa.*3f2a"):
            history.find("")


def test_what_may_be_many_names_some(state: Path) -> None:
    for number in range(10):
        write_run(state, diamond(f"run{number}"))
    with History(state) as history, pytest.raises(StoreError, match=r"run9 .*, run2 \(diamond\), \.\.\.$"):
        history.find("run")


def test_a_whole_id_is_never_ambiguous(state: Path) -> None:
    for run_id in ("run", "run2"):
        write_run(state, diamond(run_id))
    with History(state) as history:
        assert history.find("run").run_id == "run"


@pytest.mark.parametrize("word", ["%", "_un", "r*", "' OR 1 --", "\0"])
def test_a_word_is_no_pattern_and_no_statement(state: Path, word: str) -> None:
    write_run(state, diamond("run"))
    with History(state) as history, pytest.raises(StoreError, match="no run begins"):
        history.find(word)


# ── one run ─────────────────────────────────────────────────────────────────────────────────────


def test_events_can_be_followed(state: Path) -> None:
    events = diamond("run")
    with Journal.create(state, "run", DIAMOND) as journal, History(state) as history:
        journal.commit(events[:4])
        assert history.events("run") == events[:4]
        assert history.events("run", after=4) == []
        journal.commit(events[4:])
        assert history.events("run", after=4) == events[4:]
        assert history.gaps("run") == []


@pytest.mark.anyio
async def test_the_diagnosis_is_the_one_that_the_run_itself_gave(state: Path) -> None:
    events = broken_diamond("run")
    write_run(state, events)
    completion = Completion(DIAMOND, "run")
    completion.listen(events)
    result = await completion.wait()
    with History(state) as history:
        diagnosis = history.diagnosis("run")
        assert diagnosis.run == history.find("run")
    assert diagnosis.failed_task_index == result.failed_task_index == 1
    assert diagnosis.failed_task_detail == result.failed_task_detail
    [failure] = diagnosis.failures
    assert failure.index == 1
    assert failure.detail == diagnosis.failed_task_detail
    assert failure.exit_code == 3
    assert failure.offset == result.failures[0].offset
    assert failure.attempts == (
        AttemptRecord(1, 3.0, 5.0, 2, "exit 2", retry_at=15.0),
        AttemptRecord(2, 7.0, 8.0, 3, "exit 3"),
    )
    assert diagnosis.defect is None


def test_the_first_failure_is_the_first_of_those_that_stand(state: Path) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run")
    made.plan_started()
    for task in "AB":
        made.started(task)
        made.failed(task)
    made.reset("A")
    made.started("A")
    made.started("C")
    made.failed("C")
    made.failed("A")
    made.plan_completed(Outcome.FAILED, diagnosis="1 tasks could neither run nor end: D")
    write_run(state, made.events)
    with History(state) as history:
        diagnosis = history.diagnosis("run")
    assert [failure.detail.name for failure in diagnosis.failures] == ["B", "C", "A"]
    assert diagnosis.failed_task_index == 1
    assert len(diagnosis.failures[2].attempts) == 2
    assert diagnosis.defect == "1 tasks could neither run nor end: D"


def test_where_nothing_failed_there_is_nothing_to_tell(state: Path) -> None:
    write_run(state, diamond("run"))
    with History(state) as history:
        diagnosis = history.diagnosis("run")
    assert diagnosis.failures == ()
    assert diagnosis.failed_task_index is diagnosis.failed_task_detail is diagnosis.defect is None


# ── how long things take ────────────────────────────────────────────────────────────────────────


def test_what_a_task_usually_takes_is_the_median_of_its_last_runs(state: Path) -> None:
    for number, takes in enumerate([1000.0, 1.0, 5.0, 2.0, 3.0, 99.0]):
        write_run(state, diamond(f"run{number}", takes=takes))
    assert RUNS_COUNTED == 5  # so that the first one does not count any more
    with History(state) as history:
        assert history.durations("diamond") == pytest.approx(dict.fromkeys("ABCD", 3.0))
        assert history.durations("another") == {}


def test_what_was_simulated_faster_does_not_count(state: Path) -> None:
    with Journal.create(state, "fast", DIAMOND, speed=100.0) as journal:
        journal.commit(diamond("fast", takes=0.5))
    write_run(state, diamond("real", takes=50.0))
    with History(state) as history:
        assert history.durations("diamond")["A"] == pytest.approx(50.0)
        assert history.durations("diamond", speed=100.0)["A"] == pytest.approx(0.5)


def test_what_a_person_marked_as_done_took_no_time(state: Path) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run", step=2.0)
    made.plan_started()
    made.started("A")
    made.completed("A")
    made.completed("B", reason="seen to by hand")
    made.started("C")
    made.failed("C")
    write_run(state, made.events)
    with History(state) as history:
        assert history.durations("diamond") == {"A": 2.0}


def test_of_a_task_that_is_new_nothing_is_expected(state: Path) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run")
    made.plan_started()
    for task, takes in zip("ABC", (2.0, 4.0, 9.0), strict=True):
        made.started(task)
        made.completed(task, duration=takes)
    write_run(state, made.events)
    changed = Plan(
        name="diamond", tasks=tuple(Task(name=name, run="true") for name in ("new", "C", "B", "A"))
    )
    with History(state) as history:
        assert history.expected(changed) == [None, 9.0, 4.0, 2.0]
        assert history.expected(changed, before=1) is None
        assert history.expected(Plan(name="diamond", tasks=(Task(name="new", run="true"),))) is None


# ── trouble ─────────────────────────────────────────────────────────────────────────────────────


def test_a_history_that_cannot_be_written_can_be_read(frozen: Frozen) -> None:
    write_run(frozen.directory, broken_diamond("run"))
    frozen.freeze()
    with History(frozen.directory) as history:
        assert history.find("last").outcome is Outcome.FAILED
        assert history.events("run") == broken_diamond("run")
        assert len(history.diagnosis("run").failures) == 1
        [fault] = history.prune(keep=0).faults
        assert "Permission denied" in fault


def test_a_history_that_cannot_be_read_is_told(frozen: Frozen) -> None:
    write_run(frozen.directory, diamond("run"))
    frozen.freeze(0)
    with History(frozen.directory) as history, pytest.raises(StoreError, match="Permission denied"):
        history.runs()


def test_a_damaged_database_is_told(state: Path) -> None:
    write_run(state, diamond("run"))
    with database_path(state).open("r+b") as file:
        file.seek(4096)  # behind the schema, so that opening it does not tell
        file.write(b"garbage " * 4096)
    with History(state) as history, pytest.raises(StoreError, match=r"is damaged .*: move it away"):
        history.runs()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE turns SET events = replace(events, 'TASK_STARTED', 'TASK_VANISHED')",
        "UPDATE turns SET events = replace(events, '\"duration\":', '\"endurance\":')",
        "UPDATE turns SET events = substr(events, 1, 300)",
        "UPDATE turns SET events = x'ff'",
    ],
)
def test_rows_that_are_no_events_are_told(state: Path, change: str) -> None:
    write_run(state, diamond("run"))
    connection = open_database(state)
    connection.execute(change)
    connection.close()
    with History(state) as history, pytest.raises(StoreError, match="holds what plandeck has not written"):
        history.events("run")


def test_a_plan_that_is_none_is_told(state: Path) -> None:
    write_run(state, diamond("run"))
    connection = open_database(state)
    connection.execute("UPDATE plans SET definition = 'nothing'")
    connection.close()
    with History(state) as history, pytest.raises(StoreError, match="holds what plandeck has not written"):
        history.plan("run")


@pytest.mark.parametrize(
    "change", ["'[{}]'", 'replace(events, \'"duration":1.0\', \'"duration":"long"\')', "substr(events, 2)"]
)
def test_durations_that_are_none_are_told(state: Path, change: str) -> None:
    write_run(state, diamond("run"))
    connection = open_database(state)
    connection.execute("UPDATE turns SET events = " + change)
    connection.close()
    with History(state) as history, pytest.raises(StoreError, match="not written"):
        history.durations("diamond")


def test_a_run_of_ten_thousand_tasks_is_asked_by_ranges_of_keys(state: Path) -> None:
    """No question about one run may read the events of the others."""
    write_run(state, diamond("run"))
    connection = open_database(state)
    asked: list[str] = []
    with History(state) as history:
        history.runs()  # opens it
        assert history._opened is not None
        history._opened.set_trace_callback(asked.append)
        record = history.find("run")
        history.events("run")
        history.diagnosis("run")
        history.durations("diamond")
        history._so_far(record.number)
    plans = [
        step[3]
        for statement in asked
        if "FROM turns" in statement
        for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    connection.close()
    assert any(step.startswith("SEARCH turns USING INTEGER PRIMARY KEY") for step in plans)
    assert not any(step.startswith("SCAN turns") for step in plans)
