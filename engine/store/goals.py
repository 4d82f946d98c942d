"""Goals: what runs are good for, beyond themselves. Their states, every legal move, and how one is kept."""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from typing import Final

from engine.core.events import Event, PlanCompleted, PlanResumed, PlanStarted
from engine.core.state import Outcome


class GoalState(StrEnum):
    """Where a goal stands.

    PENDING: no run has begun it, or the last one was cancelled or interrupted. ACTIVE: a run goes on.
    """

    PENDING = "pending"
    ACTIVE = "active"
    ACHIEVED = "achieved"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Step(StrEnum):
    """What moves a goal. The first four come from its runs, the last from a person."""

    BEGUN = "begun"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LEFT = "left"
    ABANDONED = "abandoned"


MOVES: Final[dict[GoalState, dict[Step, GoalState]]] = {
    GoalState.PENDING: {
        Step.BEGUN: GoalState.ACTIVE,
        Step.SUCCEEDED: GoalState.ACHIEVED,
        Step.FAILED: GoalState.FAILED,
        Step.ABANDONED: GoalState.ABANDONED,
    },
    GoalState.ACTIVE: {
        Step.SUCCEEDED: GoalState.ACHIEVED,
        Step.FAILED: GoalState.FAILED,
        Step.LEFT: GoalState.PENDING,
        Step.ABANDONED: GoalState.ABANDONED,
    },
    # what another run has achieved in the meantime stays achieved, until a run begins it anew
    GoalState.ACHIEVED: {Step.BEGUN: GoalState.ACTIVE},
    GoalState.FAILED: {
        Step.BEGUN: GoalState.ACTIVE,
        Step.SUCCEEDED: GoalState.ACHIEVED,
        Step.ABANDONED: GoalState.ABANDONED,
    },
    # how a run ends that went on when its goal was given up makes no difference; but who begins one means it
    GoalState.ABANDONED: {Step.BEGUN: GoalState.ACTIVE},
}
"""Every legal move. A step that is not there leaves the goal where it is."""


def step_of(event: Event) -> Step | None:
    """What an event of a run means for its goal; None if nothing."""
    if isinstance(event, PlanStarted | PlanResumed):
        return Step.BEGUN
    if not isinstance(event, PlanCompleted):
        return None
    if event.failed or event.outcome is Outcome.FAILED:
        return Step.FAILED
    return Step.SUCCEEDED if event.outcome is Outcome.SUCCESS else Step.LEFT


def enlist(connection: sqlite3.Connection, goal: str, utc: float, run_id: str) -> None:
    """Make the goal known, if it is new: a run of it is about to begin."""
    new = connection.execute(
        "INSERT INTO goals (goal, state, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (goal, GoalState.PENDING.value, utc),
    )
    if new.rowcount:
        _note(connection, new.lastrowid, GoalState.PENDING, utc, run_id)


def take(
    connection: sqlite3.Connection, goal: str, step: Step, utc: float, run_id: str | None = None
) -> GoalState | None:
    """Move a goal, and return where it has moved to; None if the step changes nothing. To be called within
    a transaction. run_id: of the run whose step it is."""
    known = connection.execute("SELECT number, state FROM goals WHERE goal = ?", (goal,)).fetchone()
    if known is None:
        return None
    number, state = known
    target = MOVES[GoalState(state)].get(step)
    if target is None or (step is Step.LEFT and _has_another_run(connection, goal, run_id)):
        return None
    connection.execute("UPDATE goals SET state = ?, since = ? WHERE number = ?", (target.value, utc, number))
    _note(connection, number, target, utc, run_id)
    return target


def _note(
    connection: sqlite3.Connection, number: int | None, state: GoalState, utc: float, run_id: str | None
) -> None:
    connection.execute(
        "INSERT INTO goal_moves (goal, state, utc, run_id) VALUES (?, ?, ?, ?)",
        (number, state.value, utc, run_id),
    )


def _has_another_run(connection: sqlite3.Connection, goal: str, run_id: str | None) -> bool:
    found = connection.execute(
        "SELECT 1 FROM runs WHERE goal = ? AND outcome IS NULL AND run_id IS NOT ? LIMIT 1", (goal, run_id)
    )
    return found.fetchone() is not None
