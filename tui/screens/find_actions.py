"""`FindActions`: finding, filtering and going to what is in trouble."""

from __future__ import annotations

from textual.widgets import Input

from engine.ground.text import one_line
from tui.keymap import first
from tui.screens.panes import PaneScreen
from tui.screens.steering import Steering
from tui.widgets.events import EventsPane
from tui.widgets.find import FindBar
from tui.widgets.footer import Footer
from tui.widgets.frame import PaneId
from tui.widgets.table import TaskTable


class FindActions(PaneScreen, inherit_bindings=False):
    """The part of a run's screen that has to do with what is sought.

    keys: the keys in force, by the id of their entry.
    """

    keys: dict[str, str]
    steering: Steering
    footer: Footer

    def __init__(self) -> None:
        super().__init__()
        self._sought = ""

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
            self.entitle(PaneId.LOG)

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
            self.steering.say(f"Nothing is being sought: {first(self.keys['find'])} finds.")
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
