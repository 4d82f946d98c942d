"""Pretended tasks, for demonstrations, tests and recorded workflows: they take time, talk, and may fail."""

from __future__ import annotations

import math
from random import Random
from typing import Final

import anyio
import anyio.lowlevel

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, Output
from engine.ground.spelling import quoted

_SHORTEST_PAUSE: Final = 0.02
"""Seconds between two bursts of output, however fast the lines would have to come."""

_LARGEST_BURST: Final = 1000
"""Lines written at once; at a speed that would take more, the rest is left out."""


class SimulateDispatcher:
    """Runs `simulate` tasks. speed: divides their time, not their lines. seed: with one, the same
    attempts fail in every run; None for chance."""

    def __init__(self, *, speed: float = 1.0, seed: int | None = None) -> None:
        self._speed = speed
        self._seed = seed if seed is not None else Random().getrandbits(64)  # noqa: S311 -- a pretence

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        output.started("simulated")
        simulation = attempt.task.simulate
        if simulation is None:
            return AttemptOutcome(OutcomeKind.FAILED, f"{quoted(attempt.task.name)} has nothing to simulate")
        start = anyio.current_time()
        end = start + simulation.duration / self._speed
        rate = simulation.output * self._speed
        lines = math.floor(simulation.duration * simulation.output)
        pause = max(1 / rate, _SHORTEST_PAUSE) if rate else 0.0
        written = bursts = 0
        while written < lines:
            bursts += 1
            await anyio.sleep_until(min(start + bursts * pause, end))
            due = min(lines, round(rate * bursts * pause))
            first = max(written, due - _LARGEST_BURST)
            output.write(_lines(attempt.task.name, first, due, lines))
            written = due
        await anyio.sleep_until(end)
        source = f"{self._seed}/{attempt.task.name}/{attempt.number}".encode("utf-8", "replace")
        if Random(source).random() < simulation.fail_rate:  # noqa: S311 -- a pretence
            return AttemptOutcome(OutcomeKind.FAILED, "simulated failure", 1)
        return AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)


def _lines(name: str, first: int, last: int, total: int) -> bytes:
    text = "".join(f"{name}: line {number} of {total}\n" for number in range(first + 1, last + 1))
    return text.encode("utf-8", "replace")
