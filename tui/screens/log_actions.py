"""`LogActions`: what the keys of the log and of a replay do, wherever on the screen they are pressed."""

from __future__ import annotations

from tui.screens.panes import PaneScreen
from tui.screens.replaying import Replaying
from tui.widgets.frame import PaneId
from tui.widgets.header import RunHeader


class LogActions(PaneScreen, inherit_bindings=False):
    """The part of a run's screen that has to do with time past."""

    header: RunHeader
    replaying: Replaying

    def action_log_follow(self) -> None:
        self.log_pane.follow = not self.log_pane.follow
        self.draw_borders()

    def action_log_wrap(self) -> None:
        self.log_pane.wrap = not self.log_pane.wrap
        self.draw_borders()

    def action_log_times(self) -> None:
        self.log_pane.next_time_style()
        self.draw_borders()

    def action_log_merged(self) -> None:
        self.log_pane.merged = not self.log_pane.merged
        self.bring(PaneId.LOG)

    def get_selected_text(self) -> str | None:
        return self.log_pane.selected_text() or super().get_selected_text()

    def clear_selection(self) -> None:
        self.log_pane.clear_selection()
        super().clear_selection()

    def action_replay_step(self, count: int) -> None:
        self.replaying.step(count)
        self.header.renew()

    def action_replay_speed(self, by: int) -> None:
        self.replaying.hasten(by)
        self.header.renew()
