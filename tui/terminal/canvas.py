"""`Canvas`: what the terminal shows, so that of a frame only the difference is sent."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from tui.terminal.thrift import thrifty
from tui.widgets.lines import changed_columns

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
                sent.append(Control.move_to(x + start, y).segment.text)
                sent.append(strip.crop(start, end).render(console))
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
