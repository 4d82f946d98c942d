"""The recorder: numbers and stamps the events of the input at hand."""

from __future__ import annotations

from typing import Any

from engine.core.events import Event
from engine.core.inputs import Now
from engine.core.ledger import Ledger


class Recorder:
    """seq: the number of the last event. offset, utc: the time of the input at hand, in seconds."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self.seq = 0
        self.offset = 0.0
        self.utc = 0.0
        self.run_id = run_id
        self.events: list[Event] = []
        self._ledger = ledger

    def begin(self, now: Now) -> list[Event]:
        """Stamp what follows with a new time, and put it into a new list."""
        self.offset, self.utc = now
        events: list[Event] = []
        self.events = events
        return events

    def emit(self, kind: type[Event], *, cause: str, **detail: Any) -> None:
        """Record an event about the run. cause: who or what brought it about."""
        self.seq += 1
        self.events.append(
            kind(seq=self.seq, utc=self.utc, offset=self.offset, run_id=self.run_id, cause=cause, **detail)
        )

    def emit_task(self, kind: type[Event], index: int, cause: str, **detail: Any) -> None:
        """Record an event about one task, with the attempt and the state that it is in now."""
        ledger = self._ledger
        self.emit(
            kind,
            cause=cause,
            task=ledger.names[index],
            index=index,
            attempt=ledger.attempt[index],
            state=ledger.state[index],
            **detail,
        )
