"""The one place where time is read: a monotonic offset since the run began, and the UTC beside it."""

from __future__ import annotations

import time

import anyio

from engine.core.inputs import Now


class RunClock:
    """Counts from its making. On trio's MockClock the offset is virtual, like everything that sleeps.

    start: the offset to begin with, in seconds, for a run that goes on.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._origin = anyio.current_time() - start

    def now(self) -> Now:
        return Now(anyio.current_time() - self._origin, time.time())

    def deadline(self, offset: float) -> float:
        """The anyio time at which `offset` is reached."""
        return self._origin + offset
