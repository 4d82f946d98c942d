"""`PaneScreen`: a screen of panes about the tasks of a run, and where on it the operator is."""

from __future__ import annotations

from typing import Any, Final

from textual.message import Message
from textual.screen import Screen

from engine.view.run_view import RunView
from tui.feed import Feed
from tui.widgets.events import EventsPane
from tui.widgets.frame import Frame, PaneId
from tui.widgets.log import LogPane
from tui.widgets.table import TaskTable
from tui.widgets.task_pane import TaskPane
from tui.widgets.timeline import Timeline
from tui.widgets.tree import PlanTree

_PANES: Final = {pane.name.lower(): pane for pane in PaneId}


class PaneScreen(Screen[None], inherit_bindings=False):
    """Every pane shows the same task. Who derives from it makes the panes and draws them.

    leads: whether the cursor goes by itself to what is worth a look, until the operator does anything.
    """

    feed: Feed
    plan_tree: PlanTree
    table: TaskTable
    log_pane: LogPane
    timeline: Timeline
    events_pane: EventsPane
    frame: Frame

    class Back(Message):
        """A step back was asked for where there is none left."""

    def __init__(self) -> None:
        super().__init__()
        self.leads = True
        self._list = PaneId.TABLE
        """The pane that Escape goes back to from the log."""

    @property
    def view(self) -> RunView:
        """The run as far as it is known."""
        return self.feed.view

    @property
    def lists(self) -> tuple[PlanTree, TaskTable, Timeline, EventsPane]:
        """The panes that have a cursor."""
        return self.plan_tree, self.table, self.timeline, self.events_pane

    def draw_borders(self) -> None:
        """All that depends on where the operator is, around the panes."""
        raise NotImplementedError

    def entitle(self, pane: PaneId) -> None:
        """Write into the border what the pane shows, and how."""
        widget = self.frame.panes[pane]
        self.frame.entitle(pane, f"{pane + 1} {widget.title}", widget.note)

    # ── the task ────────────────────────────────────────────────────────────────────────────────

    @property
    def selected(self) -> int | None:
        """The task that actions are about, unless some are marked."""
        return self._pane_of_tasks.selected

    @property
    def targets(self) -> list[int]:
        """The tasks that an action is about: those marked, else the selected one, or in the tree all of a
        matrix."""
        return sorted(self.table.marked) if self.table.marked else self._pane_of_tasks.targets

    @property
    def _pane_of_tasks(self) -> TaskPane[Any]:
        lists: dict[PaneId, TaskPane[Any]] = {PaneId.TREE: self.plan_tree, PaneId.TIMELINE: self.timeline}
        return lists.get(self._list, self.table)

    def on_key(self) -> None:
        self.leads = False

    on_mouse_down = on_key

    def on_task_pane_task_highlighted(self, message: TaskPane.TaskHighlighted) -> None:
        self.leads = False
        self.follow(message.index)

    def on_task_pane_task_opened(self, message: TaskPane.TaskOpened) -> None:
        self.follow(message.index)
        self.bring(PaneId.LOG)

    def on_events_pane_task_meant(self, message: EventsPane.TaskMeant) -> None:
        self.go_to(message.index)
        if message.opened:
            self.bring(PaneId.TABLE)

    def go_to(self, index: int) -> None:
        """Select a task, also one that the filter hides."""
        if self.table.line_of(index) is None:
            self.table.filter("")
            self.table.failed_only = False
        self.follow(index)

    def follow(self, index: int) -> None:
        """Let every pane show the task."""
        for pane in self.lists:
            pane.select(index)
        self.log_pane.select(index)
        self.draw_borders()

    # ── the panes ───────────────────────────────────────────────────────────────────────────────

    def on_frame_picked(self, message: Frame.Picked) -> None:
        self.bring(message.pane)

    def on_descendant_focus(self) -> None:
        """A click focuses a pane without asking."""
        for pane in PaneId:
            if self.frame.panes[pane].has_focus and self.frame.front is not pane:
                self.bring(pane)

    def bring(self, pane: PaneId) -> None:
        """Put a pane in front."""
        if pane is not PaneId.LOG:
            self._list = pane
        self.frame.bring(pane)
        self.draw_borders()

    def action_view(self, name: str) -> None:
        self.bring(_PANES[name])

    def action_pane(self, by: int) -> None:
        panes = self.frame.reachable
        self.bring(panes[(panes.index(self.frame.front) + by) % len(panes)])

    def action_zoom(self) -> None:
        self.frame.bring(self.frame.front, zoomed=not self.frame.zoomed)

    def action_log(self) -> None:
        self.bring(PaneId.LOG)

    def action_back(self) -> None:
        """One step, the nearest first."""
        if self.frame.zoomed:
            self.frame.bring(self.frame.front, zoomed=False)
        elif self.frame.front is PaneId.LOG:
            if not self.log_pane.step_back():
                self.bring(self._list)
        elif self.table.marked:
            self.table.clear_marks()
        elif self.events_pane.is_filtered and self.frame.front is PaneId.EVENTS:
            self.events_pane.show_all()
        elif self.table.is_filtered:
            self.table.filter("")
            self.table.failed_only = False
        else:
            self.post_message(self.Back())
        self.draw_borders()
