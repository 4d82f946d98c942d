"""Words through a pipe: what engine, guardian and launcher tell each other besides signals."""

from __future__ import annotations

import fcntl
import os
import select
from contextlib import suppress
from typing import Final

OVER: Final = b"over"
"""From the engine: all that it started has ended."""

LEFT: Final = b"left "
"""From the engine and on to the launcher: it has left the terminal. What to say there follows."""

ENGINE: Final = b"engine "
"""From the engine to the launcher, first: its process id, for the case that the guardian is killed."""

ENDED: Final = b"ended "
"""To the launcher, last: the wait status of the engine. Nothing of the run is left."""

LONGEST: Final = select.PIPE_BUF - 1
"""Bytes of a word. As many are written whole or not at all."""

_END: Final = b"\0"
_READ_SIZE: Final = 64 * 1024
_ABOVE_STANDARD_STREAMS: Final = 3


class Ear:
    """The end of a pipe at which words arrive. Never blocks."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._heard = b""

    def wake(self) -> None:
        """From now on have the kernel send this process SIGIO when there is something to be heard."""
        fcntl.fcntl(self._fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) | os.O_ASYNC)

    def take(self) -> list[bytes]:
        """All words that have come since the last time."""
        with suppress(BlockingIOError):
            while data := os.read(self._fd, _READ_SIZE):
                self._heard += data
        *words, self._heard = self._heard.split(_END)
        return words

    def close(self) -> None:
        os.close(self._fd)


class Mouth:
    """The end at which they are said."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def say(self, word: bytes) -> bool:
        """Whether anybody was there to hear it. Raises ValueError for one that is too long or holds a NUL."""
        if len(word) > LONGEST or _END in word:
            raise ValueError(f"at most {LONGEST} bytes, and no NUL")
        try:
            os.write(self._fd, word + _END)
        except OSError:
            return False
        return True

    def close(self) -> None:
        os.close(self._fd)


def word_pipe() -> tuple[Ear, Mouth]:
    """A pipe that keeps clear of the numbers of the standard streams, which may be closed."""
    low = os.pipe()
    ear, mouth = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD_STREAMS) for fd in low)
    for fd in low:
        os.close(fd)
    return Ear(ear), Mouth(mouth)
