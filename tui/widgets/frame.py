"""`Frame`: the box around the panes, with shared borders; it lays them out, as split panes or as tabs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.present import Look, look_of
from tui.widgets.lines import LinePane

SPLIT_WIDTH: Final = 80
SPLIT_HEIGHT: Final = 13
"""Below either the panes become tabs: the smallest frame in which three panes show something."""


class PaneId(IntEnum):
    """The panes, in the order of `Tab` and of their numbers on screen."""

    TREE = 0
    TABLE = 1
    LOG = 2
    TIMELINE = 3
    EVENTS = 4


class Split(NamedTuple):
    """Where the shared borders run. column: between tree and table. row: above the log."""

    column: int
    row: int


def split(size: Size) -> Split | None:
    """The split of a frame, None if it is too small to be split."""
    if size.width < SPLIT_WIDTH or size.height < SPLIT_HEIGHT:
        return None
    tree = min(44, max(22, size.width * 3 // 10))
    rows = size.height - 3
    log = max(4, rows * 2 // 5)
    return Split(column=tree + 1, row=1 + rows - log)


NOTE_LEAST: Final = 8
"""Cells below which a note says nothing."""

UPPER: Final = (PaneId.TABLE, PaneId.TIMELINE, PaneId.EVENTS)
"""Of these one is above the log, the table beside the tree and the others over the whole width."""


def regions(size: Size, alone: PaneId | None, upper: PaneId = PaneId.TABLE) -> dict[PaneId, Region]:
    """Where each pane lies inside the frame. alone: the one pane that is shown, None for several. upper:
    the one of `UPPER` that is shown above the log."""
    lines = split(size)
    if alone is not None or lines is None:
        inside = Region(1, 1, max(0, size.width - 2), max(0, size.height - 2))
        return {alone if alone is not None else PaneId.TABLE: inside}
    column, row = lines
    if upper is not PaneId.TABLE:
        return {
            upper: Region(1, 1, size.width - 2, row - 1),
            PaneId.LOG: Region(1, row + 1, size.width - 2, size.height - row - 2),
        }
    return {
        PaneId.TREE: Region(1, 1, column - 1, row - 1),
        PaneId.TABLE: Region(column + 1, 1, size.width - column - 2, row - 1),
        PaneId.LOG: Region(1, row + 1, size.width - 2, size.height - row - 2),
    }


class _FrameLayout(Layout):
    name = "frame"

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        places = regions(size, self._frame.alone(size), self._frame.upper)
        return [
            WidgetPlacement(places[pane], Offset(0, 0), Spacing(0, 0, 0, 0), self._frame.panes[pane])
            for pane in PaneId
            if pane in places and self._frame.panes[pane] in children
        ]


class Frame(Widget, can_focus=False):
    """The box. Its titles carry the numbers of the keys; the one in front stands in brackets."""

    DEFAULT_CSS = "Frame { width: 1fr; height: 1fr; }"

    class Picked(Message):
        """A title was clicked."""

        def __init__(self, pane: PaneId) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, *panes: LinePane[Any]) -> None:
        """panes: in the order of `PaneId`."""
        self.panes = panes
        super().__init__(*panes)
        self.front = PaneId.TABLE
        self.upper = PaneId.TABLE
        self.zoomed = False
        self._titles = [f"{pane + 1} {panes[pane].title}" for pane in PaneId]
        self._notes = [""] * len(panes)
        self._layout = _FrameLayout(self)
        self._zones: dict[PaneId, range] = {}

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def is_split(self) -> bool:
        """Whether all panes are in view."""
        return self.alone(self.size) is None

    @property
    def reachable(self) -> Sequence[PaneId]:
        """What one comes to from pane to pane: those in view; all, if they are tabs."""
        return sorted(regions(self.size, None, self.upper)) if self.is_split else tuple(PaneId)

    def alone(self, size: Size) -> PaneId | None:
        """The only pane in view at this size, None if all are."""
        return self.front if self.zoomed or split(size) is None else None

    def bring(self, pane: PaneId, *, zoomed: bool | None = None) -> None:
        """Put a pane in front, and focus it."""
        changed = pane is not self.front or (zoomed is not None and zoomed is not self.zoomed)
        self.front = pane
        if pane is not PaneId.LOG:  # which leaves what is above it
            upper = PaneId.TABLE if pane is PaneId.TREE else pane
            if upper is not self.upper and self.is_split:
                self.refresh(layout=True)
            self.upper = upper
        if zoomed is not None:
            self.zoomed = zoomed
        if self.size:
            self._show()
            if changed:
                self._refresh_borders()
        widget = self.panes[pane]
        if not widget.has_focus:
            widget.focus(scroll_visible=False)

    def entitle(self, pane: PaneId, title: str, note: str = "") -> None:
        """What is written into a pane's border: its title at the left, a note at the right."""
        if (self._titles[pane], self._notes[pane]) != (title, note):
            self._titles[pane] = title
            self._notes[pane] = note
            lines = split(self.size)
            row = lines.row if pane is PaneId.LOG and lines and self.is_split else 0
            self.refresh(Region(0, row, self.size.width, 1))

    def _show(self) -> None:
        places = regions(self.size, self.alone(self.size), self.upper)
        changed = False
        for pane in PaneId:
            shown = pane in places
            if self.panes[pane].display is not shown:
                self.panes[pane].display = shown
                changed = True
        if changed:
            self.refresh(layout=True, repaint=False)

    def on_resize(self, event: events.Resize) -> None:
        self._show()
        if not self.panes[self.front].has_focus and self.screen.focused is None:
            self.panes[self.front].focus(scroll_visible=False)

    def on_click(self, event: events.Click) -> None:
        lines = split(self.size)
        if event.y == 0:
            for pane, zone in self._zones.items():
                if event.x in zone:
                    self.post_message(self.Picked(pane))
        elif lines and self.is_split and event.y == lines.row:
            self.post_message(self.Picked(PaneId.LOG))

    def _refresh_borders(self) -> None:
        """Repaint the lines and nothing of what is inside them."""
        width, height = self.size
        spans = [Region(0, 0, width, 1), Region(0, height - 1, width, 1)]
        spans += [Region(0, 0, 1, height), Region(width - 1, 0, 1, height)]
        lines = split(self.size)
        if lines and self.is_split:
            spans += [Region(0, lines.row, width, 1), Region(lines.column, 0, 1, lines.row)]
        self.refresh(*spans)

    def render_line(self, y: int) -> Strip:
        look = look_of(self)
        if y == 0:
            self._zones.clear()
        width, height = self.size
        row = _Row(width, look)
        if self.is_split:
            self._draw_split(row, y, height, look)
        else:
            self._draw_alone(row, y, height, look)
        return Strip(Segment.apply_style(row.segments(), self.rich_style), width)

    def _edge(self, look: Look, *panes: PaneId) -> Style:
        return look.accent if self.front in panes else look.line

    def _draw_alone(self, row: _Row, y: int, height: int, look: Look) -> None:
        edge = look.accent
        if y not in (0, height - 1):
            row.sides(edge)
            return
        row.rule("top" if y == 0 else "bottom", edge)
        if y:
            return
        note = " · ".join(filter(None, (self._notes[self.front], "zoomed" if self.zoomed else "")))
        panes = tuple(PaneId)
        width = sum(cell_len(self._tab(pane)) + 2 for pane in panes)
        if self.front is PaneId.LOG and row.width - 7 - width < cell_len(note.partition(" · ")[0]):
            panes = (self.front,)  # where one is in a log is worth more than the names of the other panes
        self._zones.clear()
        column = self._tabs(row, 1, panes, look, row.width - 2)
        row.note(note, column, row.width - 1, look)

    def _draw_split(self, row: _Row, y: int, height: int, look: Look) -> None:
        lines = split(self.size)
        if lines is None:  # never split below the size for it; for the type checker
            return
        tree, table, log = PaneId.TREE, PaneId.TABLE, PaneId.LOG
        end = row.width - 1
        if self.upper is not table and y <= lines.row:
            self._draw_whole_width(row, y, lines, look)
        elif y == 0:
            row.rule("top", self._edge(look, table))
            row.paint(0, lines.column, self._edge(look, tree))
            row.put(lines.column, "top joint", self._edge(look, tree, table))
            stop = self._title(row, 1, self._titles[tree], self.front is tree, look, lines.column)
            self._zones[tree] = range(1, stop)
            row.note(self._notes[tree], stop, lines.column, look)
            start = lines.column + 1
            stop = self._tabs(row, start, UPPER, look, end)
            row.note(self._notes[table], stop, end, look)
        elif y < lines.row:
            row.put(0, "side", self._edge(look, tree))
            row.put(lines.column, "side", self._edge(look, tree, table))
            row.put(end, "side", self._edge(look, table))
        elif y == lines.row:
            row.rule("middle", self._edge(look, log, table))
            row.paint(0, lines.column, self._edge(look, log, tree))
            row.put(lines.column, "bottom joint", self._edge(look, tree, table, log))
            stop = self._title(row, 1, self._titles[log], self.front is log, look, end)
            row.note(self._notes[log], stop, end, look)
        elif y < height - 1:
            row.sides(self._edge(look, log))
        else:
            row.rule("bottom", self._edge(look, log))

    def _draw_whole_width(self, row: _Row, y: int, lines: Split, look: Look) -> None:
        """Timeline or events, and the line below."""
        upper, log, end = self.upper, PaneId.LOG, row.width - 1
        if y == 0:
            row.rule("top", self._edge(look, upper))
            stop = self._tabs(row, 1, (PaneId.TREE, *UPPER), look, end)
            row.note(self._notes[upper], stop, end, look)
        elif y < lines.row:
            row.sides(self._edge(look, upper))
        else:
            row.rule("middle", self._edge(look, log, upper))
            stop = self._title(row, 1, self._titles[log], self.front is log, look, end)
            row.note(self._notes[log], stop, end, look)

    def _tabs(self, row: _Row, column: int, panes: Sequence[PaneId], look: Look, end: int) -> int:
        """Write the titles of panes side by side, that of the one that is shown in full."""
        for pane in panes:
            stop = self._title(row, column, self._tab(pane), self.front is pane, look, end)
            self._zones[pane] = range(column, stop)
            column = stop
        return column

    def _tab(self, pane: PaneId) -> str:
        return self._titles[pane] if pane in (self.front, self.upper) else _short(self._titles[pane])

    def _title(self, row: _Row, column: int, title: str, in_front: bool, look: Look, end: int) -> int:
        """Write a title from `column`, return the column after it."""
        room = end - column - 2
        if room < 1:
            return column
        text = look.cut(title, room)
        text, style = (f"[{text}]", look.accent) if in_front else (f" {text} ", look.text)
        row.write(column, text, style)
        return column + cell_len(text)


