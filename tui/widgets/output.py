"""A line of a program's output as it is drawn: its colours, where it is broken, and what is sought in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engine.ground.text import Colour, Pen, Span
from engine.ground.text import Style as OutputStyle
from tui.logs.pattern import Pattern
from tui.present import Look

GOES_ON: Final[Span] = (" (this line goes on in the file)", OutputStyle(dim=True))

EASY: Final = 1_000
"""Bytes in a line, besides text, that are drawn in no time."""

HARD_LIMIT: Final = 16 << 10
"""Bytes that are drawn of a line with more of them."""

BYTES_A_CELL: Final = 16
"""Of a line that is cut at the edge no more is looked at: colours take room too, but seldom so much."""

_TEXT: Final = bytes([*range(0x20, 0x7F), *range(0x80, 0x100)])


@lru_cache(maxsize=128)
def draw_output(
    line: bytes, style: OutputStyle, pattern: Pattern | None, look: Look, cells: int | None
) -> Strip:
    """A line as wide as it is, with what is sought marked. style: in which it begins.

    cells: how many will be shown at most, so that the rest need not be drawn; None for all.
    """
    shown = line
    if cells is not None:
        shown = _shortened(line, BYTES_A_CELL * cells)
    elif len(line) > HARD_LIMIT and len(line.translate(None, _TEXT)) > EASY:
        shown = _shortened(line, HARD_LIMIT)
    spans = Pen(style).write(shown)
    if len(shown) < len(line) and shown != line[-len(shown) :]:
        spans.append(GOES_ON)
    segments = [Segment(words, _rich_style(style, look.monochrome)) for words, style in spans]
    return Strip(_marked(segments, pattern, look) if pattern else segments)


def _shortened(line: bytes, most: int) -> bytes:
    """The beginning of a line, or the end if it was written over (a progress bar)."""
    if len(line) <= most:
        return line
    if b"\r" in line:
        return line[-most:]
    while most and line[most] & 0xC0 == 0x80:  # not in the middle of a character
        most -= 1
    return line[:most]


def row_cuts(words: str, width: int) -> Sequence[int]:
    """Where a line is broken into rows of at most `width` cells: the cells at which the rows begin, and the
    one after the last; one row at least."""
    width = max(2, width)  # or a wide character would fit nowhere
    if words.isascii():
        return [*range(0, max(1, len(words)), width), len(words)]
    cuts = [0]
    before = 0
    for after in accumulate(map(cell_len, words)):
        if after - cuts[-1] > width:
            cuts.append(before)
        before = after
    return [*cuts, before]


def _marked(segments: Sequence[Segment], pattern: Pattern, look: Look) -> Iterator[Segment]:
    """The same segments, with what is sought in the colour of what is found."""
    words = "".join(segment.text for segment in segments)
    cuts = [cut for span in pattern.spans(words) for cut in span]
    start = 0
    for words, style, _ in segments:
        end = start + len(words)
        inner = [start, *(cut for cut in cuts if start < cut < end), end]
        for left, right in pairwise(inner):
            is_found = bisect_right(cuts, left) % 2 == 1
            yield Segment(words[left - start : right - start], look.found if is_found else style)
        start = end


@lru_cache(maxsize=1024)
def _rich_style(style: OutputStyle, monochrome: bool) -> Style:
    return Style(
        color=None if monochrome else _rich_colour(style.fg),
        bgcolor=None if monochrome else _rich_colour(style.bg),
        bold=style.bold or None,
        dim=style.dim or None,
        italic=style.italic or None,
        underline=style.underline or None,
        reverse=style.reverse or None,
    )


def _rich_colour(colour: Colour) -> Color | None:
    if colour is None:
        return None
    return Color.from_ansi(colour) if isinstance(colour, int) else Color.from_rgb(*colour)
