"""`Canvas`: what the terminal shows, so that of a frame only the difference is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.control import Control
from rich.segment import Segment
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from tui.terminal.thrift import thrifty
from tui.widgets.lines import changed_columns

# Latin, Greek, Cyrillic, punctuation, arrows, boxes, blocks, shapes and our own signs; then those that all
# terminals draw two cells wide. A sign that is not among them may belong to the letter before.
_SURE: Final = (
    "\x00-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2190-\u22ff\u2500-\u25fc\u2713-\u2718"
    "\u3000-\u3029\u3041-\u3096\u309b-\u33ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60"
)
_UNSURE: Final = re.compile(f"[{_SURE}]?[^{_SURE}]+")

_Piece = tuple[int, int, Strip]
"""Row, column, and what is to stand there."""


class Canvas:
    """Remembers what was sent. Textual (8.2) paints the whole screen whenever one comes or goes, and several
    times over while it opens."""

    def __init__(self) -> None:
        self._rows: dict[int, Strip] = {}
        self._size = (0, 0)

    def forget(self) -> None:
        """What is on the screen is not known any more."""
        self._rows.clear()

    def on(self, update: CompositorUpdate, size: tuple[int, int]) -> CompositorUpdate:
        """The same update, which sends only what differs. size: columns and rows of the screen."""
        return _Difference(self, update, size)

    def paint(self, update: CompositorUpdate, size: tuple[int, int], console: Console) -> str:
        """What is to be sent for the update; from then on it is taken to be on the screen."""
        if size != self._size:
            self._size = size
            self.forget()
        if isinstance(update, LayoutUpdate):
            pieces = _lines(update)
        elif isinstance(update, ChopsUpdate):
            pieces = _spans(update)
        else:
            self.forget()
            return update.render_segments(console)
        sent: list[str] = []
        for y, x, strip in pieces:
            for start, end in self._changes(y, x, strip.simplify()):
                for at, part in _anchored(strip.crop(start, end), x + start):
                    sent.append(Control.move_to(at, y).segment.text)
                    sent.append(part.render(console))
        return thrifty("".join(sent))

    def _changes(self, y: int, x: int, strip: Strip) -> list[tuple[int, int]]:
        """The columns of the piece, counted from its own start, that differ from what is there."""
        width, row = strip.cell_length, self._rows.get(y)
        if x == 0 and width == self._size[0]:
            self._rows[y] = strip
            before = row
        elif row is None:
            return [(0, width)]
        else:
            before = row.crop(x, x + width).simplify()
            whole = Strip.join([row.crop(0, x), strip, row.crop(x + width, row.cell_length)])
            self._rows[y] = whole.simplify()
        if before is None or before.cell_length != width:
            return [(0, width)]
        return changed_columns(before, strip)


def _anchored(strip: Strip, x: int) -> Iterator[tuple[int, Strip]]:
    """The strip in parts, each with its column. x: the column of its first cell.

    Terminals do not agree on how wide some signs are. So those are written onto blanks, and what follows is
    given its column: a terminal that sees them otherwise than Rich does shows them badly, and nothing else.
    """
    if not _UNSURE.search(strip.text):
        yield x, strip
        return
    sure: list[Segment] = []
    for text, style, _ in strip:
        at = 0
        for found in _UNSURE.finditer(text):
            if found.start() > at:
                sure.append(Segment(text[at : found.start()], style))
            before, signs = Strip(sure), Strip([Segment(found[0], style)])
            if before:
                yield x, before
                x += before.cell_length
            yield x, Strip([Segment(" " * signs.cell_length, style)])
            yield x, signs
            x += signs.cell_length
            sure, at = [], found.end()
        if at < len(text):
            sure.append(Segment(text[at:], style))
    if sure:
        yield x, Strip(sure)


class _Difference(CompositorUpdate):
    def __init__(self, canvas: Canvas, update: CompositorUpdate, size: tuple[int, int]) -> None:
        self._canvas = canvas
        self._update = update
        self._size = size

    def render_segments(self, console: Console) -> str:
        return self._canvas.paint(self._update, self._size, console)


def _lines(update: LayoutUpdate) -> Iterator[_Piece]:
    for y, strips in enumerate(update.strips, update.region.y):
        yield y, update.region.x, Strip.join(strips)


def _spans(update: ChopsUpdate) -> Iterator[_Piece]:
    """Textual sends every changed span from the left edge of its widget on: for a clock at the end of a row
    that is the whole row. This starts where the change starts."""
    for y, start, stop in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < stop and end > start:
                left, right = max(x, start), min(end, stop)
                if left < right:
                    yield y, left, strip.crop(left - x, right - x)
