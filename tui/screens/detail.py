"""`DetailScreen`: all about one task: what it is, what it waits for, every attempt, what happened."""

from __future__ import annotations

import shlex
import signal
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from rich.text import Text
from textual.binding import BindingType
from textual.widgets import Static

from engine.core.events import Event, TaskEvent
from engine.core.state import TaskState
from engine.ground.text import one_line
from engine.handle import RunHandle
from engine.plan.levels import origin
from engine.plan.model import Condition, Retry, Task
from engine.view.run_view import RunView
from engine.view.timing import clock, short
from tui.feed import Feed
from tui.keymap import Place, bindings
from tui.plain.marks import MODE_WORDS
from tui.present import look_of
from tui.screens.pages import PageScreen
from tui.widgets.page import Page, Span, TextLine

LABEL_WIDTH: Final = 12
FROM_WIDTH: Final = 20
"""Cells that are left for the level that a setting comes from."""
EVENTS: Final = 30
"""How many of the last events about the task are listed."""


class LogOf(NamedTuple):
    """What the line of an attempt leads to."""

    attempt: int


class DetailScreen(PageScreen):
    """index: the task. The page is kept up to date while it is open.

    go_to: called with the index of each task that the operator goes on to. open_log: with that of the
    task and the number of the attempt whose log is to be opened.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.DIALOG, Place.DETAILS)
    HINT: ClassVar = "Esc back   j k scroll   Tab Enter: to a task or a log"

    def __init__(
        self,
        run: RunHandle,
        feed: Feed,
        index: int,
        go_to: Callable[[int], None],
        open_log: Callable[[int, int], None],
    ) -> None:
        super().__init__()
        self._run = run
        self._feed = feed
        self._index = index
        self._go_to = go_to
        self._open_log = open_log

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(0.5, self.query_one(Page).rewrite)

    def action_light(self, by: int) -> None:
        self.query_one(Page).light_next(by)

    def action_follow(self) -> None:
        self.query_one(Page).follow()

    def on_page_followed(self, message: Page.Followed) -> None:
        target = message.target
        if isinstance(target, LogOf):
            self.dismiss(None)
            self._open_log(self._index, target.attempt)
        elif isinstance(target, int):
            self._index = target
            self._go_to(target)
            self.query_one(".title", Static).update(Text(self.page_title(), style="bold"))
            page = self.query_one(Page)
            page.rewrite()
            page.scroll_to_line(0)

    def page_title(self) -> str:
        return f"Task: {one_line(self._run.plan.tasks[self._index].name)}"

    def page_lines(self, width: int) -> Sequence[TextLine]:
        view = self._feed.view
        now = self._run.now().offset
        lines: list[TextLine] = [*self._state(view, now, width), ()]
        lines += [*self._description(self._run.plan.tasks[self._index], width), ()]
        lines += [*self._relations(view), ()]
        lines += [*self._attempts(view, now, width), ()]
        if outputs := view.tasks[self._index].outputs:
            lines += [*_outputs(outputs, width), ()]
        lines += self._history(view, width)
        return lines

    def _state(self, view: RunView, now: float, width: int) -> Iterator[TextLine]:
        task = view.tasks[self._index]
        glyph = look_of(self).glyph(task.state)
        words = f"{glyph} {task.state}{', held' if task.held else ''}"
        yield (_label("state"), Span(words, _tone(task.state)))
        yield from _wrapped("why", view.why(self._index, now), width)
        last = one_line(self._run.last_line(self._index))
        yield from _wrapped("last line", last, width)

    def _description(self, task: Task, width: int) -> Iterator[TextLine]:
        yield from _wrapped("about", task.description, width)
        if isinstance(task.run, str):
            commands = task.run.strip().splitlines() or [""]
            yield from _wrapped("runs", f"$ {commands[0]}", width)
            for command in commands[1:]:
                yield from _wrapped("", command, width, indent=2)
        elif task.run is not None:
            yield from _wrapped("runs", shlex.join(task.run), width)
        elif task.simulate is not None:
            rate = f", fails {task.simulate.fail_rate:.0%}" if task.simulate.fail_rate else ""
            yield (_label("simulates"), Span(f"{short(task.simulate.duration)}{rate}"))
        elif task.python is not None:
            arguments = [f"{name}={value!r}" for name, value in (task.arguments or {}).items()]
            yield from _wrapped("calls", f"{task.python}({', '.join(arguments)})", width)
        elif task.plan is not None:
            yield from self._subplan(task, width)
            return
        matrix = [f"{key} {value}" for key, value in (task.matrix or {}).items()]
        yield from _wrapped("matrix", ", ".join(matrix), width)
        yield from self._settings(task, width)

    def _settings(self, task: Task, width: int) -> Iterator[TextLine]:
        """What holds for the task, and the level that it comes from."""
        plan = self._run.plan
        scope = plan.subplans[task.scope - 1] if task.scope else plan
        stall = "never" if task.stall_after is None else f"{short(task.stall_after)} of {task.stall_measure}"
        stop = f"{signal.Signals(task.shutdown.signal).name}, KILL after {short(task.shutdown.grace)}"
        for label, field, words in (
            ("retries", "retry.limit", _retry_words(task.retry)),
            ("timeout", "timeout", short(task.timeout) if task.timeout is not None else "none"),
            ("stalled", "stall_after", f"after {stall}" if task.stall_after is not None else stall),
            ("priority", "priority", str(task.priority)),
            ("stopped by", "shutdown.signal", stop),
            ("executor", "executor", task.executor),
            ("if it fails", "skip_on_failure", "tolerated" if task.skip_on_failure else ""),
            ("directory", "working_dir", task.working_dir or ""),
        ):
            lines = list(_wrapped(label, words, width - FROM_WIDTH))
            if lines:
                yield (*lines[0], Span(f"  ({origin(task, scope.origins, field)})", "muted"))
                yield from lines[1:]
        names = sorted({*plan.env, *scope.env, *(task.env or {})})
        yield from _wrapped("environment", ", ".join(names), width)

    def _subplan(self, task: Task, width: int) -> Iterator[TextLine]:
        """What there is to know of a task that stands for a subplan: it has no settings of its own."""
        scope = self._feed.view.scopes.subplan(self._index)
        if scope is None:
            return
        subplan = self._run.plan.subplans[scope.number - 1]
        yield from _wrapped("plan", task.plan or "", width)
        given = [f"{name} = {value}" for name, value in subplan.params.items()]
        for number, line in enumerate(given):
            yield from _wrapped("" if number else "params", line, width)
        limits = f"{scope.used}/{scope.max_parallel} slots, {MODE_WORDS[scope.failure_mode]}"
        yield (_label("inside"), Span(f"{limits}{', paused' * scope.paused}"))

    def _relations(self, view: RunView) -> Iterator[TextLine]:
        look = look_of(self)
        special = view.graph.special_conditions
        for label, indices in (
            ("needs", view.graph.needs[self._index]),
            ("needed by", view.graph.dependents[self._index]),
        ):
            for number, other in enumerate(indices):
                edge = (other, self._index) if label == "needs" else (self._index, other)
                condition = special.get(edge, Condition.SUCCESS)
                task = view.tasks[other]
                yield (
                    _label("" if number else label),
                    Span(f"{look.glyph(task.state)} {one_line(task.name)}", _tone(task.state), other),
                    Span(f"  {task.state}", "muted"),
                    Span("" if condition is Condition.SUCCESS else f"  (if {condition})", "muted"),
                )
            if not indices:
                yield (_label(label), Span("nothing", "muted"))

    def _attempts(self, view: RunView, now: float, width: int) -> Iterator[TextLine]:
        task = view.tasks[self._index]
        usual = view.pace.usual(self._index)
        if usual is not None:
            yield (_label("usually"), Span(f"takes {short(usual)} in past runs"))
        if not task.attempts:
            yield (_label("attempts"), Span("none yet", "muted"))
        for number, record in enumerate(task.attempts):
            took = (now if record.ended is None else record.ended) - record.started
            words = (
                f"{record.number}: at {clock(record.started)}, {'for' if record.ended is None else 'took'} "
            )
            words += short(took)
            if record.where:
                words += f", {one_line(record.where)}"
            if record.exit_code is not None:
                words += f", exit {record.exit_code}"
            if record.stopping is not None:
                words += f", told to stop at {clock(record.stopping)}"
            yield (_label("" if number else "attempts"), Span(words, "text", LogOf(record.number)))
            if record.error:
                yield from _wrapped("", record.error, width, "error", 3)
            yield from _wrapped(
                "", f"   log {self._run.log_path(self._index, record.number)}", width, "muted"
            )

    def _history(self, view: RunView, width: int) -> Iterator[TextLine]:
        events: list[TaskEvent] = []
        for event in reversed(view.audit):
            if isinstance(event, TaskEvent) and event.index == self._index:
                events.append(event)
                if len(events) == EVENTS:
                    break
        for number, event in enumerate(reversed(events)):
            words = f"{clock(event.offset):>7}  {event.type.lower().replace('_', ' ')}"
            yield (
                _label("" if number else "history"),
                Span(f"{words:<34} "),
                Span(_cause(event), "muted"),
            )


def _outputs(outputs: Mapping[str, str], width: int) -> Iterator[TextLine]:
    for number, (key, value) in enumerate(outputs.items()):
        yield from _wrapped("" if number else "outputs", f"{key} = {value}", width)


def _label(text: str) -> Span:
    return Span(f"{text:<{LABEL_WIDTH}}", "muted")


def _wrapped(label: str, text: str, width: int, tone: str = "text", indent: int = 0) -> Iterator[TextLine]:
    """A labelled text, in as many lines as it takes; none if there is no text."""
    room = max(20, width - LABEL_WIDTH - indent)
    for number, line in enumerate(textwrap.wrap(one_line(text), room, break_on_hyphens=False)):
        yield (_label("" if number else label), Span(" " * indent + line, tone))


def _tone(state: TaskState) -> str:
    return {TaskState.SUCCESS: "success", TaskState.FAILED: "error", TaskState.RUNNING: "primary"}.get(
        state, "text"
    )


def _retry_words(retry: Retry) -> str:
    if not retry.limit:
        return "none"
    words = f"{retry.limit}, after {short(retry.delay)}"
    if retry.backoff != 1:
        words += f", each wait {retry.backoff:g} times the one before, at most {short(retry.max_delay)}"
    if retry.exit_codes is not None:
        words += f", only exit {', '.join(map(str, retry.exit_codes))}"
    return words


def _cause(event: Event) -> str:
    return one_line(event.cause)
