"""Goals: what moves them, what does not, and what is told of them."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from engine.core.events import Event
from engine.core.state import Outcome
from engine.errors import CommandRefused, StoreError
from engine.ground.folders import database_path, run_directory
from engine.plan.graph import Graph
from engine.store import database
from engine.store.database import open_database
from engine.store.goals import MOVES, GoalState, Step, step_of
from engine.store.history import History
from engine.store.journal import Journal
from engine.store.lock import RunLock
from tests.support.events import EventFactory
from tests.support.journals import DIAMOND, broken_diamond, diamond, write_run

GOAL = "see it through"
PENDING, ACTIVE, ACHIEVED, FAILED, ABANDONED = GoalState


def ended(run_id: str, outcome: Outcome, *, task: str = "completed") -> list[Event]:
    """A run of which only the beginning and the end are told. task: what became of A."""
    made = EventFactory(Graph(DIAMOND), run_id=run_id)
    made.plan_started()
    getattr(made, task)("A")
    made.plan_completed(outcome)
    return made.events


def state_of(state: Path, goal: str = GOAL) -> GoalState:
    with History(state) as history:
        return history.find_goal(goal).state


def moves_of(state: Path, goal: str = GOAL) -> list[tuple[GoalState, str | None]]:
    with History(state) as history:
        return [(move.state, move.run_id) for move in history.goal_moves(history.find_goal(goal))]


def test_every_state_says_what_can_follow() -> None:
    assert set(MOVES) == set(GoalState)
    assert all(target is not origin for origin, moves in MOVES.items() for target in moves.values())
    assert all(moves[Step.BEGUN] is ACTIVE for origin, moves in MOVES.items() if origin is not ACTIVE)


def test_a_run_moves_its_goal(state: Path) -> None:
    with Journal.create(state, "one", DIAMOND) as journal:
        assert state_of(state) is PENDING
        with RunLock(run_directory(state, "one")):
            first, *rest = diamond("one")
            journal.commit([first])
            assert state_of(state) is ACTIVE
            journal.commit(rest)
    assert state_of(state) is ACHIEVED
    assert moves_of(state) == [(PENDING, "one"), (ACTIVE, "one"), (ACHIEVED, "one")]


@pytest.mark.parametrize(
    ("events", "left"),
    [
        (diamond("one"), ACHIEVED),
        (broken_diamond("one"), FAILED),
        (ended("one", Outcome.CANCELLED), PENDING),
        (ended("one", Outcome.INTERRUPTED), PENDING),
        # a failed task makes it fail, whatever else the run may be called
        (ended("one", Outcome.CANCELLED, task="failed"), FAILED),
        # the engine was at fault, and no task
        (ended("one", Outcome.FAILED), FAILED),
    ],
    ids=["success", "failed", "cancelled", "interrupted", "failed and cancelled", "defect"],
)
def test_how_a_run_leaves_its_goal(state: Path, events: list[Event], left: GoalState) -> None:
    write_run(state, events)
    assert state_of(state) is left


def test_a_retry_that_succeeds_achieves_what_had_failed(state: Path) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="one")
    made.plan_started()
    made.failed("A")
    made.plan_completed(Outcome.FAILED)
    made.reset("A")
    made.resumed()
    made.completed("A")
    made.plan_completed()
    write_run(state, made.events)
    assert [move for move, _ in moves_of(state)] == [PENDING, ACTIVE, FAILED, ACTIVE, ACHIEVED]


def test_what_one_run_has_achieved_another_does_not_undo_by_ending(state: Path) -> None:
    slow = broken_diamond("slow")
    with Journal.create(state, "slow", DIAMOND) as journal:
        journal.commit(slow[:1])
        write_run(state, diamond("quick"))
        assert state_of(state) is ACHIEVED
        journal.commit(slow[1:])
    assert state_of(state) is ACHIEVED


def test_while_another_run_goes_on_a_cancelled_one_leaves_the_goal_active(state: Path) -> None:
    with RunLock(run_directory(state, "slow")), Journal.create(state, "slow", DIAMOND) as journal:
        journal.commit(diamond("slow")[:1])
        write_run(state, ended("quick", Outcome.CANCELLED))
        assert state_of(state) is ACTIVE


def test_a_goal_whose_engine_was_killed_is_pending_again(state: Path) -> None:
    with Journal.create(state, "one", DIAMOND) as journal:
        journal.commit(diamond("one")[:1])
    assert state_of(state) is PENDING


def test_giving_a_goal_up_and_taking_it_up_again(state: Path) -> None:
    with Journal.create(state, "one", DIAMOND) as journal:
        events = diamond("one")
        journal.commit(events[:1])
        with History(state) as history:
            before = time.time()
            history.abandon(history.find_goal(GOAL))
            goal = history.find_goal(GOAL)
            assert goal.state is ABANDONED
            assert before <= goal.since <= time.time()
            with pytest.raises(CommandRefused, match="abandoned already"):
                history.abandon(goal)
        journal.commit(events[1:])
    assert state_of(state) is ABANDONED
    write_run(state, diamond("two"))
    assert moves_of(state)[2:] == [(ABANDONED, None), (ACTIVE, "two"), (ACHIEVED, "two")]
    with History(state) as history, pytest.raises(CommandRefused, match="achieved already"):
        history.abandon(history.find_goal(GOAL))


def test_a_goal_knows_its_runs_and_outlives_them(state: Path) -> None:
    write_run(state, broken_diamond("one"))
    write_run(state, diamond("two"), msgspec.structs.replace(DIAMOND, name="other plan"))
    write_run(state, diamond("three"), msgspec.structs.replace(DIAMOND, goal="another"))
    with History(state) as history:
        goal = history.find_goal(GOAL)
        assert (goal.runs, goal.last_run and goal.last_run.run_id) == (2, "two")
        assert [record.run_id for record in history.runs(goal=GOAL)] == ["two", "one"]
        assert [record.run_id for record in history.runs(goal=GOAL, plan="diamond")] == ["one"]
        history.prune(keep=0)
        goal = history.find_goal(GOAL)
        assert (goal.state, goal.runs, goal.last_run) == (ACHIEVED, 0, None)
        assert [one.goal for one in history.goals()] == ["another", GOAL]


def test_a_goal_is_found_by_a_beginning_that_no_other_has(state: Path) -> None:
    for number, goal in enumerate(("Ship 2.4", "Ship 2.4.1", "rest")):
        write_run(state, diamond(f"run-{number}"), msgspec.structs.replace(DIAMOND, goal=goal))
    with History(state) as history:
        assert history.find_goal("Ship 2.4").goal == "Ship 2.4"
        assert history.find_goal(" REST ").goal == "rest"
        with pytest.raises(StoreError, match=r"any of these: .*'Ship 2.4'"):
            history.find_goal("ship")
        for unknown in ("none", "", "%"):
            with pytest.raises(StoreError, match="`plandeck goals` lists them"):
                history.find_goal(unknown)


def test_without_a_database_there_are_none(state: Path) -> None:
    write_run(state, diamond("one"))
    with History(state) as history:
        goal = history.find_goal(GOAL)
    with History(state / "elsewhere") as history:
        assert history.goals() == []
        with pytest.raises(StoreError, match="no goal"):
            history.abandon(goal)


def test_a_run_without_a_goal_moves_none(state: Path) -> None:
    write_run(state, diamond("one"), msgspec.structs.replace(DIAMOND, goal=None))
    with History(state) as history:
        assert history.goals() == []


def test_only_the_beginning_and_the_end_of_a_run_are_steps() -> None:
    steps = [step for event in diamond("one") if (step := step_of(event))]
    assert steps == [Step.BEGUN, Step.SUCCEEDED]


def test_the_goals_of_an_older_database_come_along(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        sections = database._sections()[:1]
        older.setattr(database, "_sections", lambda: sections)
        older.setattr(database, "SCHEMA_VERSION", 1)
        connection = open_database(state)
    ends = {"a": ("success", 0), "b": ("failed", 1), "c": ("cancelled", 0), "d": (None, None)}
    connection.execute("INSERT INTO plans VALUES ('digest', '{}')")
    for goal, (outcome, failed) in ends.items():
        for run_id, values in ((f"{goal}-old", ("success", 0)), (goal, (outcome, failed))):
            connection.execute(
                "INSERT INTO runs (run_id, plan, goal, definition, tasks, max_parallel, failure_mode, speed,"
                " pid, created, outcome, failed)"
                " VALUES (?, 'p', ?, 'digest', 1, 1, 'fail_fast', 1, 1, 5, ?, ?)",
                (run_id, goal, *values),
            )
    connection.close()
    open_database(state).close()
    connection = sqlite3.connect(database_path(state))
    assert connection.execute("SELECT goal, state, since FROM goals ORDER BY goal").fetchall() == [
        ("a", "achieved", 5.0),
        ("b", "failed", 5.0),
        ("c", "pending", 5.0),
        ("d", "active", 5.0),
    ]
    moves = connection.execute("SELECT state, run_id FROM goal_moves ORDER BY run_id").fetchall()
    assert moves == [("achieved", "a"), ("failed", "b"), ("pending", "c"), ("active", "d")]
    connection.close()


def test_a_goal_that_this_program_has_not_written_does_not_stop_a_run(state: Path) -> None:
    with Journal.create(state, "one", DIAMOND) as journal:
        connection = sqlite3.connect(database_path(state), isolation_level=None)
        connection.execute("UPDATE goals SET state = 'odd'")
        journal.commit(diamond("one"))
        assert journal.fault is not None
        assert "has not written" in journal.fault
        connection.execute("DELETE FROM goals")
        connection.close()
    assert journal.missing == 0
