"""A frame in fewer bytes: of colours and attributes only what changes, and none where blanks show none."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

_SGR: Final = re.compile("\x1b\\[([0-9;]*)m")
_MOVE: Final = re.compile("\x1b\\[[0-9;]*H")
_RESET: Final = "\x1b[0m"
_UNSEEN_ON_BLANKS: Final = frozenset({"1", "2", "3"})
"""Bold, dim and italic; the rest (underlined, reversed) is seen where nothing is written, too."""


class _Pen(NamedTuple):
    """How a terminal writes. Each is what stands between `ESC [` and `m`; "" for its own."""

    attributes: frozenset[str] = frozenset()
    colour: str = ""
    ground: str = ""


_PLAIN: Final = _Pen()


def thrifty(frame: str) -> str:
    """The frame, looking the same on a terminal. It begins and ends with a terminal that writes plainly.

    Rich says with every piece of a line all that there is to say of it, and takes it back at its end: two
    thirds of a frame are that.
    """
    written: list[str] = []
    pen = wanted = _PLAIN
    for number, part in enumerate(_SGR.split(frame)):
        if number % 2:
            wanted = _told(wanted, part)
        elif part:
            if not _MOVE.fullmatch(part):
                needed = _for_blanks(pen, wanted) if part.isspace() else wanted
                if needed != pen:
                    written.append(_change(pen, needed))
                    pen = needed
            written.append(part)
    if pen != _PLAIN:
        written.append(_RESET)
    return "".join(written)


@lru_cache(maxsize=4096)
def _told(pen: _Pen, codes: str) -> _Pen:
    """The pen after it was told `codes`."""
    attributes, colour, ground = pen
    left = codes.split(";")[::-1] if codes else ["0"]
    while left:
        code = left.pop()
        if code in ("38", "48"):
            count = 2 if left and left[-1] == "5" else 4
            whole = ";".join([code, *left[: -count - 1 : -1]])
            del left[-count:]
            colour, ground = (whole, ground) if code == "38" else (colour, whole)
        elif code in ("", "0"):
            attributes, colour, ground = _PLAIN
        elif code in _COLOURS:
            colour = "" if code == "39" else code
        elif code in _GROUNDS:
            ground = "" if code == "49" else code
        else:
            attributes |= {code}
    return _Pen(attributes, colour, ground)


_COLOURS: Final = frozenset(map(str, (*range(30, 38), 39, *range(90, 98))))
_GROUNDS: Final = frozenset(map(str, (*range(40, 48), 49, *range(100, 108))))


@lru_cache(maxsize=4096)
def _for_blanks(pen: _Pen, wanted: _Pen) -> _Pen:
    """What is needed to write blanks so that they look as wanted: as little of a change as possible."""
    if (pen.attributes | wanted.attributes) <= _UNSEEN_ON_BLANKS:
        return pen._replace(ground=wanted.ground)
    return wanted


@lru_cache(maxsize=4096)
def _change(pen: _Pen, wanted: _Pen) -> str:
    """The shortest way from one to the other."""
    if not wanted.attributes >= pen.attributes:
        codes = ["0", *sorted(wanted.attributes), wanted.colour, wanted.ground]
    else:
        codes = sorted(wanted.attributes - pen.attributes)
        codes += [wanted.colour or "39"] if wanted.colour != pen.colour else []
        codes += [wanted.ground or "49"] if wanted.ground != pen.ground else []
    return f"\x1b[{';'.join(filter(None, codes))}m"
