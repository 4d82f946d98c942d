"""Output in bulk: taken from its pipe in a thread, so that nobody else feels its amount, or a slow disk."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Final

PIPE_SIZE: Final = 1024 * 1024
"""Bytes that the pipe of a process that writes in bulk should hold, and that are taken at a time: the fewer
times, the less reader and writer wait for each other, and the thread for the rest of this program."""

TURN: Final = 0.05
"""Seconds after which the thread comes back, to see whether it is still wanted."""

_LULL: Final = 5
"""Milliseconds without output after which it comes back sooner: the event loop can wait just as well."""


def carry(pipe: int, write: Callable[[bytes], None]) -> bool:
    """Hand on for a turn what comes out of a pipe; whether more is to be expected at once.

    pipe: does not block, and does not end: its other end is open here too. Raises what `write` raises.
    """
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    until = time.monotonic() + TURN
    while time.monotonic() < until:
        try:
            data = os.read(pipe, PIPE_SIZE)
        except BlockingIOError:
            if not ready.poll(_LULL):
                return False
        else:
            write(data)
    return True
