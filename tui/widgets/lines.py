"""`LinePane`: a scrolling pane whose lines are drawn one by one, and only where they changed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import ClassVar, Final, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.present import Look, look_of

Shown = TypeVar("Shown", bound=Hashable)

NEAR: Final = 6
"""Changed columns no further apart than this are sent as one: moving the cursor costs as many bytes."""


class LinePane(ScrollView, Generic[Shown], can_focus=True, inherit_bindings=False):
    """A pane of lines, of which only the visible ones are ever drawn.

    A subclass says in `line_content` what a line shows, as something that can be compared, and in
    `draw_line` how. `redraw_lines` then looks whether that changed and repaints only the columns that
    did, so that a tick on which nothing changed draws nothing. Lines count from 0; the first
    `HEADER` rows of the pane do not scroll.
    """

    HEADER: ClassVar[int] = 0

    DEFAULT_CSS = """
    LinePane {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._line_count = 0
        self._drawn: dict[int, tuple[Shown, Strip]] = {}
        self._drawn_header: Strip | None = None
        self._look: Look | None = None
        self._under: Style | None = None

    # ── for subclasses ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def line_content(self, line: int) -> Shown:
        """All that can change about a line, besides the width of the pane and its colours."""

    @abstractmethod
    def draw_line(self, line: int, content: Shown, look: Look) -> tuple[Sequence[Segment], Style]:
        """The line in segments, and the style that lies under all of it."""

    def draw_header(self, look: Look) -> Sequence[Segment]:
        """The row that does not scroll, if `HEADER` is 1."""
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
        self._line_count = count
        self.virtual_size = Size(1, count + self.HEADER)

    @property
    def line_width(self) -> int:
        """The cells a line has: the pane without border and scrollbar."""
        return self.scrollable_content_region.width

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

    def redraw_lines(self, lines: Sequence[int]) -> None:
        """Repaint what changed in those of `lines` that are seen."""
        look = look_of(self)
        if look is not self._look:
            self.redraw_all()
            return
        visible = self.visible_lines
        regions: list[Region] = []
        for line in lines:
            before = self._drawn.get(line)
            if before is None:  # never painted, or to be painted anyway
                continue
            if line not in visible:
                del self._drawn[line]
                continue
            content = self.line_content(line)
            if content == before[0]:
                continue
            strip = self._finish(*self.draw_line(line, content, look))
            self._drawn[line] = (content, strip)
            row = line - visible.start + self.HEADER
            regions.extend(Region(x, row, end - x, 1) for x, end in changed_columns(before[1], strip))
        if regions:
            self.refresh(*regions)

    def redraw_all(self) -> None:
        """Repaint every line, but not the border."""
        self._forget_drawn()
        self.refresh(self.size.region)

    def forget_unseen(self) -> None:
        """Drop the lines that were scrolled away: what they showed may have changed since."""
        visible = self.visible_lines
        if len(self._drawn) > len(visible):
            self._drawn = {line: kept for line, kept in self._drawn.items() if line in visible}

    def render_line(self, y: int) -> Strip:
        look = look_of(self)
        if look is not self._look:
            self._look = look
            self._forget_drawn()
        if y < self.HEADER:
            if self._drawn_header is None:
                self._drawn_header = self._finish(self.draw_header(look))
            return self._drawn_header
        line = y - self.HEADER + self.top
        if line >= self._line_count:
            note = self.empty_note() if not self._line_count and y == self.HEADER else ""
            return self._finish([Segment(look.cut(f" {note}", self.line_width), look.muted)] if note else [])
        drawn = self._drawn.get(line)
        if drawn is None:
            content = self.line_content(line)
            strip = self._finish(*self.draw_line(line, content, look))
            drawn = self._drawn[line] = (content, strip)
        return drawn[1]

    def _finish(self, segments: Sequence[Segment], under: Style | None = None) -> Strip:
        base = self._under
        if base is None:
            base = self._under = self.rich_style
        if under:
            base += under
        strip = Strip(Segment.apply_style(segments, base))
        return strip.adjust_cell_length(self.line_width, base)

    def _forget_drawn(self) -> None:
        self._drawn.clear()
        self._drawn_header = None
        self._under = None

    # ── what Textual tells ──────────────────────────────────────────────────────────────────────

    def notify_style_update(self) -> None:
        self._forget_drawn()
        super().notify_style_update()

    def on_resize(self) -> None:
        self.layout_lines()
        self.redraw_all()

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
        return [(start, max(old.cell_length, new.cell_length))]
    spans: list[tuple[int, int]] = []
    x = 0
    for was, now, width in zip(before, after, widths, strict=True):
        if was != now:
            if spans and x - spans[-1][1] <= NEAR:
                spans[-1] = (spans[-1][0], x + width)
            else:
                spans.append((x, x + width))
        x += width
    return spans
