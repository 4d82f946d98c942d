"""A stall: the alert, what is known of it, and being silent about it until there is a new one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.console import Console, console
from tests.support.run import FakeRun, plan_of
from tui.preferences import Preferences
from tui.screens.stall import StallScreen

pytestmark = pytest.mark.anyio

BUILD, LINT = range(2)


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    run = FakeRun(plan_of({"build": "", "lint": "", "docs": ""}), directory=tmp_path)
    run.start("build", "lint")
    run.last_lines[BUILD] = "waiting for lock"
    return run


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child."""
    with subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True) as process:
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def stall(run: FakeRun, task: str) -> None:
    run.make.wait(40)
    run.push(run.make.stalled(task, 31.0))


def alert(c: Console) -> str:
    return c.text(c.screen).splitlines()[-2]


async def evidence(c: Console) -> str:
    """The page of evidence, once it has looked."""
    screen = c.app.screen
    assert isinstance(screen, StallScreen)
    await screen.look()
    await c.handled()
    return c.text()


async def test_the_alert_leads_to_the_evidence(run: FakeRun) -> None:
    run.write_log("build", "one\ntwo\nwaiting for lock\n")
    stall(run, "build")
    async with console(run, (100, 30)) as c:
        assert "! build has been silent for 31s" in alert(c)
        assert "x cancel  ! why  a dismiss" in alert(c)
        await c.press("!")
        text = await evidence(c)
        assert "! build  silent for 31s, attempt 1 has taken" in text
        assert "usually     not known yet" in text
        assert "last lines  one" in text
        assert "(none that can be seen from here)" in text
        assert "plandeck logs 3f2a9c1e build" in text
        run.push(run.make.stall_cleared("build"))
        await c.settle()
        assert "All of them show life again" in await evidence(c)


async def test_the_processes_are_shown_as_a_tree(run: FakeRun, sleeper: subprocess.Popen[bytes]) -> None:
    run.push(run.make.started("docs", f"pid {sleeper.pid}"))
    stall(run, "docs")
    async with console(run, (120, 30)) as c:
        await c.press("!")
        while "sleep 600" not in (text := await evidence(c)).replace("sleep 600 & wait", ""):
            pass  # it has not been started yet
        lines = [line for line in text.splitlines() if "cpu" in line]
        parent, child = lines
        assert str(sleeper.pid) in parent
        assert "sh -c sleep 600 & wait" in parent
        assert child.index("sleep 600") > parent.index("sh -c")


async def test_no_processes_of_today_are_shown_for_a_stall_of_the_past(
    run: FakeRun, sleeper: subprocess.Popen[bytes]
) -> None:
    run.is_recording = True
    run.push(run.make.started("docs", f"pid {sleeper.pid}"))
    stall(run, "docs")
    async with console(run, (120, 30)) as c:
        await c.press("!")
        text = await evidence(c)
        assert "(not of the past)" in text
        assert str(sleeper.pid) not in text


async def test_a_secret_in_a_command_is_masked(tmp_path: Path) -> None:
    plan = msgspec.structs.replace(plan_of({"docs": ""}), secrets=("TOKEN",))
    run = FakeRun(plan, directory=tmp_path)
    argv = ["sh", "-c", "read line", "--token=hush-hush"]
    environment = {**os.environ, "TOKEN": "hush-hush"}
    with subprocess.Popen(argv, env=environment, start_new_session=True, stdin=subprocess.PIPE) as process:
        run.start()
        run.push(run.make.started("docs", f"pid {process.pid}"))
        stall(run, "docs")
        async with console(run, (120, 30)) as c:
            await c.press("!")
            text = await evidence(c)
            assert "--token=***" in text
            assert "hush-hush" not in text
        process.kill()


async def test_how_long_it_usually_takes_is_told(run: FakeRun) -> None:
    stall(run, "build")
    async with console(run, (110, 30)) as c:
        c.screen.view.pace._usual = [20.0, None, None]
        c.screen.alert.renew()
        await c.press("e")
        assert "(usually 20s in all)" in alert(c)
        await c.press("!")
        assert "usually     20s in all" in await evidence(c)


async def test_several_stalls_stand_on_one_page_the_selected_first(run: FakeRun) -> None:
    stall(run, "build")
    stall(run, "lint")
    async with console(run, (100, 40)) as c:
        assert "(and 1 more)" in alert(c)
        c.screen.table.move_cursor(LINT)
        await c.press("!")
        text = await evidence(c)
        assert text.index("! lint ") < text.index("! build ")


async def test_a_dismissed_alert_comes_back_only_for_a_new_stall(run: FakeRun) -> None:
    stall(run, "build")
    async with console(run) as c:
        await c.press("a")
        assert "silent" not in alert(c)
        run.offset += 5
        c.screen.tick()
        await c.settle()
        assert "silent" not in alert(c)
        assert "1 stalled" in c.text()
        stall(run, "lint")
        await c.settle()
        assert "! lint has been silent" in alert(c)
        assert "more)" not in alert(c)
        run.push(run.make.stall_cleared("build"))
        stall(run, "build")
        await c.settle()
        assert "(and 1 more)" in alert(c)
        await c.press("a", "a")
        assert c.messages == ["There is no stall alert to dismiss."]


async def test_without_a_stall_there_is_no_evidence(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("!")
        assert c.app.screen is c.screen
        assert c.messages == ["Nothing is stalled."]


async def test_the_alert_names_the_keys_in_force(run: FakeRun) -> None:

    stall(run, "build")
    async with console(run, preferences=Preferences(remapped={"task.stall": "f9", "stall.dismiss": ""})) as c:
        assert "x cancel  f9 why" in alert(c)
        assert "dismiss" not in alert(c)
