"""`EventsPane`: the audit trail: what happened, what somebody asked for, and when."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.message import Message

from engine.core.events import Event, TaskEvent, TaskStalled
from engine.core.state import TaskState
from engine.ground.text import one_line
from engine.view.audit import is_steering, is_trouble
from engine.view.run_view import Changes, RunView
from engine.view.timing import time_of_day
from tui.keymap import Place, bindings
from tui.plain.sayings import of_plan, of_task
from tui.present import Look, widest
from tui.widgets.cursor import CursorPane

NAME_MOST: Final = 24
"""Cells for the name of a task, at most."""
WORD_WIDTH: Final = 9


class Show(StrEnum):
    """Which events are listed."""

    ALL = "all"
    STEERING = "what people did"
    TROUBLE = "failures"
    TASK = "one task"


class Entry(NamedTuple):
    """What a line shows. number: as in `EventsPane`."""

    cursor: bool
    focus: bool
    number: int


class EventsPane(CursorPane[Entry]):
    """A line an event, the newest last. While the cursor is on the last line it goes along with the newest.

    The view keeps so many events and no more (`RunView.audit`); what came before is counted in the note.
    """

    HEADER: ClassVar[int] = 1
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST, Place.EVENTS)

    class TaskMeant(Message):
        """The cursor came to an event about a task. opened: and that task was asked for."""

        def __init__(self, index: int, *, opened: bool = False) -> None:
            super().__init__()
            self.index = index
            self.opened = opened

    def __init__(
        self, view: RunView, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.view = view
        self._show = Show.ALL
        self._elsewhere: int | None = None
        self._chosen: int | None = None
        self._words: list[str] = []
        # events are numbered as they came into the view, those included that it has dropped since
        self._numbers: list[int] = []  # of the events listed, in order
        self._read = 0  # how many have been looked at
        self._follow = True
        self._name_width = 0
        self._adopt(view)

    @property
    def title(self) -> str:
        return "Events"

    @property
    def note(self) -> str:
        parts = []
        if self._show is Show.TASK and self._chosen is not None:
            parts.append(f"only {one_line(self.view.tasks[self._chosen].name)}")
        elif self._show is not Show.ALL:
            parts.append(f"only {self._show}")
        if self._words:
            parts.append(f"/{' '.join(self._words)}")
        if self.view.audit_dropped:
            parts.append(f"{self.view.audit_dropped} earlier not here")
        if self._follow:
            parts.append("following")
        return " · ".join(parts)

    def empty_note(self) -> str:
        if self.view.audit:
            return "nothing of that kind has happened"
        return "nothing has happened yet"

    # ── which lines ─────────────────────────────────────────────────────────────────────────────

    def _adopt(self, view: RunView) -> None:
        self.view = view
        self._name_width = min(NAME_MOST, widest(view.names))
        self._relist()

    def rebind(self, view: RunView) -> None:
        """Show another view of the same run, after a resync."""
        self._adopt(view)
        self.redraw_all()

    def update_from(self, changes: Changes, now: float) -> None:
        """List what has happened since the last tick."""
        if self._take_up():
            self._settle()

    def _take_up(self) -> bool:
        """Look at the events that are new; return whether lines came or went."""
        audit, first = self.view.audit, self.view.audit_dropped
        start = max(self._read, first)
        fresh = [first + place for place in range(start - first, len(audit)) if self._is_listed(audit[place])]
        self._read = first + len(audit)
        gone = bisect_left(self._numbers, first)
        if gone:
            del self._numbers[:gone]
            self.cursor = max(0, self.cursor - gone)
        self._numbers += fresh
        return bool(fresh or gone)

    def _relist(self) -> None:
        """List anew, after the choice has changed."""
        here = self._numbers[self.cursor] if self._numbers else 0
        self._numbers = []
        self._read = 0
        self._take_up()
        self.cursor = min(bisect_left(self._numbers, here), max(0, len(self._numbers) - 1))
        self._settle()

    def _settle(self) -> None:
        self.line_count = len(self._numbers)
        if self._follow:
            self.cursor = max(0, len(self._numbers) - 1)
        if self.is_mounted and self.display:
            self.reveal(self.cursor)
            self.redraw_changed()

    def _is_listed(self, event: Event) -> bool:
        match self._show:
            case Show.STEERING:
                listed = is_steering(event)
            case Show.TROUBLE:
                listed = is_trouble(event)
            case Show.TASK:
                listed = isinstance(event, TaskEvent) and event.index == self._chosen
            case _:
                listed = True
        return listed and (not self._words or self._has_words(event))

    def _has_words(self, event: Event) -> bool:
        text = self._text(event).casefold()
        return all(word in text for word in self._words)

    def filter(self, text: str) -> None:
        """Show only events in which every word of `text` occurs. "" shows all."""
        self._words = one_line(text).casefold().split()
        self._relist()
        self.redraw_all()

    @property
    def is_filtered(self) -> bool:
        """Whether some events are left out."""
        return self._show is not Show.ALL or bool(self._words)

    def show_all(self) -> None:
        """List every event."""
        self._words = []
        self.show = Show.ALL

    @property
    def show(self) -> Show:
        """Which events are listed; TASK means the task that was selected when it was set."""
        return self._show

    @show.setter
    def show(self, show: Show) -> None:
        self._show = show
        self._chosen = self._elsewhere
        self._relist()
        self.redraw_all()

    def action_show(self) -> None:
        """List the next kind of events."""
        kinds = list(Show)
        self.show = kinds[(kinds.index(self._show) + 1) % len(kinds)]

    def select(self, index: int) -> None:
        """This task is selected elsewhere: it is the one that `Show.TASK` means."""
        self._elsewhere = index

    # ── the cursor ──────────────────────────────────────────────────────────────────────────────

    @property
    def selected(self) -> int | None:
        """The task that the event under the cursor is about."""
        event = self._event(self.cursor) if self._numbers else None
        return event.index if isinstance(event, TaskEvent) else None

    def _event(self, line: int) -> Event:
        return self.view.audit[max(0, self._numbers[line] - self.view.audit_dropped)]

    def cursor_put(self, *, moved: bool) -> None:
        self._follow = self.cursor == len(self._numbers) - 1
        if self.selected is not None:
            self.post_message(self.TaskMeant(self.selected))

    def find_next(self, text: str) -> bool:
        """Go to the next event with `text` in it, round the end; False if there is none."""
        return self._seek(text, 1)

    def find_previous(self, text: str) -> bool:
        """Go to the event before with `text` in it, round the start; False if there is none."""
        return self._seek(text, -1)

    def _seek(self, text: str, step: int) -> bool:
        wanted, count = text.casefold(), len(self._numbers)
        for distance in range(1, count + 1):
            line = (self.cursor + step * distance) % count
            if wanted in self._text(self._event(line)).casefold():
                self.move_cursor(line)
                return True
        return False

    def _text(self, event: Event) -> str:
        said = (
            f"{event.task} {' '.join(of_task(event))}"
            if isinstance(event, TaskEvent)
            else of_plan(event, self.view.plan)
        )
        return f"{said} {event.cause}"

    # ── a line ──────────────────────────────────────────────────────────────────────────────────

    def line_key(self, line: int) -> int:
        return self._numbers[line]

    def line_content(self, line: int) -> Entry:
        return Entry(line == self.cursor, self.has_focus, self._numbers[line])

    def draw_header(self, look: Look, row: int) -> Sequence[Segment]:
        sign = ">" if look.plain else "»"
        words = f"  TIME     WHAT HAPPENED    {sign} somebody asked for it    Enter: to the task"
        return [Segment(look.cut(words, self.line_width), look.muted + look.bold)]

    def draw_line(self, line: int, content: Entry, look: Look) -> tuple[Sequence[Segment], Style]:
        event = self._event(line)
        steered = is_steering(event)
        sign = (">" if look.plain else "»") if steered else " "
        time = time_of_day(event.utc)
        segments = [Segment(sign, look.accent), Segment(f" {time} ", look.muted)]
        if isinstance(event, TaskEvent):
            word, detail = of_task(event)
            stalled = isinstance(event, TaskStalled)
            style = look.warning if stalled else look.states[event.state]
            name = look.cut_name(one_line(event.task), self._name_width)
            tries = f" {event.attempt}" if event.attempt > 1 else ""
            segments += [
                Segment(f"{'!' if stalled else look.glyph(event.state)} {word:<{WORD_WIDTH}} ", style),
                Segment(name + " " * (self._name_width - cell_len(name)), look.text),
                Segment(f"{tries:<3}", look.muted),
            ]
        else:
            detail = of_plan(event, self.view.plan)
            segments.append(Segment(f"  {'plan':<{WORD_WIDTH}} ", look.bold))
        room = self.line_width - sum(segment.cell_length for segment in segments)
        trouble = isinstance(event, TaskEvent) and event.state is TaskState.FAILED
        style = look.accent if steered else look.error if trouble else look.muted
        segments.append(Segment(look.cut(one_line(detail), room), style))
        return segments, self.under(line, look)

    # ── actions ─────────────────────────────────────────────────────────────────────────────────

    def action_open(self) -> None:
        """Go to the task that the event is about."""
        if self.selected is not None:
            self.post_message(self.TaskMeant(self.selected, opened=True))
