"""`MergedDocument`: the lines of many logs in one, in the order of their times, as they come."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from engine.core.inputs import Now
from engine.ground.text import UNSTYLED, Style, carried
from engine.logs.times import LogTimes
from tui.logs.pattern import Pattern

LINES_A_BLOCK: Final = 1024
BLOCKS: Final = 48
"""Blocks held at most: what came before is in the logs of the tasks."""

BYTES: Final = 8 << 20
"""Bytes of lines held at most."""

LINE_BYTES: Final = 4 << 10
CHUNK: Final = 256 << 10
"""Bytes read of all logs at a time: more than a person can take in, and little enough for a frame."""

LEAST: Final = 16 << 10
"""Bytes read at a time of each log."""

PAST: Final = 64 << 10
"""Bytes read of a log that had ended when this was opened: its end."""


class Source(NamedTuple):
    """A log. task: whose it is. extent: up to which byte it is shown, None for all of it. is_live: whether
    more may come."""

    task: int
    path: Path
    times: LogTimes
    extent: Callable[[], int | None]
    is_live: Callable[[], bool]


class _Line(NamedTuple):
    data: bytes
    time: Now
    task: int
    style: Style


class MergedDocument:
    """Places are numbers of lines, from the first that was read.

    The newest lines are held in memory, a bounded amount. Logs that had ended already are read first, newest
    first, a little at a time (`work`), for as long as there is room; until then there are no lines.
    """

    block_size = LINES_A_BLOCK

    def __init__(self, past: Iterable[Source], live: Iterable[Source]) -> None:
        """past: logs that have ended, the newest first."""
        self._past = iter(past)
        self._streams = [_Stream(source) for source in live]
        self._early: list[_Line] | None = []
        self._early_size = 0
        self._lines: deque[_Line] = deque()
        self._dropped = 0
        self._size = 0

    def add(self, source: Source) -> None:
        """Show another log as well."""
        self._streams.append(_Stream(source))

    @property
    def is_ready(self) -> bool:
        """Whether what had been printed before is read."""
        return self._early is None

    def work(self, seconds: float) -> bool:
        """Read what had been printed before for about that long; whether there is more."""
        if self._early is None:
            return False
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            source = next(self._past, None)
            is_full = self._early_size > BYTES // 2 or len(self._early) > LINES_A_BLOCK * BLOCKS // 2
            if source is None or is_full:
                for stream in self._streams:
                    self._early += stream.read(PAST)
                early, self._early = self._early, None
                self._take(early)
                return False
            lines = _Stream(source).read(PAST)
            self._early_size += sum(len(line.data) for line in lines)
            self._early += lines
        return True

    def refresh(self) -> bool:
        if self._early is not None or not self._streams:
            return False
        share = max(LEAST, CHUNK // len(self._streams))
        fresh: list[_Line] = []
        for stream in list(self._streams):
            is_live = stream.source.is_live()  # asked first: what came before its end is read
            fresh += stream.read(share, is_last=not is_live)
            if not is_live:
                self._streams.remove(stream)
        self._take(fresh)
        return bool(fresh)

    def _take(self, lines: list[_Line]) -> None:
        lines.sort(key=lambda line: line.time.offset)  # stable: the lines of one log keep their order
        self._lines.extend(lines)
        self._size += sum(len(line.data) for line in lines)
        while len(self._lines) > LINES_A_BLOCK * BLOCKS or (
            self._size > BYTES and len(self._lines) > LINES_A_BLOCK
        ):
            for _ in range(LINES_A_BLOCK):
                self._size -= len(self._lines.popleft().data)
            self._dropped += LINES_A_BLOCK

    # ── lines ───────────────────────────────────────────────────────────────────────────────────

    @property
    def start(self) -> int:
        return self._dropped

    @property
    def end(self) -> int:
        return self._dropped + len(self._lines)

    def first(self) -> int | None:
        return self._dropped if self._lines else None

    def last(self) -> int | None:
        return self.end - 1 if self._lines else None

    def line_at(self, position: int) -> int:
        return position

    def after(self, place: int) -> int | None:
        return place + 1 if place + 1 < self.end else None

    def before(self, place: int) -> int | None:
        return place - 1 if place > self._dropped else None

    def read(self, place: int) -> bytes:
        return self._lines[place - self._dropped].data

    def style(self, place: int) -> Style:
        return self._lines[place - self._dropped].style

    def time(self, place: int) -> Now | None:
        return self._lines[place - self._dropped].time

    def task(self, place: int) -> int | None:
        return self._lines[place - self._dropped].task

    def number(self, place: int) -> int | None:
        return place - self._dropped + 1

    def count(self) -> int | None:
        return len(self._lines)

    def found_in(self, block: int, pattern: Pattern) -> list[int]:
        start = max(self._dropped, block * LINES_A_BLOCK)
        stop = min(self.end, (block + 1) * LINES_A_BLOCK)
        return [place for place in range(start, stop) if pattern.is_in(self.read(place))]


class _Stream:
    """Reads one log on, whole lines at a time."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._position = 0
        self._begun = b""  # a line that has not ended
        self._style = UNSTYLED

    def read(self, most: int, *, is_last: bool = True) -> list[_Line]:
        """The lines that are new; what is more than `most` bytes is passed over, and that is said.

        is_last: no more will come, and a line that has not ended never will.
        """
        data, skipped = self._read_new(most)
        lines: list[_Line] = []
        start = self._position - len(data) - len(self._begun)
        if skipped:
            cut = data.find(b"\n") + 1  # what was read begins within a line
            start += len(self._begun) + cut
            data, self._begun = data[cut:], b""
            words = f"{(skipped + cut) / 1e6:.1f} MB more stand in the log of the task".encode()
            lines.append(_Line(words, self.source.times.at(start), self.source.task, Style(dim=True)))
        *whole, self._begun = (self._begun + data).split(b"\n")
        if self._begun and (is_last or len(self._begun) > LINE_BYTES):
            whole.append(self._begun)
            self._begun = b""
        if not whole:
            return lines
        now, until = self.source.times.at(start), self.source.times.after(start)
        for line in whole:
            while until is not None and start >= until.place:
                now, until = until.time, self.source.times.after(until.place)
            lines.append(_Line(line[:LINE_BYTES], now, self.source.task, self._style))
            self._style = carried(line, self._style)
            start += len(line) + 1
        return lines

    def _read_new(self, most: int) -> tuple[bytes, int]:
        """What is new at the end, and how many bytes before it were passed over."""
        try:
            descriptor = os.open(self.source.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b"", 0
        try:
            size = os.fstat(descriptor).st_size
            extent = self.source.extent()
            size = size if extent is None else min(size, extent)
            skipped = max(0, size - most - self._position)
            data = os.pread(descriptor, max(0, size - self._position - skipped), self._position + skipped)
        except OSError:
            return b"", 0
        finally:
            os.close(descriptor)
        self._position += skipped + len(data)
        return data, skipped
