"""Runs that are kept, as JSON for other programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.codec import SCHEMA
from engine.core.records import AttemptRecord
from engine.ground.identity import task_id
from engine.store.records import GoalRecord, RunRecord
from engine.view.task_view import TaskView
from tui.plain.history_view import Kept, status_of, why


def run_line(record: RunRecord) -> str:
    """A run as one object: its row in the list, with its id in full."""
    return msgspec.json.encode({"schema": SCHEMA, **_run(record)}).decode()


def shown_line(kept: Kept) -> str:
    """A run as one object: what `run_line` has, its diagnosis and its tasks.

    Times within the run (started, ended, offset) are seconds since it began, by its own clock.
    """
    diagnosis = kept.diagnosis
    return msgspec.json.encode(
        {
            "schema": SCHEMA,
            **_run(kept.record),
            "file_has_changed": kept.record.has_changed(),
            "gaps": kept.gaps,
            "failed_task_index": diagnosis.failed_task_index,
            "failed_task_detail": diagnosis.failed_task_detail,
            "failures": [
                {
                    **msgspec.structs.asdict(failure.detail),
                    "index": failure.index,
                    "offset": failure.offset,
                    "exit_code": failure.exit_code,
                    "attempts": [_attempt(kept, failure.index, record) for record in failure.attempts],
                }
                for failure in diagnosis.failures
            ],
            "diagnosis": diagnosis.defect,
            "counts": kept.view.counts,
            "tasks": [_task(kept, task) for task in kept.view.tasks],
        }
    ).decode()


def goal_line(goal: GoalRecord) -> str:
    """A goal as one object, with its last run as `run_line` has it."""
    return msgspec.json.encode(
        {
            "schema": SCHEMA,
            "goal": goal.goal,
            "state": goal.state,
            "since": _time(goal.since),
            "runs": goal.runs,
            "last_run": None if goal.last_run is None else _run(goal.last_run),
        }
    ).decode()


def _run(record: RunRecord) -> dict[str, Any]:
    holder = record.holder
    return {
        "run_id": record.run_id,
        "plan": record.plan,
        "goal": record.goal,
        "source": record.source,
        "state": status_of(record).word,
        "outcome": record.outcome,
        "created": _time(record.created),
        "ended": None if record.ended is None else _time(record.ended),
        "duration": round(record.duration, 6),
        "task_count": record.tasks,
        "success": record.success,
        "failed": record.failed,
        "skipped": record.skipped,
        "cancelled": record.cancelled,
        "retried": record.retried,
        "missing": record.missing,
        "max_parallel": record.max_parallel,
        "failure_mode": record.failure_mode,
        "seed": record.seed,
        "speed": record.speed,
        "pid": None if holder is None else holder.pid,
    }


def _task(kept: Kept, task: TaskView) -> dict[str, Any]:
    kind = kept.view.plan.tasks[task.index].type
    return {
        "name": task.name,
        "index": task.index,
        "id": task_id(kept.record.run_id, kind, task.index),
        "type": kind,
        "state": task.state,
        "tolerated": task.tolerated,
        "why": why(kept, task),
        "outputs": task.outputs or {},
        "attempts": [_attempt(kept, task.index, record) for record in task.attempts],
    }


def _attempt(kept: Kept, index: int, record: AttemptRecord) -> dict[str, Any]:
    return {**msgspec.structs.asdict(record), "log": str(kept.log_path(index, record.number))}


def _time(utc: float) -> str:
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="microseconds")
