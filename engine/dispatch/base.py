"""What a dispatcher is: one coroutine from an attempt and its output to an outcome."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, runtime_checkable

import anyio

from engine.core.inputs import AttemptOutcome
from engine.plan.model import Plan, Task


class ConcurrencyLimit(Exception):
    """The dispatcher's own capacity is full. The task is offered again later; this is no failure."""


class Attempt:
    """One attempt at one task, as it is handed to a dispatcher.

    task: without references. index: the task's place in the plan. number: from 1. outputs: path of a file
    in which the task may leave outputs; None for a task that is not asked for any. is_adopted: it goes on
    from an engine that is gone, and the dispatcher has said that it still has it. A dispatcher stops when
    the scope it runs in is cancelled, gives the work `task.shutdown.grace` seconds, and hastens when
    `wait_hastened` returns.
    """

    __slots__ = (
        "_hastened",
        "index",
        "is_adopted",
        "is_hastened",
        "number",
        "outputs",
        "plan",
        "run_id",
        "task",
    )

    def __init__(
        self,
        plan: Plan,
        task: Task,
        index: int,
        number: int,
        run_id: str,
        outputs: str | None = None,
        *,
        is_adopted: bool = False,
    ) -> None:
        self.plan = plan
        self.task = task
        self.index = index
        self.number = number
        self.run_id = run_id
        self.outputs = outputs
        self.is_adopted = is_adopted
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


@runtime_checkable
class BulkOutput(Output, Protocol):
    """An `Output` that can be written from another thread as well, though never from two at once."""

    def outlet(self) -> Callable[[bytes], None]:
        """What to call there in place of `write`, for a moment."""


class PacedOutput:
    """An `Output` with limited room, for dispatchers on the other side of a wire.

    It takes what it is told even when it is full; but who can make the work wait should do so then.
    """

    @property
    def is_full(self) -> bool:
        raise NotImplementedError

    def when_room(self, call: Callable[[], None]) -> None:
        """Have this called, once, when there is room again."""
        raise NotImplementedError


@runtime_checkable
class ResumableOutput(Output, Protocol):
    """An `Output` that outlives its console, for dispatchers whose attempts do."""

    def bookmark(self) -> tuple[int, int]:
        """How many of the bytes written are safe on disk, and how long the log is with them."""

    def go_back_to(self, taken: int, kept: int) -> None:
        """Go on from a bookmark that an earlier console has made: what came after is written anew."""


class TaskDispatcher(Protocol):
    """Runs attempts. One instance serves a whole run and many attempts at once.

    `run` calls `output.started` when it takes the attempt up, returns how it ended once nothing of it
    is left running, and raises `ConcurrencyLimit` if it cannot take it up now. It is stopped by the
    cancellation of the scope it runs in; it ends the work (shielded), then lets the cancellation go on.
    """

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome: ...


@runtime_checkable
class Pretending(TaskDispatcher, Protocol):
    """One that runs simulated tasks, and must be told how before it runs any."""

    def pretend(self, *, speed: float, seed: int | None) -> None: ...


@runtime_checkable
class AdoptingDispatcher(TaskDispatcher, Protocol):
    """One whose attempts outlive the engine.

    `adopt` is called before a run goes on whose engine was killed, with the attempts that were going on then
    or may have been about to. It returns the task's index of each that still goes on, or has ended without
    anybody having been told. Those are handed to `run` once more, with `is_adopted` set, which must see them
    to their end: a scope that is cancelled from the start is an order to stop them.
    """

    async def adopt(self, attempts: Sequence[Attempt]) -> Collection[int]: ...
