"""`LogView`: part of a log on the screen: its rows, and how one moves in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.scrollbar import ScrollDown, ScrollTo, ScrollUp
from textual.strip import Strip
from textual.widget import Widget

from engine.ground.text import Style as OutputStyle
from engine.handle import RunHandle
from engine.view.run_view import RunView
from tui.logs.document import Document
from tui.logs.pattern import Pattern
from tui.logs.reading import Reading
from tui.present import PLAIN_LOOK, Look
from tui.widgets.lines import LinePane
from tui.widgets.log_rows import LogRows, Row
from tui.widgets.log_selection import Selection, Spot
from tui.widgets.output import draw_output, row_cuts

SIDEWAYS: Final = 16
"""Columns that a step to the side goes."""

PARTS: Final = 1 << 17
"""More than the rows that any line can be wrapped into."""

BAR: Final = 10_000
"""Rows that the scrollbar counts at most: it shows parts of the log, not lines."""

LONG: Final = 0.02
"""Seconds of drawing after which the view rests."""

REST: Final = 3
"""How many times as long as drawing took the view then rests, so that keys have their turn."""


class Piece(NamedTuple):
    """What a row shows. lead: what stands before the line, with the name of its style. part: which row of it,
    -1 where lines are left out. selected: the cells of the line that are."""

    lead: tuple[tuple[str, str], ...]
    line: bytes
    style: OutputStyle
    part: int
    column: int
    pattern: Pattern | None
    selected: tuple[int, int] | None
    is_context: bool


class LogView(LinePane[Piece]):
    """Rows of what `reading` reads, found from the one at the top: a frame costs what is visible, whatever
    the length of the log. While it follows, the newest line is in view; scrolling up stops that, the end of
    the log resumes it. Of what programs send to a terminal only colour and style survive.
    """

    def __init__(
        self,
        run: RunHandle,
        view: RunView,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.reading = Reading(run, view)
        self.selection: Selection | None = None
        self.rows_in_view: list[Row] = []
        self._window = LogRows(self.reading.document, self._parts)
        self._follow = True
        self._wrap = False
        self._column = 0
        self.rests_until = 0.0
        """When, on the monotonic clock, there is time for another drawing."""

    def reopen(self) -> None:
        """Another log is shown: its end."""
        self._window = LogRows(self.reading.document, self._parts)
        self._follow = True
        self._column = 0
        self.selection = None
        self._drawn.clear()  # other lines have the same places now
        self.settle()

    # ── rows ────────────────────────────────────────────────────────────────────────────────────

    @property
    def top(self) -> int:
        """Rows are counted from the top of the pane: there may be too many to count them from the start."""
        return 0

    @property
    def document(self) -> Document:
        return self.reading.document

    def settle(self) -> None:
        """The lines, or how they are laid out, have changed."""
        began = time.thread_time()
        page = self.page
        window = self._window
        if window.document is not self.reading.document:  # filtered, or not any more
            window.document = self.reading.document
            if window.top is not None:
                window.top = Row(window.document.line_at(window.top.place), 0)
                window.keep_within(page)
            self._drawn.clear()
        if window.top is not None and not self.document.start <= window.top.place < self.document.end:
            window.to_start()
        if self._follow:
            window.to_end(page)
        self.rows_in_view = window.fill(page)
        self._line_count = len(self.rows_in_view)
        self._show_position()
        self.redraw_changed()
        took = time.thread_time() - began
        if took > LONG:
            self.rests_until = time.monotonic() + REST * took

    def _show_position(self) -> None:
        """Move the scrollbar to where in the log the rows stand."""
        rows, document, page = self.rows_in_view, self.document, self.page
        height = len(rows)
        position = 0
        if rows and not (rows[0] == self._first_row() and self._window.is_at_end(page)):
            span = max(1, document.end - document.start)
            shown = max(1, (document.after(rows[-1].place) or document.end) - rows[0].place)
            height = max(page + 2, min(BAR, page * span // shown))
            ahead = span - shown
            if self._window.is_at_end(page):
                position = height - page
            elif ahead > 0:
                position = max(1, min(height - page - 1, (height - page) * rows[0].place // span))
            if rows[0] == self._first_row():
                position = 0
        size = Size(1, height)
        self.set_reactive(Widget.virtual_size, size)
        self._scroll_update(size)
        self.set_reactive(Widget.scroll_y, float(position))
        self.set_reactive(Widget.scroll_target_y, float(position))
        self.vertical_scrollbar.position = position

    def _first_row(self) -> Row | None:
        first = self.document.first()
        return None if first is None else Row(first, self._parts(first).start)

    def _parts(self, place: int) -> range:
        start = -1 if self.reading.search.is_break(place) else 0
        if not self._wrap:
            return range(start, 1)
        line = self.document.read(place)
        if len(line) <= self._text_width and b"\t" not in line:
            return range(start, 1)  # no character takes more cells than bytes, but for the tab
        return range(start, len(self._cuts(place, line)) - 1)

    def _cuts(self, place: int, line: bytes) -> Sequence[int]:
        return row_cuts(self._strip(place, line).text, self._text_width)

    def _strip(self, place: int, line: bytes) -> Strip:
        look = self._look or PLAIN_LOOK
        cells = None if self._wrap else self._column + self._text_width + 1
        return draw_output(line, self.document.style(place), self.reading.search.pattern, look, cells)

    @property
    def _text_width(self) -> int:
        return max(2, self.line_width - self._lead_width)

    @property
    def _lead_width(self) -> int:
        style = self.reading.time_style
        return self.reading.name_width + (style.width if style is not None else 0)

    def line_key(self, line: int) -> int:
        place, part = self.rows_in_view[line]
        return place * PARTS + part + 1

    def line_content(self, line: int) -> Piece:
        place, part = self.rows_in_view[line]
        data = self.document.read(place)
        selected = None
        if self.selection is not None and part >= 0:
            selected = self.selection.span(place, max(1, self._strip(place, data).cell_length))
        return Piece(
            lead=self.reading.lead(place) if part <= 0 else (),
            line=data,
            style=self.document.style(place),
            part=part,
            column=self._column,
            pattern=self.reading.search.pattern,
            selected=selected,
            is_context=self.reading.search.is_context(place),
        )

    def draw_line(self, line: int, content: Piece, look: Look) -> tuple[Sequence[Segment], Style]:
        width = self._text_width
        if content.part < 0:
            return [Segment("--" if look.plain else "⋯", look.muted)], look.text
        cells = None if self._wrap else content.column + width + 1
        strip = draw_output(content.line, content.style, content.pattern, look, cells)
        if content.selected is not None:
            strip = _lit(strip, *content.selected, look)
        lead = [Segment(words, getattr(look, tone)) for words, tone in content.lead]
        if not lead and self._lead_width:
            lead = [Segment(" " * self._lead_width)]
        under = look.muted if content.is_context else look.text
        if self._wrap:
            cuts = row_cuts(strip.text, width)
            return [*lead, *strip.crop(cuts[content.part], cuts[content.part + 1])], under
        start, end = content.column, content.column + width
        if strip.cell_length > end:
            return [*lead, *strip.crop(start, end - 1), Segment(look.ellipsis, look.muted)], under
        return [*lead, *strip.crop(start, end)], under

    def layout_lines(self) -> None:
        top = self._window.top
        if top is not None:
            self._window.top = Row(top.place, 0)
            self._window.keep_within(self.page)
        self._drawn.clear()
        self.settle()

    # ── following and scrolling ─────────────────────────────────────────────────────────────────

    @property
    def follow(self) -> bool:
        """Whether the newest line is kept in view."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        self._follow = follow
        if follow:
            self.reading.refresh()
            self.settle()

    @property
    def wrap(self) -> bool:
        """Whether long lines go on in the next row; else they are cut at the edge of the pane."""
        return self._wrap

    @wrap.setter
    def wrap(self, wrap: bool) -> None:
        self._wrap = wrap
        self._column = 0
        self.layout_lines()

    def move(self, rows: int) -> None:
        """Scroll so many rows down, or up if negative; with lines selected, take the selection there."""
        if self.selection is not None and self.selection.by_line:
            self.extend(rows)
            return
        self._window.move(rows, self.page)
        self._follow = rows > 0 and self._window.is_at_end(self.page)
        self.settle()

    def extend(self, lines: int) -> None:
        """Take the end of what is selected so many lines down, or up if negative."""
        if self.selection is None:
            return
        place = self.selection.head.place
        for _ in range(abs(lines)):
            further = self.document.after(place) if lines > 0 else self.document.before(place)
            if further is None:
                break
            place = further
        self.go_to(place)

    def go_to(self, place: int) -> None:
        """Have that line in view, which is not followed any more."""
        self._follow = False
        if self.selection is not None and self.selection.by_line:
            self.selection = self.selection._replace(head=Spot(place, 0))
        if Row(place, 0) not in self.rows_in_view:
            self._window.to_place(place, self.page // 3)
            self._window.keep_within(self.page)
        self.settle()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Says only where the scrollbar stands; the rows are found otherwise."""

    def on_scroll_to(self, message: ScrollTo) -> None:
        """The scrollbar is dragged."""
        message.stop()
        message.prevent_default()
        document, furthest = self.document, max(1, self.virtual_size.height - self.page)
        position = message.y or 0.0
        if position >= furthest:
            self.follow = True
        elif document.end > document.start:
            place = document.start + int((document.end - document.start) * position / furthest)
            self._follow = False
            self._window.top = Row(document.line_at(min(place, document.end - 1)), 0)
            self._window.keep_within(self.page)
            self.settle()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        self.move(round(self.app.scroll_sensitivity_y))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        self.move(-round(self.app.scroll_sensitivity_y))

    def on_scroll_down(self, message: ScrollDown) -> None:
        message.stop()
        message.prevent_default()
        self.action_cursor_page_down()

    def on_scroll_up(self, message: ScrollUp) -> None:
        message.stop()
        message.prevent_default()
        self.action_cursor_page_up()

    def action_cursor_up(self) -> None:
        self.move(-1)

    def action_cursor_down(self) -> None:
        self.move(1)

    def action_cursor_page_up(self) -> None:
        self.move(-max(1, self.page - 1))

    def action_cursor_page_down(self) -> None:
        self.move(max(1, self.page - 1))

    def action_cursor_half_up(self) -> None:
        self.move(-max(1, self.page // 2))

    def action_cursor_half_down(self) -> None:
        self.move(max(1, self.page // 2))

    def action_cursor_top(self) -> None:
        first = self.document.first()
        if first is not None:
            self.go_to(first)

    def action_cursor_bottom(self) -> None:
        last = self.document.last()
        if self.selection is not None and self.selection.by_line and last is not None:
            self.go_to(last)
        else:
            self.follow = True

    def action_scroll_left(self) -> None:
        self._go_sideways(-SIDEWAYS)

    def action_scroll_right(self) -> None:
        self._go_sideways(SIDEWAYS)

    def _go_sideways(self, columns: int) -> None:
        if not self._wrap:
            self._column = max(0, self._column + columns)
            self.redraw_changed()


def _lit(strip: Strip, start: int, end: int, look: Look) -> Strip:
    """The cells from start up to end as what is selected."""
    lit = Strip.join([strip.crop(0, start), strip.crop(start, end).apply_style(look.cursor)])
    if end > strip.cell_length:  # an empty line shows that it is selected
        lit = Strip([*lit, Segment(" " * (end - strip.cell_length), look.cursor)])
    return Strip.join([lit, strip.crop(end)])
