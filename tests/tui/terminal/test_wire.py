"""What the console sends to its terminal, in bytes, by what has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual._compositor import CompositorUpdate
from textual.app import App

from tests.support.console import Console, console
from tests.support.run import FakeRun, plan_of

pytestmark = pytest.mark.anyio


class Wire:
    """Counts the bytes of all frames, as they would be written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = 0

        def display(app: App[Any], screen: Any, renderable: Any) -> None:
            if isinstance(renderable, CompositorUpdate):
                self.sent += len(renderable.render_segments(app.console).encode())

        monkeypatch.setattr(App, "_display", display)

    def taken(self) -> int:
        """Bytes since the last time."""
        sent, self.sent = self.sent, 0
        return sent


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """Four quiet tasks."""
    run = FakeRun(plan_of(dict.fromkeys(("build", "lint", "unit", "docs"), "")), directory=tmp_path)
    run.start("build", "lint", "unit", "docs")
    return run


async def second(c: Console, run: FakeRun) -> None:
    run.offset += 1
    await c.settle()


async def test_the_console_opens_with_little_more_than_a_screen(wire: Wire, run: FakeRun) -> None:
    async with console(run):
        assert 0 < wire.taken() < 8_000


async def test_where_nothing_changes_nothing_is_sent(wire: Wire, run: FakeRun) -> None:
    async with console(run) as c:
        await second(c, run)
        wire.taken()
        for _ in range(3):
            await c.settle()
        assert wire.taken() == 0
        c.app.screen.refresh()  # as Textual does of its own accord
        await c.settle()
        assert wire.taken() == 0


async def test_a_second_of_four_quiet_tasks(wire: Wire, run: FakeRun) -> None:
    async with console(run) as c:
        await second(c, run)
        wire.taken()
        for _ in range(10):
            await second(c, run)
        assert 0 < wire.taken() / 10 < 600


async def test_a_run_that_is_over_sends_nothing(wire: Wire, run: FakeRun) -> None:
    async with console(run) as c:
        run.finish()
        await second(c, run)
        wire.taken()
        for _ in range(5):
            await second(c, run)
        assert wire.taken() == 0


async def test_a_page_that_comes_and_goes_sends_what_it_covers(wire: Wire, run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("x")
        wire.taken()
        await c.press("escape")
        assert 0 < wire.taken() < 6_000


async def test_ctrl_l_paints_all_of_it(wire: Wire, run: FakeRun) -> None:
    async with console(run) as c:
        await c.settle()
        wire.taken()
        await c.press("ctrl+l")
        assert wire.taken() > 2_000
