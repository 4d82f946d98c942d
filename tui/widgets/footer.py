"""`Footer`: the last row: the keys that matter where the operator is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment

from tui.present import Look
from tui.widgets.line import Line


class Offer(NamedTuple):
    """One key and what it does. possible: whether it makes sense for what is selected."""

    key: str
    label: str
    possible: bool = True


class Footer(Line):
    """Offers come most important first; what does not fit is left out whole. The last `kept` stay."""

    def __init__(self, *, kept: int = 2) -> None:
        super().__init__(id="footer")
        self._kept = kept
        self._offers: tuple[Offer, ...] = ()

    def offer(self, offers: Sequence[Offer]) -> None:
        """Show these keys."""
        fresh = tuple(offers)
        if fresh != self._offers:
            self._offers = fresh
            self.renew()

    def draw(self, look: Look, width: int) -> Iterable[Segment]:
        tail = self._offers[-self._kept :]
        room = width - sum(map(_width, tail))
        for offer in self._offers[: -self._kept]:
            room -= _width(offer)
            if room < 0:
                break
            yield from _segments(offer, look)
        for offer in tail:
            yield from _segments(offer, look)


def _width(offer: Offer) -> int:
    return cell_len(offer.key) + cell_len(offer.label) + 3


def _segments(offer: Offer, look: Look) -> Iterable[Segment]:
    yield Segment(f" {offer.key}", look.key if offer.possible else look.line)
    yield Segment(f" {offer.label} ", look.text if offer.possible else look.line)
