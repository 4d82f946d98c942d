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


TERMINAL: Final = frozenset({TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED})

_P, _Y, _R, _T, _S = (
    TaskState.PENDING,
    TaskState.READY,
    TaskState.RUNNING,
    TaskState.RETRYING,
    TaskState.STOPPING,
)
_OK, _BAD, _SKIP, _OFF = (
    TaskState.SUCCESS,
    TaskState.FAILED,
    TaskState.SKIPPED,
    TaskState.CANCELLED,
)

TRANSITIONS: Final[dict[TaskState, frozenset[TaskState]]] = {
    # waiting for its needs; a person may mark it succeeded or skip it unseen
    _P: frozenset({_Y, _OK, _SKIP, _OFF}),
    # needs met, waiting for a slot or for the dispatcher to admit it; a retry of something it
    # needs takes it back to pending
    _Y: frozenset({_P, _R, _S, _OK, _SKIP, _OFF}),
    _R: frozenset({_T, _S, _OK, _BAD, _SKIP}),
    # holds no slot: the back-off before the next attempt; a retry of something it needs sends it
    # back to pending
    _T: frozenset({_P, _Y, _OK, _SKIP, _OFF}),
    # told to stop; what follows depends on who asked: a person or fail-fast (cancelled), a time-out
    # (as a failure); or it had succeeded before the word reached it
    _S: frozenset({_T, _OK, _BAD, _SKIP, _OFF}),
    # terminal states are left only by a person's command
    _OK: frozenset({_P}),
    _BAD: frozenset({_P, _OK}),
    _SKIP: frozenset({_P, _OK}),
    _OFF: frozenset({_P, _OK}),
}
