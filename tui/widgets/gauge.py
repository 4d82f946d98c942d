"""`Gauge`: the second row: progress, health and its recent course, counts and stalls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment

from engine.core.state import TaskState
from engine.view.run_view import Changes, RunView
from tui.present import Look
from tui.widgets.line import Line

COUNTED: Final[tuple[tuple[str, tuple[TaskState, ...]], ...]] = (
    ("done", (TaskState.SUCCESS,)),
    ("failed", (TaskState.FAILED,)),
    ("skipped", (TaskState.SKIPPED,)),
    ("cancelled", (TaskState.CANCELLED,)),
    ("running", (TaskState.RUNNING, TaskState.STOPPING, TaskState.RETRYING)),
    ("waiting", (TaskState.PENDING, TaskState.READY)),
)
"""What is counted together, under the glyph of the first state."""

COURSE_LIMIT: Final = 24
"""Cells that the course is given besides, where there is room to spare."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


class _Shape(NamedTuple):
    """How much is said. bar, gauge, course: cells. words: beside the glyphs of the counts. percent:
    instead of tasks of tasks. terse: no words at all, and no room kept for counts to grow."""

    bar: int = 0
    gauge: int = 0
    course: int = 0
    words: bool = False
    percent: bool = False
    terse: bool = False


_SHAPES: Final = (
    _Shape(bar=24, gauge=10, course=12, words=True),
    _Shape(bar=16, gauge=10, course=12, words=True),
    _Shape(bar=20, gauge=10, course=12),
    _Shape(bar=12, gauge=8, course=6),
    _Shape(bar=8, gauge=6, course=6),
    _Shape(bar=6, course=6),
    _Shape(course=4),
    _Shape(),
    _Shape(percent=True),
)
"""From wide to narrow; the first that fits is taken. It depends only on the width and the number of
tasks, so that nothing moves while the run goes on."""

_TERSE: Final = _Shape(percent=True, terse=True)
"""What is left for ten thousand tasks at sixty columns."""


class Gauge(Line):
    """Each count has the room that the number of all tasks needs."""

    def __init__(self, view: RunView) -> None:
        super().__init__(id="gauge")
        self._view = view

    def rebind(self, view: RunView) -> None:
        """Show another view of the run."""
        self._view = view

    def update_from(self, changes: Changes, now: float) -> None:
        """Repaint what is different."""
        if changes.tasks or changes.plan:
            self.renew()

    def draw(self, look: Look, width: int) -> Iterable[Segment]:
        view = self._view
        digits = len(str(view.total))
        shape = next((shape for shape in _SHAPES if _width(shape, digits) <= width), _TERSE)
        spare = max(0, width - _width(shape, digits))
        if shape.bar:
            longer = min(spare, shape.bar)
            course = shape.course + min(spare - longer, COURSE_LIMIT)
            shape = shape._replace(bar=shape.bar + longer, course=course)
            yield Segment(" ")
            yield from _progress(view, look, shape.bar)
        done = f"{view.progress:>4.0%}" if shape.percent else f"{view.finished:>{digits}}/{view.total}"
        yield Segment(f" {done}  ", look.bold)
        yield from self._health(look, shape)
        yield from self._counts(look, shape, digits)
        if view.stalled:
            stalled = f"!{len(view.stalled)}" if shape.terse else f" ! {len(view.stalled)} stalled"
            yield Segment(f" {stalled}", look.warning + look.bold)

    def _health(self, look: Look, shape: _Shape) -> Iterable[Segment]:
        view = self._view
        style = look.health(view.health)
        if not shape.terse:
            yield Segment("health ")
        if shape.gauge:
            yield from _fill(view.health, shape.gauge, look)
            yield Segment(" ")
        yield Segment(f"{view.health:.2f}", style + look.bold)
        if shape.course:
            yield Segment(" ")
            course = view.health_course[-shape.course :]
            yield Segment(" " * (shape.course - len(course)))
            top = len(look.sparks) - 1
            for health in course:
                yield Segment(look.sparks[round(health * top)], look.health(health))

    def _counts(self, look: Look, shape: _Shape, digits: int) -> Iterable[Segment]:
        counts = self._view.counts
        if not shape.terse:
            yield Segment(" ")
        for word, states in COUNTED:
            number = sum(counts[state] for state in states)
            style = look.states[states[0]] if number else look.muted
            text = f" {look.glyph(states[0])}{number}"
            if shape.words:
                text += f" {word}"
            room = 0 if shape.terse else _count_width(word, shape, digits)
            yield Segment(text.ljust(room), style)


def _count_width(word: str, shape: _Shape, digits: int) -> int:
    return 2 + digits + (1 + len(word) if shape.words else 0)


def _width(shape: _Shape, digits: int) -> int:
    """The cells that a shape takes, whatever the counts; not for the terse one."""
    bar = 1 + shape.bar if shape.bar else 0
    done = len("  100%") if shape.percent else 2 * digits + 1
    health = len("health 0.00")
    health += (1 + shape.gauge if shape.gauge else 0) + (1 + shape.course if shape.course else 0)
    counts = sum(_count_width(word, shape, digits) for word, _ in COUNTED)
    return bar + 1 + done + 2 + health + 1 + counts + len("  ! 1 stalled")


def _progress(view: RunView, look: Look, cells: int) -> Iterable[Segment]:
    halves = int(view.progress * cells * 2)
    full, half = divmod(halves, 2)
    bad = view.counts[TaskState.FAILED] > 0
    style = look.error if bad else look.success if view.progress == 1 else look.primary
    yield Segment(look.bar * full, style)
    rest = cells - full
    if half and not look.plain:
        yield Segment("╸", style)
        rest -= 1
    yield Segment(("-" if look.plain else "─") * rest, look.line)


def _fill(value: float, cells: int, look: Look) -> Iterable[Segment]:
    style = look.health(value)
    eighths = round(value * cells * 8)
    full, part = divmod(eighths, 8)
    bar = look.done * full
    if part and full < cells:
        bar += look.rest if look.plain else _EIGHTHS[part]
    yield Segment(bar, style)
    yield Segment(look.rest * (cells - cell_len(bar)), look.line)
