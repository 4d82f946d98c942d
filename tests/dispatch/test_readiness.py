"""Waiting for many descriptors through one: who leads, who follows, and what happens when either goes."""

from __future__ import annotations

import gc
import os
import select
import weakref
from collections.abc import AsyncIterator

import anyio
import pytest

from engine.dispatch.readiness import Poller, PortablePoller, Readiness, Signal, new_poller

pytestmark = pytest.mark.anyio


class Pipe:
    """A pipe that sets a signal when something is written to it."""

    def __init__(self, readiness: Readiness) -> None:
        self.read_end, self.write_end = os.pipe()
        self.signal = Signal()
        self.readiness = readiness
        readiness.add(self.read_end, self.read)

    def read(self) -> None:
        os.read(self.read_end, 100)
        self.signal.set()

    def write(self) -> None:
        os.write(self.write_end, b"x")

    def close(self) -> None:
        self.readiness.remove(self.read_end)
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.fixture(params=["best", "portable"])
def readiness(request: pytest.FixtureRequest) -> Readiness:
    return Readiness(new_poller() if request.param == "best" else PortablePoller())


@pytest.fixture
async def pipes(readiness: Readiness) -> AsyncIterator[list[Pipe]]:
    pipes = [Pipe(readiness) for _ in range(3)]
    yield pipes
    for pipe in pipes:
        pipe.close()


async def test_a_signal_that_is_set_is_not_waited_for(readiness: Readiness) -> None:
    signal = Signal()
    signal.set()
    await readiness.wait(signal)


async def test_one_alone(readiness: Readiness, pipes: list[Pipe]) -> None:
    pipes[0].write()
    await readiness.wait(pipes[0].signal)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
async def test_whoever_is_ready_first_goes_first(
    readiness: Readiness, pipes: list[Pipe], order: tuple[int, ...]
) -> None:
    gone: list[int] = []
    went = [anyio.Event() for _ in pipes]

    async def wait(place: int) -> None:
        await readiness.wait(pipes[place].signal)
        gone.append(place)
        went[place].set()

    async with anyio.create_task_group() as group:
        for place in range(3):
            group.start_soon(wait, place)
        await anyio.wait_all_tasks_blocked()
        for place in order:
            pipes[place].write()
            await went[place].wait()
    assert gone == list(order)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_one_that_is_cancelled_leaves_nobody_waiting_for_ever(
    readiness: Readiness, pipes: list[Pipe], cancelled: int
) -> None:
    scopes = [anyio.CancelScope() for _ in pipes]

    async def wait(place: int) -> None:
        with scopes[place]:
            await readiness.wait(pipes[place].signal)

    async with anyio.create_task_group() as group:
        for place in range(3):
            group.start_soon(wait, place)
        await anyio.wait_all_tasks_blocked()
        scopes[cancelled].cancel()
        for place in {0, 1, 2} - {cancelled}:
            pipes[place].write()


async def test_the_next_leader_may_be_cancelled_on_its_way(readiness: Readiness, pipes: list[Pipe]) -> None:
    scopes = [anyio.CancelScope() for _ in pipes]

    async def wait(place: int) -> None:
        with scopes[place]:
            await readiness.wait(pipes[place].signal)

    async with anyio.create_task_group() as group:
        for place in range(3):
            group.start_soon(wait, place)
        await anyio.wait_all_tasks_blocked()
        scopes[0].cancel()  # hands the lead to 1 ...
        scopes[1].cancel()  # ... which goes as well
        pipes[2].write()


async def test_what_is_removed_by_another_callback_is_not_called(readiness: Readiness) -> None:
    first, second = Pipe(readiness), Pipe(readiness)
    called: list[Pipe] = []

    def takes_both(me: Pipe, other: Pipe) -> None:
        called.append(me)
        readiness.remove(me.read_end)
        readiness.remove(other.read_end)
        done.set()

    done = Signal()
    for me, other in ((first, second), (second, first)):
        readiness.remove(me.read_end)
        readiness.add(me.read_end, lambda me=me, other=other: takes_both(me, other))  # type: ignore[misc]
        me.write()
    await readiness.wait(done)
    assert len(called) == 1
    first.close()
    second.close()


async def test_no_event_loop_holds_on_to_it() -> None:
    readiness = Readiness()
    for _ in range(3):
        pipe = Pipe(readiness)
        pipe.write()
        await readiness.wait(pipe.signal)
        pipe.close()
    gone = weakref.ref(readiness)
    del readiness, pipe
    gc.collect()
    assert gone() is None


def test_epoll_is_preferred_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    poller: Poller = new_poller()
    assert isinstance(poller, select.epoll)
    monkeypatch.delattr(select, "epoll")
    assert isinstance(new_poller(), PortablePoller)
