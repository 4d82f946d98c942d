"""`CursorPane`: a pane of lines with a cursor on one of them."""

from __future__ import annotations

from abc import abstractmethod

from rich.style import Style
from textual import events

from tui.present import Look
from tui.widgets.lines import LinePane, Shown


class CursorPane(LinePane[Shown]):
    """Keys and clicks move the cursor, and it is kept in sight. Who derives from it binds the keys
    (`Place.LIST`).

    cursor: the line that it is on; 0 where there are no lines.
    """

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.cursor = 0

    # ── for subclasses ──────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def cursor_put(self, *, moved: bool) -> None:
        """A key or a click has put the cursor somewhere. moved: and it was not there before."""

    @abstractmethod
    def action_open(self) -> None:
        """What Enter and two clicks do."""

    def under(self, line: int, look: Look) -> Style:
        """The style of a whole line: where the cursor is, and whether keys go here."""
        if line != self.cursor:
            return look.text
        return look.cursor if self.has_focus else look.cursor_blurred

    # ── the cursor ──────────────────────────────────────────────────────────────────────────────

    def move_cursor(self, line: int) -> None:
        """Put the cursor on a line, or as near to it as there are lines, and say so."""
        if self.line_count:
            before = self.cursor
            self.put_cursor(max(0, min(line, self.line_count - 1)))
            self.cursor_put(moved=self.cursor != before)

    def put_cursor(self, line: int) -> None:
        """Put the cursor on a line that there is. Says nothing."""
        before, self.cursor = self.cursor, line
        self.reveal(line)
        self.redraw_lines((before, line))

    def action_cursor_up(self) -> None:
        self.move_cursor(self.cursor - 1)

    def action_cursor_down(self) -> None:
        self.move_cursor(self.cursor + 1)

    def action_cursor_top(self) -> None:
        self.move_cursor(0)

    def action_cursor_bottom(self) -> None:
        self.move_cursor(self.line_count - 1)

    def action_cursor_page_up(self) -> None:
        self.move_cursor(self.cursor - max(1, self.page - 1))

    def action_cursor_page_down(self) -> None:
        self.move_cursor(self.cursor + max(1, self.page - 1))

    def action_cursor_half_up(self) -> None:
        self.move_cursor(self.cursor - max(1, self.page // 2))

    def action_cursor_half_down(self) -> None:
        self.move_cursor(self.cursor + max(1, self.page // 2))

    # ── what Textual tells ──────────────────────────────────────────────────────────────────────

    def on_click(self, event: events.Click) -> None:
        line = self.line_at(event)
        if line is not None:
            event.stop()
            self.move_cursor(line)
            if event.chain == 2:
                self.action_open()

    def on_focus(self) -> None:
        self.redraw_lines((self.cursor,))

    def on_blur(self) -> None:
        self.redraw_lines((self.cursor,))

    def layout_lines(self) -> None:
        self.reveal(self.cursor)
