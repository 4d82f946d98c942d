"""A real terminal for tests: a program in a pseudo-terminal, and a model of what is on the screen.

Nothing is read from the pseudo-terminal except inside the methods that say so. Between them the terminal is
one that has stopped reading, which is just what many of the tests are about.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyte

WITHIN: Final = 30.0
"""Seconds after which what was waited for will not come: the test fails."""

ALTERNATE_SCREEN: Final = 1049
MOUSE: Final = (1000, 1003, 1006)
BRACKETED_PASTE: Final = 2004
CURSOR: Final = 25
WRAP: Final = 7
SYNCHRONIZED: Final = 2026

# pyte has no notion of these two: an end of the kitty keyboard protocol and a question about a private mode.
_UNKNOWN = re.compile(rb"\x1b\[<u|\x1b\[\?(\d+)\$p")
_FRAME_END: Final = b"\x1b[?2026l"
_INCOMPLETE = re.compile(rb"\x1b(\[[?<]?\d*\$?)?$")

# A session leader that opens a terminal gets it as its controlling terminal; the program takes its place.
_TAKE_TERMINAL: Final = 'exec "$@" <>"$0" >&0 2>&0'


class _Screen(pyte.Screen):
    """pyte's screen, with the alternate screen that it lacks."""

    _normal: tuple[Any, Any] | None = None

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        super().set_mode(*modes, **kwargs)
        if kwargs.get("private") and ALTERNATE_SCREEN in modes and self._normal is None:
            self._normal = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        super().reset_mode(*modes, **kwargs)
        if kwargs.get("private") and ALTERNATE_SCREEN in modes and self._normal is not None:
            self.buffer, self.cursor = self._normal
            self._normal = None


class Terminal:
    """A terminal of `rows` x `columns` in which `argv` runs, with its own session.

    env: on top of the environment of the tests. inherit: file descriptors that the program keeps. stderr: a
    file that takes the program's errors in place of the terminal. Used in a `with`; at its end the terminal
    goes away, and the program, if it has not ended by then, is killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        inherit: Sequence[int] = (),
        stderr: Path | None = None,
    ) -> None:
        self.output = bytearray()
        """All that the program wrote and the terminal has read."""
        self._screen = _Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._unshown = b""
        self._master, slave = os.openpty()
        self._name = os.ttyname(slave)
        self.resize(columns=columns, rows=rows)
        self.settings: Final = termios.tcgetattr(slave)
        """The settings of the line before the program began, as `termios.tcgetattr` gives them."""
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            if name not in (env or {}):
                environment.pop(name, None)
        script = _TAKE_TERMINAL if stderr is None else f'{_TAKE_TERMINAL} 2>"$PLANDECK_TEST_STDERR"'
        environment["PLANDECK_TEST_STDERR"] = str(stderr)
        self.process = subprocess.Popen(
            ["sh", "-c", script, self._name, *argv],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
            cwd=cwd,
            pass_fds=inherit,
        )
        # Only once the program has the terminal may our own hold on it go: else it would seem to hang up.
        self._slave: int | None = slave

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def frame_shown(self) -> None:
        """Called when a frame is complete on the screen; for a test to look at every one."""

    # ── what is on the screen ───────────────────────────────────────────────────────────────────

    @property
    def lines(self) -> list[str]:
        screen = self._screen
        rows = (screen.buffer[y] for y in range(screen.lines))
        return ["".join(row[x].data for x in range(screen.columns)).rstrip() for row in rows]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def cells(self) -> list[list[tuple[Any, ...]]]:
        """Every cell with its colours and attributes, to compare one whole screen with another."""
        screen = self._screen
        return [[tuple(screen.buffer[y][x]) for x in range(screen.columns)] for y in range(screen.lines)]

    def has_mode(self, mode: int) -> bool:
        """Whether the private mode (DECSET) is set."""
        return mode << 5 in self._screen.mode

    # ── what the person at it does ──────────────────────────────────────────────────────────────

    def press(self, keys: str | bytes) -> None:
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, *, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(lines=rows, columns=columns)

    def wipe(self) -> None:
        """Forget what is on the screen, as if the program had never painted."""
        self._screen.erase_in_display(2)

    def stop_output(self) -> None:
        """XOFF: nothing that the program writes comes through until `start_output`."""
        self._flow(termios.TCOOFF)

    def start_output(self) -> None:
        """XON."""
        self._flow(termios.TCOON)

    def hang_up(self) -> None:
        """The terminal goes away."""
        for fd in (self._master, self._slave):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._master, self._slave = -1, None

    def line_settings(self) -> list[Any]:
        """The settings of the line now."""
        fd = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
        try:
            return termios.tcgetattr(fd)
        finally:
            os.close(fd)

    def _flow(self, action: int) -> None:
        fd = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
        try:
            termios.tcflow(fd, action)
        finally:
            os.close(fd)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────

    def wait_for(self, sought: str | Callable[[], bool]) -> None:
        """Read until `sought` is on the screen (or is true), and the frame that brought it is complete."""
        found = sought if callable(sought) else lambda: sought in self.text
        deadline = time.monotonic() + WITHIN
        while self.has_mode(SYNCHRONIZED) or not found():
            assert time.monotonic() < deadline, f"waited for {sought!r} in vain; on the screen:\n{self.text}"
            assert self.read(timeout=1.0) is not None, (
                f"ended without {sought!r}; on the screen:\n{self.text}"
            )

    def wait_for_exit(self, *, reading: bool = True) -> int:
        """Wait until the program has ended, reading all the while or not at all, and return its exit code."""
        if self.process.poll() is not None:
            return self.process.returncode
        deadline = time.monotonic() + WITHIN
        ended = os.pidfd_open(self.process.pid)
        try:
            while self.process.poll() is None:
                assert time.monotonic() < deadline, f"does not end; on the screen:\n{self.text}"
                select.select([ended, self._master] if reading else [ended], [], [], 1.0)
                if reading:
                    self.read(timeout=0)
        finally:
            os.close(ended)
        return self.process.returncode

    def wait_for_stop(self) -> None:
        """Wait until a stop signal has stopped the program."""
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"ended, status {status}"

    def read_rest(self) -> None:
        """Read what is left once the program writes no more."""
        while self.read(timeout=0):
            pass

    def read(self, *, timeout: float, size: int = 65536) -> int | None:
        """Read what is there, waiting `timeout` seconds for it, and show it up to the end of the next frame.

        Returns how much was read, None once nobody writes any more.
        """
        count: int | None = 0
        if _FRAME_END not in self._unshown and select.select([self._master], [], [], timeout)[0]:
            try:
                data = os.read(self._master, size)
            except OSError:  # EIO: nobody has the terminal open any more
                data, count = b"", None
            else:
                count = len(data)
            if self._slave is not None:
                os.close(self._slave)
                self._slave = None
            self.output += data
            self._unshown += data
        frame, end, rest = self._unshown.partition(_FRAME_END)
        cut = None if end else _INCOMPLETE.search(frame)
        if cut:
            frame, rest = frame[: cut.start()], cut[0]
        self._unshown = rest
        self._stream.feed(_UNKNOWN.sub(self._answer, frame) + end)
        if end:
            self.frame_shown()
        return len(frame + end) or count

    def _answer(self, question: re.Match[bytes]) -> bytes:
        """As terminals of today do, tell that synchronized output is known."""
        if question[1] == b"2026":
            with contextlib.suppress(OSError):
                os.write(self._master, b"\x1b[?2026;2$y")
        return b""

    def signal(self, number: signal.Signals) -> None:
        """Send the program itself a signal."""
        self.process.send_signal(number)
