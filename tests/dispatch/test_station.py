"""A station without a worker: what it keeps, when it lets a task wait, and what it ends by itself."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.dask import station as station_module
from engine.dispatch.dask.messages import (
    Forget,
    Order,
    Perform,
    Place,
    Read,
    Stop,
    Withdraw,
    encode,
    request_from,
)
from engine.dispatch.dask.station import Station
from engine.plan.model import Shutdown, Simulation, Task

pytestmark = pytest.mark.anyio

STOPPED = AttemptOutcome(OutcomeKind.STOPPED, "stopped")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def order(run: str, patience: float = 1000.0) -> Order:
    return Order(
        run_id="run",
        plan="plan",
        task=Task(name="task", run=run, shutdown=Shutdown(grace=1000)),
        index=0,
        number=1,
        env={},
        directory=".",
        wants_outputs=False,
        speed=1.0,
        seed=None,
        patience=patience,
    )


def test_what_is_sent_arrives() -> None:
    placed = Place(key="k", order=replace(order("true"), task=Task(name="t", simulate=Simulation())))
    assert request_from(encode(placed)) == placed


async def test_a_task_waits_while_nobody_takes_its_output(tmp_path: Path) -> None:
    station = Station(str(tmp_path))
    await station.answer(Place(key="k", order=order("exec head -c 40000000 /dev/zero")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(station.answer, Perform(key="k"))
        taken = 0
        while not station.stay("k").is_full:
            answer = await station.answer(Read(key="k", offset=0, begun=True, wait=1))
            await anyio.lowlevel.checkpoint()
        assert answer.outcome is None
        while answer.outcome is None:
            answer = await station.answer(
                Read(key="k", offset=taken, begun=True, taken=taken, kept=taken, wait=1)
            )
            await anyio.lowlevel.checkpoint()
            assert answer.offset == taken
            taken += len(answer.data)
    assert (taken, answer.lost, answer.taken) == (40_000_000, 0, taken - len(answer.data))
    assert answer.outcome == AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)
    await station.answer(Forget(key="k"))
    assert not (await station.answer(Read(key="k", offset=0))).is_known
    await station.close()


async def test_what_has_not_begun_can_be_taken_back_and_ordered_again(tmp_path: Path) -> None:
    station = Station(str(tmp_path))
    for end in (Withdraw(key="k"), Stop(key="k")):
        await station.answer(Place(key="k", order=order("echo >> " + str(tmp_path / "ran"))))
        assert not (await station.answer(end)).begun
        await station.answer(Perform(key="k"))
        assert (await station.answer(Read(key="k", offset=0))).outcome == STOPPED
        await station.answer(Forget(key="k"))
    assert not (tmp_path / "ran").exists()
    assert not (await station.answer(Perform(key="k"))).is_known
    await station.answer(Place(key="k", order=order("echo >> " + str(tmp_path / "ran"))))
    await station.answer(Perform(key="k"))
    await station.answer(Withdraw(key="k"))  # too late
    assert (tmp_path / "ran").exists()
    await station.close()


async def test_what_nobody_asks_about_is_ended_and_forgotten_and_so_is_what_was_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station_module, "_LOOK_INTERVAL", 0.01)
    monkeypatch.setattr(station_module, "_IDLE_LIMIT", 0.05)
    station = Station(str(tmp_path))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(station.watch)
        await station.answer(Place(key="k", order=order("exec sleep 1000", patience=0.1)))
        await station.answer(Perform(key="k"))
        while (await station.answer(Withdraw(key="k"))).is_known:
            await anyio.sleep(0.01)
        while station.is_warm:
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def test_a_defect_is_a_failure_of_the_attempt(tmp_path: Path) -> None:
    station = Station(str(tmp_path))
    await station.answer(Place(key="k", order=replace(order("true"), env={"A=B": ""})))
    await station.answer(Perform(key="k"))
    answer = await station.answer(Read(key="k", offset=0))
    assert answer.outcome is not None
    assert answer.outcome.kind is OutcomeKind.FAILED
    await station.close()
