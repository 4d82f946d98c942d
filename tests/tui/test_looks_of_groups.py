"""How subplans and matrices look, as pictures (see `test_looks.py`)."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from msgspec import structs
from textual.pilot import Pilot

from engine.plan.model import FailureMode, Need, Plan, Task
from tests.support.run import FakeRun
from tests.support.world import plan, subplan
from tui.app import ConsoleApp

Compare = Callable[..., bool]

SYSTEMS = ("linux", "mac", "bsd", "sun", "aix")
SIZES = [(60, 20), (80, 24), (120, 40)]


def _release() -> Plan:
    """build -> a matrix of five, and a subplan with another inside -> announce."""
    check = subplan({"ping": "", "load": "ping"}, "copy", mode=FailureMode.FAIL_FAST, slots=1)
    rollout = subplan({"copy": "", "check": check, "switch": "check"}, "build", slots=2)
    made = plan(FailureMode.FAIL_FAST, build="", rollout=rollout)
    members = [
        Task(name=f"unit[{system}]", group="unit", run="pytest", needs=(Need("build"),)) for system in SYSTEMS
    ]
    needs = (*(Need(member.name) for member in members), Need("rollout"))
    announce = Task(name="announce", run="./announce", needs=needs)
    return structs.replace(made, name="release", tasks=(*made.tasks, *members, announce))


def _get_into_the_middle(run: FakeRun) -> None:
    """Of the matrix two are done, one failed and one runs; in the subplan copy is done and ping runs."""
    make = run.make
    run.push(make.plan_started(), make.started("build"))
    make.wait(12)
    run.push(make.completed("build"), make.mode_changed(FailureMode.CONTINUE_ON_ERROR))
    run.push(make.started("rollout"), make.started("rollout/copy"))
    run.push(*(make.started(f"unit[{system}]") for system in SYSTEMS[:3]))
    make.wait(5)
    run.push(make.completed("unit[linux]"), make.completed("unit[bsd]"))
    run.push(make.failed("unit[mac]", "exit 1: 3 tests failed"), make.started("unit[sun]"))
    run.push(make.skipped("announce", "unit[mac] failed", blocked_by="unit[mac]"))
    run.push(
        make.completed("rollout/copy"), make.started("rollout/check"), make.started("rollout/check/ping")
    )
    make.wait(3)
    run.push(make.held("rollout/check"))


@pytest.fixture
def looks(snap_compare: Compare) -> Compare:
    """Compare the console with its picture, some keys pressed."""

    def compare(size: tuple[int, int], *keys: str, ascii_only: bool = False) -> bool:
        async def get_there(pilot: Pilot[None]) -> None:
            screen = app.run_screen
            screen.leads = False
            _get_into_the_middle(run)
            while screen.view.last_seq < len(run.make.events):
                await anyio.lowlevel.checkpoint()
            screen.tick()
            await pilot.pause()
            await pilot.press(*keys)
            screen.tick()
            await pilot.pause()

        run = FakeRun(_release())
        app = ConsoleApp(run, ascii_only=ascii_only)
        return snap_compare(app, terminal_size=size, run_before=get_there)

    return compare


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tree(size: tuple[int, int], looks: Compare) -> None:
    """The matrix is one line where there is little room, with what failed and runs below; the subplan tells
    how far it is."""
    assert looks(size, "1")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_table(size: tuple[int, int], looks: Compare) -> None:
    """Names are told apart where they are cut; the subplan says its progress and its slots."""
    assert looks(size)


def test_tree_in_ascii(looks: Compare) -> None:
    """The same in signs that every terminal has."""
    assert looks((80, 24), "1", ascii_only=True)


def test_the_whole_matrix_is_cancelled(looks: Compare) -> None:
    """With the cursor on its line the dialog is about all that is not over."""
    assert looks((80, 24), "1", *["down"] * 7, "x")


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
def test_a_subplan_is_steered(size: tuple[int, int], looks: Compare) -> None:
    """How it stands; what can be changed; the safe answer lit."""
    assert looks(size, "down", "P")


def test_which_failure_mode_is_meant(looks: Compare) -> None:
    """The whole run, which is lit, or the subplan around the cursor, each with its own."""
    assert looks((60, 20), "down", "M")
