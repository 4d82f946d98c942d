"""`FileDocument`: the lines of a log on disk, however long it is, and while it is being written."""

from __future__ import annotations

import os
import time as clock
from array import array
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.core.inputs import Now
from engine.ground.text import UNSTYLED, Style, carried
from engine.logs.times import LogTimes
from tui.logs.pattern import Pattern

BLOCK: Final = 32 * 1024
"""Bytes read and remembered at a time."""

BLOCKS_HELD: Final = 64
TIMES_HELD: Final = 512

RETURNS: Final = 128
"""Blocks (4 MB) of a progress bar, which ends no line, that count as one line."""

COUNTED_AT_ONCE: Final = 32
"""Blocks read at once to count their lines."""


class FileDocument:
    """Places are bytes: a line is known by where it begins.

    Nothing here depends on the length of the file but for counting its lines, which is done a little at a
    time (`count_more`). A line that is too long to be handled is cut where a block begins, by a rule that
    looks at the block before alone, so that all agree on it wherever they come from: it is cut if there is no
    end of a line in that block, and no carriage return, for of a progress bar the last state alone is shown.

    extent: up to which byte the log is shown, None for all of it.
    """

    block_size = BLOCK
    start = 0

    def __init__(
        self, path: Path, times: LogTimes | None = None, extent: Callable[[], int | None] = lambda: None
    ) -> None:
        self.path = path
        self._times = times
        self._extent = extent
        self._identity: tuple[int, int] | None = None
        self._size = 0
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._styles: OrderedDict[int, Style] = OrderedDict()
        self._styled_to = (0, UNSTYLED)
        """The place of which the style was asked for last, and that style."""
        self._times_held: dict[int, Now] = {}
        self._counts = array("Q", [0])
        """How many lines end before each block, as far as they are counted."""
        self.refresh()

    @property
    def end(self) -> int:
        return self._size

    def refresh(self) -> bool:
        try:
            status = self.path.stat()
        except OSError:
            size, identity = 0, self._identity
        else:
            size, identity = status.st_size, (status.st_dev, status.st_ino)
        extent = self._extent()
        if extent is not None:
            size = min(size, extent)
        if size == self._size and identity == self._identity:
            return False
        if size < self._size or identity != self._identity:
            self._held.clear()
            self._styles.clear()
            self._styled_to = (0, UNSTYLED)
            self._times_held.clear()
            del self._counts[1:]
        else:
            self._held.pop(self._size // BLOCK, None)  # it was not whole
        self._size, self._identity = size, identity
        return True

    # ── lines ───────────────────────────────────────────────────────────────────────────────────

    def first(self) -> int | None:
        return 0 if self._size else None

    def last(self) -> int | None:
        return self.line_at(self._size - 1) if self._size else None

    def line_at(self, position: int) -> int:
        block = position // BLOCK
        newline = self._block(block).rfind(b"\n", 0, position - block * BLOCK)
        while newline < 0:
            if not block or self._is_cut(block):
                return block * BLOCK
            block -= 1
            newline = self._block(block).rfind(b"\n")
        return block * BLOCK + newline + 1

    def after(self, place: int) -> int | None:
        end = self._end_of(place)
        return end if end < self._size else None

    def before(self, place: int) -> int | None:
        return self.line_at(place - 1) if place else None

    def read(self, place: int) -> bytes:
        end = self._end_of(place)
        if end - place > 2 * BLOCK:  # a progress bar
            place = end - BLOCK
        return self._bytes(place, end).removesuffix(b"\n")

    def style(self, place: int) -> Style:
        """As far as that can be told from no more than the two blocks before."""
        block = place // BLOCK
        style = self._styles.get(block)
        if style is None:
            style = self._styles[block] = carried(self._block(block - 1)) if block else UNSTYLED
            if len(self._styles) > BLOCKS_HELD:
                self._styles.popitem(last=False)
        known, carried_on = self._styled_to
        if known // BLOCK == block and known <= place:  # line after line is how it is asked for
            style = carried_on
        else:
            known = block * BLOCK
        style = carried(self._block(block)[known - block * BLOCK : place - block * BLOCK], style)
        self._styled_to = place, style
        return style

    def time(self, place: int) -> Now | None:
        if self._times is None:
            return None
        time = self._times_held.get(place)
        if time is None:
            if len(self._times_held) >= TIMES_HELD:
                self._times_held.clear()
            time = self._times_held[place] = self._times.at(place)
        return time

    def task(self, place: int) -> int | None:
        return None

    def _end_of(self, place: int) -> int:
        """One past the last byte of the line, its newline included."""
        block = place // BLOCK
        newline = self._block(block).find(b"\n", place - block * BLOCK)
        while newline < 0:
            block += 1
            if block * BLOCK >= self._size:
                return self._size
            if self._is_cut(block):
                return block * BLOCK
            newline = self._block(block).find(b"\n")
        return block * BLOCK + newline + 1

    def _is_cut(self, block: int) -> bool:
        """Whether a line that is too long is cut where the block begins."""
        before = self._block(block - 1)
        return b"\n" not in before and (b"\r" not in before or block % RETURNS == 0)

    # ── their numbers ───────────────────────────────────────────────────────────────────────────

    def number(self, place: int) -> int | None:
        block = place // BLOCK
        if block >= len(self._counts):
            return None
        return self._counts[block] + self._block(block).count(b"\n", 0, place - block * BLOCK) + 1

    def count(self) -> int | None:
        last = self.last()
        return 0 if last is None else self.number(last)

    @property
    def is_counted(self) -> bool:
        return len(self._counts) > self._size // BLOCK

    def count_more(self, seconds: float) -> bool:
        """Count lines for about that long; whether there are more to be counted."""
        until = clock.perf_counter() + seconds
        while (known := len(self._counts)) <= self._size // BLOCK:
            whole = min(COUNTED_AT_ONCE, self._size // BLOCK + 1 - known)
            data = self._read((known - 1) * BLOCK, whole * BLOCK)
            if len(data) < whole * BLOCK:  # shorter by now: the next refresh tells
                return False
            ended = self._counts[-1]
            for start in range(0, len(data), BLOCK):
                ended += data.count(b"\n", start, start + BLOCK)
                self._counts.append(ended)
            if clock.perf_counter() >= until:
                break
        return not self.is_counted

    # ── searching ───────────────────────────────────────────────────────────────────────────────

    def found_in(self, block: int, pattern: Pattern) -> list[int]:
        start, stop = block * BLOCK, min(self._size, (block + 1) * BLOCK)
        if start >= stop:
            return []
        first: int | None = start
        if start and not self._is_cut(block) and self._block(block - 1)[-1:] != b"\n":
            first = self.after(self.line_at(start))
        if first is None or first >= stop:
            return []
        last = self.line_at(stop - 1)
        end = self._end_of(last)
        if end - last > 2 * BLOCK:
            found = [] if first == last else self._found(first, last, pattern)
            return [*found, last] if pattern.is_in(self.read(last)) else found
        return self._found(first, end, pattern)

    def _found(self, start: int, end: int, pattern: Pattern) -> list[int]:
        data = self._bytes(start, end).removesuffix(b"\n")
        return [start + place for place in pattern.lines_in(data)]

    # ── the file ────────────────────────────────────────────────────────────────────────────────

    def _bytes(self, start: int, end: int) -> bytes:
        first, last = start // BLOCK, (end - 1) // BLOCK
        data = b"".join([self._block(block) for block in range(first, last + 1)])
        return data[start - first * BLOCK : end - first * BLOCK]

    def _block(self, block: int) -> bytes:
        data = self._held.get(block)
        if data is None:
            data = self._held[block] = self._read(block * BLOCK, min(BLOCK, self._size - block * BLOCK))
            if len(self._held) > BLOCKS_HELD:
                self._held.popitem(last=False)
        return data

    def _read(self, start: int, count: int) -> bytes:
        """Fewer bytes if the file is gone, or shorter by now."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.pread(descriptor, max(0, count), start)
        except OSError:
            return b""
        finally:
            os.close(descriptor)