def _short(title: str) -> str:
    """ "3 Log" of "3 Log: unit, attempt 1"."""
    return title.partition(":")[0]


_SIGNS: Final = {
    "side": ("│", "|"),
    "top joint": ("┬", "+"),
    "bottom joint": ("┴", "+"),
}
_RULES: Final = {
    "top": (("┌", "─", "┐"), ("+", "-", "+")),
    "middle": (("├", "─", "┤"), ("+", "-", "+")),
    "bottom": (("└", "─", "┘"), ("+", "-", "+")),
}


class _Row:
    """One row of the box while it is drawn, cell by cell."""

    def __init__(self, width: int, look: Look) -> None:
        self.width = width
        self._plain = look.plain
        self._signs = [" "] * width
        self._styles = [look.text] * width

    def rule(self, kind: str, style: Style) -> None:
        left, middle, right = _RULES[kind][self._plain]
        self._signs = [left, *middle * (self.width - 2), right]
        self._styles = [style] * self.width

    def sides(self, style: Style) -> None:
        self.put(0, "side", style)
        self.put(self.width - 1, "side", style)

    def put(self, column: int, sign: str, style: Style) -> None:
        self._signs[column] = _SIGNS[sign][self._plain]
        self._styles[column] = style

    def paint(self, start: int, end: int, style: Style) -> None:
        self._styles[start:end] = [style] * (end - start)

    def write(self, column: int, text: str, style: Style) -> None:
        for character in text:
            for cell in range(column, column + cell_len(character)):
                self._signs[cell] = character if cell == column else ""
                self._styles[cell] = style
            column += cell_len(character)

    def note(self, text: str, start: int, end: int, look: Look) -> None:
        """Write right-aligned before `end`, if a stretch of line is left between it and `start`; where there
        is too little room, without its last parts, or cut."""
        room = end - start - 5
        while " · " in text and cell_len(text) > room:
            text = text.rpartition(" · ")[0]
        text = look.cut(text, room) if room >= NOTE_LEAST else ""
        if text:
            self.write(end - cell_len(text) - 3, f" {text} ", look.muted)

    def segments(self) -> Iterator[Segment]:
        start = 0
        for column in range(1, self.width + 1):
            if column == self.width or self._styles[column] is not self._styles[start]:
                yield Segment("".join(self._signs[start:column]), self._styles[start])
                start = column
