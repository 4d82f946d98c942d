"""`ConsoleApp`: the console on a run. It knows the run by its handle; the engine is hosted outside."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from rich.console import RenderableType
from textual._compositor import ChopsUpdate
from textual.binding import BindingType
from textual.command import Provider
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import Input

from engine.core.inputs import CancelPlan, Command, DrainPlan
from engine.core.state import RunPhase
from engine.handle import RunHandle
from tui.keymap import Place, bindings, effective
from tui.palette import KeyProvider
from tui.present import DARK, LIGHT, Look, stand_ins, variables_of, wants_ascii
from tui.screens.run import RunScreen
from tui.spans import SpanUpdate
from tui.terminal import TerminalApp, TerminalLost

TWICE: Final = 2.0
"""Seconds within which a second ctrl+c means it."""

DETACHED: Final = "detached"
"""What the app returns when it was left with the run going on."""

HUNG_UP: Final = "hung up"
"""What it returns when nobody has left it: the terminal has gone."""

_WAYS_OUT: Final[dict[str, Command]] = {
    "drain": DrainPlan(),
    "cancel": CancelPlan(),
    "kill": CancelPlan(kill=True),
}


class ConsoleApp(TerminalApp[str], inherit_bindings=False):
    """`run_async` returns when the operator leaves, whatever the run does then; `DETACHED` if it is to go on,
    `HUNG_UP` if the terminal has left.

    can_detach: whether the run can go on without this console. remapped: other keys for bindings, by
    their id. ascii_only: only signs that every terminal has; None to find out.
    """

    CSS_PATH = "app.tcss"
    TITLE = "plandeck"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.APP, Place.ANYWHERE)
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {KeyProvider}

    def __init__(
        self,
        run: RunHandle,
        *,
        can_detach: bool = False,
        remapped: Mapping[str, str] | None = None,
        ascii_only: bool | None = None,
    ) -> None:
        colourless = "NO_COLOR" in os.environ
        super().__init__(ansi_color=colourless)  # not None: it would be looked up for every line
        self._run = run
        self._can_detach = can_detach
        self._remapped = remapped or {}
        self._plain = wants_ascii() if ascii_only is None else ascii_only
        self._interrupted_at: float | None = None
        self._is_leaving = False
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = "ansi-dark" if colourless else DARK.name
        self.look = self._make_look(self.current_theme)
        self.set_class(self._plain, "-plain")
        self.set_keymap(self._remapped)
        self.run_screen = RunScreen(run, effective(self._remapped))

    def get_default_screen(self) -> Screen[Any]:
        return self.run_screen

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._retheme)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if isinstance(renderable, ChopsUpdate):
            renderable = SpanUpdate.of(renderable)
        super()._display(screen, renderable)

    # ── looks ───────────────────────────────────────────────────────────────────────────────────

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return stand_ins(self.current_theme)

    def _make_look(self, theme: Theme) -> Look:
        return Look(variables_of(theme), plain=self._plain, monochrome=self.no_color)

    def _retheme(self, theme: Theme) -> None:
        self.look = self._make_look(theme)
        for screen in self.screen_stack:
            for widget in screen.query("*"):
                widget.refresh()

    # ── pages ───────────────────────────────────────────────────────────────────────────────────

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen  # most runs end without it

        self.push_screen(HelpScreen(effective(self._remapped)))

    # ── leaving ─────────────────────────────────────────────────────────────────────────────────

    def action_leave(self) -> None:
        """At once if nothing is lost by it; else what becomes of the run is asked."""
        view = self.run_screen.view
        if view.phase is RunPhase.COMPLETE or self._run.read_only:
            self.exit()
        elif self.screen.id != "quit":
            from tui.screens.dialogs import ask_to_quit

            self.clear_notifications()
            self.push_screen(ask_to_quit(view, can_detach=self._can_detach), self._answered)

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
        if self._copy():
            return
        now = self._run.now().offset
        before, self._interrupted_at = self._interrupted_at, now
        if before is None or now - before > TWICE:
            self.action_leave()
            return
        while self.screen is not self.run_screen:
            self.pop_screen()
        self._answered("cancel")

    def _copy(self) -> bool:
        focused = self.focused
        text = self.screen.get_selected_text() or ""
        if not text and isinstance(focused, Input):
            text = focused.selected_text
        if not text:
            return False
        self.copy_to_clipboard(text)
        self.screen.clear_selection()
        self.notify("Copied.", timeout=2, markup=False)
        return True

    def on_run_screen_completed(self) -> None:
        if self._is_leaving:
            self.exit()

    def on_terminal_lost(self, message: TerminalLost) -> None:
        """Nobody is there any more. What becomes of the run is its host's affair."""
        self.exit(HUNG_UP)
