"""A run in another process looks and obeys as one in this process does, and outlives whoever looks."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import trio.testing

from engine import Need, Plan, Retry, Task, open_run
from engine.core.events import Event, PlanCompleted
from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    MarkSucceeded,
    PausePlan,
    ResumePlan,
    RetryFailed,
    SetMaxParallel,
)
from engine.core.state import Outcome, RunPhase, TaskState
from engine.errors import CommandRefused
from engine.handle import RunHandle
from engine.host import local_socket, server, wire
from engine.host.attached import AttachedRun, RunUnreachable, attach
from engine.host.local_socket import SocketUnusable, listen, peer_uid
from engine.host.server import serve
from engine.logs.attempt import LINE_LIMIT
from engine.result import PlanResult
from engine.session import Run
from engine.stream import Missed
from engine.view.run_view import RunView
from engine.view.snapshot import snapshot_of
from tests.support.run import FakeRun, plan_of
from tests.support.wire import raw_console, served
from tui.feed import Feed

pytestmark = pytest.mark.anyio

BOTH = ["asyncio", "trio"]
VIRTUAL = [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})]

USER = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture(params=BOTH)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


in_virtual_time = pytest.mark.parametrize("anyio_backend", VIRTUAL, ids=["virtual time"])
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "socket"


def processes(*scripts: str, **more: Any) -> Plan:
    """A plan of tasks t0, t1, ... that run shell scripts one beside the other."""
    tasks = tuple(Task(name=f"t{number}", run=script) for number, script in enumerate(scripts))
    return Plan(name="test", tasks=tasks, max_parallel=8, **more)


@asynccontextmanager
async def running(plan: Plan, path: Path, **options: Any) -> AsyncIterator[Run]:
    """An embedded run that is served until its block has ended."""
    async with anyio.create_task_group() as group, open_run(plan, directory=path.parent) as run:
        await group.start(partial(serve, run, path, **options))
        yield run


async def until(run: RunHandle, index: int, state: TaskState) -> None:
    """Wait until a task is in that state."""
    feed = Feed(run)
    while feed.view.tasks[index].state is not state:
        assert await feed._subscription.wait(), f"never {state}"
        feed.view.apply(feed._subscription.take())
    feed.close()


def seen(run: RunHandle) -> Any:
    """The run as a console would show it now."""
    return snapshot_of(RunView.from_snapshot(run.graph, run.snapshot()), 0.0)


# ── the same run ────────────────────────────────────────────────────────────────────────────────


async def test_an_attached_run_is_the_run_itself_seen_from_elsewhere(path: Path) -> None:
    plan = Plan(
        name="test",
        tasks=(
            Task(name="good", run="echo hello; echo again"),
            Task(name="flaky", run="echo no; exit 75", retry=Retry(limit=1, delay=0.01)),
        ),
        env={"STAGE": "prod"},
    )
    async with running(plan, path) as run, attach(path) as console:
        handle: RunHandle = console
        assert (handle.plan, handle.run_id, handle.read_only) == (plan, run.run_id, False)
        assert list(handle.graph.order) == list(run.graph.order)
        feed = Feed(handle)
        result = await handle.wait()
        assert result == await run.wait()
        assert result.failed_task_detail is not None
        feed.view.apply(feed._subscription.take())
        assert snapshot_of(feed.view, 0.0) == seen(run) == seen(handle)
        assert handle.log_path(0, 1) == run.log_path(0, 1)
        assert handle.log_path(0, 1).read_bytes() == b"hello\nagain\n"
        assert [handle.last_line(index) for index in (0, 1)] == ["", "no"]
    assert console.lost == "detached from the run"


async def test_who_attaches_late_sees_the_same_and_has_the_result_at_once(path: Path) -> None:
    async with running(processes("exit 3", "true"), path) as run:
        await run.wait()
        async with attach(path) as console:
            assert await console.wait() == await run.wait()
            assert seen(console) == seen(run)
            assert console.snapshot().phase is RunPhase.COMPLETE


async def test_who_attaches_late_sees_who_did_what_before(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    run.start("a")
    run.push(*(event for _ in range(wire.PART) for event in (run.make.held("a"), run.make.released("a"))))
    run.push(run.make.completed("a"), run.make.plan_completed(Outcome.FAILED, diagnosis="nobody knows"))
    async with served(run, path), attach(path) as console:
        view = RunView.from_snapshot(console.graph, console.snapshot())
        assert view.audit == run.make.events
        assert view.audit_dropped == 0
        assert view.diagnosis == "nobody knows"


async def test_who_fell_behind_sees_all_that_happened_once(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    run.start("a")
    async with served(run, path, backlog=4), attach(path) as console:
        subscription = console.subscribe()
        run.push(*(event for _ in range(9) for event in (run.make.held("a"), run.make.released("a"))))
        await subscription.wait()
        with pytest.raises(Missed):
            subscription.take()
        run.push(run.make.completed("a"), run.make.plan_completed())
        await console.wait()
        assert RunView.from_snapshot(console.graph, console.snapshot()).audit == run.make.events


async def test_a_plan_of_several_parts_arrives_whole(path: Path) -> None:
    plan = plan_of({f"t{number}": f"t{number - 1}" if number else "" for number in range(3 * wire.PART + 7)})
    run = FakeRun(plan)
    run.start("t0")
    async with served(run, path), attach(path) as console:
        assert console.plan == plan
        assert seen(console) == seen(run)


async def test_the_last_line_is_that_of_the_attempt_that_runs(path: Path) -> None:
    plan = processes("echo one; printf 'two\\n  \\nthr\\033[31mee'; exec sleep 1000", "exec sleep 1000")
    plan = msgspec.structs.replace(plan, tasks=(*plan.tasks, Task(name="t2", run="", needs=(Need("t1"),))))
    async with running(plan, path) as run, attach(path) as console:
        await until(console, 0, TaskState.RUNNING)
        await until(console, 1, TaskState.RUNNING)
        assert console.last_line(2) == ""
        while run.last_line(0) != "three":
            await anyio.lowlevel.checkpoint()
        assert console.last_line(0) == "three"
        assert console.last_line(1) == "", "it has printed nothing"
        await console.send(CancelTask(index=0))
        await until(console, 0, TaskState.CANCELLED)
        assert console.last_line(0) == ""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"", ""),
        (b"\n \r\n\n", ""),
        (b"one\n\x1b[31mtwo\xff\x1b]0;title\x07\n\n", "two\ufffd"),
        (b"10 %\r20 %\r", "20 %"),
        (b"one\ntw", "tw"),
        pytest.param(b"x" * 1_000_000, "x" * LINE_LIMIT, id="long"),
    ],
)
async def test_the_last_line_is_read_from_the_log(path: Path, log: bytes, line: str) -> None:
    run = FakeRun(plan_of({"a": ""}))
    run.start("a")
    async with served(run, path), attach(path) as console:
        file = console.log_path(0, 1)
        assert console.last_line(0) == ""
        file.parent.mkdir()
        file.write_bytes(log)
        assert console.last_line(0) == line
        with file.open("ab") as more:
            more.write(b"\nmore")
        assert console.last_line(0) == "more"


async def test_the_clock_is_that_of_the_run(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    run.start("a")
    run.offset = 1000.0
    async with served(run, path), attach(path) as console:
        assert 1000.0 <= console.now().offset < 1060.0
        assert console.now().utc - console.now().offset == pytest.approx(run.now().utc - 1000.0, abs=1.0)
        run.make.offset = 5000.0
        run.push(run.make.completed("a"), run.make.plan_completed())
        await until(console, 0, TaskState.SUCCESS)
        assert console.now().offset >= 5000.0, "what has happened there cannot lie ahead of us"


# ── steering ────────────────────────────────────────────────────────────────────────────────────


async def test_one_cancels_and_the_other_sees_who_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "ttyname", lambda descriptor: "/dev/pts/3")
    async with (
        running(processes("exec sleep 1000", "exec sleep 1000"), path) as run,
        attach(path) as one,
        attach(path, read_only=True) as other,
    ):
        await until(other, 0, TaskState.RUNNING)
        await one.send(CancelTask(index=0, actor="root of all evil"))
        await until(other, 0, TaskState.CANCELLED)
        assert other.snapshot().tasks[0].reason == f"cancelled by {USER}@pts/3"
        assert one.actor == f"{USER}@pts/3"
        await one.send(CancelPlan())
        assert (await other.wait()).outcome is Outcome.CANCELLED
        assert seen(one) == seen(other) == seen(run)


async def test_a_refusal_is_the_runs_own(path: Path) -> None:
    async with running(processes("exec sleep 1000"), path), attach(path) as console:
        with pytest.raises(CommandRefused, match="max_parallel is 8 already"):
            await console.send(SetMaxParallel(slots=8))
        with pytest.raises(CommandRefused, match="no task number -1"):
            await console.send(CancelTask(index=-1))


async def test_the_answer_comes_after_the_events_that_the_command_caused(path: Path) -> None:
    async with running(processes("exec sleep 1000"), path), attach(path) as console:
        await console.send(PausePlan())
        assert console.snapshot().phase is RunPhase.PAUSED
        await console.send(ResumePlan())
        assert console.snapshot().phase is RunPhase.RUNNING


async def test_a_retry_reopens_the_run_and_the_next_end_has_its_own_result(path: Path) -> None:
    plan = Plan(name="test", tasks=(Task(name="t0", run="test -e ok", working_dir=str(path.parent)),))
    path.parent.mkdir(mode=0o700)
    async with running(plan, path) as run, attach(path) as console:
        assert (await console.wait()).failed == 1
        (path.parent / "ok").touch()
        await console.send(RetryFailed())
        assert (await console.wait()).success == 1
        assert await console.wait() == await run.wait()


class Hasty(FakeRun):
    """Its task is run again whenever it has succeeded, before anybody has been told."""

    async def wait(self) -> PlanResult:
        result = await super().wait()
        if self.make.state["a"] is TaskState.SUCCESS:
            self._completed = anyio.Event()
            self.push(self.make.resumed(), self.make.reset("a"))
        return result

    def fail(self) -> None:
        self.push(self.make.started("a"), self.make.failed("a", "exit 1"), self.make.plan_completed())


async def test_a_result_that_a_retry_has_overtaken_is_not_told(path: Path) -> None:
    run = Hasty(plan_of({"a": ""}))
    run.start("a")
    async with served(run, path), raw_console(path) as raw:
        await raw.greet()
        await raw.hear("standing")
        run.finish()
        while (await raw.hear("happened"))["events"][-1][0] != "TASK_RESET":
            continue
        run.fail()
        assert (await raw.hear("completed"))["result"]["failed"] == 1


async def test_of_two_results_at_once_the_later_is_told(path: Path) -> None:
    """The run is reopened and completes again while the first result waits for its turn to be sent."""

    class Hastier(Hasty):
        async def wait(self) -> PlanResult:
            result = await super().wait()
            if self.make.state["a"] is not TaskState.FAILED:
                self.fail()
            return result

    run = Hastier(plan_of({"a": ""}))
    run.start("a")
    async with served(run, path), attach(path) as console:
        run.finish()
        assert (await console.wait()).failed == 1
        assert seen(console) == seen(run)


async def test_a_retry_just_before_the_result_is_sent_holds_nothing_up(path: Path) -> None:
    class Reopening(FakeRun):
        asked = 0

        async def wait(self) -> PlanResult:
            result = await super().wait()
            self.asked += 1
            if self.asked == 2:
                self._completed = anyio.Event()
                self.push(self.make.resumed(), self.make.reset("a"))
                await anyio.sleep_forever()
            return result

    run = Reopening(plan_of({"a": ""}))
    run.start("a")
    async with served(run, path), attach(path) as console:
        run.finish()
        await until(console, 0, TaskState.READY)
        run.push(run.make.started("a"))
        run.finish()
        assert (await console.wait()).success == 1
        assert run.asked > 2


@in_virtual_time
async def test_the_result_is_told_though_the_run_ends_at_once(path: Path) -> None:
    class Slow(FakeRun):
        async def wait(self) -> PlanResult:
            result = await super().wait()
            await anyio.sleep(0.1)
            return result

    run = Slow(plan_of({"a": ""}))
    run.start("a")
    async with served(run, path), attach(path) as console:
        run.finish()
        run.end_stream()
        assert (await console.wait()).success == 1
        assert await console.gone() == "the run has ended"


async def test_read_only_is_refused_here(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    async with served(run, path), attach(path, read_only=True) as console:
        assert console.read_only
        with pytest.raises(CommandRefused, match="read-only"):
            await console.send(PausePlan())


async def test_read_only_is_refused_there_too(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    async with served(run, path), raw_console(path) as raw:
        await raw.greet(read_only=True)
        await raw.say({"type": "ask", "id": 5, "command": {"type": "CancelPlan"}})
        answer = await raw.hear("answer")
        assert (answer["id"], "read-only" in answer["refusal"]) == (5, True)
    assert run.commands == []


async def test_a_run_that_cannot_be_steered_cannot_be_steered_from_elsewhere(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}), read_only=True)
    async with served(run, path), attach(path) as console:
        assert console.read_only


@pytest.mark.parametrize(
    ("label", "actor"),
    [
        ("pts/3", f"{USER}@pts/3"),
        ("", USER),
        ("\x1b[31m[bold]x\n\u202e", f"{USER}@31mboldx"),
        ("x" * 1000, f"{USER}@{'x' * 32}"),
    ],
)
async def test_a_console_is_who_it_is_and_not_who_it_says(path: Path, label: str, actor: str) -> None:
    run = FakeRun(plan_of({"a": ""}))
    async with served(run, path), raw_console(path) as raw:
        await raw.greet(label=label)
        assert (await raw.hear("welcome"))["actor"] == actor
        await raw.say({"type": "ask", "id": 1, "command": {"type": "PausePlan", "actor": "nobody"}})
        await raw.hear("answer")
    assert run.commands == [PausePlan(actor=actor)]


async def test_a_user_without_a_name_is_a_number(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    async with served(FakeRun(plan_of({"a": ""})), path), attach(path) as console:
        assert console.actor.startswith(f"uid {os.geteuid()}")


async def test_a_command_that_nobody_waits_for_any_more_harms_nothing(path: Path) -> None:
    class Slow(FakeRun):
        go_on = anyio.Event()

        async def send(self, command: Any) -> None:
            await super().send(command)
            await self.go_on.wait()

    run = Slow(plan_of({"a": ""}))
    async with served(run, path), attach(path) as console:
        async with anyio.create_task_group() as group:
            group.start_soon(console.send, PausePlan())
            await run.sent()
            group.cancel_scope.cancel()
        run.go_on.set()
        await console.send(ResumePlan())
    assert len(run.commands) == 2


async def test_a_command_too_long_for_the_wire_is_refused(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    async with served(run, path), attach(path) as console:
        with pytest.raises(CommandRefused, match="too long"):
            await console.send(MarkSucceeded(index=0, reason="x" * wire.TO_RUN_LIMIT))
        await console.send(MarkSucceeded(index=0, reason="x"))


# ── who is slow, dead, or one too many ──────────────────────────────────────────────────────────


def long_plan() -> Plan:
    """Of 9,802 events: a start and an end for each task, and for the run. A view keeps so many."""
    return plan_of({f"t{number}": "" for number in range(4_900)})


@on_asyncio
async def test_who_never_reads_holds_nobody_up_and_can_catch_up(path: Path) -> None:
    run = FakeRun(long_plan())
    async with served(run, path, backlog=1_000), attach(path) as quick, raw_console(path) as slow:
        await slow.greet()
        await slow.hear("standing")
        run.start()
        for name in run.graph.index_of:  # 9,800 events, of which the buffers of the socket hold some
            run.push(run.make.started(name), run.make.completed(name))
            await anyio.lowlevel.checkpoint()
        run.push(run.make.plan_completed())
        result = await quick.wait()
        assert result.success == 4_900
        assert seen(quick) == seen(run)
        standing = await slow.hear("standing")
        assert standing["missed"] > 1_000
        while standing["snapshot"]["phase"] != "complete":
            standing = await slow.hear("standing")
        tasks = 0
        while tasks < 4_900:
            states = (await slow.hear("task_states"))["tasks"]
            assert {task["state"] for task in states} == {"success"}
            tasks += len(states)
        assert (await slow.hear("completed"))["result"]["success"] == 4_900


async def test_a_console_that_missed_something_starts_again_from_a_snapshot(path: Path) -> None:
    run = FakeRun(plan_of({"a": "", "b": "a"}))
    async with served(run, path, backlog=2), attach(path) as console:
        subscription = console.subscribe()
        run.start("a")
        run.push(run.make.completed("a"), run.make.started("b"), run.make.completed("b"))
        await subscription.wait()
        with pytest.raises(Missed):
            subscription.take()
        assert seen(console) == seen(run)
        run.push(run.make.plan_completed())
        assert (await console.wait()).success == 2


async def test_a_dead_console_does_not_delay_the_end_for_long(path: Path) -> None:
    run = FakeRun(long_plan())
    with anyio.fail_after(30):
        async with served(run, path), raw_console(path) as dead:
            await dead.greet()
            await dead.hear("standing")
            run.start()
            for name in run.graph.index_of:
                run.push(run.make.started(name), run.make.completed(name))


@in_virtual_time
async def test_who_does_not_greet_is_sent_away(path: Path) -> None:
    async with served(FakeRun(plan_of({"a": ""})), path), raw_console(path) as silent:
        assert await silent.farewell() == "not greeted in time"


async def test_one_console_too_many_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONSOLES", 1)
    run = FakeRun(plan_of({"a": ""}))
    async with served(run, path):
        async with attach(path) as console:
            with pytest.raises(RunUnreachable, match="1 consoles are attached already"):
                async with attach(path):
                    raise AssertionError
            assert console.lost is None
        while True:  # until the first has been seen to leave
            try:
                async with attach(path):
                    break
            except RunUnreachable:
                continue


async def test_a_defect_in_one_conversation_is_logged_and_ends_it_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeRun):
        async def send(self, command: Any) -> None:
            if isinstance(command, PausePlan):
                raise ZeroDivisionError
            await super().send(command)

    run = Broken(plan_of({"a": ""}))
    async with served(run, path), attach(path) as one, attach(path) as other:
        with pytest.raises(CommandRefused, match="the connection to the run is lost; whether"):
            await one.send(PausePlan())
        await other.send(ResumePlan())
    assert "a console's connection failed" in caplog.text


@in_virtual_time
async def test_too_many_open_files_stop_the_accepting_for_a_while_only(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.EMFILE, "Too many open files")]

    async def accept(listener: socket.socket) -> local_socket.LocalStream:
        if failures:
            raise failures.pop()
        return await local_socket.accept(listener)

    monkeypatch.setattr(server, "accept", accept)
    async with served(FakeRun(plan_of({"a": ""})), path), attach(path) as console:
        await console.send(PausePlan())
    assert "Too many open files" in caplog.text


# ── ends ────────────────────────────────────────────────────────────────────────────────────────


async def test_the_end_of_the_run_is_followed_to_its_last_event(path: Path) -> None:
    """The engine stops what runs when its block is left; who is attached sees that, and then why."""
    told: list[Event] = []
    async with anyio.create_task_group() as group:
        async with open_run(processes("exec sleep 1000"), directory=path.parent) as run:
            await group.start(serve, run, path)
            console = await group.start(_watch, path, told)
            await until(run, 0, TaskState.RUNNING)
        assert await console.gone() == "the run has ended"
        assert seen(console) == seen(run)
        assert console.snapshot().tasks[0].state is TaskState.CANCELLED
        assert (await console.wait()).outcome is Outcome.INTERRUPTED
        assert isinstance(told[-1], PlanCompleted)
        group.cancel_scope.cancel()
    assert not path.exists()


async def _watch(path: Path, told: list[Event], *, task_status: Any) -> None:
    """Attach, and note all that is told."""
    async with attach(path) as console:
        subscription = console.subscribe()
        task_status.started(console)
        async for batch in subscription:
            told += batch
        await anyio.sleep_forever()


async def test_when_the_server_is_gone_the_console_says_so_and_stands_still(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    run.start("a")
    async with anyio.create_task_group() as group:
        async with served(run, path):
            console = await group.start(_watch, path, [])
        assert await console.gone() == console.lost == "the run is no longer served"
        stood = console.now()
        with pytest.raises(RunUnreachable, match="no longer served"):
            await console.wait()
        with pytest.raises(CommandRefused, match="no longer served"):
            await console.send(PausePlan())
        assert [batch async for batch in console.subscribe()] == []
        assert console.now() == stood
        assert seen(console) == seen(run)
        group.cancel_scope.cancel()


async def test_a_run_can_be_left_and_attached_to_again(path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}))
    for _ in range(3):  # the socket of one server after the other
        async with served(run, path):
            for _ in range(3):
                async with attach(path) as console:
                    await console.send(PausePlan())
            with pytest.raises(ValueError, match="mine"):
                async with attach(path):
                    raise ValueError("mine")
        assert not path.exists()
    assert len(run.commands) == 9


async def test_a_run_without_an_engine_is_served_to_nobody(path: Path) -> None:
    async with open_run(processes("true"), directory=path.parent) as run:
        await run.wait()
    await serve(run, path)
    assert not path.exists()


async def test_who_connects_while_the_server_leaves_is_not_left_waiting(path: Path) -> None:
    with listen(path):
        connected = await local_socket.connect(path)
    async with connected:
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await connected.receive()


# ── what listens there is not what it should be ─────────────────────────────────────────────────


async def play_the_run(
    path: Path, says: bytes, *, task_status: Any, reads: bool = True, stays: bool = True
) -> None:
    """Listen, and answer a greeting with bytes."""
    with listen(path) as listener:
        task_status.started()
        async with await local_socket.accept(listener) as stream:
            await stream.receive()
            await stream.send(says)
            while stays and reads:
                await stream.receive()
            if stays:
                await anyio.sleep_forever()


def lines(*messages: Any) -> bytes:
    return b"".join(map(wire.encode, messages))


EMPTY = Plan(name="test", tasks=())
STATE = FakeRun(EMPTY).snapshot()
ONE = FakeRun(plan_of({"a": ""})).snapshot().tasks


def welcome(plan: Plan = EMPTY, tasks: int = 0) -> wire.Welcome:
    return wire.Welcome(
        version=1, run_id="r", actor="me", read_only=False, offset=0.0, utc=0.0, directory=b"/", plan=plan,
        tasks=tasks,
    )  # fmt: skip


CYCLE = plan_of({"a": "b", "b": "a"}).tasks


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not understood"),
        (b"\xff\n", "not understood"),
        (lines(wire.Farewell("go away")), "^go away$"),
        (lines(wire.Answer(1)), "Answer where Welcome should be"),
        (lines(welcome(tasks=1), wire.Standing(STATE, 0)), "Standing where Tasks should be"),
        (lines(welcome(tasks=2), wire.Tasks(CYCLE)), "not understood: "),
        (lines(welcome(), wire.Standing(STATE, 1), wire.TaskStates(ONE)),
         "the states of 1 tasks where 0 should be"),
    ],
)  # fmt: skip
async def test_nonsense_instead_of_a_welcome_is_told(path: Path, says: bytes, why: str) -> None:
    async with anyio.create_task_group() as group:
        await group.start(play_the_run, path, says)
        with pytest.raises(RunUnreachable, match=why):
            async with attach(path):
                raise AssertionError
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"x\n", "not understood"),
        (lines(welcome()), "not understood: welcomed twice"),
        (lines(wire.Standing(STATE, 0, 3), wire.Farewell("bye")), "^bye$"),
        (lines(wire.Standing(STATE, 2), wire.Farewell("bye")), "^bye$"),
        (lines(wire.Happened(()), wire.Answer(99), wire.Farewell("bye")), "^bye$"),
    ],
)
async def test_nonsense_later_ends_the_connection_alone(path: Path, says: bytes, why: str) -> None:
    async with anyio.create_task_group() as group:
        await group.start(play_the_run, path, lines(welcome(), wire.Standing(STATE, 0)) + says)
        async with attach(path) as console:
            with pytest.raises(RunUnreachable, match=why):
                await console.wait()
        group.cancel_scope.cancel()


async def test_a_run_that_ends_while_we_come_is_told(path: Path) -> None:
    async with anyio.create_task_group() as group:
        await group.start(partial(play_the_run, stays=False), path, lines(welcome()))
        with pytest.raises(RunUnreachable, match="has ended the connection"):
            async with attach(path):
                raise AssertionError


@in_virtual_time
async def test_a_run_that_hangs_is_not_waited_for_for_ever(path: Path) -> None:
    async with anyio.create_task_group() as group:
        await group.start(partial(play_the_run, reads=False), path, b"")
        with pytest.raises(RunUnreachable, match="does not answer"):
            async with attach(path):
                raise AssertionError
        group.cancel_scope.cancel()


@in_virtual_time
async def test_a_run_that_takes_no_commands_is_given_up(path: Path) -> None:
    async with anyio.create_task_group() as group:
        says = lines(welcome(), wire.Standing(STATE, 0))
        await group.start(partial(play_the_run, reads=False), path, says)
        async with attach(path) as console, anyio.create_task_group() as senders:
            for _ in range(100):  # more than the buffers of a socket take
                senders.start_soon(_send_in_vain, console)
            assert await console.gone() == "the run does not listen"
        group.cancel_scope.cancel()


async def _send_in_vain(console: AttachedRun) -> None:
    with pytest.raises(CommandRefused, match="does not listen"):
        await console.send(MarkSucceeded(index=0, reason="x" * 60_000))


async def test_where_nothing_is_there_is_no_run(tmp_path: Path, path: Path) -> None:
    left_behind = tmp_path / "left behind"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left_behind))
    for nowhere in (path, left_behind):
        with pytest.raises(RunUnreachable, match="no run listens at"):
            async with attach(nowhere):
                raise AssertionError
    with pytest.raises(RunUnreachable, match="cannot attach at"):
        async with attach(tmp_path / ("x" * 300)):
            raise AssertionError


# ── the socket ──────────────────────────────────────────────────────────────────────────────────


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(path: Path) -> None:
    async with served(FakeRun(plan_of({"a": ""})), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == []


async def test_a_folder_that_others_may_enter_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    with pytest.raises(SocketUnusable, match="open to others"):
        await serve(FakeRun(plan_of({"a": ""})), path)
    assert list(path.parent.iterdir()) == []


async def test_a_socket_left_behind_is_replaced(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    async with served(FakeRun(plan_of({"a": ""})), path), attach(path) as console:
        await console.send(PausePlan())


async def test_a_socket_that_lives_is_not_taken_over(path: Path) -> None:
    async with served(FakeRun(plan_of({"a": ""})), path), attach(path) as console:
        with pytest.raises(SocketUnusable, match="another process listens"):
            await serve(FakeRun(plan_of({"a": ""})), path)
        await console.send(PausePlan())
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))  # its queue is full now
            with pytest.raises(SocketUnusable, match="another process listens"):
                listen(path)


async def test_what_is_no_socket_is_not_removed(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(SocketUnusable, match="is no socket"):
        listen(path)
    assert path.read_text() == "precious"


async def test_a_socket_that_replaced_ours_is_not_removed(path: Path) -> None:
    async with served(FakeRun(plan_of({"a": ""})), path):
        path.unlink()
        path.write_text("of another")
    assert path.read_text() == "of another"


async def test_a_socket_that_somebody_removed_is_no_trouble(path: Path) -> None:
    async with served(FakeRun(plan_of({"a": ""})), path):
        path.unlink()
    assert list(path.parent.iterdir()) == []


@in_virtual_time
async def test_who_comes_when_many_wait_comes_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_socket, "QUEUE", 0)
    with listen(path) as listener:
        async with await local_socket.connect(path), anyio.create_task_group() as group:
            connected: list[local_socket.LocalStream] = []

            async def come() -> None:
                connected.append(await local_socket.connect(path))

            group.start_soon(come)
            await anyio.sleep(10.0)
            assert not connected
            async with await local_socket.accept(listener):
                while not connected:
                    await anyio.sleep(1.0)
            await connected[0].aclose()


async def test_a_path_too_long_for_a_socket_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ("d" * 120) / ("e" * 120) / "socket"
    near = tmp_path / "near"
    near.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(near))
    for folder in (str(near), str(tmp_path / ("d" * 120))):
        monkeypatch.setattr(tempfile, "tempdir", folder)
        async with served(FakeRun(plan_of({"a": ""})), path), attach(path) as console:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await console.send(PausePlan())
            assert console.log_path(0, 1).is_relative_to(path.parent)
    assert list(near.iterdir()) == [], "nothing is left of the way there"


async def test_a_folder_that_cannot_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    with pytest.raises(SocketUnusable, match="No space left on device"):
        listen(path)


# ── other users ─────────────────────────────────────────────────────────────────────────────────


async def test_a_process_of_another_user_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = FakeRun(plan_of({"a": ""}))
    async with served(run, path):
        monkeypatch.setattr(local_socket, "peer_uid", lambda connected: os.geteuid() + 1)
        async with raw_console(path) as raw:
            await raw.greet()
            await raw.ended()
        assert "another user" in caplog.text
        with pytest.raises(RunUnreachable, match="belongs to another user"):
            async with attach(path):
                raise AssertionError
        monkeypatch.undo()
        async with attach(path) as console:
            await console.send(PausePlan())


AS_NOBODY = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as console:
    console.connect(sys.argv[1])
    try:
        console.send(b'{"type":"greeting","version":1}\\n')
        print(console.recv(1))
    except OSError:
        print(b"")
"""

if os.geteuid() == 0:

    async def test_a_process_that_really_is_of_another_user_is_refused() -> None:
        """Even where the modes of folder and file would let it in."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "socket"
            async with served(FakeRun(plan_of({"a": ""})), path):
                Path(folder).chmod(0o755)
                path.chmod(0o666)
                # without site: coverage would measure it, and cannot write as nobody
                script = [sys.executable, "-S", "-c", AS_NOBODY, str(path)]
                process = await anyio.run_process(script, stderr=subprocess.STDOUT)
                assert process.stdout == b"b''\n"
                async with attach(path) as console:
                    await console.send(PausePlan())


class Connected:
    """A socket that knows whose it is in the way of the BSDs."""

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (0, 1)
        return struct.pack("IIh", 0, 501, 1).ljust(size, b"\0")


def test_the_other_side_is_known_where_the_system_tells_in_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one) == os.geteuid()
        monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
        monkeypatch.delattr(socket, "LOCAL_PEERCRED", raising=False)
        assert peer_uid(one) is None, "and nobody is let in"
        monkeypatch.setattr(socket, "LOCAL_PEERCRED", 1, raising=False)
        assert peer_uid(Connected()) == 501  # type: ignore[arg-type]
