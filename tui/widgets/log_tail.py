"""`LogTail`: the last lines of a log that may be growing faster than anybody can read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.logs import LogReader

LINES: Final = 5_000
BYTES: Final = 1 << 20
LINE_BYTES: Final = 16 << 10
CHUNK: Final = 256 << 10
"""Bytes read at a time: more than a person can take in, and little enough for a frame."""

Line = bytes | int
"""A line without its newline; or a gap: how many bytes were passed over."""


class LogTail:
    """At most `LINES` lines and `BYTES` bytes of a file, the newest.

    first: how many lines came before `lines[0]`, those dropped included, so that first + i stays the
    number of a line. Of a line longer than `LINE_BYTES` the beginning is kept, or of one that is
    written over (a progress bar) the end.
    """

    def __init__(self, path: Path) -> None:
        self._reader = LogReader(path)
        self.lines: list[Line] = []
        self.first = 0
        self._size = 0
        self._is_open = False  # the last line may go on

    def read(self, *, drop: bool) -> bool:
        """Take up to `CHUNK` new bytes; return whether there were any.

        drop: old lines, and what is older than the chunk, give way to the new. Without it what is there
        stays, and reading stops when there is no room for more.
        """
        skipped = 0
        if drop:
            skipped = self._reader.skip(CHUNK)
        elif self._is_full:
            return False
        data = self._reader.read_new(CHUNK)
        if not data:
            return False
        if skipped:
            cut = data.find(b"\n") + 1  # the chunk begins within a line
            self._pass_over(skipped + cut)
            data = data[cut:]
        self._append(data)
        if drop:
            self._shorten()
        return True

    @property
    def _is_full(self) -> bool:
        return len(self.lines) >= LINES or self._size >= BYTES

    def _pass_over(self, count: int) -> None:
        if self.lines and isinstance(self.lines[-1], int):
            self.lines[-1] += count
        else:
            self.lines.append(count)
        self._is_open = False

    def _append(self, data: bytes) -> None:
        head, *rest = data.split(b"\n")
        last = self.lines[-1] if self._is_open else b""
        if self._is_open and isinstance(last, bytes):
            self._size += len(head)
            self.lines[-1] = _bounded(last + head)
        else:
            rest.insert(0, head)
        self._is_open = True
        if rest:
            self._is_open = rest[-1] != b""
            if not self._is_open:
                rest.pop()
            self.lines.extend(map(_bounded, rest))
            self._size += len(data)

    def _shorten(self) -> None:
        lines = self.lines
        excess = max(0, len(lines) - LINES)
        if excess or self._size > BYTES:
            self._size = sum(len(line) for line in lines[excess:] if isinstance(line, bytes))
            while self._size > BYTES and excess < len(lines) - 1:
                line = lines[excess]
                self._size -= len(line) if isinstance(line, bytes) else 0
                excess += 1
            del lines[:excess]
            self.first += excess


def _bounded(line: bytes) -> bytes:
    if len(line) <= LINE_BYTES:
        return line
    return line[-LINE_BYTES:] if b"\r" in line else line[:LINE_BYTES]
