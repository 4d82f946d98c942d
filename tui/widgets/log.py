"""`LogPane`: the output of one attempt, as it comes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import ClassVar, Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType

from engine.handle import RunHandle
from engine.view.run_view import Changes, RunView
from engine.view.text import one_line, plain
from tui.keymap import Place, bindings
from tui.present import Look
from tui.widgets.lines import LinePane
from tui.widgets.log_tail import LINE_BYTES, Line, LogTail
from tui.widgets.output import count_rows, draw_output, nth_row

SIDEWAYS: Final = 16
"""Columns that a step to the side goes."""
PARTS: Final = LINE_BYTES + 1
"""More than the rows that any line can be wrapped into."""


class Piece(NamedTuple):
    """What a row shows. part: which of the rows of a wrapped line. sought: what is marked in it."""

    line: Line
    part: int
    sought: str


class LogPane(LinePane[Piece]):
    """The end of an attempt's log: of the current attempt, or of an earlier one if asked for.

    It reads the file that `run.log_path` names, on every tick and never more than a tick can bear, and
    keeps the last of it (see `LogTail`); what was passed over is said. While it follows, the newest line
    is in view; scrolling up stops that, the end of the log resumes it. Of what programs send to a
    terminal only colour and style survive.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST, Place.LOG)

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
        self.view = view
        self._run = run
        self._now = 0.0
        self._selected: int | None = None
        self._attempt = 0
        self._is_pinned = False
        self._tail: LogTail | None = None
        self._follow = True
        self._wrap = False
        self._column = 0
        self._sought = ""
        self._found: int | None = None  # the number of the line, `LogTail.first` included
        self._moves_itself = False
        self._starts: list[int] = []  # wrapped: the first row of every line, and one past the last row
        self._heights: list[int] = []
        self._heights_from = 0

    # ── what is shown ───────────────────────────────────────────────────────────────────────────

    @property
    def selected(self) -> int | None:
        """The task whose log is shown."""
        return self._selected

    def select(self, index: int) -> None:
        """Show the current attempt of a task, and follow it."""
        if index != self._selected:
            self._selected = index
            self._is_pinned = False
            self._open(self.view.tasks[index].attempt)

    @property
    def attempt(self) -> int:
        """The attempt that is shown, 0 before any."""
        return self._attempt

    def rebind(self, view: RunView) -> None:
        """Show another view of the same run, after a resync."""
        self.view = view

    def update_from(self, changes: Changes, now: float) -> None:
        """Read on and draw what is new. Called on every tick, also when no event came: files have none."""
        is_new_second = int(now) != int(self._now)
        self._now = now
        if self._selected is None:
            return
        current = self.view.tasks[self._selected].attempt
        if current != self._attempt and not self._is_pinned:
            self._open(current)
        if self.page and self._tail is not None and self._tail.read(drop=self._follow):
            self._settle()
        elif not self.line_count and (is_new_second or changes.tasks or changes.plan):
            self.redraw_changed()  # what is said in its place, which may count seconds

    def _open(self, attempt: int) -> None:
        self._attempt = attempt
        self._tail = None
        if self._selected is not None and attempt:
            self._tail = LogTail(self._run.log_path(self._selected, attempt))
            self._tail.read(drop=True)
        self._follow = True
        self._column = 0
        self._found = None
        self._drawn.clear()  # other lines have the same numbers now
        self._heights = []
        self._heights_from = 0
        self._settle()

    @property
    def title(self) -> str:
        if self._selected is None:
            return "Log"
        task = self.view.tasks[self._selected]
        attempt = f", attempt {self._attempt}" if self._attempt else ""
        of = f" of {task.attempt}" if self._attempt != task.attempt else ""
        return f"Log: {one_line(task.name) or ascii(task.name)}{attempt}{of}"

    @property
    def note(self) -> str:
        if not self._attempt:
            return ""
        words = ["following" if not self._has_ended else "ended"] if self._follow else []
        below = self.line_count - self.top - self.page
        if not self._follow:
            words.append(f"{below} more below" if below > 0 else "not following")
        if self._wrap:
            words.append("wrapped")
        elif self._column:
            words.append(f"from column {self._column + 1}")
        return " · ".join(words)

    @property
    def _has_ended(self) -> bool:
        if self._selected is None:
            return False
        attempts = self.view.tasks[self._selected].attempts
        return any(record.number == self._attempt and record.ended is not None for record in attempts)

    def empty_note(self) -> str:
        if self._selected is None:
            return "no task is selected"
        if not self._attempt:
            why = self.view.why(self._selected, self._now)
            return f"{why}: no attempt yet" if why else "no attempt yet"
        return "no output" if self._has_ended else "no output yet"

    # ── rows ────────────────────────────────────────────────────────────────────────────────────

    @property
    def _lines(self) -> Sequence[Line]:
        return self._tail.lines if self._tail is not None else ()

    def _settle(self) -> None:
        """The lines, or how they are laid out, have changed."""
        if self._wrap:
            self._measure()
        count = self._starts[-1] if self._wrap else len(self._lines)
        with self._moving():
            self.line_count = count
            if self._follow:
                self.scroll_to_line(count)
        self.redraw_changed()

    def _measure(self) -> None:
        """Count the rows of the lines that were not counted yet. The last line may have grown since."""
        first = self._tail.first if self._tail is not None else 0
        lines = self._lines
        known = self._heights[max(0, first - self._heights_from) : -1]
        width = self.line_width
        self._heights = known + [count_rows(line, width) for line in lines[len(known) :]]
        self._heights_from = first
        self._starts = list(accumulate(self._heights, initial=0))

    def _line_at(self, row: int) -> tuple[int, int]:
        """Which line a row shows, as a place in `_lines`, and which part of it."""
        if not self._wrap:
            return row, 0
        place = bisect_right(self._starts, row) - 1
        return place, row - self._starts[place]

    def _row_of(self, place: int) -> int:
        return self._starts[place] if self._wrap else place

    def line_key(self, line: int) -> int:
        place, part = self._line_at(line)
        return (place + (self._tail.first if self._tail is not None else 0)) * PARTS + part

    def line_content(self, line: int) -> Piece:
        place, part = self._line_at(line)
        return Piece(self._lines[place], part, self._sought)

    def draw_line(self, line: int, content: Piece, look: Look) -> tuple[Sequence[Segment], Style]:
        width = self.line_width
        strip = draw_output(content.line, content.sought, look)
        if self._wrap:
            return list(nth_row(strip, content.part, width)), look.text
        start, end = self._column, self._column + width
        if strip.cell_length > end:
            return [*strip.crop(start, end - 1), Segment(look.ellipsis, look.muted)], look.text
        return list(strip.crop(start, end)), look.text

    def layout_lines(self) -> None:
        self._heights = []
        self._settle()

    # ── following and scrolling ─────────────────────────────────────────────────────────────────

    @property
    def follow(self) -> bool:
        """Whether the newest line is kept in view."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        self._follow = follow
        if follow and self._tail is not None:
            self._tail.read(drop=True)
            self._settle()

    @property
    def wrap(self) -> bool:
        """Whether long lines go on in the next row; else they are cut at the edge of the pane."""
        return self._wrap

    @wrap.setter
    def wrap(self, wrap: bool) -> None:
        at = self._line_at(self.top)[0] if self._lines else 0
        self._wrap = wrap
        self._column = 0
        self._heights = []
        self._drawn.clear()
        self._settle()
        if not self._follow:
            with self._moving():
                self.scroll_to_line(self._row_of(at))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        if not self._moves_itself:  # a key, the wheel or the scrollbar did it
            self._follow = new_value >= self.max_scroll_y
        super().watch_scroll_y(old_value, new_value)

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """What scrolls in here is not a person's doing, and says nothing about following."""
        self._moves_itself = True
        try:
            yield
        finally:
            self._moves_itself = False

    def action_cursor_up(self) -> None:
        self.scroll_to_line(self.top - 1)

    def action_cursor_down(self) -> None:
        self.scroll_to_line(self.top + 1)

    def action_cursor_page_up(self) -> None:
        self.scroll_to_line(self.top - max(1, self.page - 1))

    def action_cursor_page_down(self) -> None:
        self.scroll_to_line(self.top + max(1, self.page - 1))

    def action_cursor_half_up(self) -> None:
        self.scroll_to_line(self.top - max(1, self.page // 2))

    def action_cursor_half_down(self) -> None:
        self.scroll_to_line(self.top + max(1, self.page // 2))

    def action_cursor_top(self) -> None:
        self.scroll_to_line(0)

    def action_cursor_bottom(self) -> None:
        self.follow = True

    def action_scroll_left(self) -> None:
        self._go_sideways(-SIDEWAYS)

    def action_scroll_right(self) -> None:
        self._go_sideways(SIDEWAYS)

    def _go_sideways(self, columns: int) -> None:
        if not self._wrap:
            self._column = max(0, self._column + columns)
            self._drawn.clear()
            self.redraw_changed()

    # ── attempts ────────────────────────────────────────────────────────────────────────────────

    def action_previous_attempt(self) -> None:
        self._show_attempt(self._attempt - 1)

    def action_next_attempt(self) -> None:
        self._show_attempt(self._attempt + 1)

    def _show_attempt(self, attempt: int) -> None:
        if self._selected is not None:
            current = self.view.tasks[self._selected].attempt
            if 1 <= attempt <= current:
                self._is_pinned = attempt != current
                self._open(attempt)

    # ── finding ─────────────────────────────────────────────────────────────────────────────────

    def find_next(self, text: str) -> bool:
        """Go to the next line with `text` in it, round the end, and mark it; False if there is none.
        Only what is held in memory is searched."""
        return self._seek(text, 1)

    def find_previous(self, text: str) -> bool:
        """As `find_next`, backwards."""
        return self._seek(text, -1)

    def _seek(self, words: str, step: int) -> bool:
        lines = self._lines
        first = self._tail.first if self._tail is not None else 0
        wanted = self._sought = words.casefold()
        start = -1 if self._found is None or self._found < first else self._found - first
        if start < 0 and lines:
            start = self._line_at(self.top)[0] - step
        self._found = None
        for distance in range(1, len(lines) + 1):
            place = (start + step * distance) % len(lines)
            line = lines[place]
            if isinstance(line, bytes) and wanted in plain(line).casefold():
                self._found = first + place
                self._follow = False
                row = self._row_of(place)
                if row not in self.visible_lines:
                    with self._moving():
                        self.scroll_to_line(row - self.page // 3)
                break
        self.redraw_changed()
        return self._found is not None
