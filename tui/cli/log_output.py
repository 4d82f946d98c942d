"""The log of a task on stdout: byte for byte for programs, made safe for a terminal."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import click

from engine.core.inputs import Now
from engine.core.state import RunPhase
from engine.errors import StoreError
from engine.ground.folders import run_directory
from engine.ground.text import LINE_LIMIT, one_line
from engine.logs.attempt import LogReader, attempt_log_path
from engine.logs.times import LogTimes
from engine.plan.graph import Graph
from engine.store.history import History
from engine.store.lock import holder_of
from engine.store.records import RunRecord
from engine.view.run_view import RunView
from engine.view.task_view import TaskView
from tui.logs.cleaned import Cleaner
from tui.plain.marks import counted
from tui.plain.report import Style
from tui.plain.streams import style_of, unread_is_no_fault

INTERVAL: Final = 0.1
"""Seconds between two looks at a log that is followed: a file tells nobody that it has grown."""


def print_log(
    history: History,
    record: RunRecord,
    task: str,
    attempt: int | None,
    *,
    follow: bool = False,
    times: bool = False,
) -> None:
    """Write the log of an attempt, the last one by default, to stdout.

    follow: go on until nothing more can come: the run is complete, nobody has it any more, or the
    attempt that was asked for has ended. Without an attempt asked for, the next one of the task is
    gone on with. times: lines, each with the time at which it was printed. Raises `StoreError` if there is no
    such task or attempt.
    """
    watch = _Watch(history, record, task, attempt)
    style = style_of(sys.stdout)
    out = _TimedLines(style) if times else _Lines(style) if sys.stdout.isatty() else _Bytes()
    following = _Following(watch, out)
    with unread_is_no_fault():
        while True:
            is_last = not follow or watch.is_over()  # asked first, so that what came before it is read
            following.go_on()
            if is_last:
                break
            time.sleep(INTERVAL)
        following.end()
    watch.check()
    if not following.has_written:
        click.echo(f"{one_line(task)} has printed nothing", err=True)


class _Watch:
    """A task of a run, as the journal tells it so far."""

    def __init__(self, history: History, record: RunRecord, task: str, attempt: int | None) -> None:
        self._history = history
        self.run_id = record.run_id
        self._created = record.created
        self.folder = run_directory(history.directory, record.run_id)
        self.asked = attempt
        self.view = RunView(Graph(history.plan(record.run_id)), record.run_id)
        self.index = _index_of(self.view, task)
        self.update()

    @property
    def task(self) -> TaskView:
        return self.view.tasks[self.index]

    def update(self) -> None:
        self.view.apply(self._history.events(self.run_id, self.view.last_seq))

    def check(self) -> None:
        """Raise `StoreError` if what was asked for is not there."""
        name, attempts = one_line(self.task.name), self.task.attempt
        if not attempts:
            reason = self.view.why(self.index, 0.0) if self.task.state.is_terminal else ""
            raise StoreError(f"{name} was never started" + (f": {reason}" if reason else ""))
        if self.asked is not None and self.asked > attempts:
            raise StoreError(
                f"{name} has had {counted(attempts, 'attempt')}, and none of number {self.asked}"
            )

    def logs(self) -> list[tuple[int, Path]]:
        """The attempts whose output is wanted, with their logs, in order."""
        numbers = [record.number for record in self.task.attempts]
        if self.asked is not None:
            numbers = [number for number in numbers if number == self.asked]
        return [(number, attempt_log_path(self.folder, self.index, number)) for number in numbers]

    def times(self, number: int, path: Path) -> LogTimes:
        """When what is in the log of an attempt was printed."""
        started = next(record.started for record in self.task.attempts if record.number == number)
        return LogTimes(path, Now(started, self._created + started))

    def is_over(self) -> bool:
        """Whether nothing more will be printed."""
        has_nobody = holder_of(self.folder) is None  # asked first: its last events are there by then
        self.update()
        if has_nobody or self.view.phase is RunPhase.COMPLETE:
            return True
        return self.asked is not None and any(
            record.number == self.asked and record.ended is not None for record in self.task.attempts
        )


class _Following:
    """Reads on from the attempt that was the last one when it began."""

    def __init__(self, watch: _Watch, out: _Bytes | _Lines | _TimedLines) -> None:
        self._watch = watch
        self._out = out
        self._reader: LogReader | None = None
        self._number = 0
        self.has_written = False

    def go_on(self) -> None:
        """Write what is there by now."""
        logs = self._watch.logs()
        if self._reader is None:
            logs = logs[-1:]
        for number, path in logs:
            if number > self._number:
                self._read()
                if self._reader is not None:
                    self._out.end_line()
                    click.echo(f"attempt {number}:", err=True)
                self._reader, self._number = LogReader(path), number
                self._out.begin(self._watch.times(number, path))
        self._read()

    def end(self) -> None:
        """Write what is left of a line that never ended."""
        self._out.end_line()

    def _read(self) -> None:
        while self._reader is not None and (data := self._reader.read_new()):
            self.has_written = True
            self._out.write(data)


class _Bytes:
    """Output for programs: as it is."""

    def begin(self, times: LogTimes) -> None:
        """Another log; times are not shown."""

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def end_line(self) -> None:
        """Nothing to be done: a line that has not ended is left so."""


class _Lines:
    """Output for a terminal: whole lines, without what would drive it but for colour and style."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._cleaner = Cleaner(colour=style.colour)

    def begin(self, times: LogTimes) -> None:
        """Another log; times are not shown."""

    def write(self, data: bytes) -> None:
        self._print(self._cleaner.feed(data))

    def end_line(self) -> None:
        """Show what waits for the end of its line."""
        self._print(self._cleaner.finish())

    def _print(self, text: str) -> None:
        if text:
            sys.stdout.buffer.write(self._style.encode(text))
            sys.stdout.buffer.flush()


class _TimedLines:
    """Whole lines, each after its time: for people and programs alike, so made safe for a terminal."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._cleaner = Cleaner(colour=style.colour)
        self._times: LogTimes | None = None
        self._place = 0
        self._waiting = b""

    def begin(self, times: LogTimes) -> None:
        """Another log."""
        self._times = times
        self._place = 0

    def write(self, data: bytes) -> None:
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        for line in lines:
            self._print(line)
            self._place += 1
        if len(self._waiting) > LINE_LIMIT:  # it may never end
            self.end_line()

    def end_line(self) -> None:
        """Show what waits for the end of its line."""
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self._print(waiting)

    def _print(self, line: bytes) -> None:
        if self._times is not None:
            time = datetime.fromtimestamp(self._times.at(self._place).utc).astimezone()
            words = self._cleaner.feed(line + b"\n")
            sys.stdout.buffer.write(self._style.encode(f"{time.isoformat(timespec='milliseconds')} {words}"))
            sys.stdout.buffer.flush()
        self._place += len(line)


def _index_of(view: RunView, name: str) -> int:
    found = view.graph.index_of.get(name)
    if found is not None:
        return found
    names = {known.casefold(): known for known in view.graph.index_of}
    near = [names[folded] for folded in get_close_matches(name.casefold(), names, 1)]
    hint = f"; did you mean {one_line(near[0])}?" if near else ""
    raise StoreError(f"the run has no task {one_line(name)!r}{hint}")
