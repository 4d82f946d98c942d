"""Starting processes in threads: the loop goes on, nothing is lost, and the threads go with the spawner."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable

import anyio
import pytest

from engine.core.inputs import AttemptOutcome
from engine.dispatch import spawn
from engine.dispatch.contract import RecordedOutput, attempt_at
from engine.dispatch.process import ProcessDispatcher
from engine.dispatch.readiness import Readiness, Signal
from engine.dispatch.spawner import THREADS, Spawner
from tests.support.commands import HASTY, STUBBORN, task_for, without_native_spawn
from tests.support.processes import group_is_empty

pytestmark = pytest.mark.anyio


class Doing:
    """Something that is started by a call."""

    def __init__(self, start: Callable[[], object]) -> None:
        self._start = start

    def start(self) -> None:
        self._start()


class Gate:
    """Lets nobody pass before it is opened. visitors: the threads that have come, in order."""

    def __init__(self) -> None:
        self.visitors: list[threading.Thread] = []
        self._came = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        self.visitors.append(threading.current_thread())
        self._came.set()
        self._open.wait()

    def wait_for_one(self) -> None:
        self._came.wait()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Every process stands before it when it is to be started."""
    gate = Gate()
    start = spawn.Child.start

    def start_later(child: spawn.Child) -> None:
        gate.pass_through()
        start(child)

    monkeypatch.setattr(spawn.Child, "start", start_later)
    return gate


async def test_as_many_are_started_at_once_as_there_are_threads() -> None:
    readiness = Readiness()
    spawner = Spawner(readiness)
    together = threading.Barrier(THREADS)
    threads: set[threading.Thread] = set()

    def start() -> None:
        threads.add(threading.current_thread())
        together.wait()

    begun = [Signal() for _ in range(3 * THREADS)]
    for signal in begun:
        spawner.start(Doing(start), signal.set)
    for signal in begun:
        await readiness.wait(signal)
    assert len(threads) == THREADS


async def test_one_thread_serves_those_that_come_one_by_one_and_ends_with_the_spawner() -> None:
    readiness = Readiness()
    spawner = Spawner(readiness)
    threads: set[threading.Thread] = set()
    for _ in range(5):
        begun = Signal()
        spawner.start(Doing(lambda: threads.add(threading.current_thread())), begun.set)
        await readiness.wait(begun)
    (thread,) = threads
    assert thread is not threading.current_thread()
    del spawner
    gc.collect()
    thread.join()


async def test_without_threads_it_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    readiness = Readiness()
    spawner = Spawner(readiness)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    where: list[threading.Thread] = []
    begun = Signal()
    spawner.start(Doing(lambda: where.append(threading.current_thread())), begun.set)
    await readiness.wait(begun)
    assert where == [threading.current_thread()]


def test_one_that_is_forgotten_in_the_middle_harms_nobody() -> None:
    gate = Gate()
    spawner = Spawner(Readiness())
    spawner.start(Doing(gate.pass_through), Signal().set)
    gate.wait_for_one()
    del spawner
    gc.collect()
    read_end, write_end = os.pipe()  # with the numbers of those that it has closed
    os.set_blocking(read_end, False)
    gate.open()
    gate.visitors[0].join()
    with pytest.raises(BlockingIOError):
        os.read(read_end, 1)
    os.close(read_end)
    os.close(write_end)


async def test_other_attempts_go_on_while_a_start_takes_long(
    dispatcher: ProcessDispatcher, gate: Gate
) -> None:
    output = RecordedOutput()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatcher.run, attempt_at(task_for("true")), output)
        await anyio.wait_all_tasks_blocked()
        assert output.calls == []
        gate.open()
    assert output.calls == ["started"]


@pytest.mark.parametrize("command", ["echo up; exec sleep 1000", STUBBORN])
async def test_one_that_is_cancelled_while_it_is_being_started_is_stopped(
    dispatcher: ProcessDispatcher, gate: Gate, command: str
) -> None:
    output = RecordedOutput()
    outcomes: list[AttemptOutcome] = []

    async def run() -> None:
        outcomes.append(await dispatcher.run(attempt_at(task_for(command, HASTY)), output))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert output.calls == []
            gate.open()
    assert outcomes == []
    assert output.calls[0] == "started"
    assert group_is_empty(output.pid)


@pytest.mark.parametrize("is_native", [True, False])
async def test_one_that_is_cancelled_and_cannot_be_started(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, is_native: bool
) -> None:
    if not is_native:
        without_native_spawn(monkeypatch)
    output = RecordedOutput()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ProcessDispatcher().run, attempt_at(task_for(("/etc",))), output)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        gate.open()
    assert output.log == [("started", "")]
