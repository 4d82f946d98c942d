"""Keys and dialogs in a plan with subplans: the whole run is meant, or a subplan around the cursor."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.core.inputs import (
    CancelTask,
    Command,
    PausePlan,
    ResumePlan,
    SetFailureMode,
    SetMaxParallel,
)
from engine.plan.model import FailureMode
from tests.support.console import Console, console
from tests.support.run import FakeRun
from tests.support.world import plan, subplan
from tui.screens.dialogs import Dialog

pytestmark = pytest.mark.anyio

BUILD, ROLLOUT, COPY, CHECK, PING, TELL = range(6)
COLLECT, FAST = FailureMode.CONTINUE_ON_ERROR, FailureMode.FAIL_FAST


@pytest.fixture
def run() -> FakeRun:
    """build is done; in rollout copy runs, and in rollout/check ping."""
    check = subplan({"ping": ""}, mode=FAST, slots=1)
    rollout = subplan({"copy": "", "check": check}, "build", slots=2)
    run = FakeRun(plan(FAST, build="", rollout=rollout, tell="rollout"))
    run.start("build")
    run.push(run.make.completed("build"))
    run.push(*(run.make.started(task) for task in ("rollout", "rollout/copy", "rollout/check")))
    run.push(run.make.started("rollout/check/ping"))
    return run


@pytest.mark.parametrize(
    ("task", "keys", "sent"),
    [
        (TELL, "p", [PausePlan()]),
        (COPY, "pr", [PausePlan()]),
        (COPY, ["p", "enter"], [PausePlan()]),
        (COPY, "ps", [PausePlan(scope=1)]),
        (ROLLOUT, "ps", [PausePlan(scope=1)]),
        (PING, "ps", [PausePlan(scope=2)]),
        (PING, "p2", [PausePlan(scope=1)]),
        (TELL, "Mc", [SetFailureMode(mode=COLLECT)]),
        (COPY, "Mrc", [SetFailureMode(mode=COLLECT)]),
        (COPY, "Msf", [SetFailureMode(mode=FAST, scope=1)]),
        (COPY, ["M", "escape"], []),
        (COPY, "Msc", []),  # it is in force already
        (COPY, "+", [SetMaxParallel(slots=5)]),
        (COPY, "P++-", [SetMaxParallel(slots=slots, scope=1) for slots in (3, 4, 3)]),
        (PING, "Pp", [PausePlan(scope=2)]),
        (CHECK, "Pmc", [SetFailureMode(mode=COLLECT, scope=2)]),
        (CHECK, ["P", "enter"], []),
        (ROLLOUT, "xy", [CancelTask(index=ROLLOUT)]),
    ],
)
async def test_keys_and_answers(task: int, keys: Sequence[str], sent: list[Command], run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(task)
        await c.press(*keys)
        assert await run.sent(len(sent)) == sent
        if "P" in keys and "+" in keys:
            assert "Subplan rollout" in c.text(), "it stays open for more"
            await c.press("escape")
        assert c.app.screen is c.screen


async def told(c: Console, *keys: str) -> str:
    await c.press(*keys)
    assert isinstance(c.app.screen, Dialog)
    text = " ".join(c.text().replace("│", " ").split())
    await c.press("escape")
    return text


async def test_the_dialogs_say_how_it_stands(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(PING)
        asked = await told(c, "M")
        assert "The whole run: 4 slots, fail-fast r" in asked
        assert "rollout/check: 1 slot, fail-fast s" in asked
        assert "rollout: 2 slots, continue-on-error 2" in asked
        asked = await told(c, "M", "s")
        assert "When a task of rollout/check fails" in asked
        assert "a failure now would stop nothing else. Now runs: rollout/check/ping." in asked
        c.screen.table.move_cursor(ROLLOUT)
        asked = await told(c, "M", "s")
        assert "would stop the others that run. Now runs: rollout/copy and rollout/check/ping." in asked
        assert "0/2 done, 2/2 slots, continue-on-error." in await told(c, "P")
        run.push(run.make.subplan_paused(1), run.make.subplan_slots_changed(1, 2, 3))
        await c.settle()
        assert "Paused. 0/2 done, 2/3 slots" in await told(c, "P")
        assert "rollout: paused, 3 slots" in await told(c, "p")
        await c.press("P", "p")
        assert await run.sent() == [ResumePlan(scope=1)]


async def test_a_subplan_that_is_over_is_not_paused(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(ROLLOUT)
        run.push(*(run.make.completed(f"rollout/{task}") for task in ("copy", "check/ping", "check")))
        run.push(run.make.completed("rollout"))
        await c.settle()
        assert "Pause it" not in await told(c, "P")
        await c.press("p")
        assert await run.sent() == [PausePlan()]


async def test_marked_tasks_mean_the_subplan_around_all_of_them(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(COPY)
        await c.press("space", "space")
        assert "Subplan rollout" in await told(c, "P")
        c.screen.table.move_cursor(TELL)
        await c.press("space", "P")
        assert c.messages == ["This is no subplan, nor in one."]
