"""Events as JSON lines: the format that other programs read, versioned by `SCHEMA`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from engine.core.events import Event, PlanStarted, TaskEvent
from engine.ground.identity import task_id
from engine.plan.model import Condition, Plan, Task

SCHEMA: Final = 1
_ENVELOPE: Final = frozenset({"seq", "utc", "offset", "run_id", "cause", "task", "index"})


class EventEncoder:
    """Turns the events of one run into JSON objects.

    Every object has schema, seq, type, time (ISO 8601, UTC), offset (seconds), run_id and cause; those
    about a task have task, task_index, task_id, attempt and state besides; then the event's own fields.
    PLAN_STARTED lists the tasks with their ids and needs.
    """

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._plan = plan
        self._run_id = run_id
        self._ids: dict[int, str] = {}

    def encode(self, event: Event) -> bytes:
        """One JSON object, without the line's end."""
        return msgspec.json.encode(self.to_dict(event))

    def to_dict(self, event: Event) -> dict[str, Any]:
        """The same as a dict of plain values."""
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "seq": event.seq,
            "type": event.type,
            "time": datetime.fromtimestamp(event.utc, UTC).isoformat(timespec="microseconds"),
            "offset": round(event.offset, 6),
            "run_id": event.run_id,
            "cause": event.cause,
        }
        if isinstance(event, TaskEvent):
            record["task"] = event.task
            record["task_index"] = event.index
            record["task_id"] = self._id(event.index)
        for name in event.__struct_fields__:
            if name not in _ENVELOPE:
                record[name] = getattr(event, name)
        if isinstance(event, PlanStarted):
            record["tasks"] = [self._describe(index, task) for index, task in enumerate(self._plan.tasks)]
        return record

    def _describe(self, index: int, task: Task) -> dict[str, Any]:
        return {
            "name": task.name,
            "id": self._id(index),
            "type": task.type,
            "needs": {need.task: Condition(need.condition).value for need in task.needs},
        }

    def _id(self, index: int) -> str:
        known = self._ids.get(index)
        if known is None:
            known = self._ids[index] = task_id(self._run_id, self._plan.tasks[index].type, index)
        return known
