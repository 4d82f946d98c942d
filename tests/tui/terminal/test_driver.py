"""The console in a terminal that stops reading, is slow, is stopped or goes away.

A small app that counts (`tests.support.ticker`) runs in a real pseudo-terminal and tells on a pipe of its own
how far it has come. No test looks at a clock: a terminal does not read until the app has counted on a good
while. Whatever a test is about, every frame it ever sees must be whole.
"""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import json
import os
import pty
import re
import signal
import sys
import tty
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from tests.support.terminal import ALTERNATE_SCREEN, BRACKETED_PASTE, CURSOR, MOUSE, Terminal
from tests.support.ticker import MUCH
from tui.terminal.driver import FRAME, HOARD, TerminalApp, TerminalDriver, TerminalWriter

ROOT = Path(__file__).parents[3]

SCREENFUL = 16 * 1024
"""Bytes, more than any one frame of the ticker at 80x24."""

MANY = 60
"""Ticks that fill the kernel's buffer, and would fill Textual's own queue, several times over."""

SLOW = 1000
"""Bytes that a slow terminal reads in the time of a tick, which makes about 3 kB."""


class Ticking(Terminal):
    """A terminal with the ticker in it."""

    def __init__(self, *options: str, **kwargs: Any) -> None:
        status, theirs = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # room for minutes of news: an app that could not tell them would stand still while we read slowly
            fcntl.fcntl(status, fcntl.F_SETPIPE_SZ, 1 << 20)
        argv = [sys.executable, "-m", "tests.support.ticker", str(theirs), *options]
        try:
            super().__init__(argv, env={"PYTHONPATH": str(ROOT)}, inherit=[theirs], **kwargs)
        finally:
            os.close(theirs)
        self.status = os.fdopen(status)
        self.wiped = False

    def told(self, key: str, value: object = ...) -> dict[str, Any]:
        """Wait until the app tells of `key` (and tells `value`), without reading the screen."""
        for line in self.status:
            news: dict[str, Any] = json.loads(line)
            if key in news and value in (news[key], ...):
                return news
        raise AssertionError(f"ended without telling {key}")

    @property
    def shown(self) -> int:
        """The count on the screen."""
        count = re.match(r"tick (\d+)", self.text)
        return int(count[1]) if count else 0

    @property
    def is_whole(self) -> bool:
        """Whether no line is older than the count, torn or out of place."""
        lines, shown = self.lines, self.shown
        height = len(lines) - 1
        numbers = range(max(1, shown - height + 1), shown + 1)
        return all(lines[1 + number % height].startswith(f"tick {number} ") for number in numbers)

    def frame_shown(self) -> None:
        """Every frame that is ever shown is whole, but where a test has wiped the screen."""
        assert self.wiped or self.is_whole, self.text


@contextmanager
def ticking(*options: str, **kwargs: Any) -> Iterator[Ticking]:
    with Ticking(*options, **kwargs) as terminal, terminal.status:
        yield terminal


@pytest.fixture
def terminal() -> Iterator[Ticking]:
    with ticking() as terminal:
        terminal.wait_for("tick 5 ")
        yield terminal


def test_a_terminal_that_stops_reading_stops_nothing(terminal: Ticking) -> None:
    """What waits for it is bounded, and the first thing it shows when it reads again is the present."""
    count = terminal.shown + MANY
    news = terminal.told("tick", count)
    assert FRAME < news["backlog"] < FRAME + SCREENFUL
    terminal.wait_for(lambda: terminal.shown >= count)


def test_xoff_stops_nothing(terminal: Ticking) -> None:
    terminal.stop_output()
    count = terminal.shown + MANY
    terminal.told("tick", count)
    terminal.start_output()
    terminal.wait_for(lambda: terminal.shown >= count)


@pytest.mark.soak
def test_fifteen_seconds_cost_no_memory(terminal: Ticking) -> None:
    begun = terminal.told("tick", terminal.shown + MANY)
    news = terminal.told("tick", begun["tick"] + 1_500)
    assert news["memory"] < begun["memory"] + 1_024
    terminal.wait_for(lambda: terminal.shown >= news["tick"])


