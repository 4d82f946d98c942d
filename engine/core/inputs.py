"""All that can come in: commands (what a person asks) and reports (what the world answers)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from engine.plan.model import FailureMode


class Now(NamedTuple):
    """One reading of the clock. offset: monotonic seconds since the run began. utc: since the epoch."""

    offset: float
    utc: float


# ── commands ────────────────────────────────────────────────────────────────────────────────────


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a person asks. actor: who, as it is written to the audit trail."""

    actor: str = "operator"


class TaskCommand(Command, frozen=True, kw_only=True):
    """A command about one task. index: the task's place in the plan, from 0."""

    index: int


class CancelTask(TaskCommand, frozen=True, kw_only=True):
    """Stop it (signal, grace, kill) or never start it."""


class KillTask(TaskCommand, frozen=True, kw_only=True):
    """Stop it at once, without the grace period; also hastens a stop that is under way."""


class RetryTask(TaskCommand, frozen=True, kw_only=True):
    """Run a finished task again. downstream: and everything after it."""

    downstream: bool = False


class HoldTask(TaskCommand, frozen=True, kw_only=True):
    """Do not start it until it is released."""


class ReleaseTask(TaskCommand, frozen=True, kw_only=True):
    """Let a held task start."""


class SkipTask(TaskCommand, frozen=True, kw_only=True):
    """Do not run it, nor what needs its success."""


class MarkSucceeded(TaskCommand, frozen=True, kw_only=True):
    """Take it as done, so that what needs it can run. reason: why, for the audit trail."""

    reason: str


class RetryFailed(Command, frozen=True, kw_only=True):
    """Run every failed task again."""


class CancelPlan(Command, frozen=True, kw_only=True):
    """Stop what runs and start no more.

    interrupted: not a person's wish but the machine's (SIGTERM, SIGHUP): the outcome says so.
    kill: without the grace period; also hastens a cancellation that is under way.
    """

    interrupted: bool = False
    kill: bool = False


class DrainPlan(Command, frozen=True, kw_only=True):
    """Finish what runs, then cancel what has not started."""


class ScopeCommand(Command, frozen=True, kw_only=True):
    """A command about one plan within the run. scope: 0 for all of it, n for `Plan.subplans[n - 1]`."""

    scope: int = 0


class PausePlan(ScopeCommand, frozen=True, kw_only=True):
    """Start nothing new."""


class ResumePlan(ScopeCommand, frozen=True, kw_only=True):
    """Start tasks again."""


class SetFailureMode(ScopeCommand, frozen=True, kw_only=True):
    """Govern the failures that follow."""

    mode: FailureMode


class SetMaxParallel(ScopeCommand, frozen=True, kw_only=True):
    """Change the slots, 1..32. Raising starts more at once, lowering drains."""

    slots: int


# ── reports ─────────────────────────────────────────────────────────────────────────────────────


class OutcomeKind(StrEnum):
    """How an attempt ended, as its dispatcher saw it.

    LOST: ended with the machine that it was on, by no fault of its own.

    REFUSED: the dispatcher's own capacity is full; nothing was started. STOPPED: ended because it
    was told to.
    """

    SUCCESS = "success"
    FAILED = "failed"
    REFUSED = "refused"
    STOPPED = "stopped"
    LOST = "lost"


class AttemptOutcome(msgspec.Struct, frozen=True, gc=False):
    """What a dispatcher returns.

    error: one line for people; empty on success. exit_code: of a process that ended by itself;
    negative for a signal, as in `subprocess`. outputs: by key, what a success leaves for others to refer
    to; None for nothing. is_final: of a failure, that no retry would help.
    """

    kind: OutcomeKind
    error: str = ""
    exit_code: int | None = None
    outputs: dict[str, str] | None = None
    is_final: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the world answers about one attempt. A report on an attempt that is no longer the
    current one changes nothing."""

    index: int
    attempt: int


class AttemptStarted(Report, frozen=True, kw_only=True, gc=False):
    """The dispatcher took the attempt up. where: "pid 4711", a worker's name, ..."""

    where: str = ""


class AttemptFinished(Report, frozen=True, kw_only=True, gc=False):
    """The attempt is over and nothing of it is left running."""

    outcome: AttemptOutcome


class AttemptStalled(Report, frozen=True, kw_only=True, gc=False):
    """The stall watch saw no sign of life for `silent_for` seconds."""

    silent_for: float
    last_line: str = ""


class AttemptRevived(Report, frozen=True, kw_only=True, gc=False):
    """A stalled attempt showed life."""


# ── the others ───────────────────────────────────────────────────────────────────────────────


class Start(msgspec.Struct, frozen=True):
    """Begin the run."""


class Tick(msgspec.Struct, frozen=True):
    """A deadline has come."""


class HookFinished(msgspec.Struct, frozen=True, kw_only=True):
    """A command of the plan's `hooks` has ended. The fields are those of `engine.core.events.HookEnded`."""

    hook: str
    about: str = ""
    duration: float
    error: str | None = None
    exit_code: int | None = None


Input = Start | Tick | Command | Report | HookFinished
