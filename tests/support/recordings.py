"""Recorded runs (`tests/recordings/*.jsonl`), in the form in which `plandeck run --json` prints them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.core.events import EVENT_TYPES, Event
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode, Need, Plan, Task

DIRECTORY = Path(__file__).parent.parent / "recordings"


class Recording(NamedTuple):
    """A run that has been. graph: as far as PLAN_STARTED tells of it."""

    graph: Graph
    events: list[Event]


def names() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.jsonl"))


def read(name: str) -> Recording:
    """Read a recording by its name. Raises on anything that is not an event."""
    records = [msgspec.json.decode(line) for line in (DIRECTORY / f"{name}.jsonl").read_bytes().splitlines()]
    first = records[0]
    tasks = tuple(
        Task(
            name=task["name"],
            run="true",
            needs=tuple(Need(needed, Condition(condition)) for needed, condition in task["needs"].items()),
        )
        for task in first["tasks"]
    )
    plan = Plan(
        name=first["plan"],
        tasks=tasks,
        max_parallel=first["max_parallel"],
        failure_mode=FailureMode(first["failure_mode"]),
    )
    return Recording(Graph(plan), [_event(record) for record in records])


def _event(record: dict[str, Any]) -> Event:
    fields = {
        **record,
        "utc": datetime.fromisoformat(record["time"]).timestamp(),
        "index": record.get("task_index"),
    }
    if isinstance(fields.get("tasks"), list):
        fields["tasks"] = len(fields["tasks"])
    return msgspec.convert(fields, EVENT_TYPES[record["type"]])
