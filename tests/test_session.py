"""An embedded run from outside: in virtual time with scripted dispatchers, and with real processes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
import trio.testing

from engine import Need, Plan, Retry, Simulation, Task, open_run
from engine.codec import EventEncoder
from engine.core.events import Event, PlanCompleted, TaskRetried, TaskStalled, TaskStarted
from engine.core.inputs import (
    AttemptOutcome,
    CancelPlan,
    CancelTask,
    DrainPlan,
    HoldTask,
    KillTask,
    OutcomeKind,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetMaxParallel,
)
from engine.core.scheduler import Scheduler
from engine.core.state import Outcome, TaskState
from engine.dispatch.base import Attempt, ConcurrencyLimit, Output
from engine.errors import AggregateSubplanError, CommandRefused, RunFailed, SubplanExecutionError
from engine.plan.model import FailureMode
from engine.session import Run
from engine.stream import Subscription
from tests.support.world import plan as nested
from tests.support.world import subplan

pytestmark = pytest.mark.anyio

DONE = AttemptOutcome(OutcomeKind.SUCCESS)


@pytest.fixture(
    params=[("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})], ids=["virtual time"]
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


class Scripted:
    """A dispatcher that does what a function says. running: the names of what is in its hands."""

    def __init__(self, script: Callable[[Attempt], Awaitable[AttemptOutcome]] | None = None) -> None:
        self.script = script
        self.running: set[str] = set()
        self.peak = 0

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        output.started("here")
        self.running.add(attempt.task.name)
        self.peak = max(self.peak, len(self.running))
        try:
            return await self.script(attempt) if self.script else DONE
        finally:
            self.running.discard(attempt.task.name)


async def forever(_: Attempt) -> AttemptOutcome:
    await anyio.sleep_forever()
    raise AssertionError


def simulated(name: str, *needs: str, seconds: float = 60.0, **more: object) -> Task:
    return Task(name=name, simulate=Simulation(seconds), needs=tuple(Need(need) for need in needs), **more)  # type: ignore[arg-type]


def plan_of(*tasks: Task, **more: object) -> Plan:
    return Plan(name="test", tasks=tasks, **more)  # type: ignore[arg-type]


def diamond() -> Plan:
    return plan_of(
        simulated("a"), simulated("b", "a"), simulated("c", "a", seconds=120.0), simulated("d", "b", "c")
    )


def taken(subscription: Subscription) -> list[Event]:
    return subscription.take()


async def until(run: Run, name: str, state: TaskState) -> None:
    """Return once a task is in a state."""
    subscription = run.subscribe()
    index = run.graph.index_of[name]
    while run.snapshot().tasks[index].state is not state:
        assert await subscription.wait(), f"{name} never became {state}"
        subscription.take()


async def test_an_hour_of_simulated_plan_ends_as_it_should(tmp_path: Path) -> None:
    tasks = [simulated("t0")] + [simulated(f"t{n}", f"t{n - 1}") for n in range(1, 60)]
    async with open_run(plan_of(*tasks), directory=tmp_path) as run:
        result = await run.wait()
    assert result.outcome is Outcome.SUCCESS
    assert result.success == 60
    assert result.duration == pytest.approx(3600.0)
    result.raise_for_outcome()


async def test_tasks_start_as_soon_as_their_own_needs_are_met(tmp_path: Path) -> None:
    async with open_run(diamond(), directory=tmp_path) as run:
        subscription = run.subscribe()
        result = await run.wait()
        started = {
            event.task: event.offset for event in taken(subscription) if isinstance(event, TaskStarted)
        }
    assert started == pytest.approx({"a": 0.0, "b": 60.0, "c": 60.0, "d": 180.0})
    assert result.duration == pytest.approx(240.0)


async def test_speed_divides_simulated_time(tmp_path: Path) -> None:
    async with open_run(diamond(), directory=tmp_path, speed=240.0) as run:
        assert (await run.wait()).duration == pytest.approx(1.0)


async def test_never_more_in_flight_than_slots_and_slots_can_be_changed(tmp_path: Path) -> None:
    dispatcher = Scripted(forever)
    plan = plan_of(*(simulated(f"t{n}") for n in range(10)), max_parallel=2)
    async with open_run(plan, directory=tmp_path, dispatchers={"local": dispatcher}) as run:
        await anyio.wait_all_tasks_blocked()
        assert len(dispatcher.running) == 2
        await run.send(SetMaxParallel(slots=5))
        await anyio.wait_all_tasks_blocked()
        assert len(dispatcher.running) == 5
        await run.send(SetMaxParallel(slots=1))
        await run.send(CancelTask(index=0))
        await anyio.wait_all_tasks_blocked()
        assert len(dispatcher.running) == 4
        with pytest.raises(CommandRefused, match=r"1\.\.32"):
            await run.send(SetMaxParallel(slots=33))
    assert dispatcher.running == set()
    assert dispatcher.peak == 5


async def test_a_failure_is_retried_and_its_history_kept(tmp_path: Path) -> None:
    async def twice_bad(attempt: Attempt) -> AttemptOutcome:
        if attempt.number < 3:
            return AttemptOutcome(OutcomeKind.FAILED, "exit 1", 1)
        return DONE

    plan = plan_of(simulated("a", retry=Retry(limit=2, jitter=0.0)))
    async with open_run(plan, directory=tmp_path, dispatchers={"local": Scripted(twice_bad)}) as run:
        subscription = run.subscribe()
        result = await run.wait()
        retried = [event for event in taken(subscription) if isinstance(event, TaskRetried)]
        task = run.snapshot().tasks[0]
    assert result.outcome is Outcome.SUCCESS
    assert result.retried == 2
    assert [event.offset for event in retried] == pytest.approx([0.5, 1.5])
    assert [record.error for record in task.attempts] == ["exit 1", "exit 1", None]


async def test_a_failure_is_told_with_its_diagnosis(tmp_path: Path) -> None:
    async def bad(attempt: Attempt) -> AttemptOutcome:
        return AttemptOutcome(OutcomeKind.FAILED, "exit 3", 3)

    plan = plan_of(simulated("a"), simulated("b", "a"))
    async with open_run(plan, directory=tmp_path, dispatchers={"local": Scripted(bad)}) as run:
        result = await run.wait()
        assert result.failed_task_index == 0
        detail = result.failed_task_detail
        assert detail is not None
        assert (detail.type, detail.name, detail.error) == ("simulate", "a", "exit 3")
        assert (detail.retry_count, detail.max_retries) == (0, 0)
        assert len(detail.id) == 36
        assert result.skipped == 1
        with pytest.raises(RunFailed, match="a: exit 3"):
            result.raise_for_outcome()


async def bad(attempt: Attempt) -> AttemptOutcome:
    """Fails if that is what its task is called."""
    fails = attempt.task.name.endswith("bad")
    return AttemptOutcome(OutcomeKind.FAILED, "exit 3", 3) if fails else AttemptOutcome(OutcomeKind.SUCCESS)


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        (FailureMode.FAIL_FAST, SubplanExecutionError, "sub/1 bad failed: exit 3"),
        (
            FailureMode.CONTINUE_ON_ERROR,
            AggregateSubplanError,
            "2 tasks failed: sub/1 bad: exit 3; sub/2 bad: exit 3",
        ),
    ],
)
async def test_a_failed_subplan_is_raised_as_what_it_is(
    tmp_path: Path, mode: FailureMode, error: type[RunFailed], words: str
) -> None:
    given = nested(sub=subplan({"1 bad": "", "2 bad": {"1 bad": "finished"}}, mode=mode))
    async with open_run(given, directory=tmp_path, dispatchers={"local": Scripted(bad)}) as run:
        result = await run.wait()
        with pytest.raises(error) as raised:
            result.raise_for_outcome()
        assert str(raised.value) == words
        assert isinstance(raised.value, SubplanExecutionError | AggregateSubplanError)
        assert raised.value.subplan == "sub"
        assert result.failures[-1].error == words


async def test_failures_that_a_subplan_makes_up_for_are_none_of_the_result(tmp_path: Path) -> None:
    given = nested(sub=subplan({"bad": ""}, skip_on_failure=True))
    async with open_run(given, directory=tmp_path, dispatchers={"local": Scripted(bad)}) as run:
        result = await run.wait()
    assert (result.failures, result.failed, result.tolerated) == ((), 0, 1)
    result.raise_for_outcome()


async def test_a_retry_reopens_a_complete_run(tmp_path: Path) -> None:
    broken = True

    async def sometimes(attempt: Attempt) -> AttemptOutcome:
        return AttemptOutcome(OutcomeKind.FAILED, "no") if broken and attempt.task.name == "b" else DONE

    plan = plan_of(simulated("a"), simulated("b", "a"), simulated("c", "b"))
    async with open_run(plan, directory=tmp_path, dispatchers={"local": Scripted(sometimes)}) as run:
        assert (await run.wait()).outcome is Outcome.FAILED
        broken = False
        await run.send(RetryFailed(actor="alice"))
        result = await run.wait()
        assert result.outcome is Outcome.SUCCESS
        assert result.success == 3
        assert result.failures == ()
        await run.send(RetryTask(index=0, downstream=True))
        assert (await run.wait()).success == 3
        assert [len(task.attempts) for task in run.snapshot().tasks] == [2, 3, 2]


async def test_pausing_holding_and_releasing(tmp_path: Path) -> None:
    dispatcher = Scripted(forever)
    plan = plan_of(simulated("a"), simulated("b"), max_parallel=1)
    async with open_run(plan, directory=tmp_path, dispatchers={"local": dispatcher}) as run:
        await anyio.wait_all_tasks_blocked()
        await run.send(PausePlan())
        await run.send(CancelTask(index=0))
        await run.idle()
        assert dispatcher.running == set()
        await run.send(HoldTask(index=1))
        await run.send(ResumePlan())
        await run.idle()
        assert dispatcher.running == set()
        await run.send(ReleaseTask(index=1))
        await anyio.wait_all_tasks_blocked()
        assert dispatcher.running == {"b"}


async def test_draining_finishes_what_runs_and_cancels_the_rest(tmp_path: Path) -> None:
    async with open_run(diamond(), directory=tmp_path) as run:
        await until(run, "a", TaskState.RUNNING)
        await run.send(DrainPlan())
        result = await run.wait()
    assert (result.success, result.cancelled, result.outcome) == (1, 3, Outcome.CANCELLED)
    assert result.duration == pytest.approx(60.0)


async def test_cancelling_the_plan(tmp_path: Path) -> None:
    async with open_run(diamond(), directory=tmp_path) as run:
        await until(run, "c", TaskState.RUNNING)
        await run.send(CancelPlan(actor="alice"))
        result = await run.wait()
    assert result.outcome is Outcome.CANCELLED
    assert (result.success, result.cancelled) == (1, 3)


async def test_leaving_the_block_ends_what_runs(tmp_path: Path) -> None:
    dispatcher = Scripted(forever)
    async with open_run(diamond(), directory=tmp_path, dispatchers={"local": dispatcher}) as run:
        subscription = run.subscribe()
        await anyio.wait_all_tasks_blocked()
        assert dispatcher.running == {"a"}
    assert dispatcher.running == set()
    last = taken(subscription)[-1]
    assert isinstance(last, PlanCompleted)
    assert last.outcome is Outcome.INTERRUPTED
    with pytest.raises(CommandRefused, match="closed"):
        await run.send(PausePlan())


async def test_an_exception_in_the_block_comes_out_as_it_was(tmp_path: Path) -> None:
    dispatcher = Scripted(forever)

    async def block() -> None:
        async with open_run(diamond(), directory=tmp_path, dispatchers={"local": dispatcher}):
            await anyio.wait_all_tasks_blocked()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()
    assert dispatcher.running == set()


async def test_cancelling_the_block_waits_for_dispatchers_to_clean_up(tmp_path: Path) -> None:
    cleaned = False

    async def careful(_: Attempt) -> AttemptOutcome:
        nonlocal cleaned
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5.0)
                cleaned = True
        raise AssertionError

    with anyio.move_on_after(10.0):
        async with open_run(diamond(), directory=tmp_path, dispatchers={"local": Scripted(careful)}):
            await anyio.sleep_forever()
    assert cleaned


async def test_killing_hastens_a_stop(tmp_path: Path) -> None:
    async def stubborn(attempt: Attempt) -> AttemptOutcome:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await attempt.wait_hastened()
        raise AssertionError

    plan = plan_of(simulated("a"))
    async with open_run(plan, directory=tmp_path, dispatchers={"local": Scripted(stubborn)}) as run:
        await until(run, "a", TaskState.RUNNING)
        await run.send(CancelTask(index=0))
        await anyio.wait_all_tasks_blocked()
        assert run.snapshot().tasks[0].state is TaskState.STOPPING
        await run.send(KillTask(index=0))
        assert (await run.wait()).outcome is Outcome.CANCELLED


async def test_a_dispatcher_that_raises_fails_the_task_and_not_the_run(tmp_path: Path) -> None:
    async def broken(_: Attempt) -> AttemptOutcome:
        raise OSError("no network")

    plan = plan_of(simulated("a"))
    async with open_run(plan, directory=tmp_path, dispatchers={"local": Scripted(broken)}) as run:
        result = await run.wait()
    assert result.failures[0].error == "OSError: no network"


async def test_a_task_for_an_unknown_executor_fails(tmp_path: Path) -> None:
    async with open_run(plan_of(simulated("a", executor="mars")), directory=tmp_path) as run:
        result = await run.wait()
    assert result.failures[0].error == "no eligible executor: mars"


async def test_a_full_dispatcher_is_asked_again_and_everything_gets_its_turn(tmp_path: Path) -> None:
    class Full(Scripted):
        asked = 0

        async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
            self.asked += 1
            if len(self.running) >= 3:
                raise ConcurrencyLimit("3 of 3 taken")
            return await super().run(attempt, output)

    async def minute(_: Attempt) -> AttemptOutcome:
        await anyio.sleep(60.0)
        return DONE

    dispatcher = Full(minute)
    plan = plan_of(*(simulated(f"t{n}") for n in range(100)), max_parallel=32)
    async with open_run(plan, directory=tmp_path, dispatchers={"local": dispatcher}) as run:
        result = await run.wait()
    assert result.success == 100
    assert dispatcher.peak == 3
    assert dispatcher.asked < 32 * 34 * 20, "asked in a spin"


async def test_silence_raises_a_stall_and_the_end_clears_it(tmp_path: Path) -> None:
    plan = plan_of(simulated("a", seconds=100.0, stall_after=30.0))
    async with open_run(plan, directory=tmp_path) as run:
        subscription = run.subscribe()
        await run.wait()
        happened = taken(subscription)
    stalls = [event for event in happened if isinstance(event, TaskStalled)]
    assert [event.silent_for for event in stalls] == pytest.approx([30.0])
    assert [event.type for event in happened] == [
        "PLAN_STARTED", "TASK_STARTED", "TASK_STALLED", "STALL_CLEARED", "TASK_COMPLETED", "PLAN_COMPLETED",
    ]  # fmt: skip


async def test_a_defect_of_the_engine_ends_the_block_and_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = Scripted(forever)

    def broken(*_: object) -> None:
        raise KeyError("a defect")

    async def block() -> None:
        async with open_run(diamond(), directory=tmp_path, dispatchers={"local": dispatcher}) as run:
            await until(run, "a", TaskState.RUNNING)
            monkeypatch.setattr(Scheduler, "handle", broken)
            await run.send(PausePlan())

    with pytest.raises(RuntimeError, match="the engine failed") as caught:
        await block()
    assert isinstance(caught.value.__cause__, KeyError)
    assert dispatcher.running == set()


async def test_an_empty_plan_is_complete_at_once(tmp_path: Path) -> None:
    async with open_run(plan_of(), directory=tmp_path) as run:
        assert (await run.wait()).outcome is Outcome.SUCCESS


async def test_events_as_json_lines_stand_on_their_own(tmp_path: Path) -> None:
    plan = plan_of(simulated("a"), simulated("b", "a"))
    async with open_run(plan, directory=tmp_path) as run:
        subscription = run.subscribe()
        await run.wait()
        encoder = EventEncoder(plan, run.run_id)
        lines = [json.loads(encoder.encode(event)) for event in taken(subscription)]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert all(line["schema"] == 1 and line["run_id"] == run.run_id for line in lines)
    assert lines[0]["type"] == "PLAN_STARTED"
    assert [task["needs"] for task in lines[0]["tasks"]] == [{}, {"a": "success"}]
    started = lines[1]
    assert (started["type"], started["task"], started["attempt"], started["state"]) == (
        "TASK_STARTED", "a", 1, "running",
    )  # fmt: skip
    assert started["task_id"] == lines[0]["tasks"][0]["id"]
    assert started["time"].endswith("+00:00")


class TestWithProcesses:
    """The same way in, with what it is for."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_output_is_kept_and_an_exit_code_told(self, tmp_path: Path) -> None:
        plan = plan_of(Task(name="a", run="echo hello; exit 3"))
        async with open_run(plan, directory=tmp_path) as run:
            result = await run.wait()
            assert run.log_path(0, 1).read_bytes() == b"hello\n"
            assert run.last_line(0) == "hello"
        assert result.failures[0].exit_code == 3

    async def test_leaving_the_block_leaves_no_process(self, tmp_path: Path) -> None:
        plan = plan_of(Task(name="a", run="echo up; exec sleep 1000"))
        async with open_run(plan, directory=tmp_path) as run:
            await until(run, "a", TaskState.RUNNING)
        assert run.snapshot().tasks[0].state is TaskState.CANCELLED

    async def test_logs_go_to_the_state_directory_by_default(self) -> None:
        async with open_run(plan_of(Task(name="a", run="echo hello"))) as run:
            await run.wait()
            path = run.log_path(0, 1)
        assert path.read_bytes() == b"hello\n"
        assert run.run_id in path.parts
        assert path.stat().st_mode & 0o777 == 0o600
        assert run.directory.stat().st_mode & 0o777 == 0o700
