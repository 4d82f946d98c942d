"""Whatever a program prints, nothing of it but colour and style reaches the terminal."""

from __future__ import annotations

import sys
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ground.text import LINE_LIMIT, UNSTYLED, Pen, Style, one_line, plain

RED = Style(fg=1)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"hello", "hello"),
        (b"one\ntwo\n", "one\ntwo\n"),
        (b"dos\r\nlines\r\n", "dos\nlines\n"),
        ("Grüße 漢字".encode(), "Grüße 漢字"),
        (b"bad \xff\xfe bytes", "bad \ufffd\ufffd bytes"),
        (b"half a character \xe6\xbc", "half a character \ufffd"),
        (b"nul \x00, bell \x07, delete \x7f", "nul , bell , delete "),
        (b"a\tb\n\tc", "a       b\n        c"),
        ("ä\tb".encode(), "ä       b"),
        # sequences, whole
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b[?25lhide\x1b[?1049h", "hide"),
        (b"\x1b[2J\x1b[Hclear", "clear"),
        (b"\x1b]0;title\x07shown", "shown"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0;2;0;0;0\x1b\\sixel", "sixel"),
        (b"\x1b(B\x1b=\x1b>\x1bcreset", "reset"),
        ("\x9b31mred \x9d0;title\x9cshown".encode(), "red shown"),
        (b"\x1b[>4;1mkeys", "keys"),
        # sequences, broken off
        (b"tail\x1b", "tail"),
        (b"tail\x1b[", "tail"),
        (b"tail\x1b[31", "tail"),
        (b"tail\x1b]0;never ended", "tail"),
        (b"\x1b]0;cut\nnext line", "\nnext line"),
        (b"\x1b[3\x071mx", "1mx"),
        # lines that are written over
        (b"10%\r20%\r100%", "100%"),
        (b"downloading\rdone", "doneloading"),
        (b"downloading\rdone\x1b[K", "done"),
        (b"downloading\x1b[2K\rdone", "done"),
        (b"downloading\x1b[1G\x1b[0Kdone", "done"),
        (b"abcdef\x1b[3GX", "abXdef"),
        (b"abc\x1b[99GX", "abcX"),
        (b"abc\x1b[1KX\r", "abcX"),
        (b"|\b/\b-\b\\", "\\"),
        (b"\b\bx", "x"),
        (b"a\tb\rX", "X       b"),
        (b"ab\r\tX", "ab      X"),
        (b"bar\x00 50%\r\x00\rbar", "bar 50%"),
        (b"\x1b[32m 50%\x1b[0m\r\x1b[32m100%\x1b[0m", "100%"),
        # tricks
        ("user\u202etxt.exe".encode(), "usertxt.exe"),
        ("a\u2066b\u2069\u200bc\ufeff\u2028d\u00ad".encode(), "abcd"),
        (("e" + "\u0301" * 50 + "!").encode(), "e" + "\u0301" * 4 + "!"),
        ("\U000e0041hidden".encode(), "hidden"),
    ],
)
def test_text_without_tricks(data: bytes, text: str) -> None:
    assert plain(data) == text


def test_no_character_gets_through_that_is_not_seen() -> None:
    visible_formats = {
        "\u0600",
        "\u0601",
        "\u0602",
        "\u0603",
        "\u0604",
        "\u0605",
        "\u06dd",
        "\u070f",
        "\u08e2",
    }
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category in ("Cc", "Zl", "Zp") or (category == "Cf" and char not in visible_formats):
            if 0x890 <= code <= 0x891 or 0x110BD <= code <= 0x110CD or 0x13430 <= code <= 0x1345F:
                continue  # signs of Arabic, Kaithi and Egyptian that have a shape
            assert char not in one_line(f"a{char}b"), f"U+{code:04X}"
            if char != "\n":
                assert char not in plain(f"a{char}b".encode()), f"U+{code:04X}"


bits = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b"\x1b[", b"\x1b]", b"\x9b", b"\x1bP", b"\r", b"\n", b"\t", b"\b", b"\x1b[K", b"\x1b[31m"]
        ),
        st.text(max_size=10).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.from_regex(r"\A\x1b\[[0-9;:]{0,12}[A-Za-z]\Z").map(str.encode),
    ),
    max_size=12,
).map(b"".join)


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)


@given(bits)
def test_no_control_character_survives(data: bytes) -> None:
    assert is_harmless(plain(data).replace("\n", ""))
    assert is_harmless(one_line(data.decode("utf-8", "surrogateescape")))
    pen = Pen()
    for line in data.split(b"\n"):
        spans = pen.write(line)
        assert is_harmless("".join(text for text, _ in spans))
        assert all(text for text, _ in spans)
        assert all(one[1] != other[1] for one, other in pairwise(spans))
        assert "".join(text for text, _ in spans) == plain(line)


