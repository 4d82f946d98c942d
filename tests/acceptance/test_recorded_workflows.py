"""Recorded workflows through the real command: what its event stream says must be possible.

The workflows are made here, in the shapes that recorded ones have: fans, chains, diamonds, stragglers,
names that repeat, tasks that take no time. Each is written as WfFormat 1.4 and 1.5.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

SLOTS = 4
TERMINAL = {"TASK_COMPLETED", "TASK_FAILED", "TASK_SKIPPED", "TASK_CANCELLED"}
STARTS = {"TASK_STARTED", "TASK_RETRIED"}


def workflow(seed: int) -> dict[str, list[str]]:
    """Task id -> the ids of its parents, in layers of random widths."""
    random = Random(seed)
    parents: dict[str, list[str]] = {}
    layer: list[str] = []
    for depth in range(random.randint(2, 6)):
        width = random.choice([1, 2, 5, 30])
        fresh = [f"step{depth}_ID{number:05}" for number in range(width)]
        for name in fresh:
            parents[name] = random.sample(layer, min(len(layer), random.randint(1, 4)))
        layer = fresh
    return parents


def as_wfformat_1_5(parents: dict[str, list[str]], random: Random) -> dict[str, Any]:
    return {
        "name": "generated",
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {
                "tasks": [
                    {
                        "name": name.split("_")[0],
                        "id": name,
                        "parents": needs,
                        "children": [child for child, of in parents.items() if name in of],
                    }
                    for name, needs in parents.items()
                ]
            },
            "execution": {
                "makespanInSeconds": 1.0,
                "tasks": [{"id": name, "runtimeInSeconds": random.choice([0, 0.5, 20])} for name in parents],
            },
        },
    }


def as_wfformat_1_4(parents: dict[str, list[str]], random: Random) -> dict[str, Any]:
    return {
        "name": "generated",
        "schemaVersion": "1.4",
        "workflow": {
            "makespanInSeconds": 1.0,
            "tasks": [
                {
                    "name": name,
                    "id": name,
                    "type": "compute",
                    "parents": needs,
                    "children": [child for child, of in parents.items() if name in of],
                    "runtimeInSeconds": random.choice([0, 0.5, 20]),
                }
                for name, needs in parents.items()
            ],
        },
    }


@pytest.mark.parametrize("write", [as_wfformat_1_4, as_wfformat_1_5])
@pytest.mark.parametrize("seed", range(3))
def test_the_event_stream_of_a_recorded_workflow(write: Any, seed: int, tmp_path: Path) -> None:
    parents = workflow(seed)
    plan = tmp_path / "workflow.json"
    plan.write_text(json.dumps(write(parents, Random(seed))))
    run = subprocess.run(
        [sys.executable, "-m", "tui", "run", str(plan), "--speed", "1000", "--json"],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    events = [json.loads(line) for line in run.stdout.splitlines()]

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "PLAN_STARTED"
    assert events[-1]["type"] == "PLAN_COMPLETED"
    ends = Counter(event["task"] for event in events if event["type"] in TERMINAL)
    assert ends == dict.fromkeys(parents, 1)

    running: set[str] = set()
    done: set[str] = set()
    for event in events:
        if event["type"] in STARTS:
            assert done.issuperset(parents[event["task"]]), (
                f"{event['task']} started before its parents had ended"
            )
            running.add(event["task"])
            assert len(running) <= SLOTS
        elif event["type"] in TERMINAL:
            running.remove(event["task"])
            done.add(event["task"])
