"""`Page`: a text to read, line by line, repainted only where it changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.message import Message

from tui.keymap import Place, bindings
from tui.present import Look
from tui.widgets.lines import LinePane


class Span(NamedTuple):
    """A piece of a line. tone: the name of a style of `Look`. target: what the line leads to, None if
    nothing."""

    text: str
    tone: str = "text"
    target: object = None


TextLine = tuple[Span, ...]


class Page(LinePane[tuple[TextLine, bool]]):
    """Scrolls with the keys that move in lists.

    write: gives the text for a width in cells. Lines that are longer are cut. Of the lines that lead
    somewhere one is lit; `Followed` is posted when it is opened.
    """

    class Followed(Message):
        """A line that leads somewhere was opened."""

        def __init__(self, target: object) -> None:
            super().__init__()
            self.target = target

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST)

    def __init__(self, write: Callable[[int], Sequence[TextLine]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._write = write
        self._lines: Sequence[TextLine] = ()
        self._lit: object = None

    @property
    def targets(self) -> dict[object, int]:
        """What lines lead to, in their order, and the line of each."""
        return {
            span.target: line
            for line, spans in enumerate(self._lines)
            for span in spans
            if span.target is not None
        }

    def light_next(self, by: int) -> None:
        """Light another of the lines that lead somewhere, and bring it into view."""
        targets = self.targets
        if targets:
            order = list(targets)
            before = order.index(self._lit) if self._lit in targets else -1 if by > 0 else 0
            self._lit = order[(before + by) % len(order)]
            self.reveal(targets[self._lit])
            self.redraw_lines(self.visible_lines)

    def follow(self) -> None:
        """Open the lit line."""
        if self._lit in self.targets:
            self.post_message(self.Followed(self._lit))

    def on_click(self, event: events.Click) -> None:
        line = self.line_at(event)
        targets = {at: target for target, at in self.targets.items()}
        if line in targets:
            event.stop()
            self.post_message(self.Followed(targets[line]))

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

    def line_content(self, line: int) -> tuple[TextLine, bool]:
        spans = self._lines[line]
        return spans, self._lit is not None and any(span.target == self._lit for span in spans)

    def draw_line(
        self, line: int, content: tuple[TextLine, bool], look: Look
    ) -> tuple[Sequence[Segment], Style]:
        room = self.line_width
        segments: list[Segment] = []
        spans, is_lit = content
        for text, tone, _ in spans:
            if room <= 0:
                break
            segment = Segment(look.cut(text, room), getattr(look, tone))
            room -= segment.cell_length
            segments.append(segment)
        return segments, look.cursor if is_lit else look.text

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
