"""`LinePane`: a scrolling pane whose lines are drawn one by one, and only where they changed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import ClassVar, Final, Generic, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.present import Look, look_of

Shown = TypeVar("Shown", bound=Hashable)

NEAR: Final = 6
"""Changed columns no further apart than this are sent as one: moving the cursor costs as many bytes."""


class LinePane(ScrollView, Generic[Shown], can_focus=True, inherit_bindings=False):
    """A pane of lines, of which only the visible ones are ever drawn.

    A subclass says in `line_content` what a line shows, as something that can be compared, and in
    `draw_line` how that looks. A line is drawn anew only if its content changed, and then only the
    columns that differ are repainted: a tick on which nothing changed draws nothing, and one costs the
    same in a pane of any length. Lines count from 0; the first `HEADER` rows of the pane do not scroll.
    """

    HEADER: ClassVar[int] = 0

    DEFAULT_CSS = """
    LinePane {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
    }
    """

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._line_count = 0
        self._drawn: dict[int, tuple[Shown, Strip]] = {}
        """Lines as they were drawn last, by `line_key`."""
        self._on_screen: dict[int, Strip] = {}
        """What every row of the pane shows, or is about to once the screen is painted."""
        self._header: dict[int, Strip] = {}
        self._look: Look | None = None
        self._under: Style | None = None
        self._width = 0
        self._width_of: Size | None = None  # the size of the pane for which that is known

    # ── for subclasses ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def line_content(self, line: int) -> Shown:
        """All that can change about a line, besides the width of the pane and its colours."""

    @abstractmethod
    def draw_line(self, line: int, content: Shown, look: Look) -> tuple[Sequence[Segment], Style]:
        """The line in segments, and the style that lies under all of it."""

    def line_key(self, line: int) -> int:
        """By what the line is recognized when others come before it."""
        return line

    def draw_header(self, look: Look, row: int) -> Sequence[Segment]:
        """One of the `HEADER` rows that do not scroll, counted from 0."""
        return ()

    def empty_note(self) -> str:
        """What is said where there are no lines."""
        return ""

    def layout_lines(self) -> None:
        """The width or the height has changed."""

    @property
    def title(self) -> str:
        """What the pane shows, for the border around it. Without control characters."""
        return ""

    @property
    def note(self) -> str:
        """What is special about how it shows that, for the right end of the border; "" if nothing."""
        return ""

    # ── the lines ───────────────────────────────────────────────────────────────────────────────

    @property
    def line_count(self) -> int:
        return self._line_count

    @line_count.setter
    def line_count(self, count: int) -> None:
        if count == self._line_count:
            return
        self._line_count = count
        # To assign `virtual_size` would lay the whole screen out again, at every tick of a log that
        # grows. The scrollbar's coming and going, which needs that, asks for it itself.
        size = Size(1, count + self.HEADER)
        self.set_reactive(Widget.virtual_size, size)
        self._scroll_update(size)

    @property
    def line_width(self) -> int:
        """The cells a line has: the pane without border and scrollbar, for which there is always room
        left, so that lines keep their width when it comes or goes."""
        if self._width_of is not self.outer_size:  # Textual looks up a dozen styles for it, at every line
            width = self.scrollable_content_region.width
            self._width, self._width_of = width, self.outer_size if width else None
        return self._width

    @property
    def page(self) -> int:
        """How many lines are seen at once."""
        return max(0, self.scrollable_content_region.height - self.HEADER)

    @property
    def top(self) -> int:
        """The first line that is seen."""
        return self.scroll_offset.y

    @property
    def visible_lines(self) -> range:
        top = self.top
        return range(top, min(self._line_count, top + self.page))

    def scroll_to_line(self, line: int) -> None:
        """Let `line` be the first that is seen, or as near to that as there are lines."""
        self.scroll_to(y=line, animate=False, force=True)

    def reveal(self, line: int) -> None:
        """Scroll as little as needed for `line` to be seen."""
        if line < self.top:
            self.scroll_to_line(line)
        elif line >= self.top + self.page > self.top:
            self.scroll_to_line(line - self.page + 1)

    def line_at(self, event: events.MouseEvent) -> int | None:
        """The line that was pointed at, None beside them."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self.HEADER:
            return None
        line = offset.y - self.HEADER + self.top
        return line if line < self._line_count else None

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────

    def redraw_lines(self, lines: Iterable[int]) -> None:
        """Repaint what changed in those of `lines` that are seen."""
        visible = self.visible_lines
        shift = self.HEADER - visible.start
        self._redraw_rows([line + shift for line in lines if line in visible])

    def redraw_changed(self) -> None:
        """Repaint whatever changed, in any row, after lines have come, gone or moved."""
        self._header.clear()
        self._redraw_rows(range(self.size.height))

    def redraw_all(self) -> None:
        """Draw everything anew, but not the border."""
        self._forget()
        self.refresh(self.size.region)

    def _redraw_rows(self, rows: Sequence[int]) -> None:
        regions: list[Region] = []
        for y in rows:
            before = self._on_screen.get(y)
            if before is None:
                regions.append(Region(0, y, self.size.width, 1))
                continue
            strip = self._row(y)
            if strip is not before:
                self._on_screen[y] = strip
                regions.extend(Region(x, y, end - x, 1) for x, end in changed_columns(before, strip))
        if regions:
            self.refresh(*regions)
        self._trim()

    def render_line(self, y: int) -> Strip:
        strip = self._on_screen[y] = self._row(y)
        return strip

    def _row(self, y: int) -> Strip:
        look = look_of(self)
        if look is not self._look:
            self._forget()
            self._look = look
        if y < self.HEADER:
            if y not in self._header:
                self._header[y] = self._finish(self.draw_header(look, y))
            return self._header[y]
        line = y - self.HEADER + self.top
        if line >= self._line_count:
            note = self.empty_note() if not self._line_count and y == self.HEADER else ""
            return self._finish([Segment(look.cut(f" {note}", self.line_width), look.muted)] if note else [])
        key = self.line_key(line)
        content = self.line_content(line)
        drawn = self._drawn.get(key)
        if drawn is not None and drawn[0] == content:
            return drawn[1]
        strip = self._finish(*self.draw_line(line, content, look))
        self._drawn[key] = (content, strip)
        return strip

    def _finish(self, segments: Sequence[Segment], under: Style | None = None) -> Strip:
        base = self._under
        if base is None:
            base = self._under = self.rich_style
        if under:
            base += under
        styled = list(Segment.apply_style(segments, base))
        length, width = sum([segment.cell_length for segment in styled]), self.line_width
        if length < width:
            styled.append(Segment(" " * (width - length), base))
            length = width
        return Strip(styled, length).crop(0, width)

    def _trim(self) -> None:
        """Keep no more drawn lines than a few screens."""
        if len(self._drawn) > 4 * self.page + 64:
            seen = {self.line_key(line) for line in self.visible_lines}
            self._drawn = {key: drawn for key, drawn in self._drawn.items() if key in seen}

    def _forget(self) -> None:
        self._drawn.clear()
        self._on_screen.clear()
        self._header.clear()
        self._under = None

    # ── what Textual tells ──────────────────────────────────────────────────────────────────────

    def notify_style_update(self) -> None:
        self._forget()
        self._width_of = None
        super().notify_style_update()

    def on_resize(self) -> None:
        self.layout_lines()
        self.redraw_all()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """As `ScrollView` does, but repaint only what differs and not the whole pane."""
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.position = new_value
        if round(old_value) != round(new_value):
            self.redraw_changed()

    def on_show(self) -> None:
        self.redraw_all()  # the ticks passed by while it was hidden


