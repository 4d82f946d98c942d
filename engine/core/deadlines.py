"""What is due when: the ends of back-offs and the time-outs of attempts."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from engine.core.ledger import Ledger
from engine.core.state import RETRYING, RUNNING


class Deadlines:
    """A heap of (offset in seconds, task index, attempt number).

    An entry that no longer means anything is not searched for but passed over: most attempts end long
    before their time-out.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._heap: list[tuple[float, int, int]] = []

    def add(self, due: float, index: int) -> None:
        """Have the current attempt of a task, or its back-off, fall due."""
        ledger = self._ledger
        heapq.heappush(self._heap, (due, index, ledger.attempt[index]))
        if len(self._heap) > 64 + 4 * (len(ledger.in_flight) + len(ledger.due)):
            self._heap = [entry for entry in self._heap if self._is_current(*entry)]
            heapq.heapify(self._heap)

    def next(self) -> float | None:
        """The earliest deadline that still means anything."""
        while self._heap and not self._is_current(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[int]:
        """The tasks whose deadline has come, one by one, earliest first."""
        while (due := self.next()) is not None and due <= now:
            yield heapq.heappop(self._heap)[1]

    def _is_current(self, due: float, index: int, attempt: int) -> bool:
        ledger = self._ledger
        if ledger.attempt[index] != attempt:
            return False
        if ledger.state[index] is RETRYING:
            return ledger.due.get(index) == due
        return ledger.state[index] is RUNNING
