"""Searching a document a little at a time, and showing only what is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.logs.file import FileDocument
from tui.logs.search import Search

COUNT = 30_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(COUNT)))
    return path


@pytest.fixture
def document(path: Path) -> FileDocument:
    return FileDocument(path)


@pytest.fixture
def search(document: FileDocument) -> Search:
    return Search(document)


def finish(search: Search) -> None:
    while not search.is_searched:
        search.work(0.0)


def shown(search: Search) -> list[bytes]:
    lines = []
    place = search.document.first()
    while place is not None:
        lines.append(search.document.read(place))
        place = search.document.after(place)
    return lines


def test_it_goes_forth_and_back_and_round_the_ends(search: Search, document: FileDocument) -> None:
    search.seek_for("7777")
    place, seen = -1, []
    for step in (1, 1, 1, 1, -1, -1, -1):
        found = search.seek(place, step)
        while search.is_seeking:
            found = search.work(0.0)
        assert found is not None
        seen.append(document.read(found))
        place = found
    seven, seventeen, twenty_seven = b"line 7777", b"line 17777", b"line 27777"
    assert seen == [seven, seventeen, twenty_seven, seven, twenty_seven, seventeen, seven]


def test_matches_are_counted(search: Search, document: FileDocument) -> None:
    search.seek_for("line 1")
    finish(search)
    assert search.notes() == ["/line 1 11,111"]
    assert search.seek(document.end, -1) is not None
    assert search.notes() == ["/line 1 11,111/11,111"]


def test_what_is_nowhere_is_said_to_be(search: Search) -> None:
    search.seek_for("nowhere")
    assert not search.is_in_vain
    finish(search)
    assert search.is_in_vain
    assert search.notes() == ["/nowhere not found"]
    assert search.seek(0, 1) is None
    search.seek_for("")
    assert search.notes() == []


def test_what_comes_is_searched_too(search: Search, path: Path) -> None:
    search.seek_for("needle")
    finish(search)
    with path.open("ab") as log:
        log.write(b"half a nee")
    assert search.refresh()
    finish(search)
    assert search.is_in_vain
    with path.open("ab") as log:
        log.write(b"dle\n")
    assert search.refresh()
    finish(search)
    assert search.notes() == ["/needle 1"]


def test_only_lines_that_match_are_shown(search: Search) -> None:
    search.seek_for("7777")
    search.filter(True)
    finish(search)
    assert shown(search) == [b"line 7777", b"line 17777", b"line 27777"]
    last = search.document.last()
    assert last is not None
    assert search.document.read(last) == b"line 27777"
    before = search.document.before(last)
    assert before is not None
    assert search.document.read(before) == b"line 17777"
    assert search.document.before(search.document.first() or 0) is None
    assert search.document.after(last) is None
    search.filter(False)
    assert len(shown(search)) == COUNT


def test_with_lines_around_them_and_gaps_between_the_groups(search: Search) -> None:
    search.seek_for("7777")
    search.more_context()
    search.filter(True)
    finish(search)
    assert shown(search) == [b"line %d" % (n + d) for n in (7777, 17777, 27777) for d in (-1, 0, 1)]
    places = []
    place = search.document.last()
    while place is not None:
        places.append(place)
        place = search.document.before(place)
    assert [search.is_context(place) for place in places[:3]] == [True, False, True]
    assert [search.is_break(place) for place in places[:3]] == [False, False, True]
    assert len(places) == 9


def test_where_a_line_is_left_out_the_nearest_is_taken(search: Search, document: FileDocument) -> None:
    search.seek_for("7777")
    search.filter(True)
    finish(search)
    assert document.read(search.document.line_at(0)) == b"line 7777"
    assert document.read(search.document.line_at(document.end - 1)) == b"line 27777"
