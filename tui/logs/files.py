"""`LogFiles`: what is done with the file of a log: it is saved elsewhere, or opened in a pager."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from textual.app import SuspendNotSupported
from textual.screen import Screen

from engine.ground.text import one_line
from tui.commands import Question
from tui.logs.reading import Reading
from tui.screens.dialogs import ask_path, confirm


class LogFiles:
    """screen: over which dialogs open."""

    def __init__(self, screen: Screen[Any], reading: Reading) -> None:
        self._screen = screen
        self._reading = reading

    # ── saving ──────────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        """Ask for a file, and save the log there. One that is there already is asked about."""
        reading = self._reading
        if not reading.is_open:
            self._say("There is no log to be saved.")
            return

        def chosen(path: str | None) -> None:
            if path is not None:
                self._save_to(Path(path).expanduser())

        self._screen.app.push_screen(ask_path("Save the log", reading.file_name), chosen)

    def _save_to(self, path: Path) -> None:
        if not os.path.lexists(path):
            self._start(path, os.O_EXCL)
            return

        def answered(answer: str | None) -> None:
            if answer is not None:
                self._start(path, os.O_TRUNC)

        words = f"{one_line(str(path))} is there already."
        question = Question("Overwrite it?", (words,), "Overwrite it", "Leave it as it is")
        self._screen.app.push_screen(confirm(question), answered)

    def _start(self, path: Path, how: int) -> None:
        pieces = self._reading.pieces()

        async def save() -> None:
            try:
                size = await anyio.to_thread.run_sync(_write, path, how, pieces, abandon_on_cancel=True)
            except OSError as error:
                self._say(f"Not saved: {one_line(str(path))}: {error.strerror}")
            else:
                self._screen.notify(
                    f"Saved {size:,} bytes in {one_line(str(path))}.", timeout=4, markup=False
                )

        self._screen.run_worker(save(), group="saving")

    # ── the pager ───────────────────────────────────────────────────────────────────────────────

    def open_pager(self) -> None:
        """Give the terminal to `$PAGER` with the log in it."""
        from tui.logs.pager import page, pager_command

        command = pager_command(os.environ)
        if command is None:
            self._say("There is no pager: set PAGER.")
            return
        pieces = self._reading.cleaned(colour="NO_COLOR" not in os.environ)
        if pieces is None:
            self._say("There is no log to be shown.")
            return

        async def show() -> None:
            try:
                with self._screen.app.suspend():
                    fault = await page(command, pieces)
            except SuspendNotSupported as reason:
                fault = f"A pager is not possible here: {reason}"
            if fault is not None:
                self._say(fault)

        self._screen.run_worker(show(), group="aside", exclusive=True)

    def _say(self, words: str) -> None:
        self._screen.notify(words, severity="warning", markup=False, timeout=4)


_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC


def _write(path: Path, how: int, pieces: Iterable[bytes]) -> int:
    """how: O_EXCL for a new file, O_TRUNC for one that may be overwritten. Returns its size."""
    size = 0
    with os.fdopen(os.open(path, _FLAGS | how, 0o600), "wb") as file:
        for piece in pieces:
            size += file.write(piece)
    return size
