"""What is kept of a run: a record for each attempt, and the snapshot that a late subscriber starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.core.events import Event
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.model import FailureMode

INTERRUPTED: Final = "interrupted"
"""The error of an attempt that ended with its engine. It has used up no retry."""


class AttemptRecord(msgspec.Struct, gc=False, omit_defaults=True):
    """One attempt at one task. Times are offsets in seconds.

    number: from 1. ended: None while it goes on. error: one line, None unless it failed. where: "pid
    4711", a worker's name, ... stopping: when it was told to stop, None if it never was. is_cancelled: it
    ended because of that, and not as a failure. retry_at: when the back-off after it is over, None if
    none follows it.
    """

    number: int
    started: float
    ended: float | None = None
    exit_code: int | None = None
    error: str | None = None
    where: str = ""
    stopping: float | None = None
    is_cancelled: bool = False
    retry_at: float | None = None


def retries_among(records: Sequence[AttemptRecord]) -> int:
    """How many of a task's attempts are retries: those after the first, but not after an interrupted one."""
    return sum(
        record.number > 1 and (before is None or before.error != INTERRUPTED)
        for before, record in zip((None, *records), records, strict=False)
    )


class TaskSnapshot(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """One task as it stands. Fields mean what they mean in `engine.view.task_view.TaskView`.

    usual: seconds that it takes in past runs, None where they do not tell.
    """

    state: TaskState
    attempts: tuple[AttemptRecord, ...] = ()
    held: bool = False
    held_by: str = ""
    stalled_since: float | None = None
    due: float | None = None
    reason: str = ""
    blocked_by: str | None = None
    tolerated: bool = False
    retries: int = 0
    outputs: dict[str, str] | None = None
    usual: float | None = None


class ScopeSnapshot(msgspec.Struct, kw_only=True):
    """A subplan as it stands. paused: nothing new starts in it."""

    failure_mode: FailureMode
    max_parallel: int
    paused: bool = False


class Snapshot(msgspec.Struct, kw_only=True):
    """A whole run as it stood right after event number `seq`, at `offset` seconds.

    began: the offset of PLAN_STARTED. scopes: the subplans, in the order of the plan. diagnosis: set only if
    the run ended because of a defect. past: the last events up to `seq`, as many as are at hand, oldest
    first: all else follows from the other fields, but they tell who did what.
    """

    run_id: str
    seq: int
    offset: float
    began: float = 0.0
    phase: RunPhase
    outcome: Outcome | None
    failure_mode: FailureMode
    max_parallel: int
    tasks: tuple[TaskSnapshot, ...]
    scopes: tuple[ScopeSnapshot, ...] = ()
    diagnosis: str | None = None
    past: tuple[Event, ...] = ()
