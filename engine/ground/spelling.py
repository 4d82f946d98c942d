"""Names as they stand in messages: harmless on any terminal, and with a guess at what was meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

SHOWN_LENGTH: Final = 80
COMPARISONS: Final = 20_000


def escaped(text: str) -> str:
    """The text with everything that a terminal would act upon written as an escape."""
    return text if text.isprintable() else repr(text)[1:-1]


def shown(name: str) -> str:
    """The name, escaped, and cut in the middle if it is very long."""
    name = escaped(name)
    if len(name) > SHOWN_LENGTH:
        half = SHOWN_LENGTH // 2 - 1
        name = f"{name[:half]}...{name[-half:]}"
    return name


def quoted(name: str) -> str:
    """The name in single quotes, made harmless as by `shown`."""
    return f"'{shown(name)}'"


class Speller:
    """Guesses what was meant by a word that is not among `words`.

    A guess compares with every word, so the comparisons are budgeted: a file with thousands of
    mistakes gets hints for the first of them and is refused as quickly as any other.
    """

    def __init__(self, words: Collection[str]) -> None:
        self._words = words
        self._left = COMPARISONS

    def hint(self, word: str) -> str:
        """`, did you mean 'x'?`, or nothing if no word is close."""
        self._left -= len(self._words)
        if self._left < 0 or len(word) > SHOWN_LENGTH:
            return ""
        close = get_close_matches(word, self._words, n=1)
        return f", did you mean {quoted(close[0])}?" if close else ""
