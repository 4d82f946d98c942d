"""Ids: a random one for each run, and from it one for each task that survives retries and resumes."""

from __future__ import annotations

import uuid
from typing import Final

NAMESPACE: Final = uuid.UUID("b7e89c3a-4f12-4d8b-9a6e-1c2d3e4f5a6b")


def new_run_id() -> str:
    """A random UUID in its text form."""
    return str(uuid.uuid4())


def task_id(run_id: str, task_type: str, index: int) -> str:
    """The id of a task within a run: equal for equal arguments, different in every run."""
    return str(uuid.uuid5(NAMESPACE, f"{run_id}/{task_type}/{index}"))
