"""`RunView`: the events of a run folded into what is shown.

(contract: the view helper fills this in; the console and the reporters code against exactly this)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.core.events import Event
from engine.core.records import AttemptRecord, Snapshot
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Plan


class TaskView:
    """One task as it is shown. Times are offsets in seconds since the run began.

    attempt: the current or last one, 0 before any. max_attempts: retry limit + 1 (the retries a
    person asks for come on top). attempts: every attempt so far, the current one last. due: when the
    back-off ends (retrying) or the dispatcher is asked again (ready), else None. reason: why it was
    skipped or cancelled or is stopping. blocked_by: the task whose end made it impossible.
    """

    __slots__ = (
        "attempts", "blocked_by", "due", "held", "index", "name", "reason",
        "stalled_since", "state", "tolerated",
    )

    index: int
    name: str
    state: TaskState
    attempts: list[AttemptRecord]
    held: bool
    stalled_since: float | None   # offset since which it has shown no life; None = not stalled
    due: float | None
    reason: str
    blocked_by: str | None
    tolerated: bool

    @property
    def attempt(self) -> int: ...
    @property
    def error(self) -> str | None: ...          # of the last finished attempt
    @property
    def exit_code(self) -> int | None: ...
    def elapsed(self, now: float) -> float | None: ...   # of the current or last attempt, None before any


class Changes(NamedTuple):
    """What was touched since the last look. plan: anything that is not about one task."""

    tasks: set[int]
    plan: bool


class RunView:
    plan: Plan
    graph: Graph
    run_id: str
    phase: RunPhase
    outcome: Outcome | None
    failure_mode: FailureMode
    max_parallel: int
    tasks: list[TaskView]
    counts: dict[TaskState, int]      # every TaskState is a key
    stalled: dict[int, float]         # index -> offset since which it has been silent, oldest stall first
    started_at: float | None
    ended_at: float | None
    last_seq: int
    failures: list[int]               # indices of tasks now FAILED, in the order in which they failed
    audit: list[Event]                # bounded (last 10,000): all events, oldest first (the events view, who changed what)

    def __init__(self, graph: Graph, run_id: str) -> None: ...
    @classmethod
    def from_snapshot(cls, graph: Graph, snapshot: Snapshot) -> RunView: ...
    def apply(self, events: Iterable[Event]) -> None: ...
    def drain_changes(self) -> Changes: ...

    @property
    def health(self) -> float: ...            # SPEC 5
    @property
    def progress(self) -> float: ...          # terminal / all
    @property
    def slots_used(self) -> int: ...          # running + stopping
    @property
    def health_course(self) -> list[float]: ...   # recent healths, oldest first, at most 60; sampled on change
    def elapsed(self, now: float) -> float: ...   # seconds since PLAN_STARTED, frozen at the end
    def why(self, index: int, now: float) -> str: ...   # for every task that is not running: one short phrase
