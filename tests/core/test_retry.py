"""When another attempt is made: the numbers, and the retries of a run."""

from __future__ import annotations

import pytest

from engine.core.events import RetryScheduled, TaskFailed, TaskRetried, TaskStarted
from engine.core.inputs import PausePlan, ResumePlan
from engine.core.retry import back_off, deferral, is_worth_retrying
from engine.core.state import RunPhase
from engine.plan.model import NO_RETRY, Retry
from tests.support.world import World, plan, task


@pytest.mark.parametrize(
    ("number", "least", "most"),
    [(1, 0.50, 0.55), (2, 1.00, 1.05), (3, 2.00, 2.05), (4, 4.00, 4.05), (9, 60.00, 60.05)],
)
def test_back_off_of_the_defaults(number: int, least: float, most: float) -> None:
    """SPEC 3: min(max_delay, delay * backoff^(n-1)) + uniform(0, jitter)."""
    assert back_off(Retry(limit=9), number, 0.0) == pytest.approx(least)
    assert back_off(Retry(limit=9), number, 1.0) == pytest.approx(most)


@pytest.mark.parametrize(
    ("retry", "number", "seconds"),
    [
        (Retry(delay=3.0, backoff=1.0, jitter=0.0), 5, 3.0),
        (Retry(delay=1.0, backoff=3.0, jitter=0.0), 3, 9.0),
        (Retry(delay=1.0, backoff=3.0, jitter=0.0, max_delay=8.0), 3, 8.0),
        (Retry(delay=90.0, jitter=0.0), 1, 60.0),
        (Retry(delay=0.0, jitter=0.0), 7, 0.0),
        (Retry(jitter=0.0), 100_000, 60.0),  # 2.0 ** 99_999 overflows
    ],
)
def test_back_off(retry: Retry, number: int, seconds: float) -> None:
    assert back_off(retry, number, 0.5) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("retry", "used", "exit_code", "worth"),
    [
        (NO_RETRY, 0, 1, False),
        (Retry(limit=2), 0, 1, True),
        (Retry(limit=2), 1, None, True),
        (Retry(limit=2), 2, 1, False),
        (Retry(limit=2, exit_codes=(75, 76)), 0, 76, True),
        (Retry(limit=2, exit_codes=(75, 76)), 0, 1, False),
        (Retry(limit=2, exit_codes=(75, 76)), 0, None, False),  # a time-out has no exit code
        (Retry(limit=2, exit_codes=(75, 76)), 2, 75, False),
    ],
)
def test_is_worth_retrying(retry: Retry, used: int, exit_code: int | None, worth: bool) -> None:
    assert is_worth_retrying(retry, used, exit_code) is worth


def test_deferral_doubles_up_to_five_seconds() -> None:
    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [deferral(n) for n in range(8)] == pytest.approx(expected)
    assert deferral(100_000) == 5.0


def test_a_run_draws_its_jitter_from_the_random_source_it_was_given() -> None:
    def delays(seed: int) -> list[float]:
        world = World(plan(a=task(retry=Retry(limit=3))), seed=seed)
        world.start()
        for _ in range(3):
            world.fail("a")
            world.wait(3.0)
        return [event.delay for event in world.all(RetryScheduled)]

    for number, delay in enumerate(delays(1)):
        assert 0.5 * 2**number <= delay <= 0.5 * 2**number + 0.05
    assert delays(1) == delays(1)
    assert delays(1) != delays(2)


def test_the_course_of_a_task_that_exhausts_its_retries() -> None:
    world = World(plan(a=task(retry=2)))
    world.start()
    world.admit("a")
    world.wait(1.0)
    assert world.fail("a", "exit 7", 7) == ["RETRY_SCHEDULED a"]
    scheduled = world.last(RetryScheduled)
    assert (scheduled.attempt, scheduled.delay, scheduled.due) == (1, 0.5, 1.5)
    assert (scheduled.duration, scheduled.error, scheduled.exit_code) == (1.0, "exit 7", 7)
    assert world.scheduler.next_deadline() == 1.5
    assert world.wait(0.25) == []
    assert world.wait(0.25) == ["start a#2"]
    assert world.admit("a") == ["TASK_RETRIED a"]
    retried = world.last(TaskRetried)
    assert (retried.attempt, retried.cause, retried.where) == (2, "retry 1/2", "pid of a")
    assert world.fail("a") == ["RETRY_SCHEDULED a"]
    assert world.last(RetryScheduled).delay == 1.0
    assert world.wait(1.0) == ["start a#3"]
    world.admit("a")
    world.wait(2.0)
    assert world.fail("a", "exit 9", 9) == ["TASK_FAILED a", "PLAN_COMPLETED"]
    failed = world.last(TaskFailed)
    assert (failed.attempt, failed.retry_count, failed.max_retries) == (3, 2, 2)
    assert (failed.duration, failed.error, failed.exit_code) == (2.0, "exit 9", 9)
    attempts = world.scheduler.snapshot().tasks[0].attempts
    assert [(r.number, r.started, r.ended, r.exit_code) for r in attempts] == [
        (1, 0.0, 1.0, 7),
        (2, 1.5, 1.5, 1),
        (3, 2.5, 4.5, 9),
    ]
    assert len(world.all(TaskStarted)) == 1


def test_a_slot_is_released_during_back_off() -> None:
    world = World(plan(a=task(retry=1, priority=90), b="", c=""), max_parallel=1)
    world.start()
    assert world.fail("a") == ["TASK_STARTED a", "RETRY_SCHEDULED a", "start b#1"]
    assert world.wait(1.0) == [], "the back-off is over, but b has the slot now"
    assert world.states["a"] == "ready"
    assert world.succeed("b")[-1] == "start a#2", "by its priority, before c"


def test_other_exit_codes_are_no_reason_to_retry() -> None:
    world = World(plan(a=task(retry=Retry(limit=3, jitter=0.0, exit_codes=(75,)))))
    world.start()
    assert world.fail("a", "exit 75", 75)[-1] == "RETRY_SCHEDULED a"
    world.wait(0.5)
    assert world.fail("a", "exit 1", 1)[-2:] == ["TASK_FAILED a", "PLAN_COMPLETED"]
    assert (world.last(TaskFailed).retry_count, world.last(TaskFailed).max_retries) == (1, 3)


def test_a_back_off_goes_on_during_a_pause_but_nothing_starts() -> None:
    world = World(plan(a=task(retry=1)))
    world.start()
    world.fail("a")
    world.send(PausePlan())
    assert world.wait(10.0) == []
    assert world.phase is RunPhase.PAUSED
    assert world.states["a"] == "ready"
    assert world.send(ResumePlan()) == ["PLAN_RESUMED", "start a#2"]
