"""`RunScreen`: the one screen on which a run is watched and steered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

import anyio
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from engine.core.state import RunPhase
from engine.handle import RunHandle
from engine.view.forecast import Forecast
from engine.view.run_view import Changes, RunView
from tui import commands
from tui.commands import Wish
from tui.feed import Feed
from tui.keymap import Place, bindings
from tui.lead import Lead
from tui.notice import Notices
from tui.offers import offers
from tui.screens.find_actions import FindActions
from tui.screens.log_actions import LogActions
from tui.screens.replaying import Replaying
from tui.screens.steering import Steering
from tui.widgets.alert import Alert
from tui.widgets.events import EventsPane
from tui.widgets.footer import Footer
from tui.widgets.frame import Frame, PaneId
from tui.widgets.gauge import Gauge
from tui.widgets.header import RunHeader
from tui.widgets.log import LogPane
from tui.widgets.scroll import fit_scrollbars
from tui.widgets.table import TaskTable
from tui.widgets.timeline import Timeline
from tui.widgets.tree import PlanTree

FRAMES_A_SECOND: Final = 10

_NOTHING: Final = Changes(set(), False)


class RunScreen(LogActions, FindActions, inherit_bindings=False):
    """Draws what the feed knows, ten times a second, if anything changed; turns keys into commands.

    keys: the keys in force, by the id of their entry. way_out: where the key that quits leads.
    """

    AUTO_FOCUS = "#table"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.RUN)
    PLACES: ClassVar = (Place.RUN, Place.TABLE, Place.TREE, Place.LOG, Place.TIMELINE, Place.EVENTS)
    """Whose keys the palette offers here."""

    class Completed(Message):
        """Every task is terminal."""

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
        self.keys = keys
        self._second: int | None = None
        self._was_complete = False
        self._lead = Lead()
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
        self.alert = Alert(view, run.last_line, keys)
        self.footer = Footer()

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
            self.follow(self.selected)
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
            self._go_where_led(now)
            for widget in (self.header, self.gauge, *self.lists, self.alert):
                widget.update_from(changes, now)
            self.draw_borders()
            if news := self._notices.of(view):
                self.post_message(self.Noteworthy(news))
        self.log_pane.update_from(changes, now)  # a file grows without an event
        self.entitle(PaneId.LOG)
        self.entitle(self.frame.front)
        is_complete = view.phase is RunPhase.COMPLETE
        if is_complete and not self._was_complete:
            self.post_message(self.Completed())
        self._was_complete = is_complete

    def _go_where_led(self, now: float) -> None:
        """Until the operator has done anything, show what fails, else what runs."""
        if self.leads and (index := self._lead.next(self.view, self.selected, now)) is not None:
            self.follow(index)

    def draw_borders(self) -> None:
        """All that depends on where the operator is, around the panes."""
        for pane in PaneId:
            self.entitle(pane)
        self.alert.select(self.selected)
        is_replay = self._run.playback is not None
        front, targets = self.frame.front, self.targets
        self.footer.offer(offers(self.view, front, targets, self.keys, self._way_out, is_replay=is_replay))

    def _resynced(self, view: RunView) -> None:
        self.forecast.rebind(view)
        for widget in (self.header, self.gauge, *self.lists, self.log_pane, self.alert):
            widget.rebind(view)
        for line in (self.header, self.gauge, self.alert):
            line.renew()  # the new view has no changes to tell them of

    # ── what opens over it ──────────────────────────────────────────────────────────────────────

    def action_stream(self) -> None:
        from tui.aside import step_aside  # here as below: what opens later is loaded later

        self.run_worker(step_aside(self.app, self._run, self.steering.say), group="aside", exclusive=True)

    def action_stall(self) -> None:
        from tui.screens.stall import StallScreen

        if self.view.stalled:
            self.app.push_screen(StallScreen(self._run, self.feed, self.keys, self.selected))
        else:
            self.steering.say("Nothing is stalled.")

    def action_dismiss_stall(self) -> None:
        if not self.alert.dismiss():
            self.steering.say("There is no stall alert to dismiss.")

    def action_details(self) -> None:
        from tui.screens.detail import DetailScreen

        if self.selected is not None:
            self.app.push_screen(
                DetailScreen(self._run, self.feed, self.selected, self.go_to, self._open_log)
            )

    def _open_log(self, index: int, attempt: int) -> None:
        self.go_to(index)
        self.log_pane.show_attempt(attempt)
        self.bring(PaneId.LOG)

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
