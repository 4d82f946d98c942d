"""A dispatcher for tests: a function decides how each attempt ends."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import anyio.lowlevel

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, ConcurrencyLimit, Output

Answer = AttemptOutcome | Exception

SUCCESS = AttemptOutcome(OutcomeKind.SUCCESS)


class FakeDispatcher:
    """Takes every attempt up and ends it as `handler` says.

    handler: returns or awaits an outcome, or an exception, which is raised; by default every attempt
    succeeds. capacity: attempts at once; beyond it `ConcurrencyLimit` is raised. calls: task name and
    attempt number of each attempt taken up, in order. running, peak: attempts now, and at most so far.
    """

    def __init__(
        self,
        handler: Callable[[Attempt], Answer | Awaitable[Answer]] = lambda attempt: SUCCESS,
        *,
        capacity: int | None = None,
    ) -> None:
        self.calls: list[tuple[str, int]] = []
        self.running = 0
        self.peak = 0
        self._handler = handler
        self._capacity = capacity

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        if self._capacity is not None and self.running >= self._capacity:
            raise ConcurrencyLimit(f"all {self._capacity} places are taken")
        self.calls.append((attempt.task.name, attempt.number))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            output.started("fake")
            await anyio.lowlevel.checkpoint()
            answer = self._handler(attempt)
            if inspect.isawaitable(answer):
                answer = await answer
        finally:
            self.running -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer
