"""`Facts`: what a hook is told, as variables of its environment and as JSON on its stdin."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from engine.codec import SCHEMA
from engine.core.events import Event, PlanCompleted
from engine.dispatch.hook import FACTS
from engine.ground.identity import task_id
from engine.ground.text import one_line
from engine.handle import RunHandle
from engine.monitor.evidence import Evidence
from engine.view.run_view import RunView

NAMED: Final = 50
"""Failures that are told one by one."""

TEXT_LIMIT: Final = 1000
"""Characters of one variable: the system bounds them all together."""


class FailedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is FAILED. retries: how many it had used. log: of its last attempt."""

    task: str
    task_id: str
    attempt: int
    error: str
    exit_code: int | None
    retries: int
    log: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One occasion: `success`, `failure`, `stall` or `unhealthy`.

    schema: changes when a field changes its meaning or goes away. time: ISO 8601, UTC. outcome, duration: of
    the run, None while it goes on. counts: of tasks, by state. failures: at most `NAMED`, in the order in
    which they failed. stall: of the task that has stalled, for `stall`, or that has been silent longest, for
    `unhealthy`. log: of that task, or of the first that failed.
    """

    schema: int = SCHEMA
    event: str
    time: str
    run_id: str
    plan: str
    goal: str | None
    source: str | None
    outcome: str | None
    duration: float | None
    health: float
    progress: float
    counts: Mapping[str, int]
    failures: tuple[FailedTask, ...]
    stall: Evidence | None = None

    def variables(self, path: str) -> dict[str, str]:
        """Every one is always there; those that there is nothing to say of are empty. path: of the file that
        holds the same as JSON."""
        failed = self.failures[0] if self.failures else None
        about = self.stall or failed
        own: dict[str, Any] = {
            "EVENT": self.event,
            "RUN_ID": self.run_id,
            "PLAN": self.plan,
            "GOAL": self.goal,
            "OUTCOME": self.outcome,
            "DURATION": self.duration,
            "HEALTH": self.health,
            "PROGRESS": self.progress,
            "TASK": about and about.task,
            "TASK_ID": about and about.task_id,
            "ATTEMPT": about and about.attempt,
            "ERROR": failed and failed.error,
            "EXIT_CODE": failed and failed.exit_code,
            "SILENT_FOR": self.stall and self.stall.silent_for,
            "LAST_LINE": self.stall and next(reversed(self.stall.last_lines), ""),
            "ADVICE": self.stall and self.stall.advice,
        }
        told = {
            name: "" if value is None else one_line(str(value), TEXT_LIMIT) for name, value in own.items()
        }
        return {f"PLANDECK_{name}": value for name, value in told.items()} | {FACTS: path}


def facts_of(run: RunHandle, view: RunView, occasion: str, cause: Event | None = None) -> Facts:
    """What is known now. cause: the event that is the occasion."""
    utc = run.now().utc if cause is None else cause.utc
    ended = cause if isinstance(cause, PlanCompleted) else None
    return Facts(
        event=occasion,
        time=datetime.fromtimestamp(utc, UTC).isoformat(timespec="milliseconds"),
        run_id=run.run_id,
        plan=run.plan.name,
        goal=run.plan.goal,
        source=run.plan.source,
        outcome=None if ended is None else ended.outcome.value,
        duration=None if ended is None else round(ended.duration, 3),
        health=round(view.health, 4),
        progress=round(view.progress, 4),
        counts={state.value: count for state, count in view.counts.items()},
        failures=tuple(_failed(run, view, index) for index in view.failures[:NAMED]),
    )


def _failed(run: RunHandle, view: RunView, index: int) -> FailedTask:
    task = view.tasks[index]
    return FailedTask(
        task=task.name,
        task_id=task_id(run.run_id, run.plan.tasks[index].type, index),
        attempt=task.attempt,
        error=task.error or "",
        exit_code=task.exit_code,
        retries=task.retries,
        log=str(run.log_path(index, task.attempt)),
    )
