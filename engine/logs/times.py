"""When the bytes of a log were printed: a file of marks beside it, so that the log itself stays as it came.

A mark says: from this byte on, what follows was printed at this time or up to `RESOLUTION` later. One is
written before the first output that comes `RESOLUTION` or more after the last mark; the start of the attempt
counts as one. So a short attempt has no file of marks at all, a busy one gains ten marks a second, and who
looks a time up reads a few of them, however many there are.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, overload

from engine.core.inputs import Now

RESOLUTION: Final = 0.1
"""Seconds that a time may be too early by."""

_MARK: Final = struct.Struct("<Qdd")  # byte in the log; offset; UTC
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Mark(NamedTuple):
    """place: the first byte that was printed at that time."""

    place: int
    time: Now


def times_path(log: Path) -> Path:
    """Where the marks of a log are."""
    return log.with_suffix(".times")


class TimesWriter:
    """Writes the marks of one log, and nothing where a mark would say nothing new.

    Times that cannot be written are lost, and the log is kept without them.
    """

    __slots__ = ("_began", "due")

    def __init__(self) -> None:
        self._began: Now | None = None
        self.due = 0.0
        """The offset from which on output needs a mark."""

    def begin(self, now: Now) -> None:
        """The attempt starts: what it prints soon needs no mark."""
        self._began = now
        self.due = now.offset + RESOLUTION

    def mark(self, log: Path, place: int, now: Now) -> None:
        """What is about to be written at that place of the log is printed now."""
        self.due = now.offset + RESOLUTION
        data = _MARK.pack(place, *now)
        if self._began is not None:
            if place:
                data = _MARK.pack(0, *self._began) + data
            self._began = None
        with suppress(OSError):
            descriptor = os.open(times_path(log), _FLAGS, 0o600)
            try:
                written = os.write(descriptor, data)
                if written < len(data):  # the disk is full; half a mark would put all later ones out of step
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            finally:
                os.close(descriptor)

    def cut(self, log: Path, size: int) -> None:
        """The log is cut to that size: what was marked behind it is gone."""
        with suppress(OSError):
            descriptor = os.open(times_path(log), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                count = bisect_left(_Marks(descriptor), size, key=lambda mark: mark.place)
                os.ftruncate(descriptor, count * _MARK.size)
            finally:
                os.close(descriptor)

    def forget(self, log: Path) -> None:
        """The log begins anew: what was marked is gone with it."""
        self._began = None
        self.due = 0.0
        with suppress(OSError):
            times_path(log).unlink()


class LogTimes:
    """Tells when the bytes of a log were printed, also while it is being written.

    start: when the attempt began, which is all that is known of a log without marks.
    """

    def __init__(self, log: Path, start: Now) -> None:
        self._path = times_path(log)
        self._start = start

    def at(self, place: int) -> Now:
        """When the byte at that place was printed, or shortly before."""
        with self._marks() as marks:
            count = bisect_right(marks, place, key=lambda mark: mark.place)
            return marks[count - 1].time if count else self._start

    def extent(self, offset: float) -> int | None:
        """How many bytes had been printed by that offset; None for all of them."""
        if offset < self._start.offset:
            return 0
        with self._marks() as marks:
            count = bisect_right(marks, offset, key=lambda mark: mark.time.offset)
            return marks[count].place if count < len(marks) else None

    def after(self, place: int) -> Mark | None:
        """The first mark that lies behind that place."""
        with self._marks() as marks:
            count = bisect_right(marks, place, key=lambda mark: mark.place)
            return marks[count] if count < len(marks) else None

    @contextmanager
    def _marks(self) -> Iterator[Sequence[Mark]]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            yield ()
            return
        try:
            yield _Marks(descriptor)
        finally:
            os.close(descriptor)


class _Marks(Sequence[Mark]):
    """The marks of an open file, each read when it is asked for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._count = os.fstat(descriptor).st_size // _MARK.size

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Mark: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Mark]: ...
    def __getitem__(self, at: int | slice) -> Mark | Sequence[Mark]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(self._count))]
        if not 0 <= at < self._count:
            raise IndexError(at)
        place, offset, utc = _MARK.unpack(os.pread(self._descriptor, _MARK.size, at * _MARK.size))
        return Mark(place, Now(offset, utc))
