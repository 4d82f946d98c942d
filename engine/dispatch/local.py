"""The built-in executor "local": each task goes to the dispatcher for its kind, on this machine."""

from __future__ import annotations

from engine.core.inputs import AttemptOutcome
from engine.dispatch.base import Attempt, Output
from engine.dispatch.process import ProcessDispatcher
from engine.dispatch.simulate import SimulateDispatcher


class LocalDispatcher:
    """speed: divides the time of simulated tasks. seed: makes their failures repeatable."""

    def __init__(self, *, speed: float = 1.0, seed: int | None = None) -> None:
        self._process = ProcessDispatcher()
        self._simulate = SimulateDispatcher(speed=speed, seed=seed)

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        if attempt.task.simulate is not None:
            return await self._simulate.run(attempt, output)
        return await self._process.run(attempt, output)
