"""`ConsoleApp`: the console on a run. It knows the run by its handle; the engine is hosted outside."""

from __future__ import annotations

from typing import Any, Final

from textual.screen import Screen

from engine.core.inputs import CancelPlan, Command, DrainPlan
from engine.core.state import RunPhase
from engine.handle import RunHandle
from tui.base import HUNG_UP as HUNG_UP
from tui.base import PlandeckApp
from tui.preferences import Preferences
from tui.screens.run import RunScreen

TWICE: Final = 2.0
"""Seconds within which a second ctrl+c means it."""

DETACHED: Final = "detached"
"""What the app returns when it was left with the run going on."""

_WAYS_OUT: Final[dict[str, Command]] = {
    "drain": DrainPlan(),
    "cancel": CancelPlan(),
    "kill": CancelPlan(kill=True),
}


class ConsoleApp(PlandeckApp):
    """`show` returns when the operator leaves, whatever the run does then; `DETACHED` if it is to go on,
    `HUNG_UP` if the terminal has left.

    can_detach: whether the run can go on without this console.
    """

    def __init__(
        self,
        run: RunHandle,
        *,
        can_detach: bool = False,
        preferences: Preferences | None = None,
        ascii_only: bool | None = None,
    ) -> None:
        super().__init__(preferences, ascii_only=ascii_only)
        self._run = run
        self._can_detach = can_detach
        self._interrupted_at: float | None = None
        self._is_leaving = False
        self.run_screen = RunScreen(run, self.keys)

    def get_default_screen(self) -> Screen[Any]:
        return self.run_screen

    def action_leave(self) -> None:
        """At once if nothing is lost by it; else what becomes of the run is asked."""
        view = self.run_screen.view
        if view.phase is RunPhase.COMPLETE or self._run.read_only:
            self.exit()
        elif self.screen.id != "quit":
            from tui.screens.dialogs import ask_to_quit

            self.clear_notifications()
            self.push_screen(ask_to_quit(self.run_screen.feed, can_detach=self._can_detach), self._answered)

    def action_detach(self) -> None:
        """Leave the run alone."""
        if self._can_detach:
            self.exit(DETACHED)
        else:
            self.run_screen.steering.say("This run lives in this console and would end with it.")

    def _answered(self, way: str | None) -> None:
        self._is_leaving = way is not None
        if way is None:
            return
        if way == DETACHED:
            self.exit(DETACHED)
        elif self.run_screen.view.phase is RunPhase.COMPLETE:  # it ended while the question stood
            self.exit()
        else:
            self.run_screen.steering.send((_WAYS_OUT[way],))

    def action_interrupt(self) -> None:
        """Copy what is selected; with nothing selected, leave; at the second time, cancel the run."""
        if self.copy_selection():
            return
        now = self._run.now().offset
        before, self._interrupted_at = self._interrupted_at, now
        if before is None or now - before > TWICE:
            self.action_leave()
            return
        while self.screen is not self.run_screen:
            self.pop_screen()
        self._answered("cancel")

    def on_run_screen_completed(self) -> None:
        if self._is_leaving:
            self.exit()
