"""Frames in few bytes: only what differs is sent, and it looks the same on a terminal."""

from __future__ import annotations

import io
import re
from typing import Any

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from tui.terminal.canvas import Canvas
from tui.terminal.thrift import thrifty

CONSOLE = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
WIDTH, HEIGHT = 12, 3
SIZE = (WIDTH, HEIGHT)

STYLES = [
    Style.parse(words)
    for words in (
        "",
        "bold",
        "#ff0000",
        "white on #00ff00",
        "bold red on blue",
        "reverse",
        "underline yellow",
    )
]
pieces = st.lists(
    st.tuples(st.text("ab 試─", max_size=4), st.sampled_from(STYLES)), max_size=6
)  # what a row is made of


def row(parts: list[tuple[str, Style]], width: int = WIDTH) -> Strip:
    return Strip([Segment(text, style) for text, style in parts]).adjust_cell_length(width)


def full(rows: list[Strip]) -> LayoutUpdate:
    return LayoutUpdate([[strip] for strip in rows], Region(0, 0, WIDTH, len(rows)))


def seen(data: str) -> list[list[tuple[Any, ...]]]:
    """What a person sees: of a blank nothing but its ground, and whether it is underlined or reversed."""
    screen = pyte.Screen(WIDTH, HEIGHT)
    pyte.Stream(screen).feed(data)
    cells = []
    for y in range(HEIGHT):
        line = (screen.buffer[y][x] for x in range(WIDTH))
        cells.append(
            [
                (cell.data, cell.bg, cell.underscore, cell.reverse)
                + (() if cell.data == " " and not (cell.reverse or cell.underscore) else (cell.fg, cell.bold))
                for cell in line
            ]
        )
    return cells


@given(st.lists(st.lists(pieces, min_size=HEIGHT, max_size=HEIGHT), min_size=1, max_size=4))
def test_the_difference_leads_to_the_same_picture(frames: list[list[list[tuple[str, Style]]]]) -> None:
    canvas, sent = Canvas(), ""
    for frame in frames:
        rows = [row(parts) for parts in frame]
        sent += canvas.paint(full(rows), SIZE, CONSOLE)
        plain = full(rows).render_segments(CONSOLE).replace("\n", "")
        assert seen(sent) == seen(plain)
        assert canvas.paint(full(rows), SIZE, CONSOLE) == ""


@given(pieces, pieces, st.integers(0, HEIGHT - 1))
def test_a_part_of_a_row_leads_to_the_same_picture(
    before: list[tuple[str, Style]], part: list[tuple[str, Style]], y: int
) -> None:
    rows = [row([("a─b a─b a─b ", STYLES[2])])] * HEIGHT
    piece = row([("x", STYLES[1]), *part], 5)
    update = ChopsUpdate(
        [{3: piece} if line == y else {} for line in range(HEIGHT)], [(y, 3, 8)], [[8]] * HEIGHT
    )
    canvas = Canvas()
    sent = canvas.paint(full(rows), SIZE, CONSOLE) + canvas.paint(update, SIZE, CONSOLE)
    plain = full(rows).render_segments(CONSOLE).replace("\n", "")
    assert seen(sent) == seen(f"{plain}\x1b[{y + 1};4H{piece.render(CONSOLE)}")
    assert canvas.paint(update, SIZE, CONSOLE) == ""


def _sent(text: str, spans: list[tuple[int, int, int]], at: int = 0) -> list[tuple[int, int, str]]:
    """What is written where on a screen of which nothing is known: (row, column, text), counted from 0."""
    strip = Strip([Segment(text)])
    update = ChopsUpdate([{at: strip}], spans, [[at + strip.cell_length]])
    raw = Canvas().paint(update, (80, 24), CONSOLE)
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
    assert _sent("日本語", [(0, 1, 4)]) == [(0, 1, " 本")]


@pytest.mark.parametrize("drawn", ["", "#", "##", "####"])
def test_a_sign_that_the_terminal_draws_wider_or_narrower_moves_nothing_else(drawn: str) -> None:
    canvas = Canvas()
    sent = "".join(
        canvas.paint(full([row([(text, STYLES[2])])] * HEIGHT), SIZE, CONSOLE)
        for text in ("abcdefghijk", "a\u231b bcdefg│")
    )
    screen = pyte.Screen(WIDTH, HEIGHT)
    pyte.Stream(screen).feed(sent.replace("\u231b", drawn))
    assert [line[4:] for line in screen.display] == ["bcdefg│ "] * HEIGHT
    assert {line[0] for line in screen.display} == {"a"}


def test_a_mark_is_sent_with_the_letter_that_bears_it() -> None:
    assert _sent("xe\u0301y", [(0, 0, 3)]) == [(0, 0, "x"), (0, 1, " "), (0, 1, "e\u0301"), (0, 2, "y")]


def test_another_size_and_a_screen_that_is_not_known_are_painted_whole() -> None:
    canvas, rows = Canvas(), [row([("abc", STYLES[0])])] * HEIGHT
    whole = canvas.paint(full(rows), SIZE, CONSOLE)
    assert canvas.paint(full(rows), SIZE, CONSOLE) == ""
    assert canvas.paint(full(rows), (WIDTH, HEIGHT + 1), CONSOLE) == whole
    canvas.forget()
    assert canvas.paint(full(rows), (WIDTH, HEIGHT + 1), CONSOLE) == whole


@pytest.mark.parametrize(
    ("frame", "short"),
    [
        ("\x1b[31ma\x1b[0m\x1b[31mb\x1b[0m", "\x1b[31mab\x1b[0m"),
        ("\x1b[31ma\x1b[0m\x1b[32m  \x1b[0m\x1b[31mb\x1b[0m", "\x1b[31ma  b\x1b[0m"),
        ("\x1b[31;44ma\x1b[0m\x1b[2;3H\x1b[32;44mb\x1b[0m", "\x1b[31;44ma\x1b[2;3H\x1b[32mb\x1b[0m"),
        ("\x1b[1;31ma\x1b[0m\x1b[31mb\x1b[0m", "\x1b[1;31ma\x1b[0;31mb\x1b[0m"),
        ("\x1b[7ma\x1b[0m \x1b[7mb\x1b[0m", "\x1b[7ma\x1b[0m \x1b[7mb\x1b[0m"),
        ("\x1b[38;2;1;2;3;48;5;7ma\x1b[0m\x1b[48;5;7mb\x1b[0m", "\x1b[38;2;1;2;3;48;5;7ma\x1b[39mb\x1b[0m"),
        ("a\x1b[mb", "ab"),
    ],
)
def test_colours_are_sent_when_they_change(frame: str, short: str) -> None:
    assert thrifty(frame) == short
