"""`Printer`: writes to stdout and stderr from a thread of its own."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

import anyio
import anyio.from_thread
import anyio.lowlevel

STDOUT: Final = 1
STDERR: Final = 2


class Printer:
    """Writes in order, and never makes its caller wait: a reader who stops reading (a pager, a terminal
    after XOFF) holds up neither the engine nor a task. What is not written yet is kept in memory.

    Made inside a running event loop. out, err: file descriptors.
    """

    def __init__(self, out: int = STDOUT, err: int = STDERR) -> None:
        self.failure: OSError | None = None
        """Why `out` can be written no more; what is printed to it afterwards goes nowhere."""
        self.failed = anyio.Event()
        """Set together with `failure`."""
        self._out = out
        self._err = err
        self._queue: SimpleQueue[tuple[int, bytes] | Callable[[], object] | None] = SimpleQueue()
        self._token = anyio.lowlevel.current_token()
        # a daemon: a write that never returns must not keep the process from ending
        self._thread = threading.Thread(target=self._work, name="printer", daemon=True)
        self._thread.start()

    def out(self, data: bytes) -> None:
        self._queue.put((self._out, data))

    def err(self, data: bytes) -> None:
        self._queue.put((self._err, data))

    async def drained(self) -> None:
        """Return once all that was printed before has been written, or given up."""
        done = anyio.Event()
        self._queue.put(done.set)
        await done.wait()

    def close(self) -> None:
        """Write what is left and end the thread. Returns at once."""
        self._queue.put(None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if callable(item):
                self._call(item)
                continue
            stream, data = item
            if stream == self._out and self.failure is not None:
                continue
            try:
                _write_all(stream, data)
            except OSError as error:
                if stream == self._out:
                    self.failure = error
                    self._call(self.failed.set)

    def _call(self, function: Callable[[], object]) -> None:
        """Call in the event loop, if it is still there."""
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(function, token=self._token)


def _write_all(stream: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(stream, rest) :]
        except BlockingIOError:  # whoever shares the terminal with us has set it to non-blocking
            select.select((), (stream,), ())
