"""What is found in bytes is what is found in what is shown of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.ground.text import plain
from tui.logs.pattern import Pattern

WORDS = st.sampled_from(
    [
        *("a", "B", "b", "ab", " ", "\n", "\t", "\r", "\b", "\0", "\x07", "\x1b", "[", "\u00e9", "\u00c9"),
        *("\x1b[31m", "\x1b[0m", "\x1b[K", "\x1b[2K", "\x1b[1G", "\x9b31m", "\u200b", "\u202e"),
        *("\x1b]0;ab\x07", "\x1b]0;a", "\x1b\\"),
    ]
)


@given(st.lists(WORDS, max_size=12), st.sampled_from(["ab", "b", "a b", "AB", "B", "\u00e9", "b a"]))
@example(["a", "\x1b[31m", "b"], "ab")
@example(["a", "\x1b]0;a", "\u00e9", "b"], "b")
def test_bytes_and_text_agree(words: list[str], sought: str) -> None:
    data = "".join(words).encode()
    pattern = Pattern(sought)
    at = 0
    expected = []
    for line in data.split(b"\n"):
        shown = plain(line)
        if sought in shown if sought != sought.lower() else sought in shown.lower():
            expected.append(at)
        at += len(line) + 1
    assert list(pattern.lines_in(data)) == expected


@pytest.mark.parametrize(
    ("sought", "text", "spans"),
    [
        ("err", "Err or ERR", [(0, 3), (7, 10)]),
        ("Err", "Err or ERR", [(0, 3)]),
        ("ss", "stra\u00dfe ss", [(7, 9)]),
        ("\u00e4", "\u00c4 \u00e4", [(0, 1), (2, 3)]),
        ("aa", "aaaa", [(0, 2), (2, 4)]),
    ],
)
def test_a_capital_heeds_case(sought: str, text: str, spans: list[tuple[int, int]]) -> None:
    assert list(Pattern(sought).spans(text)) == spans
