"""A shape and a word for every state: what the console and the plain lines have in common."""

from __future__ import annotations

import locale
import os
import sys
from typing import Final, NamedTuple

from engine.core.state import TaskState
from engine.plan.model import FailureMode


class Mark(NamedTuple):
    """How a state is shown. glyph, plain: one cell each. colour: a variable of the theme."""

    glyph: str
    plain: str
    colour: str


MARKS: Final[dict[TaskState, Mark]] = {
    TaskState.PENDING: Mark("○", ".", "muted"),
    TaskState.READY: Mark("◎", "o", "secondary"),
    TaskState.RUNNING: Mark("◐", "*", "primary"),
    TaskState.RETRYING: Mark("↻", "~", "warning"),
    TaskState.STOPPING: Mark("◧", "%", "warning"),
    TaskState.SUCCESS: Mark("✔", "+", "success"),
    TaskState.FAILED: Mark("✖", "X", "error"),
    TaskState.SKIPPED: Mark("⊘", "/", "muted"),
    TaskState.CANCELLED: Mark("■", "#", "cancelled"),
}

MODE_WORDS: Final[dict[FailureMode, str]] = {
    FailureMode.FAIL_FAST: "fail-fast",
    FailureMode.CONTINUE_ON_ERROR: "continue-on-error",
    FailureMode.PAUSE_ON_FAILURE: "pause-on-failure",
}


def wants_ascii() -> bool:
    """Whether the terminal cannot be trusted with more than ASCII.

    `PLANDECK_ASCII=1` says so; else it is read from the locale, and from `TERM` for the Linux
    virtual console, whose font lacks most signs.
    """
    asked = os.environ.get("PLANDECK_ASCII", "")
    if asked:
        return asked != "0"
    if os.environ.get("TERM") in ("linux", "dumb", "vt100", "vt220"):
        return True
    encoding = getattr(sys.__stdout__, "encoding", None) or locale.getpreferredencoding(False)
    return "utf" not in encoding.lower()


def counted(number: int, thing: str) -> str:
    """ "1 task", "2 tasks"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
