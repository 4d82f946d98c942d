"""`PageScreen`: a page of text over the run; Escape goes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.keymap import Place, bindings
from tui.widgets.page import Page, TextLine
from tui.widgets.scroll import fit_scrollbars


class PageScreen(ModalScreen[None], inherit_bindings=False):
    """The base of help and details: subclasses say what stands on the page."""

    CSS_PATH = "pages.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.DIALOG)
    HINT: ClassVar = "Esc back   j k scroll"

    def page_title(self) -> str:
        """The first row."""
        raise NotImplementedError

    def page_lines(self, width: int) -> Sequence[TextLine]:
        """The text, in lines of at most `width` cells."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical(classes="page"):
            yield Static(Text(self.page_title(), style="bold"), classes="title", markup=False)
            yield Page(self.page_lines)
            yield Static(self.HINT, classes="hint", markup=False)

    def on_mount(self) -> None:
        page = self.query_one(Page)
        fit_scrollbars(page)
        page.focus()

    def action_close(self) -> None:
        self.dismiss(None)
