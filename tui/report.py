"""What a run says where there is no console: plain lines for people, JSON lines for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

import click

from engine.codec import EventEncoder
from engine.core.events import (
    DispatchDeferred,
    Event,
    FailureModeChanged,
    HookEnded,
    MaxParallelChanged,
    PlanCompleted,
    PlanPaused,
    PlanResumed,
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskHeld,
    TaskReleased,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    TaskStarted,
    TaskStopping,
)
from engine.core.state import TaskState
from engine.plan.model import Plan
from engine.view.text import one_line
from engine.view.timing import short
from tui.marks import MARKS, MODE_WORDS, counted

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
        time = datetime.fromtimestamp(event.utc).astimezone().strftime("%H:%M:%S")
        if not isinstance(event, TaskEvent):
            detail = _PLAN_SAYS[type(event)](event)
            if isinstance(event, PlanStarted):
                detail += f", run {self._run_id}"
            return f"{time}   {'plan':<10} {one_line(detail)}"
        word, detail = _TASK_SAYS[type(event)](event)
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


# ── what each event says: of a task a word and a detail, of the plan a sentence ──────────────

Said = tuple[str, str]


def _started(event: TaskStarted | TaskRetried) -> Said:
    return event.state, event.where


def _completed(event: TaskCompleted) -> Said:
    return event.state, f"marked as done: {event.reason}" if event.reason else short(event.duration)


def _failed(event: TaskFailed) -> Said:
    return event.state, f"{event.error}, after {short(event.duration)}"


def _skipped(event: TaskSkipped) -> Said:
    return event.state, f"tolerated: {event.error}" if event.tolerated else event.reason


def _cancelled(event: TaskCancelled) -> Said:
    return event.state, event.reason


def _retry_scheduled(event: RetryScheduled) -> Said:
    return event.state, f"{event.error}, again in {short(event.delay)}"


def _stopping(event: TaskStopping) -> Said:
    return event.state, f"{event.reason} (killed)" if event.kill else event.reason


def _stalled(event: TaskStalled) -> Said:
    last = f', last line: "{event.last_line}"' if event.last_line else ""
    return "stalled", f"silent {short(event.silent_for)}{last}"


def _stall_cleared(event: StallCleared) -> Said:
    return event.state, "shows life again"


def _reset(event: TaskReset) -> Said:
    return event.state, f"to run again ({event.cause})"


def _held(event: TaskHeld) -> Said:
    return event.state, f"held ({event.cause})"


def _released(event: TaskReleased) -> Said:
    return event.state, f"released ({event.cause})"


def _deferred(event: DispatchDeferred) -> Said:
    return event.state, f"no capacity: {event.reason}"


def _plan_started(event: PlanStarted) -> str:
    slots = counted(event.max_parallel, "slot")
    return f"{event.plan}: {counted(event.tasks, 'task')}, {slots}, {MODE_WORDS[event.failure_mode]}"


def _plan_completed(event: PlanCompleted) -> str:
    return f"{event.outcome} after {short(event.duration)}"


def _plan_paused(event: PlanPaused) -> str:
    return f"{event.phase} ({event.cause})"


def _plan_resumed(event: PlanResumed) -> str:
    return f"goes on ({event.cause})"


def _mode_changed(event: FailureModeChanged) -> str:
    return f"{MODE_WORDS[event.new]} instead of {MODE_WORDS[event.old]} ({event.cause})"


def _slots_changed(event: MaxParallelChanged) -> str:
    return f"{counted(event.new, 'slot')} instead of {event.old} ({event.cause})"


def _hook_ended(event: HookEnded) -> str:
    how = f"failed: {event.error}" if event.error else "done"
    about = f" about {event.about}" if event.about else ""
    return f"{event.hook} hook{about} {how}, after {short(event.duration)}"


_TASK_SAYS: Final[dict[type[Event], Callable[[Any], Said]]] = {
    TaskStarted: _started,
    TaskRetried: _started,
    TaskCompleted: _completed,
    TaskFailed: _failed,
    TaskSkipped: _skipped,
    TaskCancelled: _cancelled,
    RetryScheduled: _retry_scheduled,
    TaskStopping: _stopping,
    TaskStalled: _stalled,
    StallCleared: _stall_cleared,
    TaskReset: _reset,
    TaskHeld: _held,
    TaskReleased: _released,
    DispatchDeferred: _deferred,
}

_PLAN_SAYS: Final[dict[type[Event], Callable[[Any], str]]] = {
    PlanStarted: _plan_started,
    PlanCompleted: _plan_completed,
    PlanPaused: _plan_paused,
    PlanResumed: _plan_resumed,
    FailureModeChanged: _mode_changed,
    MaxParallelChanged: _slots_changed,
    HookEnded: _hook_ended,
}
