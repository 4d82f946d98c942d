"""`FailureDetail`: the first failure of a run, as it is recorded and handed to other programs; and
`SubplanFailure`: how a subplan failed."""

from __future__ import annotations

import msgspec

from engine.core.events import TaskFailed
from engine.errors import AggregateSubplanError, SubplanExecutionError
from engine.identity import task_id
from engine.plan.model import FailureMode, Plan


class FailureDetail(msgspec.Struct, frozen=True):
    """The first failure of a run. id: the deterministic task id. type: "run", "python", "simulate" or, of a
    subplan that has failed by itself, "plan"."""

    type: str
    id: str
    name: str
    error: str
    retry_count: int
    max_retries: int


def failure_detail(plan: Plan, failed: TaskFailed) -> FailureDetail:
    """What is recorded of a failed task."""
    task = plan.tasks[failed.index]
    return FailureDetail(
        type=task.type,
        id=task_id(failed.run_id, task.type, failed.index),
        name=task.name,
        error=failed.error,
        retry_count=failed.retry_count,
        max_retries=failed.max_retries,
    )


class SubplanFailure(msgspec.Struct, frozen=True):
    """How a subplan failed. mode: what failures meant in it at the end. failures: (task, error) of each task
    of its own that failed, in the order in which they failed; of a subplan within, that one's error."""

    subplan: str
    mode: FailureMode
    failures: tuple[tuple[str, str], ...]

    def as_error(self) -> SubplanExecutionError | AggregateSubplanError:
        """The exception that says so."""
        if self.mode is FailureMode.FAIL_FAST:
            return SubplanExecutionError(self.subplan, *self.failures[0])
        return AggregateSubplanError(self.subplan, self.failures)
