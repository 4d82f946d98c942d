"""Keys from bytes: Esc is Esc, however soon a key follows it."""

from __future__ import annotations

import math
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events

from tui.terminal.keystrokes import Keystrokes


def pressed(*reads: bytes, heeds_alt: bool = False) -> list[str]:
    keystrokes = Keystrokes(heeds_alt=heeds_alt)
    messages = [message for data in reads for message in keystrokes.read(data)]
    with patch("textual._parser.get_time", return_value=math.inf):  # long after the last of them
        messages += keystrokes.rest()
    return [
        message.key if isinstance(message, events.Key) else type(message).__name__ for message in messages
    ]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b", ["escape"]),
        (b"\x1b\x1b", ["escape", "escape"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b+-", ["escape", "plus", "minus"]),
        (b"\x1bR\x1b\r", ["escape", "R", "escape", "enter"]),
        (b"\x1b1", ["escape", "1"]),
        (b"\x1b\x03", ["escape", "ctrl+c"]),
        (b"\x1b[A\x1bOB\x1b[5~", ["up", "down", "pageup"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x1bb\x1b\x7f", ["ctrl+left", "ctrl+w"]),
        (b"\x1b[200~a\x1bq\x1b[Ab\x1b[201~x", ["Paste", "x"]),
        (b"\x1b\x1b[200~a\x1b[201~\x1bx", ["escape", "Paste", "escape", "x"]),
        (b"\x1b[<0;3;4M", ["MouseDown"]),
        ("\x1bé".encode(), ["escape", "é"]),
    ],
)
def test_what_was_pressed(data: bytes, keys: list[str]) -> None:
    assert pressed(data) == keys
    assert pressed(*(bytes([byte]) for byte in data)) == keys


def test_with_alt_where_alt_is_heeded() -> None:
    assert pressed(b"\x1bq", heeds_alt=True) == ["alt+q"]


@given(st.text("\x1b[]O~20;ab1\x07é\\", max_size=30))
def test_no_bytes_break_it(text: str) -> None:
    assert isinstance(pressed(text.encode()), list)
