"""`Line`: one fixed row that repaints only the columns that changed."""

from __future__ import annotations

from collections.abc import Iterable

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.present import Look, look_of
from tui.widgets.lines import changed_columns


class Line(Widget, can_focus=False):
    """The base of header, gauge, alert and footer: subclasses say what stands in the row.

    `Static.update` would lay the whole screen out again; this never does.
    """

    DEFAULT_CSS = "Line { height: 1; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strip: Strip | None = None
        self._look: Look | None = None

    def draw(self, look: Look, width: int) -> Iterable[Segment]:
        """The row as it should be now, in at most `width` cells."""
        raise NotImplementedError

    def renew(self) -> None:
        """Draw the row and repaint what differs from the last time."""
        width = self.size.width
        if not width:
            return
        before, fresh = self._strip, self._fresh(width)
        if before is None:
            self.refresh()
            return
        spans = changed_columns(before, fresh)
        if spans:
            self.refresh(*(Region(start, 0, end - start, 1) for start, end in spans))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self._strip is None or self._strip.cell_length != width or look_of(self) is not self._look:
            return self._fresh(width)
        return self._strip

    def _fresh(self, width: int) -> Strip:
        self._look = look_of(self)
        ground = self.rich_style
        segments = Segment.apply_style(self.draw(self._look, width), ground)
        self._strip = Strip(segments).adjust_cell_length(width, ground)
        return self._strip

    def notify_style_update(self) -> None:
        """Another theme: every column is another."""
        super().notify_style_update()
        self._strip = None
