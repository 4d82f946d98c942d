"""The list of runs, opened for the length of a test; and runs for it, kept and going on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from engine.ground.folders import run_directory, socket_path
from engine.store.journal import Journal
from engine.store.lock import RunLock
from tests.support.run import FakeRun
from tests.support.wire import served
from tui.home import HomeApp
from tui.screens.run import RunScreen

ROUNDS = 4
"""A key makes an action, that a screen, that a focus: no chain of messages is longer."""


class Home:
    """launched: the commands that were to start a run. starts: the run that they have started."""

    def __init__(self, app: HomeApp, pilot: Pilot[Any], launched: list[tuple[str, ...]]) -> None:
        self.app = app
        self.pilot = pilot
        self.launched = launched

    @property
    def list(self) -> Any:
        return self.app.runs_screen.list

    async def press(self, *keys: str) -> None:
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 else key
            self.app.post_message(events.Key(name, key if len(key) == 1 else None))
            await self.handled()

    async def handled(self) -> None:
        for _ in range(ROUNDS):
            await self.pilot._wait_for_screen()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what must come; a test that waits in vain is ended by its time-out."""
        while not condition():
            if self.app._exception is not None:
                raise self.app._exception
            await anyio.lowlevel.checkpoint()
        await self.handled()

    async def until_shown(self, words: str) -> None:
        await self.until(lambda: words in self.text)

    async def at_run(self) -> RunScreen:
        """Wait until a run is on the screen."""
        await self.until(lambda: isinstance(self.app.screen, RunScreen))
        screen = self.app.screen
        assert isinstance(screen, RunScreen)
        screen.tick()
        await self.handled()
        return screen

    @property
    def text(self) -> str:
        """What stands on the screen, as lines of plain text."""
        self.app.screen._on_timer_update()
        return "\n".join(line.text.rstrip() for line in self.app.screen._compositor.render_strips())

    @property
    def messages(self) -> list[str]:
        return [notification.message for notification in self.app._notifications]


@asynccontextmanager
async def home(state: Path, *, size: tuple[int, int] = (80, 24), starts: str = "") -> AsyncIterator[Home]:
    """Open the list; leave it open for the block. starts: the id of the run that is there after a start."""
    launched: list[tuple[str, ...]] = []

    async def launch(command: Sequence[str]) -> str:
        launched.append(tuple(command))
        return starts

    async with anyio.create_task_group() as group:
        app = HomeApp(state, group, launch=launch, ascii_only=False)
        async with app.run_test(size=size, tooltips=False) as pilot:
            opened = Home(app, pilot, launched)
            await opened.until(lambda: bool(app.runs_screen.title_line.words))
            yield opened
        group.cancel_scope.cancel()


@asynccontextmanager
async def going_on(state: Path, run: FakeRun) -> AsyncIterator[None]:
    """The run is kept, in the hands of this process, and listens."""
    folder = run_directory(state, run.run_id)
    with RunLock(folder), Journal.create(state, run.run_id, run.plan) as journal:
        journal.commit(run.make.events)
        async with served(run, socket_path(folder)):
            yield
