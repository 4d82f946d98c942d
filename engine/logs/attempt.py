"""The log of an attempt: its output on disk, byte for byte, and what is known of it without reading it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.core.inputs import Now
from engine.ground.folders import make_folder
from engine.ground.text import one_line, plain
from engine.logs.times import TimesWriter
from engine.secrets import Mask, MaskedStream

LINE_LIMIT: Final = 4096
"""Bytes of the last line that are held in memory: its beginning."""

LAST_LINES: Final = 5
LINE_WIDTH: Final = 200
TAIL_BYTES: Final = 16_384
"""How many lines tell how a task went, of how many characters, and how far back they are looked for."""

_LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks whether the file is still there, and between two tries after a fault."""

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def attempt_log_path(run_dir: Path, index: int, number: int) -> Path:
    """Where the output of an attempt is kept. Made of numbers alone: a task's name is no file name."""
    return run_dir / "logs" / f"{index:06}-{number}.log"


class AttemptLog:
    """The `Output` of one attempt: keeps every byte on disk and remembers the last line.

    The file (0600, in folders of 0700) appears with the first byte. Nothing here raises for I/O: a
    disk that is full or a folder that is gone is noted in `fault`, and the run goes on.
    """

    def __init__(
        self,
        run_dir: Path,
        index: int,
        number: int,
        clock: Callable[[], Now],
        on_started: Callable[[str], None],
        mask: Mask | None = None,
        on_fault: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is made of run_dir, task index and attempt number before there is something to write.

        clock: the present of the run. on_started: called with where the attempt was taken up. mask: hides the
        secrets of the run; None if it has none. on_fault: called with `fault`, once.
        """
        self._place = (run_dir, index, number)
        self.size = 0
        """Bytes of output so far, kept or lost."""
        self.lost = 0
        """Bytes that could not be kept."""
        self.fault: str | None = None
        """The first thing that went wrong with the file, in one line."""
        self.last_life = 0.0
        """The offset of the last sign of life: a heartbeat, or a line unlike the one before it."""
        self._clock = clock
        self._on_started = on_started
        self._on_fault = on_fault
        self._masked = None if mask is None else MaskedStream(mask)
        self._written = 0
        self._goes_on = False
        self._lines: _Lines | None = None
        self._fd: int | None = None
        self._end = 0  # of the file
        self._look_at = 0.0
        self._times = TimesWriter()

    @property
    def path(self) -> Path:
        return attempt_log_path(*self._place)

    @property
    def last_line(self) -> str:
        """The last line that says anything, complete or not, without control characters."""
        return plain(self._lines.last) if self._lines is not None else ""

    def started(self, where: str = "") -> None:
        if not self._goes_on:
            self._times.begin(self._clock())
        self._on_started(where)

    def heartbeat(self) -> None:
        self.last_life = self._clock().offset

    def write(self, data: bytes) -> None:
        """The one door through which output passes: nothing behind it sees a secret."""
        self._write(data, self._clock())

    def outlet(self) -> Callable[[bytes], None]:
        """The same door from another thread, for a moment: the clock of an event loop can be read in its own
        thread alone, so time is counted on from the present."""
        (offset, utc), began = self._clock(), time.monotonic()

        def write(data: bytes) -> None:
            passed = time.monotonic() - began
            self._write(data, Now(offset + passed, utc + passed))

        return write

    def _write(self, data: bytes, now: Now) -> None:
        self._written += len(data)
        if self._masked is None or (data := self._masked.feed(data)):
            self._take(data, now)

    def bookmark(self) -> tuple[int, int]:
        """How many of the bytes written are in the file, as far as that could be, and how long it is."""
        held = 0 if self._masked is None else self._masked.held
        return self._written - held, self._end

    def go_back_to(self, taken: int, kept: int) -> None:
        """Go on from a bookmark of an earlier log of the same attempt: what came after will come again."""
        self._written, self.size, self._goes_on = taken, kept, kept > 0
        self._times.cut(self.path, kept)
        try:
            os.truncate(self.path, kept)
        except FileNotFoundError:
            return
        except OSError as error:
            self._note(f"cannot write {self.path}: {error.strerror}")

    def close(self) -> None:
        """No more will be written."""
        if self._masked is not None and (rest := self._masked.finish()):
            self._take(rest, self._clock())
        self._close()

    def _take(self, data: bytes, now: Now) -> None:
        if self._lines is None:
            self._lines = _Lines()
        if self._lines.feed(data):
            self.last_life = now.offset
        self.size += len(data)
        self._keep(data, now)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _keep(self, data: bytes, now: Now) -> None:
        left = memoryview(data)
        try:
            if now.offset >= self._look_at:
                self._look_at = now.offset + _LOOK_INTERVAL
                self._look()
            if self._fd is not None:
                if now.offset >= self._times.due:
                    self._times.mark(self.path, self._end, now)
                while left:
                    written = os.write(self._fd, left)
                    left = left[written:]
                    self._end += written
        except OSError as error:
            self._look_at = now.offset + _LOOK_INTERVAL
            self._close()
            self._note(f"cannot write {self.path}: {error.strerror}")
        self.lost += len(left)

    def _note(self, fault: str) -> None:
        if self.fault is None:
            self.fault = fault
            if self._on_fault is not None:
                self._on_fault(fault)

    def _look(self) -> None:
        """Open the file, also when it was deleted while it was being written."""
        if self._fd is not None:
            if os.fstat(self._fd).st_nlink:
                return
            self._close()
            self._note(f"{self.path} was deleted: its beginning is lost")
            self._times.forget(self.path)
        try:
            self._fd = os.open(self.path, _FLAGS, 0o600)
        except FileNotFoundError:
            make_folder(self.path.parent)
            self._fd = os.open(self.path, _FLAGS, 0o600)
        self._end = os.lseek(self._fd, 0, os.SEEK_END)


class LogReader:
    """Reads a log while it is being written. One that is missing or unreadable is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._identity: tuple[int, int] | None = None

    def tail(self, max_bytes: int, end: int | None = None) -> bytes:
        """The last bytes, or the last of the first `end`; the first line among them may be cut."""
        try:
            with self.path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                end = size if end is None else min(end, size)
                start = log.seek(max(0, end - max_bytes))
                return log.read(end - start)
        except OSError:
            return b""

    def read_new(self, max_bytes: int = 1 << 20) -> bytes:
        """The next bytes since the last call, from the beginning if the file is another one by now."""
        try:
            with self.path.open("rb", buffering=0) as log:
                self._recognize(os.fstat(log.fileno()))
                log.seek(self._position)
                data = log.read(max_bytes)
        except OSError:
            return b""
        self._position += len(data)
        return data

    def skip(self, keep: int) -> int:
        """Pass over what is new but for its last `keep` bytes; return how many bytes that were.

        What cannot be shown in time need not be read: so a reader keeps up with any writer.
        """
        try:
            status = self.path.stat()
        except OSError:
            return 0
        self._recognize(status)
        skipped = max(0, status.st_size - keep - self._position)
        self._position += skipped
        return skipped

    def _recognize(self, status: os.stat_result) -> None:
        identity = (status.st_dev, status.st_ino)
        if identity != self._identity or status.st_size < self._position:
            self._identity, self._position = identity, 0


def last_lines(path: Path, count: int = LAST_LINES) -> list[str]:
    """The last lines of a log that say anything, made safe to print; empty if there is no log."""
    tail = LogReader(path).tail(TAIL_BYTES)
    # a progress bar writes over its line: what stood there last is what a terminal would show
    rows = (row.rstrip(b"\r").rpartition(b"\r")[2] for row in tail.split(b"\n"))
    shown = (one_line(row.decode("utf-8", "replace"), LINE_WIDTH) for row in rows)
    return [line for line in shown if line.strip()][-count:]


class _Lines:
    """Knows the last line of a stream, and whether a chunk of it said anything new.

    Works by the chunk, never by the line: what costs time is a comparison of memory. Carriage
    returns end a line as newlines do, so that a progress bar is as alive as what it shows.
    """

    __slots__ = ("_after_return", "_cut", "_partial", "_repeated", "_said")

    def __init__(self) -> None:
        self._said = b""  # the last complete line that is not blank
        self._repeated: bytes | None = None  # the last complete line; None if it cannot be compared with
        self._partial = b""
        self._cut = False  # whether the partial line is longer than what is held of it
        self._after_return = False

    @property
    def last(self) -> bytes:
        return self._partial if self._partial.strip() else self._said

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; whether a line among them differs from the one before it."""
        if self._after_return or b"\r" in data:
            data = self._without_returns(data)
        end = data.rfind(b"\n") + 1
        if not end:
            return self._extend(data)
        new = self._complete(data, end)
        self._partial, self._cut = b"", False
        return self._extend(data[end:]) or new

    def _without_returns(self, data: bytes) -> bytes:
        if self._after_return:
            data = data.removeprefix(b"\n")
        self._after_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _complete(self, data: bytes, end: int) -> bool:
        """Take the lines that are complete in data[:end]."""
        start = data.rfind(b"\n", 0, end - 1) + 1
        first = data[
            : min(end, LINE_LIMIT + 1)
        ]  # no more than is needed: a copy of it all costs as much as to read it
        last = (
            self._partial + first.removesuffix(b"\n")
            if not start
            else data[start : min(end - 1, start + LINE_LIMIT + 1)]
        )
        if last.strip():
            self._said = last[:LINE_LIMIT]
        elif said := (self._partial + data[:end]).rstrip():
            self._said = said[said.rfind(b"\n") + 1 :][:LINE_LIMIT]
        repeated = self._repeated
        cut = (self._cut and not start) or len(last) > LINE_LIMIT
        self._repeated = None if cut else last
        if repeated is None or self._cut:
            return True
        unit = repeated + b"\n"
        if not (self._partial + first).startswith(unit):
            return True
        head = self._partial + data[:end]
        return head != unit * (len(head) // len(unit))

    def _extend(self, data: bytes) -> bool:
        """Take the beginning, or more, of a line that is not complete."""
        if not data:
            return False
        if not self._cut:
            line = self._partial + data[: LINE_LIMIT + 1]
            self._partial, self._cut = line[:LINE_LIMIT], len(line) > LINE_LIMIT
        return self._cut or self._repeated is None or not self._repeated.startswith(self._partial)
