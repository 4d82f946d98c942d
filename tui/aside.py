"""The console steps aside: the terminal shows the run as plain lines until a key is pressed."""

from __future__ import annotations

import math
import os
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from typing import Any, Final

import anyio
from textual.app import App

from engine.core.state import RunPhase
from engine.handle import RunHandle
from engine.view.run_view import RunView
from tui.plain.lines import PlainLines
from tui.plain.streams import style_of
from tui.plain.teller import Teller
from tui.terminal.driver import TerminalDriver

_STDIN: Final = 0
_LOCAL_MODES: Final = 3
_CHARACTERS: Final = 6
_MOST: Final = 1024

WAY_BACK: Final = "plain lines from here; any key brings the console back"
OVER: Final = "the run is over; any key brings the console back"


async def step_aside(app: App[Any], run: RunHandle, say: Callable[[str], None]) -> None:
    """Give the terminal to plain lines, and take it back when a key is pressed.

    The console goes on behind them and misses nothing. ctrl+c does what it does to plain lines. say: told
    the reason where there is no terminal to give away.
    """
    driver = app._driver
    if not isinstance(driver, TerminalDriver):
        say("Plain lines are not possible here: there is no terminal to print to.")
        return
    with app.suspend(), closing(Teller(style_of(sys.stdout), style_of(sys.stderr))) as teller:
        async with _awaiting_key(driver) as key_pressed, anyio.create_task_group() as group:
            group.start_soon(_tell, run, teller)
            await key_pressed()
            group.cancel_scope.cancel()
        await teller.drained(math.inf)  # nothing may be written into the console


async def _tell(run: RunHandle, teller: Teller) -> None:
    def is_over(view: RunView) -> bool:
        return view.phase is RunPhase.COMPLETE

    teller.tell(WAY_BACK)
    while True:
        await PlainLines(run, teller).follow(is_over)
        teller.tell(OVER)
        subscription = run.subscribe()  # until somebody retries something
        try:
            if not await subscription.wait():
                return
        finally:
            subscription.close()


@asynccontextmanager
async def _awaiting_key(driver: TerminalDriver) -> AsyncIterator[Callable[[], Any]]:
    """The terminal hands over single keys, unseen, for as long as the block lasts; signals stay signals."""
    before = termios.tcgetattr(_STDIN)

    def take_keys() -> None:
        settings = termios.tcgetattr(_STDIN)
        settings[_LOCAL_MODES] &= ~(termios.ICANON | termios.ECHO)
        settings[_CHARACTERS][termios.VMIN] = 1
        termios.tcsetattr(_STDIN, termios.TCSANOW, settings)

    async def key_pressed() -> None:
        await anyio.wait_readable(_STDIN)
        os.read(_STDIN, _MOST)  # all of it: arrows and the like are several bytes

    driver.on_continue = take_keys  # the shell has set the terminal as it likes it
    take_keys()
    try:
        yield key_pressed
    finally:
        driver.on_continue = None
        with suppress(termios.error):  # it has gone away
            termios.tcsetattr(_STDIN, termios.TCSANOW, before)
