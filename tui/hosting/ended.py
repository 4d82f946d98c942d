"""`EndedRun`: a run that is over, from which it can be gone on."""

from __future__ import annotations

from collections.abc import Callable

from engine.core.inputs import Command, RetryFailed, RetryTask
from engine.errors import CommandRefused
from engine.handle import RunHandle
from tui.hosting.readonly import ReadOnlyRun


class EndedRun(ReadOnlyRun):
    """A `RunHandle` that passes everything on but commands. What retries something is given to `reopen`,
    as the argv after `plandeck` that does it; the rest makes no sense any more."""

    read_only = False

    def __init__(self, run: RunHandle, reopen: Callable[[tuple[str, ...]], None]) -> None:
        super().__init__(run)
        self._reopen = reopen
        self._is_reopened = False

    @property
    def playback(self) -> None:
        """It stands at its end."""

    async def send(self, command: Command) -> None:
        match command:
            case RetryFailed():
                arguments: tuple[str, ...] = (self.run_id,)
            case RetryTask(index=index, downstream=downstream):
                name = self.plan.tasks[index].name
                arguments = ("--downstream",) * downstream + ("--", self.run_id, name)
            case _:
                raise CommandRefused("this run is over: all that can be done is to retry something")
        if self._is_reopened:
            raise CommandRefused("the run is being reopened; retry the others there")
        self._is_reopened = True
        self._reopen(("retry", "--detach", *arguments))
