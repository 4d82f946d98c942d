"""The engine outside, the console inside: who leaves when, and what the normal screen shows afterwards."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, CancelPlan, Command, OutcomeKind, PausePlan
from engine.core.state import TaskState
from engine.dispatch.base import Attempt, Output, TaskDispatcher
from engine.errors import CommandRefused
from engine.handle import RunHandle
from engine.host import launcher
from engine.plan.model import Need, Plan, Task
from engine.session import Run
from tui.app import DETACHED, HUNG_UP
from tui.hosting.host import Request, host
from tui.hosting.readonly import ReadOnlyRun
from tui.plain.report import Style
from tui.preferences import Preferences

pytestmark = pytest.mark.anyio

PLAN = Plan(name="small", tasks=(Task(name="one", run="x"), Task(name="two", run="y", needs=(Need("one"),))))


class Gate:
    """A dispatcher whose attempts succeed once the gate is open."""

    def __init__(self) -> None:
        self.open = anyio.Event()

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        output.started("gate")
        await self.open.wait()
        return AttemptOutcome(OutcomeKind.SUCCESS)


class Stubborn:
    """A dispatcher whose attempts only end when they are killed."""

    def __init__(self) -> None:
        self.stopping = anyio.Event()

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        output.started("gate")
        try:
            await anyio.sleep_forever()
        finally:
            self.stopping.set()
            with anyio.CancelScope(shield=True):
                await attempt.wait_hastened()


class Console:
    """Stands in for the console app: `during` is what happens while it is open."""

    during: Callable[[Console], Awaitable[str | None]]
    return_code: int | None = None

    def __init__(self, run: RunHandle, *, can_detach: bool, preferences: Preferences | None) -> None:
        assert not can_detach, "there is no launcher above a test"
        self.run = run
        self.left = anyio.Event()

    async def show(self) -> str | None:
        return await type(self).during(self)

    def exit(self) -> None:
        self.left.set()


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> type[Console]:
    kind = type("Console", (Console,), {})
    monkeypatch.setitem(
        sys.modules, "tui.app", SimpleNamespace(ConsoleApp=kind, DETACHED=DETACHED, HUNG_UP=HUNG_UP)
    )  # type: ignore[arg-type]
    return kind


def request(gate: TaskDispatcher, *, read_only: bool = False) -> Request:
    return Request(
        subject=PLAN,
        again=["plandeck", "run", "small.yaml"],
        console=True,
        read_only=read_only,
        dispatchers={"local": gate},
    )


async def test_summary_follows_the_console(console: type[Console], capfd: pytest.CaptureFixture[str]) -> None:
    gate = Gate()

    async def look_until_the_end(app: Console) -> None:
        gate.open.set()
        await app.run.wait()

    console.during = look_until_the_end
    assert await host(request(gate), Style(), Style()) == 0
    out = capfd.readouterr().out
    assert out.startswith("\n✔ small succeeded after ")


async def test_a_run_that_is_over_is_not_said_to_go_on(
    console: type[Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should its engine be killed while the summary waits for a reader."""
    gate, last_words = Gate(), []
    monkeypatch.setattr(launcher, "bequeath", last_words.append)

    async def during(console: Console) -> None:
        assert "to go on: plandeck resume" in last_words[-1]
        gate.open.set()
        await console.run.wait()

    console.during = during
    assert await host(request(gate), Style(), Style()) == 0
    assert last_words[-1] == ""


async def test_who_leaves_early_sees_the_rest_in_lines(
    console: type[Console], capfd: pytest.CaptureFixture[str]
) -> None:
    gate = Gate()

    async def leave_at_once(app: Console) -> None:
        started = app.run.subscribe()
        await started.wait()
        gate.open.set()

    console.during = leave_at_once
    assert await host(request(gate), Style(), Style()) == 0
    out = capfd.readouterr().out
    assert "✔ success    two" in out
    assert "small succeeded" in out


