"""Where the eye is led before the operator has touched a key: to what fails, else to what runs."""

from __future__ import annotations

from engine.core.state import TaskState
from engine.view.run_view import RunView


def lead(view: RunView, selected: int | None) -> int | None:
    """The task to go to; None to stay. It stays with a task as long as that is worth a look: what jumps
    at every tick cannot be read."""
    failures = view.failures
    if failures:
        return None if selected in failures else failures[0]
    if selected is not None and view.tasks[selected].state in (TaskState.RUNNING, TaskState.STOPPING):
        return None
    return min(view.active, default=None)
