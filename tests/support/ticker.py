"""A small console that counts, for the tests of the terminal: `python -m tests.support.ticker STATUS_FD`.

Each tick repaints six lines of the screen and writes one line of JSON to the descriptor STATUS_FD. Keys: `p`
stops the counting, `f` paints all, `b` rings, `c` copies, `C` copies a lot, `q` leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import threading
import time
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.terminal.driver import TerminalApp, TerminalDriver

HEARTBEAT = 0.005
"""Seconds between two looks at how far the loop is behind."""

MUCH = 300_000
"""Bytes copied at a press of `C`."""

STYLES = [Style(color=f"color({number})", bold=bool(number % 2)) for number in range(16, 232)]


class Board(Widget):
    """The first line shows the count; of the others each tick rewrites one, in many colours."""

    DEFAULT_CSS = "Board { width: 100%; height: 100%; }"
    count = 0

    def on_mount(self) -> None:
        self.rewritten: dict[int, int] = {}

    def advance(self) -> None:
        self.count += 1
        line = 1 + self.count % (self.size.height - 1)
        self.rewritten[line] = self.count
        # The count itself, and with it some lines that did not change: so the frames are of a good size.
        self.refresh(Region(0, 0, self.size.width, 5), Region(0, line, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        number = self.count if y == 0 else self.rewritten.get(y, 0)
        paused = self.app.ticking is None  # type: ignore[attr-defined]
        words = f"tick {number} {'paused ' if paused and y == 0 else ''}"
        cells = [Segment(words)]
        cells += [
            Segment(chr(97 + (number + x) % 26) * 10, STYLES[(number + x) % 216])
            for x in range(self.size.width // 10)
        ]
        return Strip(cells).crop(0, self.size.width)


class Ticker(TerminalApp[None]):
    """Counts, and tells of itself as it does."""

    CSS = "Screen { layout: vertical; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        ("p", "pause"),
        ("f", "paint"),
        ("b", "bell"),
        ("c", "copy"),
        ("C", "copy_much"),
        ("q", "quit"),
    ]

    def __init__(self, status: int, period: float, linger: int) -> None:
        super().__init__()
        self.status = status
        self.period = period
        self.linger = linger
        self.ticking: asyncio.Task[None] | None = None
        self.widest_gap = 0.0
        self.largest_backlog = 0
        self.last_tick: int | None = None

    def compose(self) -> ComposeResult:
        yield Board()

    def on_mount(self) -> None:
        self.watching = asyncio.create_task(self.watch_the_loop())
        self.call_after_refresh(self.begin)

    def begin(self) -> None:
        self.ticking = asyncio.create_task(self.tick())

    async def watch_the_loop(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(HEARTBEAT)
            self.widest_gap = max(self.widest_gap, time.perf_counter() - before - HEARTBEAT)

    async def tick(self) -> None:
        board = self.query_one(Board)
        while True:
            board.advance()
            self.tell(tick=board.count)
            if board.count == self.last_tick:
                self.exit()
            await asyncio.sleep(self.period)

    def tell(self, **news: object) -> None:
        driver = self._driver
        if isinstance(driver, TerminalDriver) and driver._writer is not None:
            self.largest_backlog = max(self.largest_backlog, driver._writer.unsent)
        news |= {
            "gap": self.widest_gap,
            "backlog": self.largest_backlog,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "threads": sorted(thread.name for thread in threading.enumerate()),
        }
        os.write(self.status, json.dumps(news).encode() + b"\n")
        self.widest_gap = 0.0

    def on_terminal_lost(self) -> None:
        self.tell(lost=True)
        self.last_tick = self.query_one(Board).count + self.linger

    def action_pause(self) -> None:
        if self.ticking is not None:
            self.ticking.cancel()
            self.ticking = None
            self.query_one(Board).refresh()
            self.tell(paused=True)

    def action_paint(self) -> None:
        self.refresh()

    def action_copy(self) -> None:
        self.copy_to_clipboard(str(self.query_one(Board).count))
        self.tell(copied=self.query_one(Board).count)

    def action_copy_much(self) -> None:
        self.copy_to_clipboard("x" * MUCH)
        self.tell(copied=MUCH)

    def action_bell(self) -> None:
        self.bell()
        self.tell(rang=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("status", type=int)
    parser.add_argument("--period", type=float, default=0.01)
    parser.add_argument(
        "--linger", type=int, default=20, help="ticks to go on for once the terminal has gone"
    )
    parser.add_argument("--ignore-hangup", action="store_true")
    parser.add_argument("--nameless", action="store_true", help="the terminal cannot be opened by its name")
    parser.add_argument("--stock", action="store_true", help="with the driver that comes with Textual")
    options = parser.parse_args()
    if options.ignore_hangup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if options.nameless:

        def ttyname(fd: int) -> str:
            return "/nonexistent/terminal"

        os.ttyname = ttyname
    app = Ticker(options.status, options.period, options.linger)
    if options.stock:
        app.driver_class = LinuxDriver
    app.run()


if __name__ == "__main__":
    main()
