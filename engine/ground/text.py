"""Program output made safe to show: of all that a terminal obeys, only colour and style survive."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

import msgspec

LINE_LIMIT: Final = 64 * 1024
"""Bytes of one line that are shown; what is longer is cut, with a mark."""

TAB: Final = 8

# ── what is taken out ───────────────────────────────────────────────────────────────────────────

_CSI: Final = r"(?:\x1b\[|\x9b)"
_SEQUENCES: Final = (
    rf"{_CSI}[0-?]*[ -/]*[@-~]?"  # control sequences, whole or broken off
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, strings
    r"|\x1b[ -/]*[0-~]?"  # every other escape
)
# What Unicode calls default ignorable: it shows nothing, but hides, joins or turns round its neighbours.
# Besides, line separators, annotations, halves of surrogate pairs, and colours of skin, to which some
# terminals give cells of their own and others none.
_UNSEEN: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff"
)
_MARK: Final = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
# Four marks on a letter are language; a tower of them is not.
_TOWER: Final = f"(?<={_MARK * 4}){_MARK}+"
_JUNK: Final = rf"{_SEQUENCES}|[\x00-\x08\x0a-\x1f\x7f-\x9f{_UNSEEN}]|{_TOWER}"
_STYLE: Final = rf"{_CSI}([0-9;:]{{0,100}})m"

_REMOVED: Final = re.compile(_JUNK)
_REMOVED_OR_TAB: Final = re.compile(rf"{_JUNK}|\t")
_TOKEN: Final = re.compile(rf"{_STYLE}|{_JUNK}|\t")
_CURSOR_TOKEN: Final = re.compile(rf"{_STYLE}|{_CSI}([0-9]{{0,9}})([GK])|([\r\b\t])|(?:{_JUNK})")
_MOVES_CURSOR: Final = re.compile(rf"[\r\b]|{_CSI}[0-9]{{0,9}}[GK]")
_LINE_BREAKS: Final = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")

# ── colour and style ────────────────────────────────────────────────────────────────────────────

Colour = int | tuple[int, int, int] | None
"""A place in the palette of 256 (the first 16 are the theme's), red, green and blue, or the default."""


class Style(msgspec.Struct, frozen=True, gc=False):
    """How a piece of output looks. Whatever else a program may ask for (hidden, blinking) it does not get."""

    fg: Colour = None
    bg: Colour = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    reverse: bool = False


UNSTYLED: Final = Style()

Span = tuple[str, Style]

_SWITCHES: Final[dict[int, dict[str, Any]]] = {
    1: {"bold": True},
    2: {"dim": True},
    3: {"italic": True},
    4: {"underline": True},
    7: {"reverse": True},
    21: {"underline": True},
    22: {"bold": False, "dim": False},
    23: {"italic": False},
    24: {"underline": False},
    27: {"reverse": False},
    39: {"fg": None},
    49: {"bg": None},
    **{30 + n: {"fg": n} for n in range(8)},
    **{40 + n: {"bg": n} for n in range(8)},
    **{90 + n: {"fg": 8 + n} for n in range(8)},
    **{100 + n: {"bg": 8 + n} for n in range(8)},
}
_EXTENDED: Final = {38: "fg", 48: "bg", 58: ""}  # 58 colours the underline: read, not kept


@lru_cache(maxsize=1024)
def _restyled(style: Style, parameters: str) -> Style:
    """The style after `CSI parameters m`."""
    changes: dict[str, Any] = {}
    codes = [code.split(":") for code in parameters.split(";")]
    at = 0
    while at < len(codes):
        first, *more = (int(part or 0) for part in codes[at])
        at += 1
        if first in _EXTENDED:
            if not more:  # 38;5;n and 38;2;r;g;b: the rest stands in the parameters that follow
                rest = [int(code[0] or 0) for code in codes[at : at + 4]]
                size = {5: 2, 2: 4}.get(rest[0] if rest else 0, 1)
                more = rest[:size]
                at += size
            colour = _colour(more)
            if colour is not None and _EXTENDED[first]:
                changes[_EXTENDED[first]] = colour
        elif first == 0:
            style, changes = UNSTYLED, {}
        elif first == 4 and more == [0]:
            changes["underline"] = False
        else:
            changes.update(_SWITCHES.get(first, {}))
    return msgspec.structs.replace(style, **changes)


def _colour(numbers: list[int]) -> Colour:
    """5, n or 2, r, g, b or 2, colour space, r, g, b; None if it is none of these."""
    if any(number > 255 for number in numbers):
        return None
    match numbers:
        case [5, place]:
            return place
        case [2, red, green, blue] | [2, _, red, green, blue, *_]:
            return red, green, blue
    return None


# ── the ways in ─────────────────────────────────────────────────────────────────────────────────


def plain(data: bytes) -> str:
    """Output, one line or many, as text: the only control character left is the newline.

    Bytes that are not UTF-8 become U+FFFD, tabs become blanks, and of a line that was written over
    (progress bars) the last state is kept.
    """
    if b"\n" not in data:
        return _plain_line(data)
    return "\n".join([_plain_line(line) for line in data.split(b"\n")])


def carried(data: bytes, style: Style = UNSTYLED) -> Style:
    """The style that output leaves switched on, where it began in `style`."""
    if b"\x1b" not in data and b"\xc2\x9b" not in data:
        return style
    data = data[max(0, data.rfind(b"\x1b[0m"), data.rfind(b"\x1b[m")) :]
    for token in _TOKEN.finditer(data.decode("utf-8", "replace")):
        if token[1] is not None:
            style = _restyled(style, token[1])
    return style


def one_line(text: str, width: int | None = None) -> str:
    """A name or an error as one printable line. width: characters to cut it to, the last a "…"."""
    if not (text.isascii() and text.isprintable()):
        text = _REMOVED_OR_TAB.sub("", _LINE_BREAKS.sub(" ", text)).strip()
    if width is not None and len(text) > width:
        text = f"{text[: width - 1]}…" if width > 0 else ""
    return text


class Pen:
    """Reads one line after another; a style that one leaves switched on goes on in the next."""

    def __init__(self, style: Style = UNSTYLED) -> None:
        self.style = style
        """The style in which the next line begins."""

    def write(self, line: bytes) -> list[Span]:
        """The line, without its newline, as pieces of text; neighbours differ in style."""
        text = _decoded(line)
        if text.isascii() and text.isprintable():
            return [(text, self.style)] if text else []
        return self._overwrite(text) if _MOVES_CURSOR.search(text) else self._append(text)

    def _append(self, text: str) -> list[Span]:
        """A line that is written from left to right."""
        runs: list[Span] = []
        at = column = 0
        for token in _TOKEN.finditer(text):
            start, end = token.span()
            if start > at:
                runs.append((text[at:start], self.style))
                column += start - at
            at = end
            parameters = token[1]
            if parameters is not None:
                self.style = _restyled(self.style, parameters)
            elif text[start] == "\t":
                gap = TAB - column % TAB
                runs.append((" " * gap, self.style))
                column += gap
        if at < len(text):
            runs.append((text[at:], self.style))
        return _merged(runs)

    def _overwrite(self, text: str) -> list[Span]:
        """A line in which the cursor went back: what a terminal would show in the end."""
        cells: list[Span] = []
        at = column = 0
        for token in _CURSOR_TOKEN.finditer(text):
            start, end = token.span()
            run, at = text[at:start], end
            cells[column : column + len(run)] = [(char, self.style) for char in run]
            column += len(run)
            parameters, count, final, move = token.groups()
            if parameters is not None:
                self.style = _restyled(self.style, parameters)
            elif final == "G":
                column = min(max(1, int(count or 1)) - 1, len(cells))
            elif final == "K" and count in ("", "0"):
                del cells[column:]
            elif final == "K" and count == "2":
                # a terminal leaves the cursor where it is, but programs send it back beside this
                cells.clear()
                column = 0
            elif move == "\r":
                column = 0
            elif move == "\b":
                column = max(0, column - 1)
            elif move == "\t":
                column += TAB - column % TAB
                cells.extend([(" ", self.style)] * (column - len(cells)))
        run = text[at:]
        cells[column : column + len(run)] = [(char, self.style) for char in run]
        return _merged(cells)


def _plain_line(line: bytes) -> str:
    text = _decoded(line)
    if text.isascii() and text.isprintable():
        return text
    if _MOVES_CURSOR.search(text):
        return "".join([piece for piece, _ in Pen().write(line)])
    return _REMOVED.sub("", text).expandtabs(TAB)


def _decoded(line: bytes) -> str:
    """The part of a line that is shown, as text, without the CR of a CR LF."""
    if len(line) <= LINE_LIMIT:
        return line.rstrip(b"\r").decode("utf-8", "replace")
    tail = line[-LINE_LIMIT:].rstrip(b"\r")
    start = tail.find(b"\r")
    if start >= 0:  # a progress bar that never ended its line: only its present matters
        return tail[start + 1 :].decode("utf-8", "replace")
    cut = LINE_LIMIT
    while cut > LINE_LIMIT - 4 and line[cut] & 0xC0 == 0x80:  # not in the middle of a character
        cut -= 1
    return f"{line[:cut].decode('utf-8', 'replace')} […{len(line) - cut:,} more bytes]"


def _merged(runs: list[Span]) -> list[Span]:
    """Neighbours of one style put together."""
    return [
        ("".join([text for text, _ in group]), style) for style, group in groupby(runs, lambda run: run[1])
    ]
