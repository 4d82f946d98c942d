"""`TaskView`: one task as it is shown."""

from __future__ import annotations

from typing import Final

from engine.core.records import AttemptRecord
from engine.core.state import TERMINAL, TaskState
from engine.plan.model import Condition

MET_BY: Final[dict[Condition, frozenset[TaskState]]] = {
    Condition.SUCCESS: frozenset({TaskState.SUCCESS}),
    Condition.FAILED: frozenset({TaskState.FAILED}),
    Condition.FINISHED: TERMINAL,
    Condition.SKIPPED: frozenset({TaskState.SKIPPED}),
}
"""The states that meet a need. SUCCESS is met by a tolerated failure besides."""


class TaskView:
    """One task as it is shown. Times are offsets in seconds since the run began.

    attempts: every attempt so far, the current one last. retry_limit: re-tries that the plan grants.
    stalled_since: since when it has shown no life, None if it is not stalled. due: when the back-off
    ends (retrying) or the dispatcher is asked again (ready), else None. reason: why it was skipped or
    cancelled, is stopping, or was marked as done. blocked_by: the name of the task whose end made it
    impossible. tolerated: it is SKIPPED because its failure is accepted. retries: used up since the last
    reset, exact while it is not over. unmet: how many of its needs are not met now. outputs: by key, what
    its success has left; None for nothing.
    """

    __slots__ = (
        "attempts",
        "blocked_by",
        "due",
        "held",
        "held_by",
        "index",
        "name",
        "outputs",
        "reason",
        "retries",
        "retry_limit",
        "stalled_since",
        "state",
        "tolerated",
        "unmet",
    )

    def __init__(self, index: int, name: str, retry_limit: int, unmet: int) -> None:
        self.index = index
        self.name = name
        self.retry_limit = retry_limit
        self.unmet = unmet
        self.state = TaskState.PENDING if unmet else TaskState.READY
        self.attempts: list[AttemptRecord] = []
        self.held = False
        self.held_by = ""
        self.stalled_since: float | None = None
        self.due: float | None = None
        self.reason = ""
        self.blocked_by: str | None = None
        self.tolerated = False
        self.retries = 0
        self.outputs: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"<TaskView {self.index} {self.name!r} {self.state} attempt {self.attempt}>"

    @property
    def attempt(self) -> int:
        """The number of the current or last attempt, 0 before any."""
        return self.attempts[-1].number if self.attempts else 0

    @property
    def max_attempts(self) -> int:
        """How many attempts the plan grants; those that a person asks for come on top."""
        return max(self.retry_limit + 1, self.attempt)

    @property
    def last_finished(self) -> AttemptRecord | None:
        """The last attempt that has ended."""
        for record in reversed(self.attempts):
            if record.ended is not None:
                return record
        return None

    @property
    def error(self) -> str | None:
        """Of the last finished attempt, None unless it failed."""
        record = self.last_finished
        return record.error if record else None

    @property
    def exit_code(self) -> int | None:
        """Of the last finished attempt."""
        record = self.last_finished
        return record.exit_code if record else None

    def elapsed(self, now: float) -> float | None:
        """Seconds that the current attempt has taken until `now`, or the last one in all; None before any."""
        if not self.attempts:
            return None
        record = self.attempts[-1]
        return max(0.0, (now if record.ended is None else record.ended) - record.started)

    def meets(self, condition: Condition) -> bool:
        """Whether a task that asks this of it has what it needs."""
        return self.state in MET_BY[condition] or (condition is Condition.SUCCESS and self.tolerated)
