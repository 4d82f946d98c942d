"""A recorded run happens again: the same events, the same result, in a time that can be turned back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import msgspec
import pytest
import trio.testing

from engine import Need, Plan, Retry, Simulation, Task, open_run
from engine.core.events import Event, PlanCompleted
from engine.core.inputs import CancelPlan, Now, PausePlan, RetryTask
from engine.core.records import Snapshot
from engine.core.state import RunPhase, TaskState
from engine.errors import CommandRefused
from engine.handle import RunHandle
from engine.host.replayed import RecordingEnds, ReplayedRun, replay
from engine.logs.attempt import AttemptLog
from engine.plan.graph import Graph
from engine.result import PlanResult
from engine.stream import Missed
from engine.view.run_view import RunView
from engine.view.snapshot import snapshot_of
from tests.support.run import FakeRun, plan_of
from tui.app import ConsoleApp
from tui.feed import Feed

pytestmark = pytest.mark.anyio


@pytest.fixture(
    params=[("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})], ids=["virtual time"]
)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


PLAN = Plan(
    name="test",
    tasks=(
        Task(name="a", simulate=Simulation(10.0)),
        Task(name="b", simulate=Simulation(5.0, fail_rate=1.0), retry=Retry(1, delay=1.0, jitter=0.0)),
        Task(name="c", simulate=Simulation(20.0), needs=(Need("a"),)),
        Task(name="d", simulate=Simulation(1.0), needs=(Need("b"),)),
    ),
)


class Recorded:
    """A run that has been: its events, what came of it, and where its logs are."""

    def __init__(self, run_id: str, events: Sequence[Event], result: PlanResult, directory: Path) -> None:
        self.run_id = run_id
        self.events = events
        self.result = result
        self.directory = directory

    def at(self, count: int) -> Snapshot:
        """The run after that many events."""
        view = RunView(Graph(PLAN), self.run_id)
        view.apply(self.events[:count])
        return snapshot_of(view, 0.0)


@pytest.fixture
async def recorded(tmp_path: Path) -> Recorded:
    """The plan, with a retry by hand after its end, so that it completes twice."""
    async with open_run(PLAN, directory=tmp_path, seed=1, failure_mode=None) as run:
        subscription = run.subscribe()
        await run.wait()
        await anyio.sleep(30.0)
        await run.send(RetryTask(index=0))
        await run.wait()
        await run.idle()
        events = subscription.take()
        result = await run.wait()
    assert sum(isinstance(event, PlanCompleted) for event in events) == 2
    return Recorded(run.run_id, events, result, tmp_path)


def paused(run: ReplayedRun) -> bool:
    return run.is_paused


def shown(run: RunHandle) -> Snapshot:
    return snapshot_of(RunView.from_snapshot(run.graph, run.snapshot()), 0.0)


async def test_it_ends_as_it_ended(recorded: Recorded) -> None:
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        handle: RunHandle = run
        feed = Feed(handle)
        first = await handle.wait()
        assert first.outcome is recorded.result.outcome
        assert first.failures[0].error == "simulated failure"
        while handle.snapshot().seq < len(recorded.events):
            await feed._subscription.wait()
            feed.view.apply(feed._subscription.take())
        assert await handle.wait() == recorded.result
        assert snapshot_of(feed.view, 0.0) == shown(handle) == recorded.at(len(recorded.events))
        assert handle.now().offset == recorded.events[-1].offset, "time stands still at the end"
        assert handle.log_path(0, 1).parent.parent == recorded.directory
    assert not await feed._subscription.wait(), "the stream ends with the block"


@pytest.mark.parametrize("speed", [0.5, 1.0, 100.0])
async def test_events_come_at_their_time_divided_by_the_speed(recorded: Recorded, speed: float) -> None:
    began = anyio.current_time()
    async with replay(
        PLAN, recorded.run_id, iter(recorded.events), directory=recorded.directory, speed=speed
    ) as run:
        subscription = run.subscribe()
        expected = {event.seq: event.offset - recorded.events[0].offset for event in recorded.events}
        while run.snapshot().seq < len(recorded.events):
            await subscription.wait()
            batch = subscription.take()
            passed = (anyio.current_time() - began) * speed
            assert [expected[event.seq] for event in batch] == pytest.approx([passed] * len(batch))
            assert run.now().offset == pytest.approx(batch[-1].offset)
            assert run.now().utc == pytest.approx(batch[-1].utc)


async def test_paused_time_stands_still_and_goes_on_from_there(recorded: Recorded) -> None:
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        await anyio.sleep(3.0)
        run.pause()
        stood = run.now()
        assert paused(run)
        assert stood.offset - run.start == pytest.approx(3.0)
        await anyio.sleep(1000.0)
        assert run.now() == stood
        before = run.snapshot()
        run.resume()
        run.resume()
        assert not paused(run)
        await anyio.sleep(1.0)
        assert run.now().offset == pytest.approx(stood.offset + 1.0)
        run.speed = 50.0
        assert run.speed == 50.0
        await anyio.sleep(0.1)
        assert run.now().offset == pytest.approx(stood.offset + 6.0)
        assert run.snapshot().seq > before.seq, "the first attempt at b is over"


async def test_step_by_step_forth_and_back(recorded: Recorded) -> None:
    count = len(recorded.events)
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        for position in range(1, count + 1):
            run.step()
            assert run.is_paused
            assert run.snapshot().seq == position
            assert shown(run) == recorded.at(position)
            assert run.now().offset == recorded.events[position - 1].offset
        run.step()
        assert run.snapshot().seq == count, "there is nothing after the last"
        assert await run.wait() == recorded.result
        for position in range(count - 1, -1, -1):
            run.step(-1)
            assert shown(run) == recorded.at(position)
        run.step(-5)
        assert run.snapshot().phase is RunPhase.PENDING
        assert run.now().offset == run.start
        run.step(4)
        assert shown(run) == recorded.at(4)
        await anyio.sleep(1000.0)
        assert run.snapshot().seq == 4


async def test_seeking_goes_to_any_moment(recorded: Recorded) -> None:
    offsets = [event.offset for event in recorded.events]
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        run.pause()
        for target in [1e9, 0.0, *offsets, *reversed(offsets), 7.5, -1.0, 12.0, 12.0]:
            run.seek(target)
            happened = sum(offset <= max(target, run.start) for offset in offsets)
            assert shown(run) == recorded.at(happened)
            assert run.now().offset == min(max(target, run.start), run.stop)
        run.resume()
        run.seek(run.stop - 1.0)
        await anyio.sleep(1.0)
        assert await run.wait() == recorded.result


async def test_going_back_waits_for_the_end_anew(recorded: Recorded) -> None:
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        assert await run.wait() != recorded.result
        run.seek(run.start)
        with anyio.move_on_after(1.0) as soon:
            await run.wait()
        assert soon.cancelled_caught
        assert (await run.wait()).failed == 1


async def test_who_follows_is_told_of_a_jump_back_and_starts_again(recorded: Recorded) -> None:
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        feed = Feed(run)
        plain = run.subscribe()
        async with anyio.create_task_group() as group:
            group.start_soon(feed.follow)
            await run.wait()
            run.step(-6)
            await anyio.wait_all_tasks_blocked()
            assert snapshot_of(feed.view, 0.0) == shown(run)
            run.step(3)
            await anyio.wait_all_tasks_blocked()
            assert snapshot_of(feed.view, 0.0) == shown(run)
            with pytest.raises(Missed):
                plain.take()
            group.cancel_scope.cancel()


async def test_the_last_line_is_the_one_of_that_moment(tmp_path: Path) -> None:
    plan = plan_of({"a": ""})
    fake = FakeRun(plan, directory=tmp_path)
    fake.start("a")
    began = fake.make.events[-1]
    fake.make.wait(10)
    fake.push(fake.make.failed("a", "exit 1"))
    log = AttemptLog(tmp_path, 0, 1, lambda: now, lambda where: None)
    now = Now(began.offset, began.utc)
    log.started()
    for after, words in ((0.0, b"one\n"), (3.0, b"two\n"), (7.0, b"three\n")):
        now = Now(began.offset + after, began.utc + after)
        log.write(words)
    log.close()
    async with replay(plan, fake.run_id, fake.make.events, directory=tmp_path) as run:
        run.pause()
        said = []
        for after in (1.0, 5.0, 8.0, 10.0, 1.0):
            run.seek(began.offset + after)
            said.append(run.last_line(0))
        assert said == ["one", "two", "three", "three", "one"]


async def test_a_recording_cannot_be_steered(recorded: Recorded) -> None:
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        assert run.read_only
        for command in (CancelPlan(), PausePlan()):
            with pytest.raises(CommandRefused, match="this is a recording"):
                await run.send(command)


async def test_a_run_that_never_ended_has_no_result(recorded: Recorded) -> None:
    """Its engine was killed, say. It is shown as far as it went."""
    async with replay(PLAN, recorded.run_id, recorded.events[:5], directory=recorded.directory) as run:
        with pytest.raises(RecordingEnds, match="before the run was complete"):
            await run.wait()
        await anyio.sleep(1000.0)
        assert shown(run) == recorded.at(5)
        assert run.now().offset == run.stop == recorded.events[4].offset


async def test_a_recording_of_nothing_shows_a_run_that_has_not_begun(tmp_path: Path) -> None:
    async with replay(PLAN, "r", [], directory=tmp_path) as run:
        run.step()
        run.step(-1)
        run.seek(5.0)
        run.resume()
        assert run.now() == (0.0, 0.0)
        assert run.snapshot().phase is RunPhase.PENDING


async def test_a_clock_that_went_back_does_not_turn_time(recorded: Recorded) -> None:
    """A run that was resumed after a crash may have lost the last moments before it."""
    events = list(recorded.events)
    late = [*events[:4], *(_shifted(event, -2.0) for event in events[4:])]
    async with replay(PLAN, recorded.run_id, late, directory=recorded.directory) as run:
        previous = run.now().offset
        for position in range(1, len(late) + 1):
            run.step()
            assert run.snapshot().seq == position
            assert run.now().offset >= previous
            previous = run.now().offset


def _shifted(event: Event, by: float) -> Event:
    return msgspec.structs.replace(event, offset=event.offset + by)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
async def test_a_speed_is_more_than_nothing(recorded: Recorded, speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        ReplayedRun(PLAN, recorded.run_id, recorded.events, recorded.directory, speed)
    async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory) as run:
        with pytest.raises(ValueError, match="speed"):
            run.speed = speed
        assert run.speed == 1.0


async def test_an_error_in_the_block_comes_out_as_it_is(recorded: Recorded) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with replay(PLAN, recorded.run_id, recorded.events, directory=recorded.directory):
            raise KeyError("mine")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_console_shows_a_recording_as_it_shows_a_run(tmp_path: Path) -> None:
    plan = plan_of({"build": "", "unit": "build"})
    fake = FakeRun(plan)
    fake.start("build")
    fake.push(fake.make.failed("build", "exit 1"))
    async with replay(plan, fake.run_id, fake.make.events, directory=tmp_path) as run:
        run.pause()
        run.seek(run.stop)
        app = ConsoleApp(run)

        async def until(shows: Callable[[RunView], bool]) -> None:
            while not shows(app.run_screen.view):
                await anyio.lowlevel.checkpoint()

        async with app.run_test(size=(80, 24)):
            await until(lambda view: view.tasks[0].state is TaskState.FAILED)
            run.step(-1)
            await until(lambda view: view.tasks[0].state is TaskState.RUNNING)
            run.step(-2)
            await until(lambda view: view.phase is RunPhase.PENDING)
            run.step(3)
            await until(lambda view: view.tasks[0].state is TaskState.FAILED)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_console_has_the_buttons_of_a_replay(tmp_path: Path) -> None:
    plan = plan_of({"build": "", "unit": "build"})
    fake = FakeRun(plan)
    fake.start("build")
    fake.make.wait(30)
    fake.push(fake.make.failed("build", "exit 1"))
    async with replay(plan, fake.run_id, fake.make.events, directory=tmp_path, speed=2.0) as run:
        app = ConsoleApp(run)
        async with app.run_test(size=(80, 24)) as pilot:

            async def header_after(*keys: str) -> str:
                for key in keys:
                    await pilot.press(key)
                return app.screen._compositor.render_strips()[0].text

            assert "replay 2x, " in await header_after()
            assert "replay 10x, " in await header_after(">", ">")
            assert "replay 5x, " in await header_after("<")
            assert "replay paused, " in await header_after("p")
            assert run.is_paused
            await header_after(".", ".", ".")
            assert run.snapshot().seq == len(fake.make.events)
            await header_after(",")
            assert run.snapshot().seq == len(fake.make.events) - 1
            assert "replay 5x, " in await header_after("p")
            await header_after("r")
            [told] = [one.message for one in app._notifications]
            assert told == "This is a replay: it can be watched, not steered."
