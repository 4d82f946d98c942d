"""`Finder`: the lines of a document that match, sought a little at a time, where they are wanted first."""

from __future__ import annotations

import time
from typing import Final

from tui.logs.document import Document
from tui.logs.pattern import Pattern

_UNKNOWN: Final = 0
_WITHOUT: Final = 1
_WITH: Final = 2

SEARCHED_AGAIN: Final = 3
"""Blocks at the end in which what has come since may have completed a line."""

BLOCKS_HELD: Final = 64


class Finder:
    """Remembers of every block whether it holds matches and how many: a few bytes a block.

    A place can be asked for before all is searched; the search then goes on from there.
    """

    def __init__(self, document: Document, pattern: Pattern) -> None:
        self.pattern = pattern
        self._document = document
        self._states = bytearray()
        self._base = document.start // document.block_size
        self._end = document.start
        self._counts: dict[int, int] = {}
        self._held: dict[int, list[int]] = {}
        self.count = 0
        """How many lines match, of those that have been searched."""
        self._wanted = 0
        self._step = 1
        self.want(document.end, -1)
        self.refresh()

    def refresh(self) -> None:
        """Take up that the document has changed."""
        document = self._document
        if document.end < self._end:
            self._forget()
        elif document.end == self._end:
            return
        self._drop_before(document.start // document.block_size)
        for block in range(self._base + len(self._states) - SEARCHED_AGAIN, self._base + len(self._states)):
            self._reset(block)
        blocks = -(-document.end // document.block_size) - self._base
        self._states.extend(bytes(max(0, blocks - len(self._states))))
        self._end = document.end

    @property
    def is_complete(self) -> bool:
        """Whether all has been searched."""
        return self._states.find(_UNKNOWN) < 0

    @property
    def progress(self) -> float:
        """How much has been searched, from 0 to 1."""
        return 1 - self._states.count(_UNKNOWN) / len(self._states) if self._states else 1.0

    def want(self, place: int, step: int) -> None:
        """Search next from that place on, or back from it if step is negative."""
        self._wanted, self._step = place // self._document.block_size, step

    def work(self, seconds: float) -> bool:
        """Search for about that long, one block at least; whether there is more to be searched."""
        until = time.perf_counter() + seconds
        while (block := self._next_unknown()) is not None:
            self._search(block)
            if time.perf_counter() >= until:
                break
        return block is not None and not self.is_complete

    def seek(self, place: int, step: int) -> int | None:
        """The next match after the place, or before it; None if none is known (see `is_settled`)."""
        block = place // self._document.block_size
        while True:
            at = block - self._base
            if 0 <= at < len(self._states) and self._states[at] == _WITH:
                matches = self._matches(block)
                beyond = [match for match in matches if (match - place) * step > 0]
                if beyond:
                    return beyond[0 if step > 0 else -1]
            if step > 0:
                found = self._states.find(_WITH, max(0, at + 1))
            else:
                found = self._states.rfind(_WITH, 0, max(0, at))
            if found < 0:
                return None
            block = self._base + found

    def is_settled(self, place: int, found: int | None, step: int) -> bool:
        """Whether all has been searched between a place and what was found from it."""
        size, count = self._document.block_size, len(self._states)
        if step > 0:
            stop = count if found is None else found // size - self._base + 1
            return self._states.find(_UNKNOWN, max(0, place // size - self._base), stop) < 0
        start = 0 if found is None else found // size - self._base
        return self._states.find(_UNKNOWN, start, max(0, place // size - self._base + 1)) < 0

    def number(self, place: int) -> int | None:
        """Which match it is, from 1; None if that is not known yet."""
        block = place // self._document.block_size
        if self._states.find(_UNKNOWN, 0, block - self._base + 1) >= 0:
            return None
        before = sum(count for other, count in self._counts.items() if other < block)
        return before + sum(match <= place for match in self._matches(block))

    def _next_unknown(self) -> int | None:
        """The unknown block nearest to what is wanted, in its direction first."""
        at = min(max(0, self._wanted - self._base), len(self._states))
        ahead, behind = self._states.find(_UNKNOWN, at), self._states.rfind(_UNKNOWN, 0, at)
        if self._step < 0:
            behind = self._states.rfind(_UNKNOWN, 0, at + 1)
            ahead, behind = behind, ahead
        found = ahead if ahead >= 0 else behind
        return None if found < 0 else self._base + found

    def _search(self, block: int) -> None:
        found = self._document.found_in(block, self.pattern)
        self._states[block - self._base] = _WITH if found else _WITHOUT
        if found:
            self._counts[block] = len(found)
            self.count += len(found)
            self._hold(block, found)

    def _matches(self, block: int) -> list[int]:
        found = self._held.get(block)
        if found is None:
            found = self._document.found_in(block, self.pattern)
            self._hold(block, found)
        return found

    def _hold(self, block: int, found: list[int]) -> None:
        if len(self._held) >= BLOCKS_HELD:
            self._held.pop(next(iter(self._held)))
        self._held[block] = found

    def _reset(self, block: int) -> None:
        if block >= self._base:
            self._states[block - self._base] = _UNKNOWN
            self.count -= self._counts.pop(block, 0)
            self._held.pop(block, None)

    def _drop_before(self, base: int) -> None:
        """What came before that block is gone from the document."""
        for block in range(self._base, min(base, self._base + len(self._states))):
            self._reset(block)
        del self._states[: max(0, base - self._base)]
        self._base = max(self._base, base)

    def _forget(self) -> None:
        self._states.clear()
        self._base = self._document.start // self._document.block_size
        self._counts.clear()
        self._held.clear()
        self.count = 0
