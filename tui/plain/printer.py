"""`Printer`: writes to a stream from a thread of its own."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

import anyio
import anyio.from_thread
import anyio.lowlevel


class Printer:
    """Writes in order, and never makes its caller wait: a reader who stops reading (a pager, a terminal
    after XOFF) holds up neither the engine nor a task. What is not written yet is kept in memory.

    Made inside a running event loop. stream: a file descriptor.
    """

    def __init__(self, stream: int) -> None:
        self.failure: OSError | None = None
        """Why nothing can be written any more; what is printed afterwards goes nowhere."""
        self.failed = anyio.Event()
        """Set together with `failure`."""
        self._stream = stream
        self._queue: SimpleQueue[bytes | Callable[[], object] | None] = SimpleQueue()
        self._token = anyio.lowlevel.current_token()
        # a daemon: a write that never returns must not keep the process from ending
        threading.Thread(target=self._work, name=f"printer-{stream}", daemon=True).start()

    def write(self, data: bytes) -> None:
        self._queue.put(data)

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
            elif self.failure is None:
                try:
                    self._write_all(item)
                except OSError as error:
                    self.failure = error
                    self._call(self.failed.set)

    def _call(self, function: Callable[[], object]) -> None:
        """Call in the event loop, if it is still there."""
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(function, token=self._token)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._stream, rest) :]
            except BlockingIOError:  # whoever shares the terminal with us has set it to non-blocking
                select.select((), (self._stream,), ())
