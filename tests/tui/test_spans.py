"""Partial frames carry the columns that changed, and nothing beside them."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.segment import Segment
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from tui.spans import SpanUpdate

WIDE = "日本語"


def _sent(text: str, spans: list[tuple[int, int, int]], at: int = 0) -> list[tuple[int, int, str]]:
    """What is written where: (row, column, text), counted from 0."""
    strip = Strip([Segment(text)])
    update = ChopsUpdate([{at: strip}], spans, [[at + strip.cell_length]])
    raw = SpanUpdate.of(update).render_segments(Console(file=io.StringIO(), force_terminal=True))
    moves = re.findall(r"\x1b\[(\d+);(\d+)H([^\x1b]*)", raw)
    return [(int(row) - 1, int(column) - 1, written) for row, column, written in moves]


@pytest.mark.parametrize(
    ("span", "sent"),
    [
        ((0, 3, 5), [(0, 3, "de")]),
        ((0, 0, 8), [(0, 0, "abcdefgh")]),
        ((0, 6, 20), [(0, 6, "gh")]),
        ((0, 8, 9), []),
    ],
)
def test_a_span_is_sent_from_its_start_to_its_end(
    span: tuple[int, int, int], sent: list[tuple[int, int, str]]
) -> None:
    assert _sent("abcdefgh", [span]) == sent


def test_a_widget_away_from_the_edge_keeps_its_place() -> None:
    assert _sent("abc", [(0, 0, 12)], at=10) == [(0, 10, "ab")]
    assert _sent("abc", [(0, 11, 13)], at=10) == [(0, 11, "bc")]


def test_half_a_wide_sign_is_never_sent() -> None:
    [(row, column, written)] = _sent(WIDE, [(0, 1, 4)])
    assert (row, column) == (0, 1)
    assert written == " 本"
