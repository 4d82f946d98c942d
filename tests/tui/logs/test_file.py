"""The lines of a log on disk: the same wherever one comes from, however they are cut, and while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.ground.text import Style
from tui.logs.file import BLOCK, FileDocument
from tui.logs.pattern import Pattern


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def forth(document: FileDocument) -> list[int]:
    places: list[int] = []
    place = document.first()
    while place is not None:
        places.append(place)
        place = document.after(place)
    return places


def back(document: FileDocument) -> list[int]:
    places: list[int] = []
    place = document.last()
    while place is not None:
        places.append(place)
        place = document.before(place)
    return places[::-1]


PIECES = st.sampled_from(
    [b"x", b"\n", b"line\n", b"y" * 1000, b"z" * (BLOCK - 1), b"w" * BLOCK, b"\r", b"10%\r" * 9000, b"\n\n"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, min_size=1, max_size=12))
def test_forth_and_back_and_from_anywhere_the_lines_are_the_same(tmp_path: Path, pieces: list[bytes]) -> None:
    path = tmp_path / "log"
    data = b"".join(pieces)
    path.write_bytes(data)
    document = FileDocument(path)
    places = forth(document)
    assert places == back(document)
    for place, following in zip(places, [*places[1:], len(data)], strict=True):
        assert document.line_at(place) == document.line_at(following - 1) == place
        assert document.line_at((place + following) // 2) == place
    starts = {0, *(at + 1 for at, byte in enumerate(data) if byte == 10)} - {len(data)}
    assert starts <= set(places)
    assert all(place % BLOCK == 0 for place in set(places) - starts), "cut where a block begins"
    document.count_more(60.0)
    assert [document.number(place) for place in places] == [
        data.count(b"\n", 0, place) + 1 for place in places
    ]
    if b"\r" not in data:
        assert b"".join(data[a:b] for a, b in zip(places, [*places[1:], len(data)], strict=True)) == data
        assert [document.read(place) for place in places] == [
            data[a:b].removesuffix(b"\n") for a, b in zip(places, [*places[1:], len(data)], strict=True)
        ]


def test_a_file_that_is_not_there_yet_is_empty_until_it_is(path: Path) -> None:
    document = FileDocument(path)
    assert (document.first(), document.last(), document.count()) == (None, None, 0)
    assert not document.refresh()
    path.write_bytes(b"one\ntw")
    assert document.refresh()
    assert [document.read(place) for place in forth(document)] == [b"one", b"tw"]
    with path.open("ab") as log:
        log.write(b"o\nthree\n")
    assert document.refresh()
    assert [document.read(place) for place in forth(document)] == [b"one", b"two", b"three"]


def test_a_log_that_began_anew_is_another(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"old\n" * 100)
    document = FileDocument(path)
    assert document.read(0) == b"old"
    (tmp_path / "new").write_bytes(b"new and longer\n" * 100)
    (tmp_path / "new").replace(path)
    assert document.refresh()
    assert document.read(0) == b"new and longer"


def test_of_a_progress_bar_the_last_state_is_shown(path: Path) -> None:
    path.write_bytes(b"begin\n" + b"\r".join(b"%7d of 9999999" % n for n in range(20_000)) + b"\nend\n")
    document = FileDocument(path)
    assert len(forth(document)) == 3
    assert document.read(6).endswith(b"\r  19999 of 9999999")
    assert len(document.read(6)) <= BLOCK


def test_a_style_that_is_left_on_goes_on_in_the_next_lines(path: Path) -> None:
    path.write_bytes(b"plain\n\x1b[31mred\nred too\n\x1b[1mbold\n\x1b[0mplain\nplain\n")
    document = FileDocument(path)
    styles = [document.style(place) for place in forth(document)]
    red = Style(fg=1)
    assert styles == [Style(), Style(), red, red, Style(fg=1, bold=True), Style()]
    assert [document.style(place) for place in back(document)] == styles


def test_only_so_much_is_shown_as_was_printed_by_then(path: Path) -> None:
    path.write_bytes(b"one\ntwo\nthree\n")
    extents: list[int | None] = [4, 8, None, 4]
    document = FileDocument(path, extent=lambda: extents[0])
    seen = []
    while True:
        seen.append([document.read(place) for place in forth(document)])
        extents.pop(0)
        if not extents:
            break
        assert document.refresh()
    assert seen == [[b"one"], [b"one", b"two"], [b"one", b"two", b"three"], [b"one"]]


def test_matches_are_found_block_by_block(path: Path) -> None:
    lines = [b"line %d%s\n" % (n, b" needle" * (n % 97 == 0)) for n in range(20_000)]
    path.write_bytes(b"".join(lines))
    document = FileDocument(path)
    found = [
        place
        for block in range(document.end // BLOCK + 1)
        for place in document.found_in(block, Pattern("needle"))
    ]
    assert found == [place for place in forth(document) if b"needle" in document.read(place)]
