"""Logs: every byte on disk, the last line in memory, and signs of life, whatever a program prints."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.inputs import Now
from engine.logs.attempt import LINE_LIMIT, AttemptLog, LogReader, _Lines, attempt_log_path
from engine.logs.times import RESOLUTION, LogTimes, times_path
from engine.secrets import Mask

EPOCH = 1_000_000.0


class Clock:
    """now: the offset."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> Now:
        return Now(self.now, EPOCH + self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[AttemptLog]:
    log = AttemptLog(tmp_path / "run", 7, 2, clock, lambda where: None)
    yield log
    log.close()


def unkept(tmp_path: Path, clock: Callable[[], Now] = lambda: Now(1.0, 1.0)) -> AttemptLog:
    """A log whose file cannot be made, for tests of what is known without it."""
    (tmp_path / "file").touch()
    return AttemptLog(tmp_path / "file", 0, 1, clock, lambda where: None)


class TestGoingOn:
    """A console that takes an attempt up again whose first console was killed."""

    def again(self, tmp_path: Path, clock: Clock, mask: Mask | None = None) -> AttemptLog:
        return AttemptLog(tmp_path / "run", 7, 2, clock, lambda where: None, mask)

    def test_what_came_after_the_bookmark_comes_again(
        self, log: AttemptLog, tmp_path: Path, clock: Clock
    ) -> None:
        log.started("there")
        clock.now = 1.0
        log.write(b"one\n")
        bookmark = log.bookmark()
        clock.now = 2.0
        log.write(b"two\n")
        clock.now = 3.0
        second = self.again(tmp_path, clock)
        second.go_back_to(*bookmark)
        second.started("there")
        second.write(b"two\nthree\n")
        second.close()
        assert second.path.read_bytes() == b"one\ntwo\nthree\n"
        assert second.bookmark() == (14, 14)
        assert second.size == 14
        times = LogTimes(second.path, Now(0.0, EPOCH))
        assert [times.at(place).offset for place in (0, 3, 4, 13)] == [1.0, 1.0, 3.0, 3.0]

    def test_what_was_held_back_comes_again(self, tmp_path: Path, clock: Clock) -> None:
        mask = Mask(["wxyz-1234"])
        first = self.again(tmp_path, clock, mask)
        first.write(b"token: wxyz")
        assert first.bookmark() == (7, 7)
        second = self.again(tmp_path, clock, mask)
        second.go_back_to(7, 7)
        second.write(b"wxyz-1234\n")
        second.close()
        assert second.path.read_bytes() == b"token: ***\n"
        assert second.bookmark() == (17, 11)
        first.close()

    def test_a_log_that_is_not_there(self, tmp_path: Path, clock: Clock) -> None:
        log = self.again(tmp_path, clock)
        log.go_back_to(0, 0)
        log.write(b"all")
        log.close()
        assert log.path.read_bytes() == b"all"

    def test_a_log_that_cannot_be_cut(self, tmp_path: Path) -> None:
        log = unkept(tmp_path)
        log.go_back_to(3, 3)
        assert log.fault is not None


class TestFile:
    def test_its_name_is_made_of_numbers(self, log: AttemptLog, tmp_path: Path) -> None:
        assert log.path == attempt_log_path(tmp_path / "run", 7, 2) == tmp_path / "run/logs/000007-2.log"

    def test_it_appears_with_the_first_byte(self, log: AttemptLog) -> None:
        log.started("pid 1")
        log.heartbeat()
        assert not log.path.exists()
        log.write(b"\xff\0")
        assert log.path.read_bytes() == b"\xff\0"

    def test_it_is_for_its_owner_alone(self, log: AttemptLog, tmp_path: Path) -> None:
        log.write(b"x")
        assert log.path.stat().st_mode & 0o777 == 0o600
        for folder in (log.path.parent, tmp_path / "run"):
            assert folder.stat().st_mode & 0o777 == 0o700

    def test_bytes_are_kept_as_they_came_and_counted(self, log: AttemptLog) -> None:
        for data in (b"one\r\n", b"two", b"\n" * 3, b"\0" * 100_000):
            log.write(data)
        assert log.path.read_bytes() == b"one\r\ntwo\n\n\n" + b"\0" * 100_000
        assert log.size == 100_011
        assert (log.fault, log.lost) == (None, 0)

    def test_another_thread_writes_through_its_outlet(self, log: AttemptLog, clock: Clock) -> None:
        log.write(b"one\n")
        clock.now = 5
        write = log.outlet()
        with ThreadPoolExecutor(1) as pool:
            for data in (b"two\n", b"three"):
                pool.submit(write, data).result()
        log.write(b"!\n")
        assert log.path.read_bytes() == b"one\ntwo\nthree!\n"
        assert log.size == 15
        assert log.last_line == "three!"
        assert log.last_life >= 5

    def test_who_started_it_is_told(self, tmp_path: Path, clock: Clock) -> None:
        told: list[str] = []
        AttemptLog(tmp_path, 0, 1, clock, told.append).started("pid 4711")
        assert told == ["pid 4711"]

    def test_no_link_is_followed(self, log: AttemptLog, tmp_path: Path) -> None:
        log.path.parent.mkdir(parents=True)
        log.path.symlink_to(tmp_path / "elsewhere")
        log.write(b"x")
        assert not (tmp_path / "elsewhere").exists()
        assert log.fault == f"cannot write {log.path}: {os.strerror(errno.ELOOP)}"

    def test_it_may_be_closed_before_it_is_open(self, log: AttemptLog) -> None:
        log.close()
        assert not log.path.exists()


class TestFaults:
    def test_a_full_disk_is_noted_once_and_the_rest_is_kept(
        self, log: AttemptLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write
        room = 3

        def full(fd: int, data: memoryview) -> int:
            nonlocal room
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = write(fd, data[:room])
            room -= written
            return written

        log.started()
        monkeypatch.setattr(os, "write", full)
        log.write(b"abcdef")
        log.write(b"ghi")
        fault = log.fault
        assert fault == f"cannot write {log.path}: No space left on device"
        monkeypatch.setattr(os, "write", write)
        log.write(b"jkl")  # not tried again at once
        clock.now += 1
        log.write(b"mno")
        assert log.path.read_bytes() == b"abcmno"
        assert log.fault == fault
        assert (log.size, log.lost) == (15, 9)

    def test_a_folder_that_is_gone_is_made_again(self, log: AttemptLog, clock: Clock, tmp_path: Path) -> None:
        log.write(b"lost\n")
        shutil.rmtree(tmp_path / "run")
        clock.now += 1
        log.write(b"kept\n")
        clock.now += 1
        log.write(b"also\n")
        assert log.path.read_bytes() == b"kept\nalso\n"
        assert log.fault == f"{log.path} was deleted: its beginning is lost"

    def test_a_place_that_cannot_be_written_costs_the_output_alone(self, tmp_path: Path) -> None:
        log = unkept(tmp_path)
        log.write(b"still known\n")
        assert log.fault == f"cannot write {log.path}: Not a directory"
        assert log.last_line == "still known"
        assert log.lost == log.size == 12


class TestLastLine:
    @pytest.mark.parametrize(
        ("chunks", "line"),
        [
            ([], ""),
            ([b"one\n"], "one"),
            ([b"one\ntwo"], "two"),
            ([b"one\ntw", b"o"], "two"),
            ([b"one\n", b"\n\n  \n"], "one"),
            ([b"one\n\n\n", b"  "], "one"),
            ([b"on", b"e\n\n"], "one"),
            ([b"one\ntwo\n\n"], "two"),
            ([b"\n\n"], ""),
            ([b" 10%\r 20%\r"], "20%"),
            ([b"one\r", b"\ntwo\r\n"], "two"),
            ([b"\x1b[31mred\x1b[0m \xff\0\n"], "red \ufffd"),
            ([b"a" * 5000, b"b" * 5000], "a" * LINE_LIMIT),
            ([b"a" * 10_000 + b"\n"], "a" * LINE_LIMIT),
            ([b"a" * 10_000 + b"\n\n"], "a" * LINE_LIMIT),
            ([b"a" * 5000, b"\nb"], "b"),
        ],
    )
    def test_it_is_the_last_that_says_anything(self, tmp_path: Path, chunks: list[bytes], line: str) -> None:
        log = unkept(tmp_path)
        for chunk in chunks:
            log.write(chunk)
        assert log.last_line.strip() == line

    def test_a_long_line_is_not_held_in_memory(self, tmp_path: Path) -> None:
        log = unkept(tmp_path)
        for _ in range(100):
            log.write(b"x" * 65536)
        assert log._lines is not None
        assert len(log._lines.last) == LINE_LIMIT


class TestLife:
    """last_life moves with output that differs from the line before it, and with heartbeats."""

    @pytest.mark.parametrize(
        ("before", "then", "alive"),
        [
            ([], b"x", True),
            ([], b"\n", True),
            ([b"waiting\n"], b"waiting\n", False),
            ([b"waiting\n"], b"waiting\nwaiting\nwaiting\n", False),
            ([b"waiting\n"], b"wai", False),
            ([b"waiting\n", b"wai"], b"ting\nwaiting", False),
            ([b"waiting\n", b"wai"], b"ting!\n", True),
            ([b"waiting\n"], b"waiting\ndone\n", True),
            ([b"waiting\n"], b"done\nwaiting\n", True),
            ([b"waiting\n"], b"waiting\nd", True),
            ([b"waiting\n"], b"waiting\n\n", True),
            ([b"waiting\r\n"], b"waiting\r\nwaiting\r\n", False),
            ([b"waiting\r"], b"waiting\r", False),
            ([b"waiting\r"], b"\nwaiting\r\n", False),
            ([b"waiting\r"], b"\n", False),
            ([b" 10%\r"], b" 11%\r", True),
            ([b"tests\n", b"."], b".", True),
            ([b"\n"], b"\n\n", False),
            ([b"x" * 5000], b"x", True),
            ([b"x" * 5000 + b"\n"], b"x" * 5000 + b"\n", True),
            ([b"x" * 5000, b"x\n"], b"x", True),
            ([b"a\n"], b"", False),
        ],
    )
    def test_only_what_is_new_is_life(
        self, tmp_path: Path, clock: Clock, before: list[bytes], then: bytes, alive: bool
    ) -> None:
        log = unkept(tmp_path, clock)
        for chunk in before:
            log.write(chunk)
        clock.now = 5
        log.write(then)
        assert log.last_life == (5 if alive else 0)

    def test_a_heartbeat_is_life(self, log: AttemptLog, clock: Clock) -> None:
        clock.now = 3
        log.heartbeat()
        assert log.last_life == 3

    @given(
        st.lists(st.sampled_from([b"", b"a", b"ab", b"waiting", b"waiting"]), max_size=12),
        st.lists(st.integers(0, 80), max_size=8),
        st.sampled_from([b"\n", b"\r\n", b"\r"]),
    )
    @example([b"a", b"a", b""], [2, 4], b"\r\n")
    def test_by_chunks_it_finds_what_looking_at_every_line_finds(
        self, lines: list[bytes], cuts: list[int], end: bytes
    ) -> None:
        text = end.join(lines)
        ends = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
        seen = _Lines()
        for start, stop in pairwise(ends):
            assert seen.feed(text[start:stop]) == says_something_new(text[:start], text[:stop])
        said = [line for line in lines if line]
        assert seen.last == (said[-1] if said else b"")


def says_something_new(before: bytes, after: bytes) -> bool:
    """Whether output that has grown from one to the other has a line unlike the one before it."""
    *old, old_rest = before.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    *new, new_rest = after.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if any(place == 0 or new[place] != new[place - 1] for place in range(len(old), len(new))):
        return True
    has_grown = len(new) > len(old) or new_rest != old_rest
    return bool(new_rest) and has_grown and not (new and new[-1].startswith(new_rest))


class TestReader:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "log"

    def test_a_missing_log_is_empty(self, path: Path) -> None:
        reader = LogReader(path)
        assert (reader.tail(100), reader.read_new(), reader.skip(0)) == (b"", b"", 0)

    @pytest.mark.parametrize(("size", "tail"), [(0, b""), (3, b"789"), (9, b"123456789"), (50, b"123456789")])
    def test_the_tail_has_at_most_so_many_bytes(self, path: Path, size: int, tail: bytes) -> None:
        path.write_bytes(b"123456789")
        assert LogReader(path).tail(size) == tail

    def test_what_is_new_is_read_once(self, path: Path) -> None:
        reader = LogReader(path)
        assert reader.read_new() == b""
        path.write_bytes(b"one\n")
        assert reader.read_new() == b"one\n"
        assert reader.read_new() == b""
        with path.open("ab") as log:
            log.write(b"two\nthree\n")
        assert reader.read_new(4) == b"two\n"
        assert reader.read_new() == b"three\n"

    def test_a_log_that_was_cut_is_read_again(self, path: Path) -> None:
        path.write_bytes(b"long beginning")
        reader = LogReader(path)
        reader.read_new()
        os.truncate(path, 4)
        assert reader.read_new() == b"long"

    def test_a_log_that_was_made_anew_is_read_from_its_beginning(self, path: Path) -> None:
        path.write_bytes(b"old")
        reader = LogReader(path)
        reader.read_new()
        (path.parent / "new").write_bytes(b"newer")
        (path.parent / "new").replace(path)
        assert reader.read_new() == b"newer"

    def test_what_nobody_can_follow_is_passed_over(self, path: Path) -> None:
        path.write_bytes(b"0123456789")
        reader = LogReader(path)
        assert reader.read_new(2) == b"01"
        assert reader.skip(keep=3) == 5
        assert reader.read_new() == b"789"
        assert reader.skip(keep=3) == 0


class TestTimes:
    """Beside a log stands when its bytes were printed."""

    @pytest.fixture
    def times(self, log: AttemptLog) -> LogTimes:
        return LogTimes(log.path, Now(2.0, EPOCH + 2.0))

    def say(self, log: AttemptLog, clock: Clock, *words: tuple[float, bytes]) -> None:
        for now, data in words:
            clock.now = now
            log.write(data)

    def test_every_byte_has_its_time(self, log: AttemptLog, clock: Clock, times: LogTimes) -> None:
        clock.now = 2.0
        log.started()
        self.say(log, clock, (2.05, b"one\n"), (9.0, b"two\n"), (9.05, b"three\n"), (9.5, b"four\n"))
        said = log.path.read_bytes()
        found = [times.at(said.index(word)).offset for word in (b"one", b"two", b"three", b"four")]
        assert found == [2.0, 9.0, 9.0, 9.5]
        assert times.at(said.index(b"four")).utc == EPOCH + 9.5
        assert times_path(log.path).stat().st_mode & 0o777 == 0o600

    def test_what_had_been_printed_by_a_moment(self, log: AttemptLog, clock: Clock, times: LogTimes) -> None:
        clock.now = 2.0
        log.started()
        self.say(log, clock, (2.05, b"one\n"), (9.0, b"two\n"), (9.5, b"three\n"))
        assert [times.extent(at) for at in (1.9, 2.0, 8.9, 9.0, 9.5)] == [0, 4, 4, 8, None]

    def test_a_short_attempt_has_no_file_of_them(
        self, log: AttemptLog, clock: Clock, times: LogTimes
    ) -> None:
        clock.now = 2.0
        log.started()
        self.say(log, clock, (2.0, b"one\n"), (2.0 + 0.9 * RESOLUTION, b"two\n"))
        assert not times_path(log.path).exists()
        assert times.at(4) == Now(2.0, EPOCH + 2.0)
        assert (times.extent(1.0), times.extent(2.0)) == (0, None)

    def test_a_flood_gets_no_more_than_ten_a_second(self, log: AttemptLog, clock: Clock) -> None:
        self.say(log, clock, *((n / 1000, b"x" * 100) for n in range(2000)))
        size_of_a_mark = 24
        assert times_path(log.path).stat().st_size <= size_of_a_mark * 2 / RESOLUTION

    def test_a_log_that_began_anew_has_new_times(
        self, log: AttemptLog, clock: Clock, times: LogTimes
    ) -> None:
        self.say(log, clock, (3.0, b"lost" * 100))
        log.path.unlink()
        self.say(log, clock, (5.0, b"kept"))
        assert times.at(0).offset == 5.0

    def test_times_that_cannot_be_written_cost_the_times_alone(self, log: AttemptLog, clock: Clock) -> None:
        log.path.parent.mkdir(parents=True)
        times_path(log.path).mkdir()
        self.say(log, clock, (3.0, b"kept"))
        assert log.path.read_bytes() == b"kept"
        assert log.fault is None

    def test_where_the_disk_was_full_the_later_times_are_right(
        self, log: AttemptLog, clock: Clock, times: LogTimes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.say(log, clock, (3.0, b"one\n"))
        write = os.write
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
            self.say(log, clock, (4.0, b"two\n"))
        self.say(log, clock, (5.0, b"three\n"))
        assert [times.at(place).offset for place in (0, 4, 8)] == [3.0, 3.0, 5.0]

    def test_a_mark_that_is_being_written_is_not_read(self, log: AttemptLog, clock: Clock) -> None:
        self.say(log, clock, (3.0, b"one\n"), (4.0, b"two\n"))
        with times_path(log.path).open("ab") as marks:
            marks.write(b"\0" * 10)
        assert LogTimes(log.path, Now(0.0, 0.0)).at(99).offset == 4.0
