"""`RunHeader`: the first row: which run, how it stands, how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from engine.core.state import Outcome, RunPhase, TaskState
from engine.ground.text import one_line
from engine.view.forecast import Forecast
from engine.view.run_view import Changes, RunView
from engine.view.timing import clock
from tui.plain.marks import MODE_WORDS
from tui.present import Look
from tui.widgets.line import Line

_OUTCOME_STATE = {
    Outcome.SUCCESS: TaskState.SUCCESS,
    Outcome.FAILED: TaskState.FAILED,
    Outcome.CANCELLED: TaskState.CANCELLED,
    Outcome.INTERRUPTED: TaskState.CANCELLED,
}


class _Part(NamedTuple):
    """A piece of the row. rank: what is dropped first where there is no room; 0 is never dropped."""

    text: str
    style: Style
    rank: int = 0


class RunHeader(Line):
    """Name, run, phase and elapsed time, failure mode, slots and the time left."""

    def __init__(
        self,
        view: RunView,
        forecast: Forecast,
        *,
        read_only: bool = False,
        replay: Callable[[], str] = lambda: "",
    ) -> None:
        """forecast: of the same view; somebody else keeps it up to date. replay: what is said of one."""
        super().__init__(id="header")
        self._view = view
        self._forecast = forecast
        self._read_only = read_only
        self._replay = replay
        self._now = 0.0

    def rebind(self, view: RunView) -> None:
        """Show another view of the run."""
        self._view = view

    def update_from(self, changes: Changes, now: float) -> None:
        """Repaint what is different at `now`."""
        self._now = now
        self.renew()

    def draw(self, look: Look, width: int) -> Iterable[Segment]:
        parts = self._parts(look)
        dot = " - " if look.plain else " · "
        before = {4: "  ", 5: ""}  # the run belongs to the name, the span to the time left
        name = one_line(self._view.plan.name)
        room = width - 2

        def needed() -> int:
            return sum(len(before.get(part.rank, dot)) + cell_len(part.text) for part in parts)

        while parts and needed() + min(12, cell_len(name)) > room and max(part.rank for part in parts):
            parts.remove(max(parts, key=lambda part: part.rank))
        yield Segment(" ")
        yield Segment(look.cut(name, max(1, room - needed())), look.bold)
        for part in parts:
            yield Segment(before.get(part.rank, dot), look.muted)
            yield Segment(part.text, part.style)

    def _parts(self, look: Look) -> list[_Part]:
        view = self._view
        parts = [_Part(f"run {view.run_id[:4]}", look.muted, 4), self._phase(look)]
        if replay := self._replay():
            parts.append(_Part(replay, look.warning, 0))
        elif self._read_only:
            parts.append(_Part("read only", look.warning, 0))
        if view.phase is not RunPhase.COMPLETE:
            parts.append(_Part(MODE_WORDS[view.failure_mode], look.text, 3))
        used, slots = view.slots_used, view.max_parallel
        over = used > slots
        parts.append(_Part(f"{used}/{slots} slots", look.warning if over else look.text, 1))
        guess = self._forecast.left(self._now)
        if guess is not None:
            left, bracket, span = guess.words().partition(" (")
            parts.append(_Part(left, look.text, 2))
            if bracket:
                parts.append(_Part(bracket + span, look.muted, 5))
        return parts

    def _phase(self, look: Look) -> _Part:
        view = self._view
        elapsed = clock(view.elapsed(self._now))
        if view.phase is RunPhase.COMPLETE and view.outcome is not None:
            state = _OUTCOME_STATE[view.outcome]
            words = f"{look.glyph(state)} {view.outcome.value.upper()} {elapsed}"
            return _Part(words, look.states[state] + look.bold)
        style = look.primary if view.phase is RunPhase.RUNNING else look.warning
        return _Part(f"{view.phase.value.upper()} {elapsed}", style + look.bold)
