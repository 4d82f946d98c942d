"""What is printed for each event, in plain lines and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.core.events import (
    EVENT_TYPES,
    DispatchDeferred,
    Event,
    FailureModeChanged,
    HookEnded,
    MaxParallelChanged,
    PlanCompleted,
    PlanPaused,
    PlanResumed,
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskHeld,
    TaskReleased,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    TaskStarted,
    TaskStopping,
)
from engine.core.inputs import PausePlan, SetMaxParallel
from engine.core.state import Outcome, RunPhase, TaskState
from engine.plan.model import FailureMode, Plan, Retry, Simulation, Task
from tests.support.world import World, subplan
from tests.support.world import plan as nested
from tui.plain.report import JsonReport, PlainReport, Style
from tui.plain.sayings import of_plan

RUN_ID = "3f2a91bc-0000-4000-8000-000000000000"
HOSTILE = "\x1b[31m[bold]red\x1b[0m\nline"
PLAN = Plan(
    name="release",
    tasks=(
        Task(name="build", simulate=Simulation()),
        Task(name="unit", simulate=Simulation(), retry=Retry(limit=2)),
        Task(name=HOSTILE, simulate=Simulation()),
    ),
)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Lines show the local time of whoever reads them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def about(cls: type[Event], index: int = 1, *, attempt: int = 1, **fields: Any) -> Event:
    name = PLAN.tasks[index].name
    envelope = {"seq": 1, "utc": 43_438.5, "offset": 1.0, "run_id": RUN_ID, "cause": "needs met"}
    return cls(**envelope, task=name, index=index, attempt=attempt, **fields)


def plan_event(cls: type[Event], phase: RunPhase = RunPhase.RUNNING, **fields: Any) -> Event:
    return cls(seq=1, utc=43_438.5, offset=1.0, run_id=RUN_ID, cause="operator", phase=phase, **fields)


LINES = [
    (
        about(TaskStarted, state=TaskState.RUNNING, where="pid 4711"),
        "◐ running    unit            1/3   pid 4711",
    ),
    (about(TaskRetried, attempt=2, state=TaskState.RUNNING), "◐ running    unit            2/3"),
    (about(TaskCompleted, state=TaskState.SUCCESS, duration=3.2), "✔ success    unit            1/3   3.2s"),
    (
        about(TaskCompleted, state=TaskState.SUCCESS, duration=0, reason="by hand"),
        "✔ success    unit            1/3   marked as done by needs met: by hand",
    ),
    (
        about(
            TaskFailed,
            attempt=3,
            state=TaskState.FAILED,
            duration=61,
            error="exit 2",
            retry_count=2,
            max_retries=2,
        ),
        "✖ failed     unit            3/3   exit 2, after 1m1s",
    ),
    (
        about(
            TaskFailed,
            attempt=4,
            state=TaskState.FAILED,
            duration=1,
            error="exit 2",
            retry_count=3,
            max_retries=2,
        ),
        "✖ failed     unit            4/4   exit 2, after 1s",
    ),
    (
        about(TaskSkipped, 0, attempt=0, state=TaskState.SKIPPED, reason="unit failed", blocked_by="unit"),
        "⊘ skipped    build           -     unit failed",
    ),
    (
        about(TaskSkipped, 0, state=TaskState.SKIPPED, reason="tolerated", error="exit 1", tolerated=True),
        "⊘ skipped    build           1/1   tolerated: exit 1",
    ),
    (
        about(TaskCancelled, 0, attempt=0, state=TaskState.CANCELLED, reason="fail-fast: unit failed"),
        "■ cancelled  build           -     fail-fast: unit failed",
    ),
    (
        about(RetryScheduled, state=TaskState.RETRYING, due=2, delay=0.52, duration=1, error="exit 75"),
        "↻ retrying   unit            1/3   exit 75, again in 0.5s",
    ),
    (
        about(TaskStopping, state=TaskState.STOPPING, reason="cancelled by operator"),
        "◧ stopping   unit            1/3   cancelled by operator",
    ),
    (
        about(TaskStopping, state=TaskState.STOPPING, reason="cancelled by operator", kill=True),
        "◧ stopping   unit            1/3   cancelled by operator (killed)",
    ),
    (
        about(TaskStalled, state=TaskState.RUNNING, silent_for=31, last_line="waiting"),
        '! stalled    unit            1/3   silent 31s, last line: "waiting"',
    ),
    (
        about(TaskStalled, state=TaskState.RUNNING, silent_for=31),
        "! stalled    unit            1/3   silent 31s",
    ),
    (about(StallCleared, state=TaskState.RUNNING), "◐ running    unit            1/3   shows life again"),
    (
        about(TaskReset, state=TaskState.PENDING),
        "○ pending    unit            1/3   to run again (needs met)",
    ),
    (
        about(TaskHeld, attempt=0, state=TaskState.READY),
        "◎ ready      unit            -     held (needs met)",
    ),
    (
        about(TaskReleased, attempt=0, state=TaskState.READY),
        "◎ ready      unit            -     released (needs met)",
    ),
    (
        about(DispatchDeferred, attempt=0, state=TaskState.READY, due=2, reason="2 of 2 busy"),
        "◎ ready      unit            -     no capacity: 2 of 2 busy",
    ),
    (
        about(TaskStarted, 2, state=TaskState.RUNNING),
        "◐ running    [bold]red line  1/1",
    ),
    (
        plan_event(PlanStarted, plan="release", tasks=3, max_parallel=1, failure_mode=FailureMode.FAIL_FAST),
        f"  plan       release: 3 tasks, 1 slot, fail-fast, run {RUN_ID}",
    ),
    (
        plan_event(
            PlanCompleted,
            RunPhase.COMPLETE,
            outcome=Outcome.FAILED,
            duration=12,
            success=1,
            failed=1,
            skipped=1,
            cancelled=0,
            retried=0,
        ),
        "  plan       failed after 12s",
    ),
    (plan_event(PlanPaused, RunPhase.PAUSED), "  plan       paused (operator)"),
    (plan_event(PlanResumed), "  plan       goes on (operator)"),
    (plan_event(MaxParallelChanged, old=4, new=8), "  plan       8 slots instead of 4 (operator)"),
    (plan_event(HookEnded, hook="success", duration=0.5), "  plan       success hook done, after 0.5s"),
    (
        plan_event(HookEnded, hook="stall", about="unit", duration=2.0, error="exit 3", exit_code=3),
        "  plan       stall hook about unit failed: exit 3, after 2s",
    ),
    (
        plan_event(FailureModeChanged, old=FailureMode.FAIL_FAST, new=FailureMode.PAUSE_ON_FAILURE),
        "  plan       pause-on-failure instead of fail-fast (operator)",
    ),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda value: getattr(value, "type", ""))
def test_plain_line(event: Event, line: str) -> None:
    report = PlainReport(PLAN, RUN_ID, Style())
    assert report.render([event]).decode() == f"12:03:58 {line}\n"


def test_every_event_has_a_line() -> None:
    assert {type(event) for event, _ in LINES} == set(EVENT_TYPES.values())


def test_end_of_a_stalled_attempt_is_one_line() -> None:
    """That it is no longer stalled goes without saying."""
    cleared = about(StallCleared, state=TaskState.RUNNING)
    ended = about(TaskCompleted, state=TaskState.SUCCESS, duration=1)
    other = about(TaskCompleted, 0, state=TaskState.SUCCESS, duration=1)
    report = PlainReport(PLAN, RUN_ID, Style())
    assert report.render([cleared, ended]) == report.render([ended])
    assert report.render([cleared, other]) == report.render([cleared]) + report.render([other])


def test_colour_only_when_asked() -> None:
    event = about(TaskCompleted, state=TaskState.SUCCESS, duration=1)
    assert b"\x1b" not in PlainReport(PLAN, RUN_ID, Style()).render([event])
    assert b"\x1b[32m" in PlainReport(PLAN, RUN_ID, Style(colour=True)).render([event])


def test_old_terminal_gets_signs_it_has() -> None:
    event = about(TaskCompleted, state=TaskState.SUCCESS, duration=1)
    assert PlainReport(PLAN, RUN_ID, Style(ascii=True)).render([event]).isascii()


def test_encoding_that_lacks_a_sign_never_raises() -> None:
    event = about(TaskCompleted, state=TaskState.SUCCESS, duration=1, reason="naïve ✔")
    line = PlainReport(PLAN, RUN_ID, Style(ascii=True, encoding="ascii")).render([event])
    assert b"na\\xefve \\u2714" in line


def test_json_lines() -> None:
    report = JsonReport(PLAN, RUN_ID)
    first = plan_event(
        PlanStarted, plan="release", tasks=3, max_parallel=4, failure_mode=FailureMode.FAIL_FAST
    )
    second = about(TaskStarted, 2, state=TaskState.RUNNING, where="pid 1")
    lines = report.render([first, second]).splitlines()
    started, task = map(json.loads, lines)
    assert started["schema"] == 1
    assert [entry["name"] for entry in started["tasks"]] == ["build", "unit", HOSTILE]
    assert (task["type"], task["task"], task["state"]) == ("TASK_STARTED", HOSTILE, "running")


def test_what_is_about_a_subplan_names_it() -> None:
    world = World(nested(sub=subplan({"a": ""})))
    world.start()
    world.send(SetMaxParallel(slots=2, scope=1))
    world.send(PausePlan(scope=1))
    lines = [of_plan(event, world.plan) for event in world.events[-2:]]
    assert lines == ["sub: 2 slots instead of 4 (operator)", "sub: paused (operator)"]
