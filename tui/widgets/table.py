"""`TaskTable`: every task in a row, and of each that is not running, why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.geometry import Region
from textual.strip import Strip

from engine.core.state import TaskState
from engine.ground.text import one_line
from engine.view.run_view import Changes, RunView
from engine.view.task_view import TaskView
from engine.view.timing import DAY, HOUR, clock, short
from tui.keymap import Place, bindings
from tui.present import Look, widest
from tui.widgets.task_pane import URGENCY, TaskPane


class Sort(StrEnum):
    """What the rows are ordered by; among equals it is the order of the plan.

    STATE: what needs a person first. TIME: the longest first.
    """

    PLAN = "plan order"
    STATE = "state"
    TIME = "time"
    NAME = "name"


class Columns(NamedTuple):
    """The cells that each column has, 0 where it is left out; a space more stands between them."""

    task: int
    state: int
    tries: int
    time: int
    why: int


STATE_WIDTH: Final = 9
WHY_LEAST: Final = 10
TASK_LEAST: Final = 8
TASK_USUAL: Final = 12
LEAD: Final = 4
"""Before the first column: the mark of a marked row, the glyph, and a space beside each."""


def columns(width: int, longest: int, tries: int = len("1/3"), time: int = len("12:04")) -> Columns:
    """Share a width out. longest: cells of the longest name. tries, time: what TRY and TIME would take.

    Where there is little room TRY goes first, then STATE (the glyph says it too), then TIME.
    """
    state = STATE_WIDTH

    def rest() -> int:
        return width - LEAD - sum(part + 1 for part in (state, tries, time) if part)

    wanted = max(TASK_LEAST, min(longest, TASK_USUAL)) + 1 + WHY_LEAST
    if rest() < wanted:
        tries = 0
    if rest() < wanted:
        state = 0
    if rest() < TASK_LEAST + 1 + TASK_LEAST:
        time = 0
    room = max(0, rest())
    task = min(longest, max(TASK_LEAST, room - 1 - WHY_LEAST), max(TASK_USUAL, room * 2 // 5))
    task = min(max(task, TASK_LEAST), room)
    return Columns(task, state, tries, time, max(0, room - task - 1))


class Row(NamedTuple):
    """What a row shows, besides the name of its task."""

    cursor: bool
    focus: bool
    marked: bool
    state: TaskState
    stalled: bool
    tries: str
    time: str
    why: str


class TaskTable(TaskPane[Row]):
    """A row a task, in a stable order.

    last_line: what the task with this index printed last. marked: indices of the tasks marked with
    the space bar, for actions on several.
    """

    HEADER: ClassVar[int] = 1
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.TABLE)

    def __init__(
        self,
        view: RunView,
        last_line: Callable[[int], str] = lambda index: "",
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        self._last_line = last_line
        self._sort = Sort.PLAN
        self._words: list[str] = []
        self._failed_only = False
        self._columns = columns(80, TASK_LEAST)
        self._laid_out = 0
        self.marked: set[int] = set()
        super().__init__(view, name=name, id=id, classes=classes)

    @property
    def title(self) -> str:
        return "Tasks"

    @property
    def note(self) -> str:
        parts = []
        if self.marked:
            parts.append(f"{len(self.marked)} marked")
        if self._sort is not Sort.PLAN:
            parts.append(f"by {self._sort}")
        if self._failed_only:
            parts.append("failed only")
        if self._words:
            parts.append(f"/{' '.join(self._words)}")
        if self._words or self._failed_only:
            parts.append(f"{len(self.rows)} of {len(self.view.tasks)}")
        return " · ".join(parts)

    def empty_note(self) -> str:
        if not self.view.tasks:
            return super().empty_note()
        if self._words:
            return f"no task matches {' '.join(self._words)}" + (" and failed" if self._failed_only else "")
        return "no task has failed"

    # ── which rows ──────────────────────────────────────────────────────────────────────────────

    def adopt_view(self) -> None:
        self._folded_names = [name.casefold() for name in self.names]
        self._longest = widest(self.names)
        most = max((task.retry_limit for task in self.view.tasks), default=0) + 1
        self._tries_width = 2 * len(str(most)) + 1
        self.layout_columns()

    def order_tasks(self, keep: int | None) -> Sequence[int]:
        order: Sequence[int] = range(len(self.view.tasks))
        if self._words or self._failed_only:
            order = [index for index in order if self._matches(index)]
        tasks = self.view.tasks
        if self._sort is Sort.STATE:
            return sorted(order, key=lambda index: URGENCY[tasks[index].state])
        if self._sort is Sort.TIME:
            now = self._now
            times = {index: tasks[index].elapsed(now) for index in order}
            return sorted(order, key=lambda index: math.inf if (time := times[index]) is None else -time)
        if self._sort is Sort.NAME:
            return sorted(order, key=self._folded_names.__getitem__)
        return order

    def note_changes(self, tasks: Iterable[int]) -> bool:
        if self._words or self._failed_only:
            for index in tasks:
                if self._matches(index) != (index in self._line_of):
                    return True
        if self._sort is Sort.STATE:
            self._unsettled = self._unsettled or bool(tasks)
        elif self._sort is Sort.TIME:
            self._unsettled = self._unsettled or bool(tasks) or bool(self.view.active)
        return False

    def _matches(self, index: int) -> bool:
        task = self.view.tasks[index]
        if self._failed_only and task.state is not TaskState.FAILED:
            return False
        name = self._folded_names[index]
        return all(word in name or _is_called(task, word) for word in self._words)

    def filter(self, text: str) -> None:
        """Show only tasks of which every word of `text` is in the name, or begins the word for its state
        ("failed", "running", ... and "stalled", "held"). "" shows all."""
        self._words = one_line(text).casefold().split()
        self.rearrange()

    @property
    def is_filtered(self) -> bool:
        """Whether some tasks may be left out."""
        return bool(self._words) or self._failed_only

    @property
    def failed_only(self) -> bool:
        """Whether only tasks that are FAILED are shown."""
        return self._failed_only

    @failed_only.setter
    def failed_only(self, only: bool) -> None:
        if only != self._failed_only:
            self._failed_only = only
            self.rearrange()

    @property
    def sort(self) -> Sort:
        """What the rows are ordered by."""
        return self._sort

    @sort.setter
    def sort(self, sort: Sort) -> None:
        self._sort = sort
        self.rearrange()

    def action_sort(self) -> None:
        """Order the rows by the next of the choices."""
        choices = list(Sort)
        self.sort = choices[(choices.index(self._sort) + 1) % len(choices)]

    def action_failed_only(self) -> None:
        """Show only failed tasks, or all again."""
        self.failed_only = not self._failed_only

    def action_mark(self) -> None:
        """Mark the row, or take its mark away; go one down, so that several are marked in a row."""
        index = self.selected
        if index is not None:
            self.marked ^= {index}
            self.redraw_lines((self.cursor,))
            self.action_cursor_down()

    def clear_marks(self) -> None:
        """Take all marks away."""
        self.marked.clear()
        self.redraw_lines(self.visible_lines)

    # ── a row ───────────────────────────────────────────────────────────────────────────────────

    def layout_lines(self) -> None:
        self.layout_columns()
        super().layout_lines()

    def render_lines(self, crop: Region) -> list[Strip]:
        if self.line_width != self._laid_out:  # the first frame comes before `on_resize`
            self.layout_columns()
            self._forget()
        return super().render_lines(crop)

    def layout_columns(self) -> None:
        self._laid_out = self.line_width
        longest_time = len("1:02:03") if self.view.elapsed(self._now) >= HOUR else len("12:04")
        self._columns = columns(self.line_width, self._longest, self._tries_width, longest_time)

    def update_from(self, changes: Changes, now: float) -> None:
        before = self._columns
        super().update_from(changes, now)
        self.layout_columns()
        if self._columns != before:  # an hour has passed
            self.redraw_all()

    def draw_header(self, look: Look, row: int) -> Sequence[Segment]:
        task, state, tries, time, why = self._columns
        parts = ["TASK".ljust(task)]
        if state:
            parts.append("STATE".ljust(state))
        if tries:
            parts.append("TRY".rjust(tries))
        if time:
            parts.append("TIME".rjust(time))
        parts.append(look.cut("WHY / LAST LINE", why))
        return [Segment(" " * LEAD + " ".join(parts), look.muted + look.bold)]

    def line_content(self, line: int) -> Row:
        index = self._rows[line]
        task = self.view.tasks[index]
        elapsed = task.elapsed(self._now)
        return Row(
            cursor=line == self.cursor,
            focus=self.has_focus,
            marked=index in self.marked,
            state=task.state,
            stalled=task.stalled_since is not None,
            tries=self._tries(task),
            time="-" if elapsed is None else _time(elapsed),
            why=self._why(task),
        )

    def _tries(self, task: TaskView) -> str:
        if not task.attempts:
            return "-"
        tries = f"{task.attempt}/{task.max_attempts}"
        # a person may ask for more than the plan, whose limits the column is made for
        return tries if len(tries) <= self._tries_width else str(task.attempt)

    def _why(self, task: TaskView) -> str:
        last_line = self._last_line(task.index) if task.attempts else ""
        why = self.view.why(task.index, self._now, last_line)
        if task.state is TaskState.RUNNING and not why:
            return one_line(last_line)
        return why

    def draw_line(self, line: int, row: Row, look: Look) -> tuple[Sequence[Segment], Style]:
        widths = self._columns
        state = look.warning if row.stalled else look.states[row.state]
        waits = row.state is TaskState.PENDING
        name = look.muted if waits else look.text
        mark = "*" if look.plain else "•"
        segments = [
            Segment(mark if row.marked else " ", look.accent),
            Segment(f" {look.glyph(row.state)} ", state),
            Segment(_padded(look.cut_name(self.names[self._rows[line]], widths.task), widths.task), name),
        ]
        if widths.state:
            segments.append(Segment(f" {row.state:<{widths.state}}", state))
        if widths.tries:
            again = not row.tries.startswith(("1/", "-"))
            segments.append(Segment(f" {row.tries:>{widths.tries}}", look.warning if again else look.muted))
        if widths.time:
            segments.append(Segment(f" {row.time:>{widths.time}}", look.muted if waits else look.text))
        why = self._why_style(row, look)
        segments.append(Segment(f" {self._fit(row.why, widths.why, look)}", why))
        return segments, self.under(line, look)

    @staticmethod
    def _why_style(row: Row, look: Look) -> Style:
        if row.stalled:
            return look.warning
        return look.error if row.state is TaskState.FAILED else look.muted

    @staticmethod
    def _fit(text: str, width: int, look: Look) -> str:
        return _padded(look.cut(text, width), width)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _time(seconds: float) -> str:
    return clock(seconds) if seconds < DAY else short(seconds)


def _is_called(task: TaskView, word: str) -> bool:
    return (
        task.state.startswith(word)
        or (task.stalled_since is not None and "stalled".startswith(word))
        or (task.held and "held".startswith(word))
    )
