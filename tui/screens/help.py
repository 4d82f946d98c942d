"""`HelpScreen`: every key as it is set, and what the signs mean."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.cells import cell_len

from engine.core.state import TaskState
from tui.keymap import KEYMAP, Group, Key, first, shown
from tui.plain.marks import MARKS
from tui.present import look_of
from tui.screens.pages import PageScreen
from tui.widgets.page import Span, TextLine

TWO_COLUMNS: Final = 100
"""Cells from which on two columns of keys stand side by side."""
KEY_WIDTH: Final = 11

STATE_MEANS: Final[dict[TaskState, str]] = {
    TaskState.PENDING: "waits for what it needs",
    TaskState.READY: "could start: waits for a slot",
    TaskState.RUNNING: "at work",
    TaskState.RETRYING: "failed, will be tried again",
    TaskState.STOPPING: "told to stop",
    TaskState.SUCCESS: "done",
    TaskState.FAILED: "ran, and its retries are used up",
    TaskState.SKIPPED: "never ran: a need cannot be met; or its failure is tolerated",
    TaskState.CANCELLED: "stopped or never started, by a person or by fail-fast",
}


class HelpScreen(PageScreen):
    """keys: the keys in force, by the id of their entry."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._keys = keys

    def page_title(self) -> str:
        return "Keys"

    def page_lines(self, width: int) -> Sequence[TextLine]:
        if width < TWO_COLUMNS:
            blocks = [self._block(group, width) for group in Group]
            lines = [line for block in blocks for line in (*block, ())]
        else:
            column = width // 2
            lines = list(_beside([self._block(group, column - 1) for group in Group], column))
        return [*lines, *self._legend()]

    def _block(self, group: Group, width: int) -> list[TextLine]:
        entries = (self._entry(key, width) for key in KEYMAP if key.group is group)
        return [(Span(group.value, "bold"),), *(line for entry in entries for line in entry)]

    def _entry(self, key: Key, width: int) -> Iterator[TextLine]:
        keys = shown(self._keys[key.id]) or f"(in {first(self._keys['commands'])})"
        for line in textwrap.wrap(key.tooltip, max(20, width - KEY_WIDTH - 3)):
            yield (Span(f"  {keys:<{KEY_WIDTH}} ", "key"), Span(line))
            keys = ""

    def _legend(self) -> Iterator[TextLine]:
        look = look_of(self)
        yield (Span("Signs", "bold"),)
        for state in MARKS:
            yield (
                Span(f"  {look.glyph(state)} {state.value:<{KEY_WIDTH - 2}} ", "bold"),
                Span(STATE_MEANS[state]),
            )


def _beside(blocks: Sequence[list[TextLine]], width: int) -> Iterator[TextLine]:
    """The blocks in two columns of about equal height, none of them torn."""
    total = sum(len(block) + 1 for block in blocks)
    left: list[TextLine] = []
    right: list[TextLine] = []
    for block in blocks:
        column = right if len(left) + len(block) // 2 > total // 2 or right else left
        column.extend((*block, ()))
    for number in range(max(len(left), len(right))):
        start = left[number] if number < len(left) else ()
        end = right[number] if number < len(right) else ()
        pad = width - sum(cell_len(span.text) for span in start)
        yield (*start, Span(" " * max(1, pad)), *end)
