"""What the history tells of a run."""

from __future__ import annotations

import msgspec

from engine.core.records import AttemptRecord
from engine.core.state import Outcome
from engine.plan.model import FailureMode
from engine.result import FailureDetail
from engine.store.goals import GoalState
from engine.store.journal import is_current
from engine.store.lock import Holder


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run, in one line of a list.

    number: its short name within this database. tasks: how many the plan has. success, failed, skipped,
    cancelled: tasks that are so now; retried: attempts after a first, but not in place of an interrupted
    one. created, ended: seconds since the epoch. outcome, ended: None for a run that goes on, or whose
    engine died. duration: seconds from PLAN_STARTED to the end, or to the last event so far. holder: whose
    hands it is in now; a run without outcome and without holder was interrupted. missing: events that could
    not be kept. source_digest: of the file `source`, and of those of subplans, when the run was created.
    definition: of the plan as it was run.
    """

    number: int
    run_id: str
    plan: str
    goal: str | None
    source: str | None
    source_digest: str | None
    definition: str
    tasks: int
    max_parallel: int
    failure_mode: FailureMode
    seed: int | None
    speed: float
    pid: int
    created: float
    ended: float | None
    outcome: Outcome | None
    duration: float
    success: int
    failed: int
    skipped: int
    cancelled: int
    retried: int
    missing: int
    holder: Holder | None

    def has_changed(self) -> bool:
        """Whether the plan's file, or that of a subplan, is no longer what was run, or is gone."""
        return self.source_digest is not None and not is_current(self.source_digest, self.source)


class Gap(msgspec.Struct, frozen=True):
    """Events first..last of a run could not be kept. reason: why, for people."""

    first: int
    last: int
    reason: str


class Failure(msgspec.Struct, frozen=True):
    """A task that is FAILED. offset: when it failed. attempts: all of them, the last one last."""

    index: int
    detail: FailureDetail
    offset: float
    exit_code: int | None
    attempts: tuple[AttemptRecord, ...]


class Diagnosis(msgspec.Struct, frozen=True):
    """Why a run stands where it stands. failures: in the order in which they happened; the first of
    them is `failed_task_index` and `failed_task_detail`. defect: set only if the engine was at fault."""

    run: RunRecord
    failed_task_index: int | None
    failed_task_detail: FailureDetail | None
    failures: tuple[Failure, ...]
    defect: str | None


class GoalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One goal, in one line of a list.

    since: when it came to this state, in seconds since the epoch. runs: how many runs of it are kept.
    last_run: the newest of them.
    """

    number: int
    goal: str
    state: GoalState
    since: float
    runs: int
    last_run: RunRecord | None


class GoalMove(msgspec.Struct, frozen=True):
    """A goal came to `state`. utc: seconds since the epoch. run_id: of the run that moved it, which may be
    gone by now; None if a person did."""

    state: GoalState
    utc: float
    run_id: str | None
