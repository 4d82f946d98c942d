"""`Page`: a text to read, line by line, repainted only where it changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType

from tui.keymap import Place, bindings
from tui.present import Look
from tui.widgets.lines import LinePane


class Span(NamedTuple):
    """A piece of a line. tone: the name of a style of `Look`."""

    text: str
    tone: str = "text"


TextLine = tuple[Span, ...]


class Page(LinePane[TextLine]):
    """Scrolls with the keys that move in lists.

    write: gives the text for a width in cells. Lines that are longer are cut.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST)

    def __init__(self, write: Callable[[int], Sequence[TextLine]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._write = write
        self._lines: Sequence[TextLine] = ()

    def rewrite(self) -> None:
        """Ask for the text anew and repaint what changed; the place in it stays."""
        count = len(self._lines)
        self._lines = self._write(self.line_width)
        if len(self._lines) == count:
            self.redraw_lines(self.visible_lines)
        else:
            self.line_count = len(self._lines)
            self.redraw_all()

    def layout_lines(self) -> None:
        self.rewrite()

    def line_content(self, line: int) -> TextLine:
        return self._lines[line]

    def draw_line(self, line: int, content: TextLine, look: Look) -> tuple[Sequence[Segment], Style]:
        room = self.line_width
        segments: list[Segment] = []
        for text, tone in content:
            if room <= 0:
                break
            segment = Segment(look.cut(text, room), getattr(look, tone))
            room -= segment.cell_length
            segments.append(segment)
        return segments, look.text

    def action_cursor_up(self) -> None:
        self.scroll_to_line(self.top - 1)

    def action_cursor_down(self) -> None:
        self.scroll_to_line(self.top + 1)

    def action_cursor_top(self) -> None:
        self.scroll_to_line(0)

    def action_cursor_bottom(self) -> None:
        self.scroll_to_line(len(self._lines))

    def action_cursor_half_up(self) -> None:
        self.scroll_to_line(self.top - self.page // 2)

    def action_cursor_half_down(self) -> None:
        self.scroll_to_line(self.top + self.page // 2)

    def action_cursor_page_up(self) -> None:
        self.scroll_to_line(self.top - self.page)

    def action_cursor_page_down(self) -> None:
        self.scroll_to_line(self.top + self.page)
