"""A plan file as text: looked at before it is read, so that no file can hang, flood or crash its reader."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from engine.errors import Fault, PlanInvalid

LIMIT: Final = 64 * 1024 * 1024
"""Bytes in a plan file. A plan of 10,000 tasks has about 1.5 million."""

_REASONS: Final = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EACCES: "permission denied",
    errno.EISDIR: "this is a directory, not a plan file",
    errno.ENAMETOOLONG: "the name is too long for a file",
}


def read_source(path: str, file: str) -> str:
    """The text of the plan file at `path`. file: its name in faults.

    Raises `PlanInvalid` unless it is a regular file of at most `LIMIT` bytes of UTF-8.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for somebody to write to it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _refusal(file, "this is not a regular file; a plan is read as a whole before it runs")
            if status.st_size > LIMIT:
                raise _too_big(file)
            data = opened.read(LIMIT + 1)
    except ValueError:
        raise _refusal(file, "a NUL character cannot stand in the name of a file") from None
    except OSError as error:
        if path == "-" and error.errno == errno.ENOENT:
            raise _refusal(file, "a plan cannot come from standard input; write it to a file") from None
        raise _refusal(file, _REASONS.get(error.errno or 0, error.strerror or str(error))) from None
    if len(data) > LIMIT:  # it grew while it was read, or never told its size
        raise _too_big(file)
    return decoded(data, file)


def decoded(data: bytes, file: str) -> str:
    """The text of UTF-8, with or without a byte order mark; `PlanInvalid` at the first byte that is not."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; a plan is written in UTF-8"
        raise PlanInvalid([Fault(file, line, column, message)]) from None


def _refusal(file: str, message: str) -> PlanInvalid:
    return PlanInvalid([Fault(file, 0, 0, message)])


def _too_big(file: str) -> PlanInvalid:
    return _refusal(file, f"this is too big: a plan has at most {LIMIT // (1024 * 1024)} MiB")