async def test_interrupt_after_leaving_early_is_answered(
    console: type[Console], capfd: pytest.CaptureFixture[str]
) -> None:
    async def leave_and_be_signalled(app: Console) -> None:
        leaving.set()

    async def interrupt() -> None:
        await leaving.wait()
        os.kill(os.getpid(), signal.SIGINT)

    leaving = anyio.Event()
    console.during = leave_and_be_signalled
    async with anyio.create_task_group() as group:
        group.start_soon(interrupt)
        assert await host(request(Gate()), Style(), Style()) == 130
    assert "once more to kill it" in capfd.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_signal_ends_run_and_console(
    console: type[Console], capfd: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    async def be_signalled(app: Console) -> None:
        os.kill(os.getpid(), number)
        await app.left.wait()
        assert {task.state for task in app.run.snapshot().tasks} == {TaskState.CANCELLED}

    console.during = be_signalled
    assert await host(request(Gate()), Style(), Style()) == code
    out, err = capfd.readouterr()
    assert "2 cancelled" in out
    assert not err  # nothing is written over the console


async def test_hangup_ends_a_run_that_cannot_be_left(
    console: type[Console], capfd: pytest.CaptureFixture[str]
) -> None:
    """There is no launcher above a test."""

    async def hang_up(app: Console) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await app.left.wait()
        assert {task.state for task in app.run.snapshot().tasks} == {TaskState.RUNNING, TaskState.PENDING}

    console.during = hang_up
    assert await host(request(Gate()), Style(), Style()) == 129
    assert "small was interrupted after" in capfd.readouterr().out


async def test_lost_terminal_ends_a_run_that_cannot_be_left(console: type[Console]) -> None:
    async def lose(app: Console) -> str:
        return HUNG_UP

    console.during = lose
    assert await host(request(Gate()), Style(), Style()) == 129


async def test_lost_terminal_is_nothing_to_a_run_that_ignores_hangups(
    console: type[Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    async def lose(app: Console) -> str:
        gate.open.set()
        return HUNG_UP

    console.during = lose
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert await host(request(gate), Style(), Style()) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_hangup_after_the_end_changes_nothing(console: type[Console]) -> None:
    gate = Gate()

    async def look_and_hang_up(app: Console) -> None:
        gate.open.set()
        await app.run.wait()
        os.kill(os.getpid(), signal.SIGHUP)
        await app.left.wait()

    console.during = look_and_hang_up
    assert await host(request(gate), Style(), Style()) == 0


async def test_signal_that_comes_twice_at_once_is_heeded_once(
    console: type[Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill %1` sends it to the engine and to the launcher, which passes it on; it is no wish to kill."""
    sent: list[Command] = []
    send = Run.send

    async def send_and_note(self: Run, command: Command) -> None:
        sent.append(command)
        await send(self, command)

    async def be_signalled(app: Console) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stubborn.stopping.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await app.left.wait()

    monkeypatch.setattr(Run, "send", send_and_note)
    stubborn = Stubborn()
    console.during = be_signalled
    assert await host(request(stubborn), Style(), Style()) == 143
    assert sent == [
        CancelPlan(actor="SIGTERM", interrupted=True),
        CancelPlan(actor="operator", kill=True),
    ]


async def test_read_only_console_cannot_steer(console: type[Console]) -> None:
    gate = Gate()
    seen: list[bool] = []

    async def try_to_steer(app: Console) -> None:
        seen.append(app.run.read_only)
        with pytest.raises(CommandRefused, match="read-only"):
            await app.run.send(PausePlan())
        gate.open.set()
        await app.run.wait()

    console.during = try_to_steer
    assert await host(request(gate, read_only=True), Style(), Style()) == 0
    assert seen == [True]


async def test_read_only_run_shows_all_there_is_to_see() -> None:
    from engine.session import open_run

    gate = Gate()
    async with open_run(PLAN, dispatchers={"local": gate}) as run:
        watched: RunHandle = ReadOnlyRun(run)
        subscription = watched.subscribe()
        assert (watched.plan, watched.graph, watched.run_id) == (run.plan, run.graph, run.run_id)
        assert watched.log_path(0, 1) == run.log_path(0, 1)
        assert watched.last_line(0) == ""
        assert watched.now().offset <= run.now().offset
        gate.open.set()
        result = await watched.wait()
        assert watched.snapshot().outcome is result.outcome
        assert subscription.take()[-1].type == "PLAN_COMPLETED"
