"""`PlanResult`: how a run ended, with its first failure as it is recorded and handed to other programs."""

from __future__ import annotations

import msgspec

from engine.core.events import TaskFailed
from engine.core.state import Outcome
from engine.errors import AggregateSubplanError, RunFailed, SubplanExecutionError
from engine.ground.identity import task_id
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


class PlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended. duration: seconds. tolerated: how many of the skipped had failed.

    failures: the last word on each failed task, in the order in which they failed. failed_subplan: the
    outermost subplan that failed of the first failure.
    """

    run_id: str
    plan: str
    outcome: Outcome
    duration: float
    success: int
    failed: int
    skipped: int
    cancelled: int
    tolerated: int = 0
    retried: int
    failures: tuple[TaskFailed, ...] = ()
    failed_task_index: int | None = None
    failed_task_detail: FailureDetail | None = None
    failed_subplan: SubplanFailure | None = None
    diagnosis: str | None = None

    def raise_for_outcome(self) -> None:
        """Raise `RunFailed` unless the run succeeded: `SubplanExecutionError` or `AggregateSubplanError` if
        it was a subplan that failed."""
        if self.outcome is not Outcome.SUCCESS:
            if self.failed_subplan is not None:
                raise self.failed_subplan.as_error()
            detail = self.failed_task_detail
            why = f": {detail.name}: {detail.error}" if detail else ""
            raise RunFailed(f"{self.plan}: {self.outcome}{why}")
