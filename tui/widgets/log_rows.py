"""`LogRows`: which rows of a document are in view, found from the first of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tui.logs.document import Document


class Row(NamedTuple):
    """Part of a line. part: which of its rows, from 0; -1: lines are left out before it."""

    place: int
    part: int


class LogRows:
    """A window of rows over a document of any length.

    parts: the parts that a line has. top: the first row in view, None before there is any.
    """

    def __init__(self, document: Document, parts: Callable[[int], range]) -> None:
        self.document = document
        self._parts = parts
        self.top: Row | None = None

    def fill(self, page: int) -> list[Row]:
        """The rows from the top on."""
        if self.top is None:
            self.to_start()
        rows: list[Row] = []
        place, part = self.top if self.top is not None else (None, 0)
        while place is not None and len(rows) < page:
            parts = self._parts(place)
            rows += [Row(place, number) for number in range(max(part, parts.start), parts.stop)]
            place, part = self.document.after(place), -1
        return rows[:page]

    def to_start(self) -> None:
        first = self.document.first()
        self.top = None if first is None else Row(first, self._parts(first).start)

    def to_end(self, page: int) -> None:
        """The last row comes last in view."""
        last = self.document.last()
        if last is None:
            self.top = None
        else:
            self.top = self._back(Row(last, self._parts(last).stop - 1), page - 1)

    def to_place(self, place: int, above: int) -> None:
        """That line comes into view, with so many rows above it."""
        self.top = self._back(Row(place, 0), above)

    def move(self, rows: int, page: int) -> None:
        """Down, or up if negative, and not beyond either end."""
        if self.top is None:
            return
        if rows < 0:
            self.top = self._back(self.top, -rows)
        else:
            self.top = self._forth(self.top, rows)
            self.keep_within(page)

    def keep_within(self, page: int) -> None:
        """No rows are left empty below the last line."""
        top = self.top
        if top is not None and len(self.fill(page)) < page:
            self.to_end(page)

    def is_at_end(self, page: int) -> bool:
        """Whether the last row is in view."""
        rows = self.fill(page)
        if len(rows) < page or not rows:
            return True
        place, part = rows[-1]
        return part == self._parts(place).stop - 1 and self.document.after(place) is None

    def _back(self, row: Row, rows: int) -> Row:
        place, part = row
        while rows > part - self._parts(place).start:
            before = self.document.before(place)
            if before is None:
                return Row(place, self._parts(place).start)
            rows -= part - self._parts(place).start + 1
            place, part = before, self._parts(before).stop - 1
        return Row(place, part - rows)

    def _forth(self, row: Row, rows: int) -> Row:
        place, part = row
        while rows >= (left := self._parts(place).stop - part):
            after = self.document.after(place)
            if after is None:
                return Row(place, self._parts(place).stop - 1)
            rows -= left
            place, part = after, self._parts(after).start
        return Row(place, part + rows)