def test_after_a_stop_every_cell_is_what_a_fresh_paint_makes_it(terminal: Ticking) -> None:
    terminal.told("tick", terminal.shown + MANY)
    terminal.press(b"\xff\xfe")  # what no keyboard sends does not deafen it
    terminal.press("p")
    threads = terminal.told("paused")["threads"]
    assert threads == ["MainThread", "textual-input"]  # none that writes, and could be stuck
    terminal.wait_for("paused")
    caught_up = terminal.cells
    terminal.wiped = True
    terminal.wipe()
    assert terminal.cells != caught_up
    terminal.press("f")
    terminal.wait_for(lambda: terminal.cells == caught_up)


def test_a_slow_terminal_shows_what_was_a_moment_ago(terminal: Ticking) -> None:
    """A link that takes a third of what there is to show lags by what is under way, which does not grow."""
    first, lags = terminal.shown, []
    for count in range(first + 1, first + 120):
        terminal.told("tick", count)
        terminal.read(timeout=0, size=SLOW)
        lags.append(count - terminal.shown)
    # What the kernel holds (20 kB) and what waits here, in ticks; without bounds it would be 80 at the end.
    assert max(lags) < (20_000 + FRAME + SCREENFUL) / SLOW + 5


def test_bells_and_copied_texts_are_kept_in_order(terminal: Ticking) -> None:
    count = terminal.shown + MANY
    terminal.told("tick", count)
    expected = b""
    for _ in range(3):
        terminal.press("b")
        terminal.told("rang")
        terminal.press("c")
        expected += b"\x07\x1b]52;c;" + b64encode(str(terminal.told("copied")["copied"]).encode()) + b"\x07"
    terminal.wait_for(lambda: terminal.shown > count)
    told = re.findall(rb"\x1b\][^\x07]*\x07|\x07", terminal.output)
    assert b"".join(item for item in told if not item.startswith(b"\x1b]22;")) == expected  # 22: the pointer


def test_copied_texts_do_not_pile_up_without_end(terminal: Ticking) -> None:
    count = terminal.shown + MANY
    terminal.told("tick", count)
    for _ in range(8):
        terminal.press("C")
        terminal.told("copied")
    assert terminal.told("tick")["backlog"] < HOARD + 2 * MUCH
    terminal.wait_for(lambda: terminal.shown > count)


def test_leaving_restores_the_terminal(terminal: Ticking) -> None:
    modes = (ALTERNATE_SCREEN, BRACKETED_PASTE, *MOUSE)
    assert all(terminal.has_mode(mode) for mode in modes)
    assert not terminal.has_mode(CURSOR)
    terminal.press("q")
    assert terminal.wait_for_exit() == 0
    terminal.read_rest()
    assert not any(terminal.has_mode(mode) for mode in modes)
    assert terminal.has_mode(CURSOR)
    assert terminal.line_settings() == terminal.settings
    assert terminal.text.strip() == ""


def test_leaving_waits_for_a_terminal_that_takes_its_time(terminal: Ticking) -> None:
    terminal.told("tick", terminal.shown + MANY)
    terminal.press("q")
    assert terminal.wait_for_exit() == 0
    terminal.read_rest()
    assert not terminal.has_mode(ALTERNATE_SCREEN)
    assert terminal.has_mode(CURSOR)


def test_leaving_does_not_wait_for_ever(terminal: Ticking) -> None:
    terminal.stop_output()
    terminal.told("tick", terminal.shown + MANY)
    terminal.press("q")
    assert terminal.wait_for_exit(reading=False) == 0
    assert terminal.line_settings() == terminal.settings


def test_a_terminal_that_goes_away_is_told_of_once_and_stops_nothing() -> None:
    with ticking("--ignore-hangup", "--linger=30") as terminal:
        terminal.wait_for("tick 5 ")
        terminal.hang_up()
        terminal.told("lost")
        news = [json.loads(line) for line in terminal.status]
        assert not [item for item in news if "lost" in item]
        assert [item["tick"] for item in news][-1] - news[0]["tick"] >= 29
        assert news[-1]["threads"] == ["MainThread"]  # no thread is left that could spin on end-of-file
        assert terminal.wait_for_exit(reading=False) == 0


