"""What a dispatcher is: one coroutine from an attempt and its output to an outcome."""

from __future__ import annotations

from typing import Protocol

import anyio

from engine.core.inputs import AttemptOutcome
from engine.plan.model import Plan, Task


class ConcurrencyLimit(Exception):
    """The dispatcher's own capacity is full. The task is offered again later; this is no failure."""


class Attempt:
    """One attempt at one task, as it is handed to a dispatcher.

    task: without references. index: the task's place in the plan. number: from 1. outputs: path of a file
    in which the task may leave outputs; None for a task that is not asked for any. A dispatcher stops when
    the scope it runs in is cancelled, gives the work `task.shutdown.grace` seconds, and hastens when
    `wait_hastened` returns.
    """

    __slots__ = ("_hastened", "index", "is_hastened", "number", "outputs", "plan", "run_id", "task")

    def __init__(
        self, plan: Plan, task: Task, index: int, number: int, run_id: str, outputs: str | None = None
    ) -> None:
        self.plan = plan
        self.task = task
        self.index = index
        self.number = number
        self.run_id = run_id
        self.outputs = outputs
        self.is_hastened = False
        self._hastened: anyio.Event | None = None  # made only when somebody waits: most never do

    def hasten(self) -> None:
        """Ask for the stop to be made without the grace period."""
        self.is_hastened = True
        if self._hastened is not None:
            self._hastened.set()

    async def wait_hastened(self) -> None:
        """Return once `hasten` has been called."""
        if self.is_hastened:
            return
        if self._hastened is None:
            self._hastened = anyio.Event()
        await self._hastened.wait()


class Output(Protocol):
    """Where an attempt tells what it does. All methods return at once and never raise for I/O."""

    def started(self, where: str = "") -> None:
        """The attempt was taken up. Called once, before anything is written."""

    def write(self, data: bytes) -> None:
        """Bytes as they came, in their order; no need to end at a line or a character."""

    def heartbeat(self) -> None:
        """A sign of life without output."""


class TaskDispatcher(Protocol):
    """Runs attempts. One instance serves a whole run and many attempts at once.

    `run` calls `output.started` when it takes the attempt up, returns how it ended once nothing of it
    is left running, and raises `ConcurrencyLimit` if it cannot take it up now. It is stopped by the
    cancellation of the scope it runs in; it ends the work (shielded), then lets the cancellation go on.
    """

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome: ...
