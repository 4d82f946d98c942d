"""Words from one process to another: what engine, guardian and launcher tell each other besides signals."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from typing import Final

OVER: Final = b"over"
"""From the engine: all that it started has ended."""

LEFT: Final = b"left "
"""From the engine and on to the launcher: it has left the terminal. The code to end with and what to say
there follow."""

LAST_WORDS: Final = b"last words "
"""From the engine and on to the launcher: what to say should the engine be killed."""

HOLD: Final = b"hold"
"""From the engine, with a file: not to be closed as long as anything of the run is left."""

ENGINE: Final = b"engine "
"""From the engine to the launcher, first: its process id, for the case that the guardian is killed."""

ENDED: Final = b"ended "
"""To the launcher, last: the wait status of the engine. Nothing of the run is left."""

LONGEST: Final = 4096
"""Bytes of a word."""

_END: Final = b"\0"
_READ_SIZE: Final = 64 * 1024
_MOST_FILES: Final = 16
_ABOVE_STANDARD_STREAMS: Final = 3


class Ear:
    """The end at which words arrive. Never blocks."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self._link = link
        self._heard = b""
        self._held: list[int] = []

    def wake(self) -> None:
        """From now on have the kernel send this process SIGIO when there is something to be heard."""
        fcntl.fcntl(self._link, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._link, fcntl.F_SETFL, fcntl.fcntl(self._link, fcntl.F_GETFL) | os.O_ASYNC)

    def take(self) -> list[bytes]:
        """All words that have come since the last time. Files that came with them stay open from now on."""
        with suppress(OSError):  # nothing more for now, or for ever
            while data := self._read():
                self._heard += data
        *words, self._heard = self._heard.split(_END)
        return words

    def close(self) -> None:
        self._link.close()

    def _read(self) -> bytes:
        data, files, _, _ = socket.recv_fds(self._link, _READ_SIZE, _MOST_FILES)
        self._held += files
        return data


class Mouth:
    """The end at which they are said."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def say(self, word: bytes, *files: int) -> bool:
        """Whether anybody was there to hear it. files: descriptors that the other side gets as well. Raises
        ValueError for a word that is too long or holds a NUL."""
        if len(word) > LONGEST or _END in word:
            raise ValueError(f"at most {LONGEST} bytes, and no NUL")
        try:
            socket.send_fds(self._link, [word + _END], files)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._link.close()


def word_link() -> tuple[Ear, Mouth]:
    """Both ends. They keep clear of the numbers of the standard streams, which may be closed."""
    ear, mouth = map(_clear_of_standard_streams, low := socket.socketpair())
    for link in low:
        link.close()
    return Ear(ear), Mouth(mouth)


def _clear_of_standard_streams(link: socket.socket) -> socket.socket:
    return socket.socket(fileno=fcntl.fcntl(link, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD_STREAMS))
