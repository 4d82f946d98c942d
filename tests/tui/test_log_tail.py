"""The bounded tail of a log, without a screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui.widgets.log_tail import BYTES, CHUNK, LINE_BYTES, LINES, LogTail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as log:
        log.write(data)


def test_a_file_that_is_not_there_yet_is_empty_until_it_is(path: Path) -> None:
    tail = LogTail(path)
    assert not tail.read(drop=True)
    add(path, b"one\n")
    assert tail.read(drop=True)
    assert tail.lines == [b"one"]


def test_a_line_may_come_in_pieces(path: Path) -> None:
    tail = LogTail(path)
    for piece in (b"o", b"n", b"e\ntw", b"o\n", b"\n", b"three"):
        add(path, piece)
        assert tail.read(drop=True)
    assert tail.lines == [b"one", b"two", b"", b"three"]
    assert not tail.read(drop=True)


def test_of_a_long_log_only_the_end_is_kept(path: Path) -> None:
    lines = [b"%07d" % number for number in range(200_000)]
    add(path, b"\n".join(lines) + b"\n")
    tail = LogTail(path)
    assert tail.read(drop=True)
    assert tail.lines == lines[-LINES:]


def test_what_is_passed_over_is_counted_up_to_the_first_whole_line(path: Path) -> None:
    add(path, b"first\n")
    tail = LogTail(path)
    tail.read(drop=True)
    line = b"x" * 1023 + b"\n"
    add(path, line * 2 * (CHUNK // 1024))
    assert tail.read(drop=True)
    first, gap, *rest = tail.lines
    assert first == b"first"
    assert isinstance(gap, int)
    assert gap + sum(len(kept) + 1 for kept in rest if isinstance(kept, bytes)) == 2 * CHUNK
    add(path, line * 2 * (CHUNK // 1024))
    tail.read(drop=True)
    assert sum(isinstance(kept, int) for kept in tail.lines) == 2


def test_gaps_that_touch_are_one(path: Path) -> None:
    tail = LogTail(path)
    for _ in range(2):
        add(path, b"x" * (CHUNK + 7) + b"\n")
        tail.read(drop=True)
    assert tail.lines == [2 * (CHUNK + 8)]


def test_where_a_chunk_has_no_end_of_a_line_the_end_of_that_line_is_kept(path: Path) -> None:
    add(path, b"x" * (CHUNK + 5))
    tail = LogTail(path)
    tail.read(drop=True)
    assert tail.lines == [5, b"x" * LINE_BYTES]


def test_memory_is_bounded_by_lines_and_by_bytes(path: Path) -> None:
    tail = LogTail(path)
    for line in (b"\n", b"y" * 1000 + b"\n", b"z" * 100_000):
        for _ in range(8):
            add(path, line * (CHUNK // len(line)))
            tail.read(drop=True)
            held = sum(len(kept) for kept in tail.lines if isinstance(kept, bytes))
            assert len(tail.lines) <= LINES
            assert held <= BYTES + LINE_BYTES
            assert all(len(kept) <= LINE_BYTES for kept in tail.lines if isinstance(kept, bytes))
    assert tail.first > LINES


def test_without_dropping_what_is_there_stays_and_reading_stops_when_it_is_full(path: Path) -> None:
    tail = LogTail(path)
    add(path, b"first\n")
    tail.read(drop=True)
    add(path, b"x\n" * (LINES + 10))
    assert tail.read(drop=False)
    assert tail.lines[0] == b"first"
    assert not tail.read(drop=False)
    add(path, b"last\n")
    assert not tail.read(drop=False)
    assert tail.read(drop=True)
    assert tail.lines[-1] == b"last"
    assert len(tail.lines) == LINES


def test_of_an_endless_line_the_beginning_is_kept_and_of_a_progress_bar_the_end(path: Path) -> None:
    tail = LogTail(path)
    add(path, b"a" * LINE_BYTES)
    tail.read(drop=True)
    add(path, b"b" * LINE_BYTES)
    tail.read(drop=True)
    assert tail.lines == [b"a" * LINE_BYTES]
    add(path, b"\n" + b"\r".join(b"%5d of 9999" % step for step in range(10_000)))
    tail.read(drop=True)
    last = tail.lines[-1]
    assert isinstance(last, bytes)
    assert last.endswith(b"\r 9999 of 9999")
    assert len(last) == LINE_BYTES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=12) | st.just(b"\n") | st.just(b"x\ny"), max_size=12))
def test_however_it_comes_the_lines_are_those_of_the_file(tmp_path: Path, pieces: list[bytes]) -> None:
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    tail = LogTail(path)
    for piece in pieces:
        add(path, piece)
        tail.read(drop=True)
    expected = b"".join(pieces).split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert tail.lines == expected
