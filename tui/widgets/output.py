"""A line of a program's output as it is drawn: its colours, where it is broken, and what is sought in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engine.view.text import Colour, Span, styled
from engine.view.text import Style as OutputStyle
from tui.present import Look
from tui.widgets.log_tail import LINE_BYTES, Line

GOES_ON: Final[Span] = (" (this line goes on in the file)", OutputStyle(dim=True))


def draw_output(line: Line, sought: str, look: Look) -> Strip:
    """A whole line, as wide as it is. sought: casefolded; it is marked wherever it stands."""
    if isinstance(line, int):
        mark = "..." if look.plain else "⋯"
        return Strip([Segment(f"{mark} {_amount(line)} more stand in the file {mark}", look.muted)])
    segments = [Segment(words, _rich_style(style, look.monochrome)) for words, style in _spans(line)]
    return Strip(_marked(segments, sought, look) if sought else segments)


def count_rows(line: Line, width: int) -> int:
    """How many rows the line takes where it is broken after `width` cells."""
    if isinstance(line, int) or (len(line) <= width and b"\t" not in line):
        return 1  # no character takes more cells than bytes, but for the tab
    return len(_breaks("".join(words for words, _ in _spans(line)), width))


def nth_row(line: Strip, part: int, width: int) -> Strip:
    """One of those rows."""
    words = line.text
    start, end = _breaks(words, width)[part]
    before = cell_len(words[:start])
    return line.crop(before, before + cell_len(words[start:end]))


def _breaks(words: str, width: int) -> list[tuple[int, int]]:
    """The parts of a line, as (start, end), none of more than `width` cells; one part at least."""
    width = max(2, width)  # or a wide character would fit nowhere
    if words.isascii():
        return [(at, at + width) for at in range(0, max(1, len(words)), width)]
    parts: list[tuple[int, int]] = []
    start = used = 0
    for at, character in enumerate(words):
        cells = cell_len(character)
        if used + cells > width:
            parts.append((start, at))
            start, used = at, 0
        used += cells
    return [*parts, (start, len(words))]


def _spans(line: bytes) -> list[Span]:
    spans = styled(line)
    if len(line) >= LINE_BYTES:
        spans.append(GOES_ON)
    return spans


def _amount(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _marked(segments: Sequence[Segment], sought: str, look: Look) -> Iterator[Segment]:
    """The same segments, with what is sought in the colour of what is found."""
    words = "".join(segment.text for segment in segments)
    # "ß" folds to two letters, and places would not agree any more: such letters are left as they are
    folded = "".join(one if len(one := letter.casefold()) == 1 else letter for letter in words)
    cuts: list[int] = []
    at = folded.find(sought)
    while at >= 0:
        cuts += (at, at + len(sought))
        at = folded.find(sought, cuts[-1])
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
