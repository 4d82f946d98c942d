"""What a run says where there is no console: plain lines for people, JSON lines for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import click

from engine.codec import EventEncoder
from engine.core.events import (
    Event,
    PlanStarted,
    StallCleared,
    TaskEvent,
    TaskStalled,
)
from engine.core.state import TaskState
from engine.ground.text import one_line
from engine.plan.model import Plan
from engine.view.timing import time_of_day
from tui.plain.marks import MARKS
from tui.plain.sayings import of_plan, of_task

NAME_WIDTH: Final = 32
"""Names longer than this push the rest of their line to the right."""

COLOURS: Final[dict[TaskState, str]] = {
    TaskState.RUNNING: "blue",
    TaskState.RETRYING: "yellow",
    TaskState.STOPPING: "yellow",
    TaskState.SUCCESS: "green",
    TaskState.FAILED: "red",
    TaskState.SKIPPED: "bright_black",
    TaskState.CANCELLED: "magenta",
}


class Report(Protocol):
    """Turns events into what is printed."""

    def render(self, events: Sequence[Event]) -> bytes:
        """The events as whole lines; empty if there is nothing to say."""


class JsonReport:
    """One JSON object a line, in the form of `engine.codec`."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._encoder = EventEncoder(plan, run_id)

    def render(self, events: Sequence[Event]) -> bytes:
        return b"".join(self._encoder.encode(event) + b"\n" for event in events)


class Style(NamedTuple):
    """How plain lines are written. ascii: no sign that an old terminal lacks. encoding: of the stream."""

    colour: bool = False
    ascii: bool = False
    encoding: str = "utf-8"

    def paint(self, text: str, colour: str | None, *, bold: bool = False) -> str:
        return click.style(text, fg=colour, bold=bold or None) if self.colour and colour else text

    def glyph(self, state: TaskState) -> str:
        return MARKS[state].plain if self.ascii else MARKS[state].glyph

    def encode(self, text: str) -> bytes:
        return text.encode(self.encoding, "backslashreplace")


class PlainReport:
    """One line a change: time, state as shape and word, task, attempt, and what there is to know.

    12:03:58 ◐ running    unit     1/3  pid 4711
    12:04:02 ↻ retrying   unit     1/3  exit 75, again in 0.5s
    """

    def __init__(self, plan: Plan, run_id: str, style: Style) -> None:
        self._plan = plan
        self._run_id = run_id
        self._style = style
        names = (len(one_line(task.name)) for task in plan.tasks)
        self._width = min(NAME_WIDTH, max(names, default=0))

    def render(self, events: Sequence[Event]) -> bytes:
        following = [*events[1:], None]
        lines = (self._line(*pair) for pair in zip(events, following, strict=True))
        return self._style.encode("".join(f"{line}\n" for line in lines if line))

    def _line(self, event: Event, following: Event | None) -> str:
        if (
            isinstance(event, StallCleared)
            and isinstance(following, TaskEvent)
            and following.index == event.index
        ):
            return ""  # the attempt has ended, or is told to stop: its next line says so
        time = time_of_day(event.utc)
        if not isinstance(event, TaskEvent):
            detail = of_plan(event, self._plan)
            if isinstance(event, PlanStarted):
                detail += f", run {self._run_id}"
            return f"{time}   {'plan':<10} {one_line(detail)}"
        word, detail = of_task(event)
        shape = self._paint(event, f"{self._shape(event)} {word:<10}")
        name = one_line(event.task).ljust(self._width)
        return f"{time} {shape} {name}  {self._attempt(event):<5} {one_line(detail)}".rstrip()

    def _attempt(self, event: TaskEvent) -> str:
        if not event.attempt:
            return "-"
        return f"{event.attempt}/{max(self._plan.tasks[event.index].retry.limit + 1, event.attempt)}"

    def _shape(self, event: TaskEvent) -> str:
        return "!" if isinstance(event, TaskStalled) else self._style.glyph(event.state)

    def _paint(self, event: TaskEvent, text: str) -> str:
        colour = "yellow" if isinstance(event, TaskStalled) else COLOURS.get(event.state)
        return self._style.paint(text, colour, bold=event.state is TaskState.FAILED)
