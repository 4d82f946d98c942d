"""Output made safe for a terminal: whole lines, their colours, and nothing else of what would drive it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click

from engine.ground.text import LINE_LIMIT, UNSTYLED, Pen, Style, plain

CHUNK: Final = 64 * 1024


class Cleaner:
    """Takes bytes as they come and gives lines; a style that one leaves switched on goes on in the next."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._pen = Pen()
        self._waiting = b""

    def feed(self, data: bytes) -> str:
        """The lines that are complete by now, each with its newline."""
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        text = self._cleaned(lines)
        if len(self._waiting) > LINE_LIMIT:  # it may never end
            text += self.finish()
        return text

    def finish(self) -> str:
        """What waits for the end of its line."""
        waiting, self._waiting = self._waiting, b""
        return self._cleaned([waiting]) if waiting else ""

    def _cleaned(self, lines: Iterable[bytes]) -> str:
        if not self._colour:
            return "".join(f"{plain(line)}\n" for line in lines)
        return "".join("".join(sgr(*span) for span in self._pen.write(line)) + "\n" for line in lines)


def sgr(text: str, style: Style) -> str:
    """The text in its colours, which end with it."""
    if style == UNSTYLED:
        return text
    return click.style(
        text, fg=style.fg, bg=style.bg, bold=style.bold or None, dim=style.dim or None,
        italic=style.italic or None, underline=style.underline or None, reverse=style.reverse or None,
    )  # fmt: skip


def raw(path: Path, size: int) -> Iterator[bytes]:
    """So many bytes of a log, piece by piece: it may be growing for ever."""
    with path.open("rb") as log:
        while size > 0 and (data := log.read(min(CHUNK, size))):
            size -= len(data)
            yield data


def cleaned(path: Path, size: int, *, colour: bool) -> Iterator[bytes]:
    """The same made safe: as it is it could do to a terminal whatever it liked."""
    cleaner = Cleaner(colour=colour)
    for data in raw(path, size):
        yield cleaner.feed(data).encode()
    yield cleaner.finish().encode()
