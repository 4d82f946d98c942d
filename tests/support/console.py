"""A console over a `FakeRun`, opened for the length of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen

from tests.support.run import FakeRun
from tui.app import ConsoleApp

ROUNDS = 4
"""A key makes an action, that a screen, that a focus: no chain of messages is longer."""


class Console:
    """app, run, pilot: what is driven. Nothing here waits for time to pass."""

    def __init__(self, app: ConsoleApp, run: FakeRun, pilot: Pilot[None]) -> None:
        self.app = app
        self.run = run
        self.pilot = pilot
        self.screen = app.run_screen

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, and let each have its effect.

        Unlike the pilot's own `press` it waits for messages and not for an idle processor, which on a
        busy machine never comes.
        """
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 else key
            self.app.post_message(events.Key(name, key if len(key) == 1 else None))
            await self.handled()
        await self.settle()

    async def handled(self) -> None:
        """Let every widget have seen its messages, and the messages that came of those."""
        for _ in range(ROUNDS):
            await self.pilot._wait_for_screen()

    async def settle(self) -> None:
        """Let what was pushed be folded, and drawn."""
        await self.until(lambda: self.screen.view.last_seq >= len(self.run.make.events))
        self.screen.tick()
        await self.handled()
        self.app.screen._on_timer_update()  # what is due is painted now, not at the next sixtieth of a second

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what must come; a test that waits in vain is ended by its time-out."""
        while not condition():
            if self.app._exception is not None:
                raise self.app._exception
            await anyio.lowlevel.checkpoint()

    def text(self, screen: Screen[Any] | None = None) -> str:
        """What stands on the screen, as lines of plain text."""
        shown = screen or self.app.screen
        lines = shown._compositor.render_strips()
        return "\n".join(line.text.rstrip() for line in lines)

    @property
    def messages(self) -> list[str]:
        """The notifications on screen, oldest first."""
        return [notification.message for notification in self.app._notifications]


@asynccontextmanager
async def console(
    run: FakeRun, size: tuple[int, int] = (80, 24), *, leads: bool = False, **options: Any
) -> AsyncIterator[Console]:
    """Open a console on the run; leave it open for the block. leads: let the cursor go by itself."""
    app = ConsoleApp(run, ascii_only=options.pop("ascii_only", False), **options)
    app.run_screen.leads = leads
    async with app.run_test(size=size, tooltips=False) as pilot:
        opened = Console(app, run, pilot)
        await opened.settle()
        yield opened
