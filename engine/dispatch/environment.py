"""The environment of an attempt: what this process had, what the plan adds, and who the attempt is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from engine.dispatch.base import Attempt
from engine.dispatch.spawn import Environment, SpawnFailed
from engine.ground.identity import task_id
from engine.ground.spelling import quoted
from engine.plan.model import Plan

_OWN: Final = (b"PLANDECK_TASK", b"PLANDECK_TASK_ID", b"PLANDECK_ATTEMPT", b"PLANDECK_OUTPUT")
"""The variables that each attempt has for itself."""


class AttemptEnvironment:
    """Puts environments together. What all tasks of a plan share is made ready once."""

    def __init__(self) -> None:
        self._inherited = dict(os.environb)
        self._common: tuple[Plan, str, Environment] | None = None

    def of(self, attempt: Attempt) -> tuple[Environment, dict[bytes, bytes]]:
        """What the attempt shares with others, and what it has of its own, which wins.

        Raises `SpawnFailed` for a variable that cannot be.
        """
        task = attempt.task
        try:
            common = self.shared(attempt.plan, attempt.run_id)
            own = _encoded(task.env) if task.env else {}
            own[b"PLANDECK_TASK"] = os.fsencode(task.name)
        except ValueError as error:
            raise SpawnFailed(f"cannot run {quoted(task.name)}: {error}") from error
        own[b"PLANDECK_TASK_ID"] = task_id(attempt.run_id, task.type, attempt.index).encode()
        own[b"PLANDECK_ATTEMPT"] = b"%d" % attempt.number
        if attempt.outputs is not None:
            own[b"PLANDECK_OUTPUT"] = os.fsencode(attempt.outputs)
        if b"PLANDECK_RUN_ID" in own:
            own[b"PLANDECK_RUN_ID"] = attempt.run_id.encode()
        return common, own

    def shared(self, plan: Plan, run_id: str = "") -> Environment:
        """What all the tasks of a run share. Raises ValueError."""
        common = self._common
        if common is None or common[0] is not plan or common[1] != run_id:
            shared = self._inherited | _encoded(plan.env) | {b"PLANDECK_RUN_ID": run_id.encode()}
            for name in _OWN:  # where a plan runs in a task of another
                shared.pop(name, None)
            self._common = common = (plan, run_id, Environment(shared))
        return common[2]


def _encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """Raises ValueError for what cannot stand in an environment."""
    for name in variables:
        if not name or "=" in name:
            raise ValueError(f"{quoted(name)} is not a name for an environment variable")
    return {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}