@given(bits)
def test_what_is_harmless_stays_as_it_is(data: bytes) -> None:
    text = plain(data)
    if "\u0300" not in text and text.isascii():
        assert plain(text.encode()) == text


# ── colour and style ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("codes", "style"),
    [
        ("", UNSTYLED),
        ("0", UNSTYLED),
        ("31", RED),
        ("31;42", Style(fg=1, bg=2)),
        ("97;104", Style(fg=15, bg=12)),
        ("1;2;3;4;7", Style(bold=True, dim=True, italic=True, underline=True, reverse=True)),
        ("1;22", UNSTYLED),
        ("3;23;4;24;7;27", UNSTYLED),
        ("31;41;39;49", UNSTYLED),
        ("1;0;31", RED),
        ("31;;1", Style(bold=True)),
        ("38;5;200", Style(fg=200)),
        ("48;2;1;2;3", Style(bg=(1, 2, 3))),
        ("38:5:200", Style(fg=200)),
        ("38:2:1:2:3", Style(fg=(1, 2, 3))),
        ("38:2::1:2:3", Style(fg=(1, 2, 3))),
        ("58;5;9;31", RED),
        ("58:2::1:2:3;31", RED),
        ("4:3", Style(underline=True)),
        ("4:3;4:0", UNSTYLED),
        ("21", Style(underline=True)),
        ("5;8;9;53;31", RED),  # blinking, hidden, struck through, overlined: not kept
        # what makes no sense is ignored
        ("38;5;256", UNSTYLED),
        ("38;5", UNSTYLED),
        ("38", UNSTYLED),
        ("38;7;31", RED),
        ("38;2;1;2", UNSTYLED),
        ("999", UNSTYLED),
        ("3" * 101, UNSTYLED),
    ],
)
def test_what_a_sequence_switches_on(codes: str, style: Style) -> None:
    assert Pen().write(f"\x1b[{codes}mx".encode()) == [("x", style)]


def test_a_line_falls_into_pieces_of_one_style() -> None:
    line = b"plain \x1b[31mred\x1b[1m bold\x1b[0m\x1b[0m end"
    assert Pen().write(line) == [
        ("plain ", UNSTYLED),
        ("red", RED),
        (" bold", Style(fg=1, bold=True)),
        (" end", UNSTYLED),
    ]


def test_neighbours_of_one_style_are_one_piece() -> None:
    assert Pen().write(b"a\x1b[0mb\x1b[?25lc\td") == [("abc     d", UNSTYLED)]


def test_what_is_written_over_keeps_the_style_it_was_written_in() -> None:
    assert Pen().write(b"\x1b[31mabcd\r\x1b[32mX\x1b[0m") == [("X", Style(fg=2)), ("bcd", RED)]


def test_a_pen_carries_its_style_into_the_next_line() -> None:
    pen = Pen()
    assert pen.write(b"\x1b[31mred") == [("red", RED)]
    assert pen.write(b"still\r") == [("still", RED)]
    assert pen.write(b"") == []
    assert pen.write(b"until\x1b[m here") == [("until", RED), (" here", UNSTYLED)]
    assert pen.style == UNSTYLED
    assert Pen(RED).write(b"x") == [("x", RED)]


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────


def test_an_endless_line_is_cut_with_a_mark() -> None:
    text = plain(b"x" * (LINE_LIMIT + 1_234_567))
    assert text == "x" * LINE_LIMIT + " […1,234,567 more bytes]"
    assert plain(b"x" * LINE_LIMIT) == "x" * LINE_LIMIT


def test_a_cut_does_not_go_through_a_character() -> None:
    text = plain(b"x" + "漢".encode() * LINE_LIMIT)
    assert "\ufffd" not in text
    assert text.startswith("x漢")
    assert plain(b"\x80" * (LINE_LIMIT + 5)).count("\ufffd") == LINE_LIMIT - 4


def test_of_an_endless_progress_bar_the_present_is_shown() -> None:
    data = b"".join(b"\r%d done" % count for count in range(20_000))
    assert plain(data) == "19999 done"
    assert plain(data + b"\r\r") == "19999 done"


def test_erasing_again_and_again_costs_no_more_than_writing() -> None:
    assert plain(b"x" * 30_000 + b"\b\x1b[2K" * 5_000 + b"end") == "end"


# ── names ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "width", "line"),
    [
        ("plain", None, "plain"),
        ("two\nlines\t\r\nand more", None, "two lines and more"),
        ("  \x1b[31mred\x1b[0m\n", None, "red"),
        ("[bold]markup[/]", None, "[bold]markup[/]"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("Grüße", None, "Grüße"),
    ],
)
def test_one_line(text: str, width: int | None, line: str) -> None:
    assert one_line(text, width) == line
