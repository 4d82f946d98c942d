"""Where the eye is led before the operator has touched a key: to what fails, else to what runs."""

from __future__ import annotations

import math
from typing import Final

from engine.core.state import TaskState
from engine.view.run_view import RunView

LINGER: Final = 2.0
"""Seconds for which it stays at a task even if that ends sooner: what jumps at every tick cannot be read, and
every pane would be drawn anew each time."""


class Lead:
    """Remembers how long the eye has been where it is."""

    def __init__(self) -> None:
        self._went_at = -math.inf

    def next(self, view: RunView, selected: int | None, now: float) -> int | None:
        """The task to go to; None to stay. It stays with a task as long as that is worth a look. now: an
        offset, in seconds, which a replay may take back."""
        failures = view.failures
        if failures:
            return None if selected in failures else failures[0]
        if selected is not None and view.tasks[selected].state in (TaskState.RUNNING, TaskState.STOPPING):
            return None
        if abs(now - self._went_at) < LINGER or not view.active:
            return None
        self._went_at = now
        return min(view.active)
