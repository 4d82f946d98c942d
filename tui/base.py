"""`PlandeckApp`: what the console on a run and the list of runs have in common: looks, keys, help, bell."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import events
from textual._compositor import CompositorUpdate
from textual.binding import BindingType
from textual.command import Provider
from textual.theme import Theme
from textual.widgets import Input

from engine.ground.collector import settle_collector
from engine.settings.model import When
from tui.keymap import Place, bindings, effective
from tui.notice import desktop_notification
from tui.palette import KeyProvider
from tui.plain.marks import wants_ascii
from tui.preferences import Preferences
from tui.present import DARK, LIGHT, Look, cut, stand_ins, variables_of
from tui.remapping import NO_KEY
from tui.screens.run import RunScreen
from tui.terminal.canvas import Canvas
from tui.terminal.driver import TerminalApp, TerminalLost
from tui.terminal.type_ahead import OneKeyAtATime

logger = logging.getLogger(__name__)

HUNG_UP: Final = "hung up"
"""What the app returns when nobody has left it: the terminal has gone."""


class PlandeckApp(OneKeyAtATime[str], TerminalApp[str], inherit_bindings=False):
    """preferences: how the user wants it. ascii_only: only signs that every terminal has; None to go by
    the preferences and the terminal."""

    CSS_PATH = "app.tcss"
    TITLE = "plandeck"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.APP, Place.ANYWHERE)
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {KeyProvider}

    def __init__(self, preferences: Preferences | None = None, *, ascii_only: bool | None = None) -> None:
        colourless = "NO_COLOR" in os.environ
        super().__init__(ansi_color=colourless)  # not None: it would be looked up for every line
        self.preferences = preferences or Preferences()
        wanted = self.preferences.console
        asked = wanted.ascii if ascii_only is None else ascii_only
        self._plain = wants_ascii() if asked is None else asked
        self._canvas = Canvas()
        self._is_looked_at: bool | None = None
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = "ansi-dark" if colourless else wanted.theme or DARK.name
        self.look = self._make_look(self.current_theme)
        self.set_class(self._plain, "-plain")
        self.keys = effective(self.preferences.remapped)
        """The keys in force, by the id of their binding."""
        self.heeds_alt = any("alt+" in keys for keys in self.keys.values())
        self.set_keymap({key_id: keys or NO_KEY for key_id, keys in self.preferences.remapped.items()})

    async def show(self) -> str | None:
        """Run until it is left, and return what it was left with."""
        return await self.run_async(mouse=self.preferences.console.mouse)

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._retheme)
        faults = self.preferences.faults
        if faults:
            fault, more = faults[0], f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            words = f"{Path(fault.file).name}:{fault.line}: {cut(fault.message, 120)}{more}"
            self.notify(words, severity="warning", markup=False)

    def on_ready(self) -> None:
        self.call_after_refresh(settle_collector)

    # ── looks ───────────────────────────────────────────────────────────────────────────────────

    def prepare_frame(self, renderable: Any) -> Any:
        if isinstance(renderable, CompositorUpdate):
            return self._canvas.on(renderable, (self.size.width, self.size.height))
        return renderable

    def forget_frames(self) -> None:
        self._canvas.forget()

    def action_redraw(self) -> None:
        """Paint all of it: somebody else has written to the terminal."""
        self._canvas.forget()
        self.screen.refresh()

    def on_resize(self) -> None:
        self._canvas.forget()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return stand_ins(self.current_theme)

    def _make_look(self, theme: Theme) -> Look:
        few = self.console.color_system == "standard"
        return Look(variables_of(theme), plain=self._plain, monochrome=self.no_color, few_colours=few)

    def _retheme(self, theme: Theme) -> None:
        self.look = self._make_look(theme)
        for screen in self.screen_stack:
            for widget in screen.query("*"):
                widget.refresh()

    # ── keys ────────────────────────────────────────────────────────────────────────────────────

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen  # most runs end without it

        self.push_screen(HelpScreen(self.keys))

    def action_suspend(self) -> None:
        """Stop, as any program does at ctrl+z."""
        if self._driver is not None and self._driver.can_suspend:
            self.action_suspend_process()
        else:
            self.notify("There is no shell to go back to.", severity="warning", markup=False)

    def copy_selection(self) -> bool:
        """Copy what is selected; whether anything was."""
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

    # ── defects ─────────────────────────────────────────────────────────────────────────────────

    def _handle_exception(self, error: Exception) -> None:
        logger.error("the console failed", exc_info=error)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Textual's own adds the variables of every frame: screens of them, and what nobody should see."""
        self.panic(Text("".join(traceback.format_exception(self._exception)).rstrip()))

    # ── what the terminal tells, and is told ────────────────────────────────────────────────────

    def on_app_focus(self, event: events.AppFocus) -> None:
        self._is_looked_at = True

    def on_app_blur(self, event: events.AppBlur) -> None:
        self._is_looked_at = False

    def on_run_screen_noteworthy(self, message: RunScreen.Noteworthy) -> None:
        """Ring, and show a notification, as the user has chosen."""
        if self._is_wanted(self.preferences.console.bell):
            self.bell()
        if self._is_wanted(self.preferences.console.notifications) and self._driver is not None:
            self._driver.write(desktop_notification(message.words, os.environ))
            self._driver.flush()

    def _is_wanted(self, when: When) -> bool:
        # a terminal that never tells may well be one that nobody looks at
        return when == "always" or (when == "away" and self._is_looked_at is not True)

    def on_terminal_lost(self, message: TerminalLost) -> None:
        """Nobody is there any more. What becomes of a run is its host's affair."""
        self.exit(HUNG_UP)