def test_a_terminal_that_goes_away_while_it_does_not_read() -> None:
    with ticking("--ignore-hangup", "--linger=5") as terminal:
        terminal.wait_for("tick 5 ")
        terminal.told("tick", terminal.shown + MANY)
        terminal.hang_up()
        terminal.told("lost")
        assert terminal.wait_for_exit(reading=False) == 0


def test_a_terminal_that_goes_away_while_the_console_is_suspended() -> None:
    with ticking("--ignore-hangup", "--linger=5") as terminal:
        terminal.wait_for("tick 5 ")
        terminal.signal(signal.SIGTSTP)
        terminal.wait_for_stop()
        terminal.hang_up()  # which also wakes what is stopped
        terminal.told("lost")
        assert terminal.wait_for_exit(reading=False) == 0


def test_a_suspended_console_gives_the_terminal_back_and_takes_it_again(terminal: Ticking) -> None:
    terminal.signal(signal.SIGTSTP)
    terminal.wait_for_stop()
    terminal.read_rest()
    assert not terminal.has_mode(ALTERNATE_SCREEN)
    assert terminal.line_settings() == terminal.settings
    shown = terminal.shown
    terminal.signal(signal.SIGCONT)
    terminal.wait_for(lambda: terminal.shown > shown)
    assert terminal.has_mode(ALTERNATE_SCREEN)


def test_a_stop_without_notice_leaves_one_listener_to_the_keys(terminal: Ticking) -> None:
    """SIGSTOP cannot be caught: the shell has had the terminal meanwhile, and the console sets it up anew."""
    terminal.signal(signal.SIGSTOP)
    terminal.wait_for_stop()
    terminal.read_rest()
    terminal.wiped = True  # what was being painted when it was stopped still comes
    terminal.wipe()
    terminal.signal(signal.SIGCONT)
    terminal.wait_for(lambda: terminal.shown > 0 and terminal.is_whole)
    terminal.wiped = False
    terminal.press("p")
    assert terminal.told("paused")["threads"] == ["MainThread", "textual-input"]
    terminal.press("q")
    assert terminal.wait_for_exit() == 0


def test_a_terminal_that_cannot_be_opened_by_its_name() -> None:
    with ticking("--nameless") as terminal:
        terminal.wait_for("tick 5 ")


def test_errors_sent_to_a_file_do_not_take_the_console_with_them(tmp_path: Path) -> None:
    errors = tmp_path / "errors.log"
    with ticking(stderr=errors) as terminal:
        terminal.wait_for("tick 5 ")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    assert errors.read_bytes() == b""


@pytest.mark.anyio
async def test_the_writer_loses_and_reorders_nothing() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    room: list[int] = []
    writer = TerminalWriter(slave, asyncio.get_running_loop(), lambda: room.append(writer.unsent), _not_lost)
    pieces = [f"{number:05d}".encode() * 50 for number in range(800)]
    for piece in pieces:
        writer.write(piece)
    writer.send()
    assert writer.unsent > FRAME
    expected = b"".join(pieces)
    received = bytearray()
    while len(received) < len(expected):
        await anyio.wait_readable(master)
        received += os.read(master, 65536)
    assert received == expected
    assert len(room) == 1
    assert room[0] <= FRAME
    writer.close()
    writer.write(b"too late")
    writer.send()
    assert writer.unsent == 0
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (TerminalApp._display, App._display),
        (TerminalApp.get_driver_class, App.get_driver_class),
        (TerminalDriver.write, LinuxDriver.write),
        (TerminalDriver.flush, LinuxDriver.flush),
        (TerminalDriver.close, LinuxDriver.close),
        (TerminalDriver.start_application_mode, LinuxDriver.start_application_mode),
        (TerminalDriver.run_input_thread, LinuxDriver.run_input_thread),
    ],
)
def test_what_is_replaced_is_still_there_in_textual(ours: Any, theirs: Any) -> None:
    assert ours is not theirs
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def _not_lost() -> None:
    raise AssertionError("the terminal is still there")
