"""`KeptScreen`: how a kept run went, as `plandeck show` tells it, on a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tui.screens.pages import PageScreen
from tui.widgets.page import Span, TextLine


class KeptScreen(PageScreen):
    """title: of the page. text: its lines, without colours."""

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title_words = title
        self._text = text

    def page_title(self) -> str:
        return self._title_words

    def page_lines(self, width: int) -> Sequence[TextLine]:
        lines: list[TextLine] = []
        for line in self._text.splitlines():
            indent = " " * (len(line) - len(line.lstrip()) + 2)
            parts = textwrap.wrap(line, max(20, width), subsequent_indent=indent, drop_whitespace=False)
            lines += [(Span(part),) for part in parts or [""]]
        return lines
