"""`Alert`: one row that says what needs a person now: a stall, a failure, a pause, the end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from engine.core.state import Outcome, RunPhase, TaskState
from engine.ground.text import one_line
from engine.view.run_view import Changes, RunView
from engine.view.timing import clock, short
from tui.keymap import first
from tui.present import Look
from tui.widgets.line import Line


class _Notice(NamedTuple):
    """words: cut where there is no room. advice: the keys that help, at the right, kept whole."""

    words: str
    advice: str
    style: Style


class Alert(Line):
    """The row is always there, so that nothing jumps when something happens; in calm times it tells
    about the selected task."""

    def __init__(self, view: RunView, last_line: Callable[[int], str], keys: Mapping[str, str]) -> None:
        """keys: the keys in force, by the id of their binding."""
        super().__init__(id="alert")
        self._view = view
        self._last_line = last_line
        self._keys = keys
        self._dismissed: dict[int, float] = {}
        self._selected: int | None = None
        self._now = 0.0

    @property
    def stalls(self) -> dict[int, float]:
        """The stalls that nobody has dismissed: since when, by the index of the task."""
        stalled = self._view.stalled.items()
        return {index: since for index, since in stalled if self._dismissed.get(index) != since}

    def dismiss(self) -> int:
        """Be silent about the stalls that there are, until there is a new one; return how many it was."""
        count = len(self.stalls)
        self._dismissed = dict(self._view.stalled)
        self.renew()
        return count

    def rebind(self, view: RunView) -> None:
        """Show another view of the run."""
        self._view = view

    def select(self, index: int | None) -> None:
        """Tell about this task in calm times, and what to do about it when it is in trouble."""
        if index != self._selected:
            self._selected = index
            self.renew()

    def update_from(self, changes: Changes, now: float) -> None:
        """Repaint what is different at `now`."""
        self._now = now
        self.renew()

    def draw(self, look: Look, width: int) -> Iterable[Segment]:
        notice = self._notice(look)
        advice = f"  {notice.advice} " if notice.advice else ""
        if cell_len(advice) > width // 2:
            advice = ""
        words = look.cut(f" {notice.words}", width - cell_len(advice))
        yield Segment(words + " " * (width - cell_len(words) - cell_len(advice)), notice.style)
        yield Segment(advice, notice.style)

    def _notice(self, look: Look) -> _Notice:
        view = self._view
        if stalls := self.stalls:
            return self._stall(look, stalls)
        if view.phase is RunPhase.COMPLETE:
            return self._end(look)
        if view.phase in (RunPhase.CANCELLING, RunPhase.DRAINING):
            return self._ending(look)
        if view.failures:
            return self._failure(look)
        if view.phase is RunPhase.PAUSED:
            return _Notice(
                "Paused: nothing new starts.", self._advice(("plan.pause", "resume")), look.warning
            )
        return self._calm(look)

    def _advice(self, *hints: tuple[str, str]) -> str:
        """Keys, by the ids of their bindings, and what each is for."""
        return "  ".join(
            f"{first(self._keys[key_id])} {words}" for key_id, words in hints if self._keys[key_id]
        )

    def _stall(self, look: Look, stalled: dict[int, float]) -> _Notice:
        """The selected task if it is stalled, else the one that has been silent longest."""
        index = self._selected if self._selected in stalled else next(iter(stalled))
        silent = short(self._now - stalled[index])
        usual = self._view.pace.usual(index)
        usually = "" if usual is None else f" (usually {short(usual)} in all)"
        more = f" (and {len(stalled) - 1} more)" if len(stalled) > 1 else ""
        words = f"! {one_line(self._view.tasks[index].name)} has been silent for {silent}{usually}{more}."
        last = self._last_line(index)
        if last:
            words += f' Last: "{one_line(last)}"'
        why = ("task.stall", "why"), ("stall.dismiss", "dismiss")
        go = ("task.cancel", "cancel") if index == self._selected else ("find.trouble", "go to it")
        return _Notice(words, self._advice(go, *why), look.warning_block)

    def _failure(self, look: Look) -> _Notice:
        view = self._view
        index = self._selected if self._selected in view.failures else view.failures[-1]
        task = view.tasks[index]
        words = f"{look.glyph(TaskState.FAILED)} {one_line(task.name)} failed: {view.why(index, self._now)}"
        if len(view.failures) > 1:
            words += f" (and {len(view.failures) - 1} more)"
        retry = ("task.retry", "retry"), ("task.log", "log")
        hints = list(retry) if index == self._selected else [("find.trouble", "go to it")]
        if view.phase is RunPhase.PAUSED:
            words = f"Paused: {words}"
            hints.append(("plan.pause", "resume"))
        return _Notice(words, self._advice(*hints), look.error)

    def _ending(self, look: Look) -> _Notice:
        view = self._view
        running = view.slots_used
        tasks = f"{running} task" if running == 1 else f"{running} tasks"
        if view.phase is RunPhase.DRAINING:
            words = f"Draining: {tasks} to finish, nothing new starts."
            return _Notice(words, self._advice(("plan.cancel", "cancel")), look.warning)
        return _Notice(f"Cancelling: {tasks} to stop.", self._advice(("quit", "hurry")), look.warning)

    def _end(self, look: Look) -> _Notice:
        view = self._view
        took = clock(view.elapsed(self._now))
        leave = self._advice(("quit", "leave"))
        if view.diagnosis:
            return _Notice(f"Ended by a defect: {one_line(view.diagnosis)}", leave, look.error)
        if view.failures:
            first = view.tasks[view.failures[0]]
            more = f" (and {len(view.failures) - 1} more)" if len(view.failures) > 1 else ""
            words = (
                f"Ended after {took}: {one_line(first.name)} failed{more}: {view.why(first.index, self._now)}"
            )
            again = ("find.trouble", "go to it"), ("plan.retry-failed", "retry failed"), ("quit", "leave")
            return _Notice(words, self._advice(*again), look.error)
        if view.outcome is Outcome.SUCCESS:
            return _Notice(f"All done after {took}.", leave, look.success)
        return _Notice(f"Ended after {took}: {view.outcome or 'unknown'}.", leave, look.warning)

    def _calm(self, look: Look) -> _Notice:
        if self._selected is None:
            return _Notice("", "", look.muted)
        task = self._view.plan.tasks[self._selected]
        if task.description:
            what = task.description
        elif isinstance(task.run, str):
            what = " ".join(task.run.split())
        elif task.run is not None:
            what = shlex.join(task.run)
        else:
            what = f"simulated, {short(task.simulate.duration)}" if task.simulate else ""
        return _Notice(f"{one_line(task.name)}: {one_line(what)}", "", look.muted)
