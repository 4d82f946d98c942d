"""A program in a pseudo-terminal, and somebody at it who reads all that it writes and presses keys."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds after which what is waited for will not come."""

# A session leader that opens a terminal gets it as its controlling terminal; the program takes its place.
_TAKE_TERMINAL = 'exec "$@" <>"$0" >&0 2>&0'


class Sitting:
    """bytes: what the program has written so far. began: when it was started, on the monotonic clock.

    Reads without drawing anything, so that the reader takes next to nothing of the processor.
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
    ) -> None:
        self.bytes = 0
        self._text = bytearray()
        self._came = threading.Condition()
        self._over = False
        self._master, slave = os.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["sh", "-c", _TAKE_TERMINAL, os.ttyname(slave), *argv],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
            cwd=cwd,
            pass_fds=inherit,
        )
        self._slave = slave
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # in good order, so that what it runs ends too
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        os.close(self._slave)
        self._reader.join()
        os.close(self._master)

    def wait_for(self, text: str) -> float:
        """Return how many seconds after the start the text came, in one piece. Raises RuntimeError."""
        sought = text.encode()
        with self._came:
            self._came.wait_for(lambda: sought in self._text or self._over, PATIENCE)
            if sought not in self._text:
                raise RuntimeError(f"{text!r} did not come; the last was {bytes(self._text[-300:])!r}")
        return time.monotonic() - self.began

    def press(self, keys: str) -> float:
        """Return when, on the monotonic clock."""
        moment = time.monotonic()
        os.write(self._master, keys.encode())
        return moment

    def wait_for_exit(self) -> float:
        """Return how many seconds after the start it ended."""
        self.process.wait(PATIENCE)
        return time.monotonic() - self.began

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # nobody has the terminal open any more
                data = b""
            if b"\x1b[?2026$p" in data:  # as terminals of today do, tell that synchronized output is known
                os.write(self._master, b"\x1b[?2026;2$y")
            with self._came:
                self.bytes += len(data)
                self._text += data
                del self._text[: -(1 << 20)]
                self._over = not data
                self._came.notify_all()
            if not data:
                return


def plandeck(*arguments: str) -> list[str]:
    """The command, as this interpreter runs it."""
    return [sys.executable, "-m", "tui", *arguments]


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process and all below it, but not what has ended, have used."""
    ticks, of = 0, {pid}
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    grown = True
    while grown:
        below = {child for child, (parent, _) in parents.items() if parent in of}
        grown = not below <= of
        of |= below
    ticks = sum(used for child, (_, used) in parents.items() if child in of)
    return ticks / os.sysconf("SC_CLK_TCK")
