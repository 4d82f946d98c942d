"""The standard streams of a command: what they can show, and leaving quietly when nobody reads them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from tui.plain.report import Style

EXIT_UNREAD: Final = 141
"""What a shell reports of a program that SIGPIPE ended: nobody reads its output any more."""


def emit(text: str) -> None:
    """Write a line, or several, to stdout now, and leave quietly if nobody reads it."""
    encoding = sys.stdout.encoding or "utf-8"
    with unread_is_no_fault():
        sys.stdout.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


@contextmanager
def unread_is_no_fault() -> Iterator[None]:
    """Leave with `EXIT_UNREAD` when stdout turns out to have no reader."""
    try:
        yield
    except BrokenPipeError:
        # what is buffered must not be tried again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(EXIT_UNREAD) from None


def has_terminal() -> bool:
    """Whether a console can be drawn and can be typed at."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def style_of(stream: IO[Any]) -> Style:
    """How lines look best on that stream."""
    from tui.plain.marks import wants_ascii
    from tui.plain.report import Style

    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    return Style(colour=colour, ascii=wants_ascii(), encoding=getattr(stream, "encoding", None) or "utf-8")
