"""`Selection`: what is selected in a log, from one spot to another."""

from __future__ import annotations

from typing import NamedTuple


class Spot(NamedTuple):
    """A cell of a line. cell: counted from the beginning of the line, however it is broken into rows."""

    place: int
    cell: int


class Selection(NamedTuple):
    """anchor: where it began. head: where it was taken to, the cell there included. by_line: whole lines."""

    anchor: Spot
    head: Spot
    by_line: bool

    @property
    def first(self) -> Spot:
        return min(self.anchor, self.head)

    @property
    def last(self) -> Spot:
        return max(self.anchor, self.head)

    def span(self, place: int, cells: int) -> tuple[int, int] | None:
        """Which cells of a line that has so many are selected: from, and up to; None if none are."""
        first, last = self.first, self.last
        if not first.place <= place <= last.place:
            return None
        start = first.cell if place == first.place and not self.by_line else 0
        end = last.cell + 1 if place == last.place and not self.by_line else cells
        return min(start, cells), min(end, cells)
