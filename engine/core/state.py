"""The states of a task and of a run, and the one table of every legal move between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class TaskState(StrEnum):
    """Where a task stands. The last four are terminal."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    RETRYING = "retrying"
    STOPPING = "stopping"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


class RunPhase(StrEnum):
    """Where a whole run stands.

    DRAINING finishes what runs and starts no more; CANCELLING stops what runs.
    """

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    CANCELLING = "cancelling"
    COMPLETE = "complete"


class Outcome(StrEnum):
    """How a complete run ended."""

    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


# The members by their bare names: looking one up on an Enum class costs several times as much as a
# global, and the core does little else.
PENDING: Final = TaskState.PENDING
READY: Final = TaskState.READY
RUNNING: Final = TaskState.RUNNING
RETRYING: Final = TaskState.RETRYING
STOPPING: Final = TaskState.STOPPING
SUCCESS: Final = TaskState.SUCCESS
FAILED: Final = TaskState.FAILED
SKIPPED: Final = TaskState.SKIPPED
CANCELLED: Final = TaskState.CANCELLED

TERMINAL: Final = frozenset({SUCCESS, FAILED, SKIPPED, CANCELLED})

TRANSITIONS: Final[dict[TaskState, frozenset[TaskState]]] = {
    # waiting for its needs; a person may mark it succeeded or skip it unseen
    PENDING: frozenset({READY, SUCCESS, SKIPPED, CANCELLED}),
    # needs met, waiting for a slot or for the dispatcher to admit it; a retry of something it
    # needs takes it back to pending
    READY: frozenset({PENDING, RUNNING, STOPPING, SUCCESS, SKIPPED, CANCELLED}),
    # cancelled without stopping first: only a subplan, when something inside was
    RUNNING: frozenset({RETRYING, STOPPING, SUCCESS, FAILED, SKIPPED, CANCELLED}),
    # holds no slot: the back-off before the next attempt; a retry of something it needs sends it
    # back to pending
    RETRYING: frozenset({PENDING, READY, SUCCESS, SKIPPED, CANCELLED}),
    # told to stop; what follows depends on who asked: a person or fail-fast (cancelled), a time-out
    # (as a failure); or it had succeeded before the word reached it
    STOPPING: frozenset({RETRYING, SUCCESS, FAILED, SKIPPED, CANCELLED}),
    # terminal states are left only by a person's command
    SUCCESS: frozenset({PENDING}),
    FAILED: frozenset({PENDING, SUCCESS}),
    SKIPPED: frozenset({PENDING, SUCCESS}),
    CANCELLED: frozenset({PENDING, SUCCESS}),
}
