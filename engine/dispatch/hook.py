"""Running hooks: commands that are told how a run fares, by their environment and on their stdin."""

from __future__ import annotations

import os
from typing import Final

from engine.dispatch.base import Attempt
from engine.dispatch.process import ProcessDispatcher
from engine.dispatch.spawn import SHELL, Child

FACTS: Final = "PLANDECK_FACTS"
"""The variable that names the file with the facts; a hook has it open as its stdin."""

_READING_FACTS: Final = f'exec "$@" < "${FACTS}"'


class HookDispatcher(ProcessDispatcher):
    """Runs hooks as processes of tasks are run, and stops them likewise.

    An attempt's task has the command and, as its `env`, the facts: over the environment that the plan's
    tasks have, and over the variables of an attempt. `FACTS` must be among them.
    """

    def _child(self, attempt: Attempt) -> Child:
        task = attempt.task
        command = task.run or ""
        argv = (SHELL, "-c", command) if isinstance(command, str) else command
        shared, own = self._environment.of(attempt)
        own |= {os.fsencode(name): os.fsencode(value) for name, value in (task.env or {}).items()}
        directory = attempt.plan.directory
        reading = (SHELL, "-c", _READING_FACTS, SHELL, *argv)
        return Child(reading, shared, own, None if directory == "." else directory)
