"""The logs of all tasks in one, in the order of time."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.inputs import Now
from engine.ground.text import Style
from engine.logs.attempt import AttemptLog
from engine.logs.times import LogTimes
from tui.logs.merged import BLOCKS, LINES_A_BLOCK, MergedDocument, Source


class Tasks:
    """Tasks that print at times that the test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.logs: dict[int, AttemptLog] = {}
        self.ended: set[int] = set()

    def clock(self) -> Now:
        return Now(self.now, self.now)

    def say(self, now: float, task: int, data: bytes) -> None:
        self.now = now
        if task not in self.logs:
            self.logs[task] = AttemptLog(self.folder, task, 1, self.clock, lambda where: None)
            self.logs[task].started()
        self.logs[task].write(data)

    def source(self, task: int) -> Source:
        path = self.logs[task].path
        return Source(task, path, LogTimes(path, Now(0.0, 0.0)), lambda: None, lambda: task not in self.ended)


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    return Tasks(tmp_path)


def lines(document: MergedDocument) -> list[tuple[int | None, bytes]]:
    return [(document.task(place), document.read(place)) for place in range(document.start, document.end)]


def test_what_was_printed_before_comes_in_the_order_of_time(tasks: Tasks) -> None:
    for second in range(4):
        tasks.say(second, second % 2, b"at %d\n" % second)
    document = MergedDocument([tasks.source(0), tasks.source(1)], [])
    assert not document.refresh()
    assert not document.is_ready
    assert not document.work(60.0)
    assert lines(document) == [(0, b"at 0"), (1, b"at 1"), (0, b"at 2"), (1, b"at 3")]
    times = [document.time(place) for place in range(4)]
    assert [time.offset for time in times if time is not None] == [0, 1, 2, 3]


def test_it_follows_whole_lines(tasks: Tasks) -> None:
    tasks.say(0.0, 0, b"one\n")
    tasks.say(0.0, 1, b"two\n")
    document = MergedDocument([], [tasks.source(0)])
    document.work(60.0)
    document.add(tasks.source(1))
    document.refresh()
    tasks.say(1.0, 1, b"be")
    tasks.say(2.0, 0, b"three\n")
    assert document.refresh()
    assert not document.refresh()
    tasks.say(3.0, 1, b"gun\nnever ended")
    tasks.ended.add(1)
    assert document.refresh()
    assert lines(document) == [(0, b"one"), (1, b"two"), (0, b"three"), (1, b"begun"), (1, b"never ended")]


def test_a_flood_is_passed_over_and_that_is_said(tasks: Tasks) -> None:
    tasks.say(0.0, 0, b"x\n")
    document = MergedDocument([], [tasks.source(0)])
    document.work(60.0)
    for _ in range(22):
        tasks.say(1.0, 0, (b"z" * 99 + b"\n") * 6_000)
        document.refresh()
    said = lines(document)
    assert len(said) <= LINES_A_BLOCK * BLOCKS
    assert document.start > 0
    assert any(b"more stand in the log of the task" in line for _, line in said)
    assert document.first() == document.start
    assert document.last() == document.end - 1


def test_a_style_goes_on_in_the_log_that_it_is_of(tasks: Tasks) -> None:
    tasks.say(0.0, 0, b"\x1b[31mred\n")
    tasks.say(1.0, 1, b"plain\n")
    tasks.say(2.0, 0, b"red too\n")
    document = MergedDocument([tasks.source(0), tasks.source(1)], [])
    document.work(60.0)
    assert [document.style(place) for place in range(3)] == [Style(), Style(), Style(fg=1)]
