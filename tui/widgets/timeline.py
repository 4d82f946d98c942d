"""`Timeline`: when each attempt ran, waited, was stopping or sat out a back-off, on one axis of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType

from engine.core.state import RunPhase, TaskState
from engine.view.course import Doing, Stretch, course
from engine.view.forecast import Forecast
from engine.view.run_view import Changes, RunView
from engine.view.timing import clock
from tui.keymap import Place, bindings
from tui.present import Look, widest
from tui.widgets.axis import Axis
from tui.widgets.task_pane import TaskPane

NAME_LEAST: Final = 8
LEAD: Final = 4
"""Before the name: the mark of the critical path, the glyph, and a space beside each."""
TIME_WIDTH: Final = 6


class Signs(NamedTuple):
    """What stretches are drawn with, each one cell. critical: marks the tasks of the critical path."""

    run: str
    going: str
    stop: str
    back_off: str
    wait: str
    critical: str
    now: str


UNICODE: Final = Signs("━", "▸", "░", "~", "·", "◆", "▾")
ASCII: Final = Signs("=", ">", "%", "~", ".", "!", "v")


class Bar(NamedTuple):
    """What can change about a line. cells: signs of the bar, and by what each is coloured: the state that
    an attempt has led to, or None for what is no attempt."""

    cursor: bool
    focus: bool
    critical: bool
    state: TaskState
    stalled: bool
    cells: tuple[tuple[str, TaskState | None], ...]
    time: str


class Timeline(TaskPane[Bar]):
    """A Gantt chart of attempts: a line a task, in the order in which they first started.

    It shows the whole run, or a part of it that goes along with the present, or one that stands still.
    forecast: tells the critical path. What cannot be seen any more of an attempt that is short is that
    it was more than one: a cell shows the last that happened in it.
    """

    HEADER: ClassVar[int] = 2
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.TIMELINE)

    def __init__(
        self,
        view: RunView,
        forecast: Forecast,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        self._forecast = forecast
        self._axis = Axis()
        self._started: list[int] = []
        self._is_started = bytearray()
        self._longest = NAME_LEAST
        super().__init__(view, name=name, id=id, classes=classes)

    @property
    def title(self) -> str:
        return "Timeline"

    @property
    def note(self) -> str:
        return self._axis.words()

    # ── which lines ─────────────────────────────────────────────────────────────────────────────

    def adopt_view(self) -> None:
        self._longest = widest(self.names) if self.names else NAME_LEAST
        self._is_started = bytearray(len(self.view.tasks))
        self._started = []
        self._take_started(range(len(self.view.tasks)))

    def _take_started(self, tasks: Iterable[int]) -> bool:
        """Put those that have started since into their order; return whether there are any."""
        views = self.view.tasks
        fresh = [index for index in tasks if views[index].attempts and not self._is_started[index]]
        fresh.sort(key=lambda index: (views[index].attempts[0].started, index))
        for index in fresh:
            self._is_started[index] = True
        self._started += fresh
        return bool(fresh)

    def order_tasks(self, keep: int | None) -> Sequence[int]:
        is_started = self._is_started
        return [*self._started, *[index for index in range(len(is_started)) if not is_started[index]]]

    def note_changes(self, tasks: Iterable[int]) -> bool:
        if self._take_started(tasks):
            self._unsettled = True
        return False

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    @property
    def _until(self) -> float:
        """The offset up to which something has happened."""
        ended = self.view.ended_at
        return self._now if ended is None else ended

    @property
    def _name_width(self) -> int:
        return min(self._longest, max(NAME_LEAST, self.line_width * 3 // 10))

    def _settle_axis(self) -> None:
        view = self.view
        cells = self.line_width - LEAD - self._name_width - 1 - TIME_WIDTH
        is_over = view.phase is RunPhase.COMPLETE
        self._axis.settle(view.started_at or 0.0, self._until, cells, is_over=is_over)

    def update_from(self, changes: Changes, now: float) -> None:
        self._now = now
        self.note_changes(changes.tasks)
        if self.display:
            if self._unsettled and self._may_settle:
                self.rearrange()
            self._settle_axis()
            # the axis may have moved, and the critical path may lead along other tasks
            self.redraw_changed()

    def layout_lines(self) -> None:
        self._settle_axis()
        super().layout_lines()

    # ── zoom and pan ────────────────────────────────────────────────────────────────────────────

    def action_zoom_in(self) -> None:
        """Half the time in the same width, or about that."""
        self._axis.zoom(-1)
        self.redraw_changed()

    def action_zoom_out(self) -> None:
        """About twice the time."""
        self._axis.zoom(1)
        self.redraw_changed()

    def action_fit(self) -> None:
        """The whole run."""
        self._axis.show_all()
        self.redraw_changed()

    def action_pan_left(self) -> None:
        """To what was earlier."""
        self._axis.pan(-1)
        self.redraw_changed()

    def action_pan_right(self) -> None:
        """To what was later; at the present, go along with it again."""
        self._axis.pan(1)
        self.redraw_changed()

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────

    def draw_header(self, look: Look, row: int) -> Sequence[Segment]:
        return self._legend(look) if row == 0 else self._times(look)

    def _legend(self, look: Look) -> Sequence[Segment]:
        signs = ASCII if look.plain else UNICODE
        parts = [
            (signs.critical, "critical", look.accent),
            (signs.wait, "waits", look.muted),
            (signs.run, "runs", look.primary),
            (signs.back_off, "back-off", look.warning),
            (signs.stop, "stops", look.warning),
            *(
                (look.glyph(state), word, look.states[state])
                for state, word in (
                    (TaskState.SUCCESS, "done"),
                    (TaskState.FAILED, "failed"),
                    (TaskState.CANCELLED, "stopped"),
                )
            ),
        ]
        segments: list[Segment] = []
        room = self.line_width - 1
        for sign, word, style in parts:
            room -= cell_len(sign) + len(word) + 3
            if room < -2:
                break
            segments += [Segment(f" {sign}", style), Segment(f" {word} ", look.muted)]
        return segments

    def _times(self, look: Look) -> Sequence[Segment]:
        row = [" "] * self._axis.cells
        at_now = self._axis.now_cell
        for at, text in self._axis.labels():
            if at_now is None or not at <= at_now < at + len(text):
                row[at : at + len(text)] = text
        head = Segment(" " * (LEAD + self._name_width + 1))
        if at_now is None:
            return [head, Segment("".join(row), look.muted)]
        return [
            head,
            Segment("".join(row[:at_now]), look.muted),
            Segment(ASCII.now if look.plain else UNICODE.now, look.accent),
            Segment("".join(row[at_now + 1 :]), look.muted),
        ]

    def line_content(self, line: int) -> Bar:
        index = self._rows[line]
        task = self.view.tasks[index]
        elapsed = task.elapsed(self._now)
        return Bar(
            cursor=line == self.cursor,
            focus=self.has_focus,
            critical=index in self._forecast.path,
            state=task.state,
            stalled=task.stalled_since is not None,
            cells=self._draw_cells(course(self.view, task)),
            time="-" if elapsed is None else clock(elapsed),
        )

    def _draw_cells(self, stretches: Sequence[Stretch]) -> tuple[tuple[str, TaskState | None], ...]:
        """The bar, cell by cell, as runs of one colour."""
        axis, until = self._axis, self._until
        cells = axis.cells
        row: list[tuple[str, TaskState | None]] = [(" ", None)] * cells
        for stretch in sorted(stretches, key=lambda each: each.outcome is not None):  # attempts over waits
            if stretch.end is None and stretch.start > until:
                continue
            first = axis.cell(stretch.start)
            last = max(first, axis.cell(until if stretch.end is None else stretch.end))
            if last < 0 or first >= cells:
                continue
            sign, state = _SIGNS[stretch.doing]
            for at in range(max(0, first), min(cells, last + 1)):
                row[at] = (sign, state or stretch.outcome or TaskState.RUNNING)
            if stretch.outcome is not None and last < cells:
                row[last] = ("end", stretch.outcome)
        return tuple(row)

    def draw_line(self, line: int, bar: Bar, look: Look) -> tuple[Sequence[Segment], Style]:
        signs = ASCII if look.plain else UNICODE
        state = look.warning if bar.stalled else look.states[bar.state]
        waits = bar.state is TaskState.PENDING
        width = self._name_width
        name = look.cut_name(self.names[self._rows[line]], width)
        segments = [
            Segment(signs.critical if bar.critical else " ", look.accent),
            Segment(f" {look.glyph(bar.state)} ", state),
            Segment(name + " " * (width - cell_len(name) + 1), look.muted if waits else look.text),
        ]
        segments += _joined(self._cell(sign, of, signs, look) for sign, of in bar.cells)
        segments.append(Segment(f"{bar.time:>{TIME_WIDTH}}", look.muted if waits else look.text))
        return segments, self.under(line, look)

    @staticmethod
    def _cell(sign: str, of: TaskState | None, signs: Signs, look: Look) -> tuple[str, Style]:
        if of is None:
            return " ", look.text
        if sign == "end":
            going = of is TaskState.RUNNING
            return signs.going if going else look.glyph(of), look.states[of]
        if sign == "wait":
            return signs.wait, look.muted
        return getattr(signs, sign), look.states[of]


_SIGNS: Final[dict[Doing, tuple[str, TaskState | None]]] = {
    Doing.WAIT: ("wait", TaskState.PENDING),
    Doing.BACK_OFF: ("back_off", TaskState.RETRYING),
    Doing.STOP: ("stop", TaskState.STOPPING),
    Doing.RUN: ("run", None),
}
"""The sign of a stretch by name, and the state whose colour it has; None for that of its outcome."""


def _joined(cells: Iterable[tuple[str, Style]]) -> list[Segment]:
    """Neighbours of one style put together."""
    segments: list[Segment] = []
    text, style = "", None
    for sign, of in cells:
        if of is not style and style is not None:
            segments.append(Segment(text, style))
            text = ""
        text += sign
        style = of
    if style is not None:
        segments.append(Segment(text, style))
    return segments
