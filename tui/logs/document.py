"""`Document`: lines in their order, without all of them in memory."""

from __future__ import annotations

from typing import Protocol

from engine.core.inputs import Now
from engine.ground.text import Style
from tui.logs.pattern import Pattern


class Document(Protocol):
    """Each line is known by its *place*, a number that grows from line to line and stays the same.

    For searching, the places are divided into blocks, which can be searched in any order.
    """

    block_size: int
    """A place belongs to the block `place // block_size`."""

    @property
    def start(self) -> int:
        """No place lies before it."""

    @property
    def end(self) -> int:
        """All places lie before it."""

    def refresh(self) -> bool:
        """Take up what has changed; whether anything has."""

    def first(self) -> int | None:
        """The place of the first line, None if there is none."""

    def last(self) -> int | None:
        """The place of the last line, None if there is none."""

    def line_at(self, position: int) -> int:
        """The line that a position between `start` and `end` lies in."""

    def after(self, place: int) -> int | None:
        """The line after this one."""

    def before(self, place: int) -> int | None:
        """The line before this one."""

    def read(self, place: int) -> bytes:
        """The line without its newline."""

    def style(self, place: int) -> Style:
        """In what style the line begins: what those before it have left switched on."""

    def time(self, place: int) -> Now | None:
        """When it was printed, as far as that is known."""

    def task(self, place: int) -> int | None:
        """Whose line it is, where there are those of several."""

    def number(self, place: int) -> int | None:
        """Which line it is, from 1; None if that is not known yet."""

    def count(self) -> int | None:
        """How many lines there are; None if that is not known yet."""

    def found_in(self, block: int, pattern: Pattern) -> list[int]:
        """The places of the lines that begin in a block and match."""
