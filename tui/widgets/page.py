"""`Page`: a text to read, line by line, repainted only where it changed."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Scrolls with the keys that move in lists. Lines are cut at the right: who fills it wraps."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST)

    def __init__(self, lines: Sequence[TextLine] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[TextLine] = ()
        self.fill(lines)

    def fill(self, lines: Sequence[TextLine]) -> None:
        """Show these lines; the place in the text stays."""
        count = len(self._lines)
        self._lines = lines
        if len(lines) != count:
            self.line_count = len(lines)
            if self.is_mounted:
                self.redraw_all()
        else:
            self.redraw_lines(self.visible_lines)

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

    def action_open(self) -> None:
        self.action_cursor_down()
