"""`RunList`: the runs, or the plans that can be run, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.message import Message

from tui.keymap import Place, bindings
from tui.present import Look
from tui.shelf import PlanEntry, RunEntry
from tui.widgets.cursor import CursorPane

Entry = RunEntry | PlanEntry


class _Column(NamedTuple):
    """least: the width of the pane from which on it is shown."""

    head: str
    field: str
    width: int
    least: int = 0


_RUN_COLUMNS: Final = (
    _Column("RUN", "name", 8, 70),
    _Column("STATE", "word", 11),
    _Column("STARTED", "started", 10),
    _Column("TOOK", "took", 7, 50),
    _Column("TASKS", "tasks", 16, 60),
    _Column("PLAN", "plan", 0),
)
_PLAN_COLUMNS: Final = (_Column("PLAN", "name", 24), _Column("", "about", 0))


class RunList(CursorPane[tuple[Entry, bool, bool]]):
    """A cursor that stays on its entry when others come, go or change places."""

    HEADER: ClassVar[int] = 1
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST)

    class Highlighted(Message):
        """The cursor came to another entry, or its entry changed."""

    class Opened(Message):
        """An entry was asked for, with two clicks."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: Sequence[Entry] = ()
        self._columns: Sequence[_Column] = _RUN_COLUMNS
        self._note = "looking ..."

    @property
    def selected(self) -> Entry | None:
        return self._entries[self.cursor] if self._entries else None

    def show(self, entries: Sequence[Entry], note: str) -> None:
        """Show these. note: what is said if there are none."""
        before = self.selected
        self._entries, self._note = entries, note
        is_plans = bool(entries) and isinstance(entries[0], PlanEntry)
        self._columns = _PLAN_COLUMNS if is_plans else _RUN_COLUMNS
        keys = [_key(entry) for entry in entries]
        if before is not None and _key(before) in keys:
            self.cursor = keys.index(_key(before))
        else:
            self.cursor = max(0, min(self.cursor, len(entries) - 1))
        self.line_count = len(entries)
        if self.is_mounted:
            self.reveal(self.cursor)
            self.redraw_changed()
        if self.selected != before:
            self.post_message(self.Highlighted())

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────

    def empty_note(self) -> str:
        return self._note

    def line_content(self, line: int) -> tuple[Entry, bool, bool]:
        return self._entries[line], line == self.cursor, self.has_focus

    def draw_header(self, look: Look, row: int) -> Sequence[Segment]:
        return [Segment("   "), *(Segment(text, look.muted) for text, _ in self._cells(None, look))]

    def draw_line(
        self, line: int, content: tuple[Entry, bool, bool], look: Look
    ) -> tuple[Sequence[Segment], Style]:
        entry, *_ = content
        if isinstance(entry, RunEntry):
            mark = Segment(f" {look.glyph(entry.state)} ", look.states[entry.state])
        else:
            mark = Segment("   ")
        cells = (Segment(text, style) for text, style in self._cells(entry, look))
        return [mark, *cells], self.under(line, look)

    def _cells(self, entry: Entry | None, look: Look) -> Sequence[tuple[str, Style]]:
        room = self.line_width
        columns = [column for column in self._columns if room >= column.least]
        rest = room - 3 - sum(column.width + 1 for column in columns if column.width)
        cells = []
        for column in columns:
            width = column.width or rest
            text = column.head if entry is None else str(getattr(entry, column.field))
            style = look.text
            if isinstance(entry, RunEntry) and column.field == "word":
                style = look.states[entry.state]
            elif column.field in ("name", "about", "started"):
                style = look.muted if column.head != "PLAN" else look.text
            cut = look.cut(text, width)
            cells.append((cut + " " * (width - cell_len(cut) + 1), style))
        return cells

    # ── the cursor ──────────────────────────────────────────────────────────────────────────────

    def cursor_put(self, *, moved: bool) -> None:
        if moved:
            self.post_message(self.Highlighted())

    def action_open(self) -> None:
        self.post_message(self.Opened())


def _key(entry: Entry) -> str:
    return entry.run_id if isinstance(entry, RunEntry) else " ".join(entry.command)
