"""`Reading`: which log is read, and how: what is sought in it, what is left out, how its times are told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from rich.cells import cell_len

from engine.core.inputs import Now
from engine.core.records import AttemptRecord
from engine.core.state import TERMINAL
from engine.ground.text import Pen, one_line
from engine.handle import RunHandle
from engine.logs.times import LogTimes
from engine.view.run_view import RunView
from engine.view.timing import clock, time_of_day
from tui.logs.cleaned import cleaned, raw, sgr
from tui.logs.document import Document
from tui.logs.file import FileDocument
from tui.logs.merged import MergedDocument, Source
from tui.logs.search import Search
from tui.present import cut

NAME_WIDTH: Final = 14
"""Cells at most for the name of the task before its line."""

NAME_TONES: Final = ("accent", "primary", "warning", "success")


class TimeStyle(Enum):
    """How the time before a line is told: of the day, or since the run began."""

    CLOCK = "times"
    ELAPSED = "times since the start"

    @property
    def width(self) -> int:
        return len("12:03:58 ")

    def tell(self, time: Now | None) -> str:
        if time is None:
            return " " * self.width
        if self is TimeStyle.CLOCK:
            return f"{time_of_day(time.utc)} "
        return f"{clock(time.offset):>8} "


class _Nothing(MergedDocument):
    """The log of no attempt."""

    def __init__(self) -> None:
        super().__init__((), ())


class Reading:
    """What the log pane shows, apart from which part of it is in view and how it looks there.

    task, attempt: whose log is shown (attempt 0: none yet), or, if `merged`, the one that it was.
    """

    def __init__(self, run: RunHandle, view: RunView) -> None:
        self.view = view
        self._run = run
        self.task: int | None = None
        self.attempt = 0
        self._is_pinned = False
        self.merged = False
        self._is_stale = False
        self._known: list[int] = []
        """Merged: how many attempts of each task are shown."""
        self._whole: Document = _Nothing()
        self.search = Search(self._whole)
        self.name_width = 0
        """Cells for the name of the task before each line and for a blank, 0 for none."""
        self.time_style: TimeStyle | None = None

    # ── which log ───────────────────────────────────────────────────────────────────────────────

    def select(self, task: int) -> bool:
        """Read the current attempt at a task; whether that is another log than before."""
        if task == self.task:
            return False
        self.task = task
        self._is_pinned = False
        self.attempt = self.view.tasks[task].attempt
        if not self.merged:
            self._open()
        return not self.merged

    def rebind(self, view: RunView) -> None:
        """Another view of the same run, after a resync."""
        self.view = view
        self._is_stale = True

    def show_attempt(self, attempt: int) -> bool:
        """Read that attempt, if there is one."""
        if self.task is None or self.merged:
            return False
        current = self.view.tasks[self.task].attempt
        if not 1 <= attempt <= current:
            return False
        self._is_pinned = attempt != current
        self.attempt = attempt
        self._open()
        return True

    def merge(self, merged: bool) -> None:
        """Read the logs of all tasks in one, or of one task again."""
        self.merged = merged
        self._open()

    def catch_up(self, changed: Iterable[int]) -> bool:
        """Take up which attempts there are now; whether another log is shown for it. changed: the tasks that
        may have others."""
        is_stale, self._is_stale = self._is_stale, False
        if isinstance(self._whole, MergedDocument) and self.merged:
            if is_stale:  # a replay may have gone back
                self._open()
                return True
            self._add_new(self._whole, changed)
        elif self.task is not None:
            current = self.view.tasks[self.task].attempt
            if current < self.attempt or (current != self.attempt and not self._is_pinned):
                self.attempt = current
                self._is_pinned = False
                self._open()
                return True
        return False

    def _open(self) -> None:
        self.name_width = 0
        if self.merged:
            names = [cell_len(self._name(task.index)) for task in self.view.tasks]
            self.name_width = min(NAME_WIDTH, max(names, default=0)) + 1
            self._whole = self._merge()
        elif self.task is not None and self.attempt:
            record = self.view.tasks[self.task].attempts[self.attempt - 1]
            source = self._source(self.task, record)
            self._whole = FileDocument(source.path, source.times, source.extent)
        else:
            self._whole = _Nothing()
        self.search.open(self._whole)

    def _merge(self) -> MergedDocument:
        ended: list[tuple[float, Source]] = []
        live: list[Source] = []
        self._known = [len(task.attempts) for task in self.view.tasks]
        for task in self.view.tasks:
            for record in task.attempts:
                source = self._source(task.index, record)
                if record.ended is None:
                    live.append(source)
                else:
                    ended.append((record.ended, source))
        ended.sort(key=lambda pair: -pair[0])
        return MergedDocument((source for _, source in ended), live)

    def _add_new(self, document: MergedDocument, changed: Iterable[int]) -> None:
        for index in changed:
            attempts = self.view.tasks[index].attempts
            for record in attempts[self._known[index] :]:
                document.add(self._source(index, record))
            self._known[index] = len(attempts)

    def _source(self, task: int, record: AttemptRecord) -> Source:
        run, number = self._run, record.number
        path = run.log_path(task, number)
        ahead = run.now().utc - run.now().offset
        times = LogTimes(path, Now(record.started, record.started + ahead))

        def extent() -> int | None:
            playback = run.playback
            return None if playback is None or playback.is_over else times.extent(run.now().offset)

        return Source(task, path, times, extent, lambda: not self._is_over(task, number))

    def _is_over(self, task: int, number: int) -> bool:
        records = self.view.tasks[task].attempts
        return len(records) < number or records[number - 1].ended is not None

    @property
    def is_open(self) -> bool:
        """Whether there is a log to be read."""
        return self.merged or bool(self.attempt)

    @property
    def has_ended(self) -> bool:
        """Whether no more can come."""
        if self.merged:
            return self.view.outcome is not None
        return self.task is not None and bool(self.attempt) and self._is_over(self.task, self.attempt)

    @property
    def title(self) -> str:
        if self.merged:
            return "Log: all tasks"
        if self.task is None:
            return "Log"
        task = self.view.tasks[self.task]
        attempt = f", attempt {self.attempt}" if self.attempt else ""
        of = f" of {task.attempt}" if self.attempt != task.attempt else ""
        return f"Log: {self._name(task.index)}{attempt}{of}"

    def empty_note(self, now: float) -> str:
        """What is said where there are no lines."""
        search = self.search
        if search.is_filtered and search.pattern is not None:
            return f"no line with {one_line(search.pattern.text)}" + ("" if search.is_searched else " so far")
        if self.merged:
            return "no output yet"
        if self.task is None:
            return "no task is selected"
        if not self.attempt:
            task, why = self.view.tasks[self.task], self.view.why(self.task, now)
            if task.attempts:  # it is about to be opened
                return ""
            words = "it never ran" if task.state in TERMINAL else "no attempt yet"
            return f"{why}: {words}" if why else words
        return "no output" if self.has_ended else "no output yet"

    def _name(self, task: int) -> str:
        name = self.view.tasks[task].name
        return one_line(name) or ascii(name)

    @property
    def file_name(self) -> str:
        """What a copy of it may be called."""
        if self.merged or self.task is None:
            return "all-tasks.log"
        name = re.sub(r"[^\w.\[\]-]+", "-", self.view.tasks[self.task].name).lstrip(".-")
        return f"{name or 'task'}-{self.attempt}.log"

    def pieces(self) -> Iterator[bytes]:
        """What is saved of it: of one log every byte, as it came; of all together the lines that are held."""
        whole = self._whole
        if isinstance(whole, FileDocument):
            return raw(whole.path, whole.end)
        return iter([line.encode() for line in self._held_lines(colour=False)])

    def cleaned(self, *, colour: bool) -> Iterator[bytes] | None:
        """The same made safe for a terminal; None if there is nothing."""
        whole = self._whole
        if not whole.end > whole.start:
            return None
        if isinstance(whole, FileDocument):
            return cleaned(whole.path, whole.end, colour=colour)
        return iter([line.encode() for line in self._held_lines(colour=colour)])

    def _held_lines(self, *, colour: bool) -> Iterator[str]:
        whole = self._whole
        for place in range(whole.start, whole.end):
            task = whole.task(place)
            name = "" if task is None else f"{self._name(task)} | "
            spans = Pen(whole.style(place)).write(whole.read(place))
            yield name + "".join(sgr(*span) if colour else span[0] for span in spans) + "\n"

    # ── its lines ───────────────────────────────────────────────────────────────────────────────

    @property
    def document(self) -> Document:
        """The lines that are shown."""
        return self.search.document

    def refresh(self) -> bool:
        """Take up what has been printed; whether anything has."""
        return self.search.refresh()

    def lead(self, place: int) -> tuple[tuple[str, str], ...]:
        """What stands before a line, each piece with its tone."""
        pieces: list[tuple[str, str]] = []
        if self.time_style is not None:
            pieces.append((self.time_style.tell(self.document.time(place)), "muted"))
        task = self.document.task(place)
        if task is not None:
            name = cut(self._name(task), self.name_width - 1)
            pieces.append(
                (name + " " * (self.name_width - cell_len(name)), NAME_TONES[task % len(NAME_TONES)])
            )
        return tuple(pieces)

    def notes(self, last: int | None) -> list[str]:
        """Where the lines in view are, and how they are shown. last: the last of them."""
        notes: list[str] = []
        if last is not None:
            notes.append(self._position(last))
        if self.time_style is not None:
            notes.append(self.time_style.value)
        return notes

    def _position(self, last: int) -> str:
        number, count = self.document.number(last), self.document.count()
        if number is not None and count is not None:
            return f"line {number:,}/{count:,}"
        return f"{last / max(1, self.document.end):.0%}"

    # ── work that takes long ────────────────────────────────────────────────────────────────────

    @property
    def is_busy(self) -> bool:
        """Whether there is something for `work` to do."""
        whole = self._whole
        if isinstance(whole, MergedDocument):
            return not whole.is_ready or not self.search.is_searched
        return not self.search.is_searched or (isinstance(whole, FileDocument) and not whole.is_counted)

    def work(self, seconds: float) -> tuple[int | None, bool]:
        """Search and count for about that long: a line that was sought and is found now, and whether there is
        more to be done."""
        if isinstance(self._whole, MergedDocument) and not self._whole.is_ready:
            return None, self._whole.work(seconds)
        if (
            not self.search.is_seeking
            and isinstance(self._whole, FileDocument)
            and not self._whole.is_counted
        ):
            self._whole.count_more(seconds)
            return None, self.is_busy
        return self.search.work(seconds), self.is_busy