def changed_columns(old: Strip, new: Strip) -> list[tuple[int, int]]:
    """The spans of cells, as (start, end), in which two lines differ; near ones are one."""
    before, after = list(old), list(new)
    widths = [segment.cell_length for segment in after]
    if widths != [segment.cell_length for segment in before]:
        start = 0
        for was, now in zip(before, after, strict=False):
            if was != now:
                break
            start += now.cell_length
        end = max(old.cell_length, new.cell_length)
        if before and after and before[-1].style == after[-1].style and old.cell_length == new.cell_length:
            end -= min(_blanks(before[-1]), _blanks(after[-1]))
        return [(start, end)] if start < end else []
    spans: list[tuple[int, int]] = []
    x = 0
    for was, now, width in zip(before, after, widths, strict=True):
        if width and was != now:
            start, end = _difference(was, now)
            if spans and x + start - spans[-1][1] <= NEAR:
                spans[-1] = (spans[-1][0], x + end)
            else:
                spans.append((x + start, x + end))
        x += width
    return spans


def _difference(was: Segment, now: Segment) -> tuple[int, int]:
    """The cells in which two segments of one width differ: from the first to one past the last."""
    width = now.cell_length
    if was.style != now.style or not was.text.isascii() or not now.text.isascii():
        return 0, width
    start = _shared(was.text, now.text)
    return start, width - _shared(was.text[:start:-1], now.text[:start:-1])


def _shared(one: str, other: str) -> int:
    """How many letters two texts begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def _blanks(segment: Segment) -> int:
    return segment.cell_length - cell_len(segment.text.rstrip(" "))
