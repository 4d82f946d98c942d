"""`Axis`: which stretch of time a row of cells stands for, and how that is zoomed and moved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from engine.view.timing import clock, short

SCALES: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0,
    1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0,
)  # fmt: skip
"""Seconds that a cell may stand for. Only these, so that a run that grows is drawn anew now and then only."""

LABEL_CELLS: Final = 9
"""Cells between two times on the axis, at least."""

STILL_SPAN: Final = 10.0
"""Seconds that the whole of a young run is drawn for: it grows."""

AHEAD: Final = 0.25
"""The part of the width that is free for what comes when the present has reached the right edge."""


class Axis:
    """It shows the whole run, or a part that goes along with the present, or one that stands still.

    Times are offsets. origin: what is called 0:00. until: up to when something has happened. start, scale:
    the time at the left edge and the seconds a cell, as of the last `settle`.
    """

    def __init__(self) -> None:
        self.origin = 0.0
        self.until = 0.0
        self.cells = 1
        self.start = 0.0
        self.scale = SCALES[0]
        self._is_over = False
        self._chosen: float | None = None  # seconds a cell; None to show the whole run
        self._left: float | None = None  # the time at the left edge; None to go along with the present

    def settle(self, origin: float, until: float, cells: int, *, is_over: bool) -> None:
        """The run goes on, or the width has changed. is_over: nothing more is to come."""
        self.origin, self.until, self.cells, self._is_over = origin, until, max(1, cells), is_over
        self._place()

    def _place(self) -> None:
        chosen, cells = self._chosen, self.cells
        if chosen is None:
            span = self.until - self.origin
            if not self._is_over:
                span = max(span, STILL_SPAN)
            self.start = self.origin
            self.scale = next((each for each in SCALES if span < each * cells), SCALES[-1])
        elif self._left is not None:
            self.start, self.scale = self._left, chosen
        elif self.scale != chosen or not self.start <= self.until < self.start + chosen * cells:
            # in steps and not at every tick: what moves all the time cannot be read, and costs
            left = self.until - chosen * round(cells * (1 - AHEAD))
            self.start = self.origin + chosen * max(0, round((left - self.origin) / chosen))
            self.scale = chosen

    # ── zoom and pan ────────────────────────────────────────────────────────────────────────────

    def show_all(self) -> None:
        """The whole run."""
        self._chosen = self._left = None
        self._place()

    def zoom(self, by: int) -> None:
        """To the next scale: -1 for less time in the same width, 1 for more. What was in the middle stays
        there, unless the present is in view, which then stays so."""
        place = bisect_left(SCALES, self.scale) + by
        if not 0 <= place < len(SCALES):
            return
        fresh = SCALES[place]
        if by > 0 and self.until - self.origin < fresh * self.cells:
            self.show_all()
            return
        if not self.start <= self.until < self.start + self.scale * self.cells:
            middle = self.start + self.scale * self.cells / 2
            self._left = max(self.origin, middle - fresh * self.cells / 2)
        self._chosen = fresh
        self._place()

    def pan(self, by: int) -> None:
        """A quarter of the width to the left (-1) or right (1); at the present, go along with it again."""
        self._chosen = self.scale
        left = max(self.origin, self.start + by * self.scale * max(1, self.cells // 4))
        is_at_present = by > 0 and left + self.scale * self.cells > self.until
        self._left = None if is_at_present else left
        self._place()

    # ── what it says ────────────────────────────────────────────────────────────────────────────

    def cell(self, moment: float) -> int:
        """In which cell a time lies; it may be one that is not shown."""
        return int((moment - self.start) // self.scale)

    @property
    def now_cell(self) -> int | None:
        """The cell of the present, None if it is not shown or there is none any more."""
        at = self.cell(self.until)
        return at if not self._is_over and 0 <= at < self.cells else None

    def labels(self) -> Iterator[tuple[int, str]]:
        """The times on the axis that are shown whole, each with the cell where it begins."""
        scale, first = self.scale, self.start - self.origin
        step = next((each for each in SCALES if each >= scale * LABEL_CELLS), SCALES[-1])
        tick = -(-first // step) * step
        while (at := round((tick - first) / scale)) < self.cells:
            text = _moment(tick, scale)
            if at + len(text) <= self.cells:
                yield at, text
            tick += step

    def words(self) -> str:
        """ "2s a cell · whole run"."""
        each = short(self.scale) if self.scale >= 1 else f"{self.scale:g}s"
        if self._chosen is None:
            what = "whole run"
        elif self._left is None:
            what = "following"
        else:
            what = f"from {_moment(self.start - self.origin, self.scale)}"
        return f"{each} a cell · {what}"


def _moment(seconds: float, scale: float) -> str:
    """A time, as exact as the cells."""
    if scale >= 1:
        return clock(seconds)
    minutes, rest = divmod(max(0.0, seconds), 60)
    digits = 1 if scale >= 0.1 else 2
    return f"{int(minutes)}:{rest:0{3 + digits}.{digits}f}"
