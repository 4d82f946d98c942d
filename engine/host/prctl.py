"""The two things that Linux does for a process only when asked by prctl(2)."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant whose own parent ends; whether that can be done.

    Counted as not to be done where no /proc tells which processes were adopted. Not inherited by children.
    """
    return os.access("/proc/self/stat", os.R_OK) and _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_signalled_when_parent_ends(number: int) -> bool:
    """Have the kernel send this process a signal as soon as its parent has ended; whether it will.

    A parent that has ended before is not told of: look at `os.getppid` afterwards.
    """
    return _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    unused = ctypes.c_ulong(0)
    call = ctypes.CDLL(None).prctl
    return bool(call(option, ctypes.c_ulong(value), unused, unused, unused) == 0)
