"""`Keystrokes`: which keys were pressed, from the bytes that a terminal sends for them."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Final

from textual import events
from textual._xterm_parser import XTermParser
from textual.message import Message

ESCAPE: Final = "\x1b"

# What follows the escape of a sequence, or makes it a key of text fields: alt with b, f and backspace.
_ESCAPE_ALONE: Final = re.compile("\x1b(?:\\Z|(?=[^\\[\\]\\\\OPX^_bf\x7f]))")
_PASTE_BEGINS: Final = "\x1b[200~"
_PASTE_ENDS: Final = "\x1b[201~"
_MARK_BEGUN: Final = re.compile("\x1b(?:\\[(?:2(?:0[01]?)?)?)?\\Z")


class Keystrokes:
    """Textual's parser (8.2), for which Esc and a key soon after it are that key with Alt, and often the key
    alone. tmux and slow links bring both at once, and then Esc would do nothing, and the key do what it does
    in a dialog that should be gone.

    To be told of every read, and of every tenth of a second without one.
    """

    def __init__(self, *, debug: bool = False, heeds_alt: bool = False) -> None:
        """heeds_alt: whether anything is done by a key with Alt; then they are left together."""
        self._parser = XTermParser(debug)
        self._decode = getincrementaldecoder("utf-8")(errors="replace").decode
        self._heeds_alt = heeds_alt
        self._is_pasting = False
        self._held = ""

    def read(self, data: bytes) -> Iterator[Message]:
        """What was pressed, as far as it is known by now."""
        text = self._held + self._decode(data)
        self._held = ""
        if begun := _MARK_BEGUN.search(text):
            text, self._held = text[: begun.start()], begun[0]
        while text:
            if self._is_pasting:
                inside, end, text = text.partition(_PASTE_ENDS)
                # an escape in what is pasted would end it for the parser, and the rest be taken for keys
                yield from self._parsed(inside.replace(ESCAPE, "") + end)
                self._is_pasting = not end
            else:
                before, begin, text = text.partition(_PASTE_BEGINS)
                yield from self._typed(before)
                yield from self._parsed(begin)
                self._is_pasting = bool(begin)

    def _typed(self, text: str) -> Iterator[Message]:
        if self._heeds_alt:
            yield from self._parsed(text)
            return
        for number, part in enumerate(_ESCAPE_ALONE.split(text)):
            if number:
                yield events.Key("escape", ESCAPE)
            yield from self._parsed(part)

    def _parsed(self, text: str) -> Iterator[Message]:
        if text:  # without any the parser would take it to be the end of all
            yield from self._parser.feed(text)

    def rest(self) -> Iterator[Message]:
        """Nothing more has come: what was still open is what it is."""
        if not self._is_pasting:
            held, self._held = self._held, ""
            if held == ESCAPE:
                yield events.Key("escape", ESCAPE)
            else:
                yield from self._parsed(held)
        yield from self._parser.tick()
