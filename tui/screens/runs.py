"""`RunsScreen`: the start screen: runs that go on, runs that are kept, and plans that can be run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar, Final

import anyio
from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen

from engine.errors import PlandeckError
from engine.ground.text import one_line
from tui.hints import PLANS_HINTS, RUNS_HINTS, Hint
from tui.keymap import BY_ID, Place, bindings, first
from tui.plain.marks import counted
from tui.present import Look
from tui.shelf import PlanEntry, RunEntry, Shelf
from tui.widgets.footer import Footer, Offer
from tui.widgets.line import Line
from tui.widgets.run_list import RunList
from tui.widgets.scroll import fit_scrollbars

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what there is."""

NO_RUNS: Final = "no runs yet; choose a plan"
NO_PLANS: Final = "no plans in this directory, and no samples"


class Said(Line):
    """A row that says one thing."""

    def __init__(self, tone: str, *, id: str) -> None:
        super().__init__(id=id)
        self._tone = tone
        self.words = ""

    def say(self, words: str) -> None:
        if words != self.words:
            self.words = words
            self.renew()

    def draw(self, look: Look, width: int) -> Iterable[Segment]:
        yield Segment(look.cut(f" {self.words}", width), getattr(look, self._tone))


class RunsScreen(Screen[None], inherit_bindings=False):
    """take_stock: what there is now. explain: what went wrong in a run. keys: those in force."""

    AUTO_FOCUS = "#runs"
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.HOME)
    PLACES: ClassVar = (Place.HOME,)

    class Wanted(Message):
        """The operator wants something done with an entry. what: open, log, show, replay, go-on, cancel."""

        def __init__(self, what: str, entry: RunEntry | PlanEntry) -> None:
            super().__init__()
            self.what = what
            self.entry = entry

    def __init__(
        self,
        take_stock: Callable[[], Awaitable[Shelf]],
        explain: Callable[[str], Awaitable[str]],
        keys: dict[str, str],
    ) -> None:
        super().__init__()
        self._take_stock = take_stock
        self._explain = explain
        self._keys = keys
        self._shelf: Shelf | None = None
        self._is_at_plans = False
        self._reasons: dict[RunEntry, str] = {}
        self.title_line = Said("bold", id="title")
        self.list = RunList(id="runs")
        self.note = Said("muted", id="note")
        self.footer = Footer()

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield self.list
        yield self.note
        yield self.footer

    def on_mount(self) -> None:
        fit_scrollbars(self.list)
        self.run_worker(self._watch(), name="look", exit_on_error=True)

    @property
    def selected(self) -> RunEntry | PlanEntry | None:
        return self.list.selected

    # ── what there is ───────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        while True:
            if self.is_current or self._shelf is None:
                await self.look()
            await anyio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Show what there is now."""
        try:
            shelf = await self._take_stock()
        except PlandeckError as error:
            self.note.say(one_line(str(error)))
            return
        if self._shelf is None:
            self._is_at_plans = not shelf.runs
        self._shelf = shelf
        self._show()

    def _show(self) -> None:
        shelf = self._shelf or Shelf()
        alive = sum(entry.next == "attach" for entry in shelf.runs)
        cut_off = sum(entry.next == "resume" for entry in shelf.runs)
        words = [counted(len(shelf.runs), "run")]
        words += [f"{alive} going on"] if alive else []
        words += [f"{cut_off} can be resumed"] if cut_off else []
        if self._is_at_plans:
            words = [counted(len(shelf.plans), "plan"), "here and samples"]
        separator = " - " if self._look.plain else " · "
        self.title_line.say(separator.join(["plandeck", *words]))
        if self._is_at_plans:
            self.list.show(shelf.plans, NO_PLANS)
        else:
            self.list.show(shelf.runs, NO_RUNS)
        self._describe()

    @property
    def _look(self) -> Look:
        from tui.present import look_of

        return look_of(self)

    def on_run_list_highlighted(self) -> None:
        self._describe()

    def _describe(self) -> None:
        """Say about the selected entry what the line has no room for."""
        entry = self.selected
        words = ""
        if isinstance(entry, RunEntry):
            words = self._reasons.get(entry, entry.note)
            if entry.next == "retry" and entry not in self._reasons:
                self._reasons[entry] = ""  # not asked for twice
                self.run_worker(self._find_reason(entry), group="reason")
        elif entry is not None:
            words = f"plandeck {' '.join(entry.command)}"
        self.note.say(one_line(words))
        hints = PLANS_HINTS if self._is_at_plans else RUNS_HINTS
        self.footer.offer([self._offer(hint) for hint in hints if self._keys[hint.ids[0]]])

    async def _find_reason(self, entry: RunEntry) -> None:
        try:
            self._reasons[entry] = await self._explain(entry.run_id)
        except PlandeckError as error:
            self._reasons[entry] = str(error)
        if self.selected == entry:
            self.note.say(self._reasons[entry])

    def _offer(self, hint: Hint) -> Offer:
        entry, key_id = self.selected, hint.ids[0]
        label = hint.label or BY_ID[key_id].label
        possible = key_id in _ALWAYS_POSSIBLE
        if isinstance(entry, RunEntry):
            possible = possible or self._can(key_id, entry)
            if key_id == "home.open" and entry.next == "attach":
                label = "attach"
            elif key_id == "home.go-on" and entry.next in ("resume", "retry"):
                label = "resume" if entry.next == "resume" else "retry failed"
        elif entry is not None:
            possible = possible or key_id == "home.open"
        return Offer(first(self._keys[key_id]), label, possible)

    @staticmethod
    def _can(key_id: str, entry: RunEntry) -> bool:
        if key_id == "home.go-on":
            return entry.next in ("resume", "retry")
        if key_id == "home.cancel":
            return entry.next == "attach"
        return key_id != "home.replay" or entry.next != "attach"

    # ── what is wanted ──────────────────────────────────────────────────────────────────────────

    def action_look_at(self, what: str) -> None:
        self._is_at_plans = not self._is_at_plans if not what else what == "plans"
        self._show()

    def action_open(self) -> None:
        self._want("open")

    def on_run_list_opened(self) -> None:
        self._want("open")

    def action_log(self) -> None:
        self._want("log")

    def action_show(self) -> None:
        self._want("show")

    def action_replay(self) -> None:
        self._want("replay")

    def action_go_on(self) -> None:
        self._want("go-on")

    def action_cancel(self) -> None:
        self._want("cancel")

    def _want(self, what: str) -> None:
        entry = self.selected
        if entry is None:
            return
        if isinstance(entry, PlanEntry):
            if what == "open":
                self.post_message(self.Wanted(what, entry))
        elif self._can(f"home.{what}", entry):
            self.post_message(self.Wanted(what, entry))
        else:
            self._refuse(what, entry)

    def _refuse(self, what: str, entry: RunEntry) -> None:
        self.notify(f"Run {entry.name} {_REFUSALS[what]}.", severity="warning", markup=False, timeout=4)


_ALWAYS_POSSIBLE: Final = frozenset({"commands", "help", "quit", "home.runs", "home.plans", "home.other"})
_REFUSALS: Final = {
    "go-on": "has nothing left to be done, or goes on already",
    "cancel": "has ended: there is nothing to cancel",
    "replay": "still goes on: open it",
}
