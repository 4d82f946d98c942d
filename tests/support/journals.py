"""Journals for tests: a plan to have events about, whole runs on disk, and children that write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.core.events import Event
from engine.core.state import Outcome
from engine.plan.graph import Graph
from engine.plan.model import Need, Plan, Retry, Task
from engine.store.journal import Journal
from tests.support.events import EventFactory

ROOT = Path(__file__).parents[2]

DIAMOND = Plan(
    name="diamond",
    goal="see it through",
    max_parallel=2,
    tasks=(
        Task(name="A", run="true"),
        Task(name="B", run="true", needs=(Need("A"),), retry=Retry(limit=1)),
        Task(name="C", run="true", needs=(Need("A"),)),
        Task(name="D", run="true", needs=(Need("B"), Need("C"))),
    ),
)


def diamond(run_id: str, *, takes: float = 1.0) -> list[Event]:
    """The events of a run in which all goes well."""
    made = EventFactory(Graph(DIAMOND), run_id=run_id, step=0.25)
    made.plan_started()
    for task in "ABCD":
        made.started(task, where="pid 4711")
        made.wait(takes - made.step)
        made.completed(task, exit_code=0)
    made.plan_completed()
    return made.events


def broken_diamond(run_id: str) -> list[Event]:
    """The events of a run in which B fails twice, so that D is skipped."""
    made = EventFactory(Graph(DIAMOND), run_id=run_id)
    made.plan_started()
    made.started("A")
    made.completed("A")
    made.started("B")
    made.started("C")
    made.retry_scheduled("B", error="exit 2", exit_code=2)
    made.completed("C")
    made.started("B")
    made.failed("B", "exit 3", 3)
    made.skipped("D", "B failed", blocked_by="B")
    made.plan_completed(Outcome.FAILED)
    return made.events


def write_run(directory: Path, events: list[Event], plan: Plan = DIAMOND) -> None:
    """A run on disk, all its events in one turn."""
    with Journal.create(directory, events[0].run_id, plan) as journal:
        journal.commit(events)
        assert journal.missing == 0


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs `code`, with pipes to talk to it and `arguments` in sys.argv."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
