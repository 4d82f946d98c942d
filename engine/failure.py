"""`FailureDetail`: the first failure of a run, as it is recorded and handed to other programs."""

from __future__ import annotations

import msgspec

from engine.core.events import TaskFailed
from engine.identity import task_id
from engine.plan.model import Plan


class FailureDetail(msgspec.Struct, frozen=True):
    """The first failure of a run. id: the deterministic task id. type: "run" or "simulate"."""

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
