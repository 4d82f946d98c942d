"""A wakeup wakes the task that waits, is cancelled with it, and keeps what it was told."""

from __future__ import annotations

import anyio
import pytest

from engine.ground.wakeup import EventWakeup, FutureWakeup, wakeup_type

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_who_waits_is_woken() -> None:
    woken: list[str] = []
    wakeup = wakeup_type()()

    async def sleeper() -> None:
        await wakeup
        woken.append("up")

    async with anyio.create_task_group() as group:
        group.start_soon(sleeper)
        await anyio.wait_all_tasks_blocked()
        assert not woken
        wakeup.set()
        wakeup.set()  # once more is the same
    assert woken == ["up"]


async def test_what_is_set_before_is_not_missed() -> None:
    wakeup = wakeup_type()()
    wakeup.set()
    with anyio.fail_after(1):
        await wakeup


async def test_waiting_can_be_cancelled_and_the_wakeup_be_set_afterwards() -> None:
    wakeup = wakeup_type()()
    with anyio.move_on_after(0.001) as waiting:
        await wakeup
    assert waiting.cancelled_caught
    wakeup.set()


async def test_the_kind_is_that_of_the_loop(anyio_backend_name: str) -> None:
    assert wakeup_type() is (FutureWakeup if anyio_backend_name == "asyncio" else EventWakeup)
