"""`TaskPane`: a pane in which every line is a task; what tree and table have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from textual.binding import BindingType
from textual.message import Message

from engine.core.state import RunPhase, TaskState
from engine.view.run_view import Changes, RunView
from tui.keymap import Place, bindings
from tui.widgets.cursor import CursorPane
from tui.widgets.lines import Shown

STILL: Final = frozenset(
    {TaskState.PENDING, TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED}
)
"""States in which a line changes only when an event says so; in the others time alone changes it."""


URGENCY: Final[dict[TaskState, int]] = {
    state: rank
    for rank, state in enumerate(
        (
            TaskState.FAILED,
            TaskState.STOPPING,
            TaskState.RETRYING,
            TaskState.RUNNING,
            TaskState.READY,
            TaskState.PENDING,
            TaskState.CANCELLED,
            TaskState.SKIPPED,
            TaskState.SUCCESS,
        )
    )
}
"""The order of the states when sorted by state: what needs a person first."""

SETTLE_AFTER: Final = 1.0
"""Seconds for which lines keep their places: what jumps at every tick cannot be read."""


class TaskPane(CursorPane[Shown]):
    """Lines that are tasks, with a cursor.

    rows: the tasks shown, by index, in the order of the lines. A subclass may have lines that stand for
    several tasks, by numbers of its own (see `task_of` and `targets`). Moving the cursor by key or mouse
    posts `TaskHighlighted`; `select`, with which an app keeps its panes together, does not. The selection
    is a task and not a line: it stays on its task when lines come, go or change places.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST, Place.TASKS)

    class TaskHighlighted(Message):
        """The cursor came to another task."""

        def __init__(self, pane: TaskPane[Any], index: int) -> None:
            super().__init__()
            self.pane = pane
            self.index = index

        @property
        def control(self) -> TaskPane[Any]:
            return self.pane

    class TaskOpened(Message):
        """A task was asked for, with Enter or two clicks."""

        def __init__(self, pane: TaskPane[Any], index: int) -> None:
            super().__init__()
            self.pane = pane
            self.index = index

        @property
        def control(self) -> TaskPane[Any]:
            return self.pane

    def __init__(
        self, view: RunView, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.view = view
        self.names: list[str] = []
        self._now = 0.0
        self._rows: Sequence[int] = ()
        self._line_of: dict[int, int] = {}
        self._unsettled = False  # lines are not where they belong, which can wait
        self._arranged_at = 0.0
        self._adopt(view)

    # ── for subclasses ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def order_tasks(self, keep: int | None) -> Sequence[int]:
        """The tasks to show, in their order. keep: the task that the cursor is on."""

    @abstractmethod
    def note_changes(self, tasks: Iterable[int]) -> bool:
        """Take up that `tasks` changed; return whether the lines must be arranged anew at once. If it is
        enough to do so when lines may move again, set `_unsettled`."""

    def adopt_view(self) -> None:
        """`view` is another one: forget what was known of the old one."""

    def task_of(self, node: int) -> int:
        """The task that a line is about, by what is in `rows`."""
        return node

    def may_differ(self, index: int, changes: Changes) -> bool:
        """Whether the line of a task may look different from the last tick."""
        return changes.plan or index in changes.tasks or self.view.tasks[index].state not in STILL

    def line_key(self, line: int) -> int:
        return self._rows[line]

    def empty_note(self) -> str:
        return "the plan has no tasks"

    def within_reach(self) -> Sequence[int]:
        """What is searched, in its order: tasks, or whatever is in `rows`."""
        return self._rows

    # ── the run ─────────────────────────────────────────────────────────────────────────────────

    def update_from(self, changes: Changes, now: float) -> None:
        """Bring the visible lines up to `now`, an offset in seconds. Called on every tick."""
        self._now = now
        if self.note_changes(changes.tasks) or (self._unsettled and self._may_settle):
            self.rearrange()  # which draws
        else:
            rows = self._rows
            self.redraw_lines([line for line in self.visible_lines if self.may_differ(rows[line], changes)])

    def rebind(self, view: RunView) -> None:
        """Show another view of the same plan, after a resync; the cursor stays on its task."""
        self._adopt(view)
        self.redraw_all()

    def _adopt(self, view: RunView) -> None:
        self.view = view
        self.names = view.names
        self.adopt_view()
        self.rearrange()

    @property
    def _may_settle(self) -> bool:
        return self._now - self._arranged_at >= SETTLE_AFTER or self.view.phase is RunPhase.COMPLETE

    @property
    def rows(self) -> Sequence[int]:
        return self._rows

    def rearrange(self, keep: int | None = None) -> None:
        """Ask for the lines anew. keep: the task that the cursor then is on, else the one that it was on;
        its place on the screen stays the same."""
        node = self.node
        keep = node if keep is None else keep
        offset = self.cursor - self.top
        self._unsettled = False
        self._arranged_at = self._now
        self._rows = self.order_tasks(keep)
        self._line_of = {index: line for line, index in enumerate(self._rows)}
        self.line_count = len(self._rows)
        line = self._line_of.get(keep) if keep is not None else None
        self.cursor = line if line is not None else max(0, min(self.cursor, len(self._rows) - 1))
        if self.is_mounted:
            self.scroll_to_line(self.cursor - offset)
            self.reveal(self.cursor)
            self.redraw_changed()
        if line is None and self.selected is not None and node is not None:
            self.post_message(self.TaskHighlighted(self, self.selected))

    # ── the cursor ──────────────────────────────────────────────────────────────────────────────

    @property
    def node(self) -> int | None:
        """What is under the cursor, as in `rows`; None if nothing is shown."""
        return self._rows[self.cursor] if self._rows else None

    @property
    def selected(self) -> int | None:
        """The index of the task under the cursor; None if no task is shown."""
        node = self.node
        return None if node is None else self.task_of(node)

    @property
    def targets(self) -> list[int]:
        """The tasks that an action at the cursor is about."""
        return [] if self.selected is None else [self.selected]

    def select(self, index: int) -> None:
        """Put the cursor on a task, if it is shown. Posts nothing."""
        line = self._line_of.get(index)
        if line is not None:
            self.put_cursor(line)

    def select_node(self, node: int) -> None:
        """Put the cursor on what is in `rows`, or would be. Posts nothing."""
        self.select(node)

    def line_of(self, index: int) -> int | None:
        """The line that shows the task, None if none does."""
        return self._line_of.get(index)

    def cursor_put(self, *, moved: bool) -> None:
        if moved:
            self.post_message(self.TaskHighlighted(self, self.task_of(self._rows[self.cursor])))

    def find_next(self, text: str) -> bool:
        """Go to the next task with `text` in its name, round the end; False if there is none."""
        return self._seek(self._named(text), 1)

    def find_previous(self, text: str) -> bool:
        """Go to the task before with `text` in its name, round the start; False if there is none."""
        return self._seek(self._named(text), -1)

    def _named(self, text: str) -> Callable[[int], bool]:
        wanted = text.casefold()
        return lambda index: wanted in self.names[index].casefold()

    def _seek(self, wanted: Callable[[int], bool], step: int) -> bool:
        tasks = self.within_reach()
        start = tasks.index(self.node) if self.node is not None else 0
        for distance in range(1, len(tasks) + 1):
            node = tasks[(start + step * distance) % len(tasks)]
            if wanted(node):
                if node != self.node:
                    self.select_node(node)
                    self.post_message(self.TaskHighlighted(self, self.task_of(node)))
                return True
        return False

    # ── actions ─────────────────────────────────────────────────────────────────────────────────

    def action_open(self) -> None:
        if self.selected is not None:
            self.post_message(self.TaskOpened(self, self.selected))
