"""`PlainBar`: a scrollbar in whole cells, where the terminal has no signs for parts of one."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBarRender
from textual.widget import Widget

from tui.present import look_of


class PlainBar(ScrollBarRender):
    """Textual's own rounds its ends with block signs."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8


def fit_scrollbars(*widgets: Widget) -> None:
    """Give the widgets the scrollbar that the terminal can show."""
    for widget in widgets:
        if look_of(widget).plain:
            # Textual names this way to set it, but declares a class variable
            widget.vertical_scrollbar.renderer = PlainBar  # type: ignore[misc]
