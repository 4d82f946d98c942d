"""`Pattern`: what is sought in a log: words, in any case unless they are written with a capital."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from engine.ground.text import plain

# What `plain` leaves as it is. Where there is nothing else, bytes can be searched in place of text, many
# times as fast.
_USUAL: Final = bytes([*range(0x20, 0x7F), 0x0A])
_UNSEEN: Final = bytes([*range(0x0A), *range(0x0B, 0x20), *range(0x7F, 0x100)])
_SEQUENCES: Final = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x00-\x1f\x80-\xff]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
)
_REARRANGES: Final = re.compile(rb"\x08|\r(?!\n)|\x1b\[\d*G|\xc2[\x80-\x9f]")


class Pattern:
    """text: what was typed. A capital in it makes the search heed case."""

    __slots__ = ("_bytes", "_folded", "_heeds_case", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._heeds_case = text != text.lower()
        self._folded = text if self._heeds_case else _folded(text)
        self._bytes = self._folded.encode(errors="replace")

    def __bool__(self) -> bool:
        return bool(self.text)

    def is_in(self, line: bytes) -> bool:
        """Whether a line of output shows it."""
        return next(self.spans(plain(line)), None) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it stands in a text: from, and up to."""
        if not self._heeds_case:
            text = _folded(text)
        at = text.find(self._folded)
        while at >= 0:
            yield at, at + len(self._folded)
            at = text.find(self._folded, at + len(self._folded))

    def lines_in(self, data: bytes) -> Iterator[int]:
        """Where in whole lines of output those begin that show it."""
        if not data.translate(None, _USUAL):
            for at in self._lines_in_usual(data):
                yield data.rfind(b"\n", 0, at) + 1
            return
        lines = data.split(b"\n")
        candidates = self._candidates(data)
        number = start = 0
        for candidate in range(len(lines)) if candidates is None else candidates:
            while number < candidate:
                start += len(lines[number]) + 1
                number += 1
            if self.is_in(lines[number]):
                yield start

    def _candidates(self, data: bytes) -> Iterator[int] | None:
        """The numbers of the lines that may match and must be looked at closely; None for all."""
        if not self._bytes.isascii() or _REARRANGES.search(data) or (b" " in self._bytes and b"\t" in data):
            return None
        return self._numbers_in(_SEQUENCES.sub(b"", data).translate(None, _UNSEEN))

    def _numbers_in(self, bare: bytes) -> Iterator[int]:
        number = counted = 0
        for at in self._lines_in_usual(bare):
            number += bare.count(b"\n", counted, at)
            counted = at
            yield number

    def _lines_in_usual(self, data: bytes) -> Iterator[int]:
        """Where it stands first in each line that it is in."""
        if not self._heeds_case:
            data = data.lower()
        at = data.find(self._bytes)
        while at >= 0:
            yield at
            end = data.find(b"\n", at)
            if end < 0:
                return
            at = data.find(self._bytes, end + 1)


def _folded(text: str) -> str:
    """Without regard to case, letter for letter: "ß" would become two, and places would not agree."""
    if text.isascii():
        return text.lower()
    return "".join(one if len(one := letter.casefold()) == 1 else letter for letter in text)
