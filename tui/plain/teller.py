"""`Teller`: what there is to say of a run, on the two standard streams, and who has stopped reading it."""

from __future__ import annotations

import errno
import math
import signal
from typing import Final

import anyio

from tui.plain.printer import Printer
from tui.plain.report import Style

PATIENCE: Final = 0.5
"""Seconds that the last words wait for a reader of the lines before them."""

FAREWELL: Final = 2.0
"""Seconds that they wait for a reader of their own where they need not be read."""

STDOUT: Final = 1
STDERR: Final = 2

_LOST: Final = {errno.EPIPE: signal.SIGPIPE, errno.EIO: signal.SIGHUP}
"""What a failed write means where it is no fault: nobody reads any more, or the terminal has gone."""


class Teller:
    """Lines and a summary on stdout, what is about plandeck itself on stderr. Nobody waits for a reader but
    who asks for it. Made inside a running event loop.

    out, err: how the two are written.
    """

    def __init__(self, out: Style, err: Style) -> None:
        self.out = out
        self.err = err
        self._begin()

    def write(self, data: bytes) -> None:
        """Lines that are made already."""
        self._stdout.write(data)

    def say(self, text: str) -> None:
        self._stdout.write(self.out.encode(text))

    def tell(self, message: str) -> None:
        """One line from plandeck itself."""
        self._stderr.write(self.err.encode(f"plandeck: {message}\n"))

    async def tell_last(self, message: str) -> None:
        """`tell` after all that was said before, and wait a little until it has been read."""
        await self.drained()
        self.tell(message)
        await self.drained(FAREWELL)

    async def part(self, text: str, *, on_stderr: bool = False, patience: float = math.inf) -> None:
        """Say the last words, after all that was said before, and wait until they have been read."""
        await self.drained()  # both may be the same terminal, and this comes last
        if on_stderr:
            self._stderr.write(self.err.encode(text))
        else:
            self.say(text)
        await self.drained(patience)

    async def drained(self, patience: float = PATIENCE) -> None:
        """Return once all that was said has been read, or after so many seconds."""
        with anyio.move_on_after(patience):
            await self._stdout.drained()
            await self._stderr.drained()

    async def unread(self) -> tuple[signal.Signals | None, OSError]:
        """Return when stdout cannot be written any more: with what that means, None if it is a fault."""
        printer = self._stdout
        await printer.failed.wait()
        failure = printer.failure or OSError()
        return _LOST.get(failure.errno or 0), failure

    def renew(self) -> None:
        """Begin anew: the two streams lead elsewhere now."""
        self.close()
        self._begin()

    def close(self) -> None:
        """Let what is left be written. Returns at once."""
        self._stdout.close()
        self._stderr.close()

    def _begin(self) -> None:
        self._stdout, self._stderr = Printer(STDOUT), Printer(STDERR)
