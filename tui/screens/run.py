"""`RunScreen`: the one screen on which a run is watched and steered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import anyio
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from engine.core.state import RunPhase
from engine.handle import RunHandle
from engine.view.forecast import Forecast
from engine.view.run_view import Changes, RunView
from engine.view.text import one_line
from tui import commands
from tui.commands import Wish
from tui.feed import Feed
from tui.keymap import Place, bindings, first
from tui.lead import lead
from tui.notice import Notices
from tui.offers import offers
from tui.screens.log_actions import LogActions
from tui.screens.replaying import Replaying
from tui.screens.steering import Steering
from tui.widgets.alert import Alert
from tui.widgets.events import EventsPane
from tui.widgets.find import FindBar
from tui.widgets.footer import Footer
from tui.widgets.frame import Frame, PaneId
from tui.widgets.gauge import Gauge
from tui.widgets.header import RunHeader
from tui.widgets.log import LogPane
from tui.widgets.scroll import fit_scrollbars
from tui.widgets.table import TaskTable
from tui.widgets.task_pane import TaskPane
from tui.widgets.timeline import Timeline
from tui.widgets.tree import PlanTree

FRAMES_A_SECOND: Final = 10

_NOTHING: Final = Changes(set(), False)

_PANES: Final = {pane.name.lower(): pane for pane in PaneId}


class RunScreen(LogActions, inherit_bindings=False):
    """Draws what the feed knows, ten times a second, if anything changed; turns keys into commands.

    keys: the keys in force, by the id of their entry. way_out: where the key that quits leads.
    """

    AUTO_FOCUS = "#table"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.RUN)
    PLACES: ClassVar = (Place.RUN, Place.TABLE, Place.TREE, Place.LOG, Place.TIMELINE, Place.EVENTS)
    """Whose keys the palette offers here."""

    class Completed(Message):
        """Every task is terminal."""

    class Back(Message):
        """A step back was asked for where there is none left."""

    class Noteworthy(Message):
        """A task failed or stalled, or the run ended. words: which."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    def __init__(self, run: RunHandle, keys: dict[str, str], *, way_out: str = "quit") -> None:
        super().__init__()
        self._way_out = way_out
        self.feed = Feed(run, self._resynced)
        self._run = run
        self._keys = keys
        self._second: int | None = None
        self._was_complete = False
        self.leads = True
        """Whether the cursor goes by itself to what is worth a look: until the operator does anything."""
        self._list = PaneId.TABLE
        """The pane that Escape goes back to from the log."""
        self._sought = ""
        self.steering = Steering(self, run, self.feed)
        view = self.feed.view
        self._notices = Notices(view)
        self.forecast = Forecast(view)
        self.replaying = Replaying(self, run)
        self.header = RunHeader(view, self.forecast, read_only=run.read_only, replay=self.replaying.words)
        self.gauge = Gauge(view)
        self.plan_tree = PlanTree(view, id="tree")
        self.table = TaskTable(view, run.last_line, id="table")
        self.log_pane = LogPane(run, view, id="log")
        self.timeline = Timeline(view, self.forecast, id="timeline")
        self.events_pane = EventsPane(view, id="events")
        self.frame = Frame(self.plan_tree, self.table, self.log_pane, self.timeline, self.events_pane)
        self._lists = (self.plan_tree, self.table, self.timeline, self.events_pane)
        self.alert = Alert(view, run.last_line, keys)
        self.footer = Footer()

    @property
    def view(self) -> RunView:
        """The run as far as it is known."""
        return self.feed.view

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

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.gauge
        yield self.frame
        yield self.alert
        yield self.footer

    def on_mount(self) -> None:
        fit_scrollbars(*self.frame.panes)
        self.frame.bring(PaneId.TABLE)
        if self.selected is not None:
            self._follow(self.selected)
        self.run_worker(self.feed.follow(), name="feed", exit_on_error=True)
        self.run_worker(self._beat(), name="beat", exit_on_error=True)
        self.tick()

    def on_unmount(self) -> None:
        self.feed.close()

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────

    async def _beat(self) -> None:
        """Tick for as long as the screen lives. A worker and not a Textual timer, which costs three
        times what a tick does that finds nothing to draw."""
        while True:
            await anyio.sleep(1 / FRAMES_A_SECOND)
            self.tick()

    def tick(self) -> None:
        """Draw what changed since the last tick, and the clocks once a second."""
        now = self._run.now().offset
        view = self.view
        changes = _NOTHING
        self.forecast.advance(now)
        if self.feed.is_fresh or (self._second != int(now) and view.phase is not RunPhase.COMPLETE):
            self.feed.is_fresh = False
            self._second = int(now)
            changes = view.drain_changes()
            self._lead()
            for widget in (self.header, self.gauge, *self._lists, self.alert):
                widget.update_from(changes, now)
            self.draw_borders()
            if news := self._notices.of(view):
                self.post_message(self.Noteworthy(news))
        self.log_pane.update_from(changes, now)  # a file grows without an event
        self._entitle(PaneId.LOG)
        self._entitle(self.frame.front)
        is_complete = view.phase is RunPhase.COMPLETE
        if is_complete and not self._was_complete:
            self.post_message(self.Completed())
        self._was_complete = is_complete

    def _lead(self) -> None:
        """Until the operator has done anything, show what fails, else what runs."""
        if self.leads and (index := lead(self.view, self.selected)) is not None:
            self._follow(index)

    def on_key(self) -> None:
        self.leads = False

    on_mouse_down = on_key

    def _entitle(self, pane: PaneId) -> None:
        widget = self.frame.panes[pane]
        self.frame.entitle(pane, f"{pane + 1} {widget.title}", widget.note)

    def draw_borders(self) -> None:
        """All that depends on where the operator is, around the panes."""
        for pane in PaneId:
            self._entitle(pane)
        self.alert.select(self.selected)
        is_replay = self._run.playback is not None
        front, targets = self.frame.front, self.targets
        self.footer.offer(offers(self.view, front, targets, self._keys, self._way_out, is_replay=is_replay))

    def _resynced(self, view: RunView) -> None:
        self.forecast.rebind(view)
        for widget in (self.header, self.gauge, *self._lists, self.log_pane, self.alert):
            widget.rebind(view)
        for line in (self.header, self.gauge, self.alert):
            line.renew()  # the new view has no changes to tell them of

    # ── panes ───────────────────────────────────────────────────────────────────────────────────

    def on_task_pane_task_highlighted(self, message: TaskPane.TaskHighlighted) -> None:
        self.leads = False
        self._follow(message.index)

    def on_task_pane_task_opened(self, message: TaskPane.TaskOpened) -> None:
        self._follow(message.index)
        self.bring(PaneId.LOG)

    def on_events_pane_task_meant(self, message: EventsPane.TaskMeant) -> None:
        self.go_to(message.index)
        if message.opened:
            self.bring(PaneId.TABLE)

    def on_frame_picked(self, message: Frame.Picked) -> None:
        self.bring(message.pane)

    def on_descendant_focus(self) -> None:
        """A click focuses a pane without asking."""
        for pane in PaneId:
            if self.frame.panes[pane].has_focus and self.frame.front is not pane:
                self.bring(pane)

    def go_to(self, index: int) -> None:
        """Select a task, also one that the filter hides."""
        if self.table.line_of(index) is None:
            self.table.filter("")
            self.table.failed_only = False
        self._follow(index)

    def _follow(self, index: int) -> None:
        """Let every pane show the task."""
        for pane in self._lists:
            pane.select(index)
        self.log_pane.select(index)
        self.draw_borders()

    def bring(self, pane: PaneId) -> None:
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

    def action_stream(self) -> None:
        from tui.aside import step_aside

        self.run_worker(step_aside(self.app, self._run, self.steering.say), group="aside", exclusive=True)

    def action_stall(self) -> None:
        from tui.screens.stall import StallScreen

        if self.view.stalled:
            self.app.push_screen(StallScreen(self._run, self.feed, self._keys, self.selected))
        else:
            self.steering.say("Nothing is stalled.")

    def action_dismiss_stall(self) -> None:
        if not self.alert.dismiss():
            self.steering.say("There is no stall alert to dismiss.")

    def action_details(self) -> None:
        from tui.screens.detail import DetailScreen  # here as below: what opens later is loaded later

        if self.selected is not None:
            self.app.push_screen(
                DetailScreen(self._run, self.feed, self.selected, self.go_to, self._open_log)
            )

    def _open_log(self, index: int, attempt: int) -> None:
        self.go_to(index)
        self.log_pane.show_attempt(attempt)
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

    # ── finding ─────────────────────────────────────────────────────────────────────────────────

    @property
    def _filtered(self) -> TaskTable | EventsPane | None:
        """The pane in front, if what is sought there is shown alone."""
        if self.frame.front is PaneId.TABLE:
            return self.table
        return self.events_pane if self.frame.front is PaneId.EVENTS else None

    def action_find(self) -> None:
        if not self.footer.display:
            return  # being typed into already; the palette can ask for it even then
        self.footer.display = False
        self.mount(FindBar(), after=self.footer)

    def on_input_changed(self, message: Input.Changed) -> None:
        if self._filtered is not None:
            self._filtered.filter(message.value)
            self.draw_borders()
        elif self.frame.front is PaneId.LOG:
            self.log_pane.find_as_typed(message.value)
            self._entitle(PaneId.LOG)

    def on_log_pane_find_wanted(self) -> None:
        self.action_find()

    def on_find_bar_left(self, message: FindBar.Left) -> None:
        """Found, or given up: text is None."""
        if not self.footer.display:
            self.query(FindBar).remove()
            self.footer.display = True
        self.frame.bring(self.frame.front)
        if self.frame.front is PaneId.LOG:
            self._sought = message.text or self._sought
            self.log_pane.end_typing(message.text)
            if self.log_pane.reading.search.is_in_vain:
                self.steering.say(f"Not found: {one_line(self._sought)}")
        elif message.text is None:
            if self._filtered is not None:
                self._filtered.filter("")
        else:
            self._sought = message.text
            if message.text and self._filtered is None:
                self.action_find_next(1)
        self.draw_borders()

    def action_find_next(self, step: int) -> None:
        pane = (self.plan_tree, self.table, self.log_pane, self.timeline, self.events_pane)[self.frame.front]
        if not self._sought:
            self.steering.say(f"Nothing is being sought: {first(self._keys['find'])} finds.")
        elif not (pane.find_next if step > 0 else pane.find_previous)(self._sought):
            self.steering.say(f"Not found: {one_line(self._sought)}")

    def action_failed_only(self) -> None:
        self.table.action_failed_only()
        self.bring(PaneId.TABLE)

    def action_next_trouble(self) -> None:
        troubled = sorted({*self.view.failures, *self.view.stalled})
        if not troubled:
            self.steering.say("Nothing has failed, nothing is stalled.")
            return
        here = -1 if self.selected is None else self.selected
        index = next((index for index in troubled if index > here), troubled[0])
        self.go_to(index)

    # ── steering ────────────────────────────────────────────────────────────────────────────────

    def _grant(self, wish: Callable[[RunView, Sequence[int]], Wish]) -> None:
        targets = self.targets
        self.steering.grant(lambda: wish(self.view, targets))

    def action_retry(self) -> None:
        self._grant(commands.retry)

    def action_retry_downstream(self) -> None:
        self._grant(commands.retry_downstream)

    def action_cancel(self) -> None:
        self._grant(commands.cancel)

    def action_kill(self) -> None:
        self._grant(commands.kill)

    def action_hold(self) -> None:
        self._grant(commands.hold)

    def action_settle(self) -> None:
        self.steering.settle(self.targets)

    def action_retry_failed(self) -> None:
        self.steering.grant(lambda: commands.retry_failed(self.view))

    def action_cancel_plan(self) -> None:
        self.steering.grant(lambda: commands.cancel_plan(self.view))

    def action_pause(self) -> None:
        if self.replaying.toggle():
            self.draw_borders()
            self.header.renew()
        else:
            self.steering.pause(self.targets)

    def action_slots(self, by: int) -> None:
        self.steering.change_slots(by)

    def action_failure_mode(self) -> None:
        self.steering.choose_mode(self.targets)

    def action_subplan(self) -> None:
        self.steering.steer_subplan(self.targets)

    def on_steering_sent(self) -> None:
        self.table.clear_marks()
