"""`StallScreen`: what is known of the tasks that show no sign of life, and what can be done."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import anyio
import anyio.to_thread

from engine.ground.text import one_line
from engine.handle import RunHandle
from engine.monitor.evidence import Evidence, ProcessInfo, evidence_of
from engine.view.timing import short
from tui.feed import Feed
from tui.keymap import first
from tui.screens.pages import PageScreen
from tui.widgets.page import Page, Span, TextLine

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at logs and processes."""

_STATES: Final = {
    "R": "running",
    "S": "sleeping",
    "D": "waits for a device",
    "T": "stopped",
    "t": "traced",
    "Z": "dead, not reaped",
    "I": "idle",
}


class StallScreen(PageScreen):
    """Every stalled task, the one that is selected first; kept up to date while it is open.

    keys: those in force, by the id of their binding. selected: the index of a task.
    """

    def __init__(self, run: RunHandle, feed: Feed, keys: Mapping[str, str], selected: int | None) -> None:
        super().__init__()
        self._run = run
        self._feed = feed
        self._keys = keys
        self._selected = selected
        self.found: list[Evidence] | None = None

    def on_mount(self) -> None:
        super().on_mount()
        self.run_worker(self._watch(), exit_on_error=True)

    async def _watch(self) -> None:
        while True:
            await self.look()
            await anyio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """See how they are now."""
        view, now = self._feed.view, self._run.now().offset
        stalled = sorted(view.stalled, key=lambda index: index != self._selected)

        def read() -> list[Evidence]:
            return [evidence_of(self._run, view, index, now) for index in stalled]

        self.found = await anyio.to_thread.run_sync(read)
        self.query_one(Page).rewrite()

    def page_title(self) -> str:
        return "No sign of life"

    def page_lines(self, width: int) -> Sequence[TextLine]:
        if self.found is None:
            return [(Span("looking ...", "muted"),)]
        if not self.found:
            return [(Span("All of them show life again, or have ended.", "success"),)]
        return [line for evidence in self.found for line in (*self._block(evidence, width), ())]

    def _block(self, evidence: Evidence, width: int) -> Iterator[TextLine]:
        silent, elapsed = short(evidence.silent_for), short(evidence.elapsed)
        yield (
            Span(f"! {one_line(evidence.task)}", "warning"),
            Span(f"  silent for {silent}, attempt {evidence.attempt} has taken {elapsed}"),
        )
        usual = "not known yet" if evidence.usual is None else f"{short(evidence.usual)} in all"
        yield (Span("  usually     ", "muted"), Span(usual))
        label = "  last lines  "
        for line in evidence.last_lines or ("(it has printed nothing)",):
            yield (Span(label, "muted"), Span(line))
            label = " " * len(label)
        yield from self._processes(evidence)
        yield from _wrapped("  what to do  ", evidence.advice, width)
        yield (
            Span("  keys        ", "muted"),
            *self._hints(("back", "back,"), ("task.cancel", "cancel"), ("task.log", "log")),
            *self._hints(("stall.dismiss", "dismiss")),
        )

    def _processes(self, evidence: Evidence) -> Iterator[TextLine]:
        label = "  processes   "
        if not evidence.processes:
            why = "not of the past" if self._run.is_recording else "none that can be seen from here"
            yield (Span(label, "muted"), Span(f"({why})", "muted"))
        depths: dict[int, int] = {}
        for process in evidence.processes:
            depth = depths[process.pid] = depths.get(process.parent, -1) + 1
            yield (Span(label, "muted"), *_process(process, depth))
            label = " " * len(label)

    def _hints(self, *hints: tuple[str, str]) -> Iterator[Span]:
        for key_id, words in hints:
            if self._keys[key_id]:
                yield Span(first(self._keys[key_id]), "key")
                yield Span(f" {words} ")


def _process(process: ProcessInfo, depth: int) -> Sequence[Span]:
    state = _STATES.get(process.state, process.state)
    tone = "error" if process.state in "DTZ" else "muted"
    return (
        Span(f"{'  ' * depth}{process.pid:<7} "),
        Span(f"{state:<9} ", tone),
        Span(f"{short(process.cpu):>6} cpu  ", "muted"),
        Span(one_line(process.command or process.name)),
    )


def _wrapped(label: str, words: str, width: int) -> Iterator[TextLine]:

    for line in textwrap.wrap(words, max(20, width - len(label))):
        yield (Span(label, "muted"), Span(line))
        label = " " * len(label)
