"""Output that waits on a worker for its console: on disk, in a file of limited size."""

from __future__ import annotations

import os
import tempfile
from typing import Final

ROOM: Final = 32 * 1024 * 1024
"""Bytes that may wait. Beyond that the attempt should be made to wait."""

_SLACK: Final = 4 * 1024 * 1024
"""Bytes that may come nevertheless: what a pipe still held, what plandeck itself has to say."""


class Spool:
    """A ring in a file that has no name. Offsets count from the first byte ever written.

    begin: of what is still here. end: where the next byte goes. lost: bytes that could not be kept.
    """

    def __init__(self, folder: str, room: int = ROOM) -> None:
        """Nothing is made in the folder before there is something to write."""
        self.begin = 0
        self.end = 0
        self.lost = 0
        self._folder = folder
        self._room = room
        self._size = room + _SLACK
        self._fd: int | None = None

    @property
    def is_full(self) -> bool:
        return self.end - self.begin >= self._room

    def write(self, data: bytes) -> None:
        """Keep as much as there is room for. Raises nothing: what a full disk does not take is lost."""
        fits = data[: self._size - (self.end - self.begin)]
        self.lost += len(data) - len(fits)
        try:
            if self._fd is None:
                with tempfile.TemporaryFile(dir=self._folder) as file:
                    self._fd = os.dup(file.fileno())
            left = memoryview(fits)
            while left:
                place = self.end % self._size
                done = os.pwrite(self._fd, left[: self._size - place], place)
                self.end += done
                left = left[done:]
        except OSError:
            self.lost += len(left) if self._fd is not None else len(fits)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on that lies between `begin` and `end`; fewer where it turns."""
        if self._fd is None:
            return b""
        place = offset % self._size
        return os.pread(self._fd, min(size, self.end - offset, self._size - place), place)

    def release(self, offset: int) -> None:
        """What lies before that is not needed any more."""
        self.begin = min(max(self.begin, offset), self.end)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
