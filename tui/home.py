"""`HomeApp`: the list of runs, and the consoles opened from it. No run lives in it: they are elsewhere."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus
from textual.screen import Screen

from engine.core.inputs import CancelPlan
from engine.core.state import RunPhase
from engine.errors import PlandeckError, PlanInvalid, SettingsInvalid, StoreError
from engine.ground.folders import run_directory, socket_path, state_directory
from engine.ground.text import one_line
from engine.handle import RunHandle
from engine.host.attached import AttachedRun, RunUnreachable, attach
from engine.host.replayed import replay
from engine.plan.load import load_plan
from engine.plan.model import Plan
from engine.settings.levels import levels_in
from engine.settings.reader import read_settings
from engine.store.history import History
from tui.base import PlandeckApp
from tui.commands import Question
from tui.hosting.ended import EndedRun
from tui.hosting.ways_out import SIGNAL_BASE, heeded_signals
from tui.plain.marks import MODE_WORDS, counted
from tui.preferences import Preferences
from tui.screens.run import RunScreen
from tui.screens.runs import RunsScreen
from tui.shelf import PlanEntry, RunEntry, take_stock, why

_PLANDECK: Final = (sys.executable, "-m", "tui")
_RUN_ID: Final = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b")


async def be_at_home(preferences: Preferences) -> int:
    """Show the list until it is left; return the exit code."""
    code = 0
    with anyio.open_signal_receiver(*heeded_signals()) as received:
        async with anyio.create_task_group() as group:
            app = HomeApp(state_directory(), group, preferences)

            async def obey(received: AsyncIterator[signal.Signals]) -> None:
                nonlocal code
                async for number in received:
                    code = SIGNAL_BASE + number
                    app.exit()

            group.start_soon(obey, received)
            await app.show()
            group.cancel_scope.cancel()
    return code or app.return_code or 0


class _Visit:
    """A run that is being looked at. left: to be set when that is over."""

    def __init__(self, run: RunHandle) -> None:
        self.run = run
        self.left = anyio.Event()


async def launch(command: Sequence[str]) -> str:
    """Let a plandeck of its own carry `command` out, which leaves its run going on; return the run's id.

    Raises `NotStarted` with what it said."""
    process = await anyio.run_process(
        [*_PLANDECK, *command], stdin=subprocess.DEVNULL, check=False, start_new_session=True
    )
    said = (process.stdout + process.stderr).decode(errors="replace")
    found = _RUN_ID.search(said)
    if process.returncode or found is None:
        raise NotStarted(said.strip() or "no reason was given")
    return found[0]


class NotStarted(PlandeckError):
    """A run could not be started, or gone on with."""


class HomeApp(PlandeckApp):
    """state: the state directory. group: where visits are hosted, outside the app (as engines are).
    launch: starts runs."""

    def __init__(
        self,
        state: Path,
        group: TaskGroup,
        preferences: Preferences | None = None,
        *,
        launch: Callable[[Sequence[str]], Awaitable[str]] = launch,
        ascii_only: bool | None = None,
    ) -> None:
        super().__init__(preferences, ascii_only=ascii_only)
        self._state = state
        self._group = group
        self._launch = launch
        self._visit: _Visit | None = None
        self._run_screen: RunScreen | None = None
        in_thread = anyio.to_thread.run_sync
        self.runs_screen = RunsScreen(
            lambda: in_thread(take_stock, state, Path.cwd()),
            lambda run_id: in_thread(why, state, run_id),
            self.keys,
        )

    def get_default_screen(self) -> Screen[Any]:
        return self.runs_screen

    # ── leaving ─────────────────────────────────────────────────────────────────────────────────

    async def action_leave(self) -> None:
        """From a run to the list, from the list to the shell. Nothing ends by it."""
        if self._run_screen is None:
            self.exit()
        else:
            await self._go_back()

    async def action_detach(self) -> None:
        await self.action_leave()

    async def action_interrupt(self) -> None:
        if not self.copy_selection():
            await self.action_leave()

    async def on_pane_screen_back(self) -> None:
        await self._go_back()

    async def _end_visit(self) -> None:
        self._run_screen = None
        while self.screen is not self.runs_screen:
            await self.pop_screen()
        if self._visit is not None:
            self._visit.left.set()
            self._visit = None

    async def _go_back(self) -> None:
        await self._end_visit()
        self.runs_screen.action_look_at("runs")
        await self.runs_screen.look()

    # ── what is wanted with an entry ────────────────────────────────────────────────────────────

    def on_runs_screen_wanted(self, message: RunsScreen.Wanted) -> None:
        entry, what = message.entry, message.what
        if isinstance(entry, PlanEntry):
            self._do(partial(self._offer_to_run, entry))
        elif what == "go-on":
            self._ask(_go_on_question(entry), partial(self._go_on, entry))
        elif what == "cancel":
            question = Question(
                f"Cancel run {entry.name}?",
                (f"Stops what runs of {entry.plan} and starts no more.",),
                "Cancel the run",
                "Let it run",
            )
            self._ask(question, partial(self._cancel, entry))
        elif what == "show":
            self._do(partial(self._show_details, entry))
        else:
            self._do(partial(self._open, entry, what))

    async def _offer_to_run(self, entry: PlanEntry) -> None:
        try:
            plan = await anyio.to_thread.run_sync(_load, entry.path)
        except (PlanInvalid, SettingsInvalid) as invalid:
            more = f" (and {len(invalid.faults) - 1} more)" if len(invalid.faults) > 1 else ""
            self._say(one_line(f"{entry.name} cannot be run: {invalid.faults[0].message}{more}"))
            return
        size = f"{counted(plan.total, 'task')}, {counted(plan.max_parallel, 'slot')}"
        words = (f"{entry.about.removeprefix('sample: ')}", f"{size}, {MODE_WORDS[plan.failure_mode]}.")
        question = Question(f"Run {entry.name}?", words, "Run it", "Do not run it")
        self._ask(question, partial(self._start, (*entry.command, "--detach"), entry.name))

    def _ask(self, question: Question, doing: Any) -> None:
        from tui.screens.dialogs import confirm

        def answered(answer: str | None) -> None:
            if answer is not None:
                self._do(doing)

        self.clear_notifications()
        self.push_screen(confirm(question), answered)

    def _do(self, doing: Any) -> None:
        """One thing at a time; what goes wrong is said."""

        async def does() -> None:
            try:
                await doing()
            except (PlandeckError, OSError) as error:
                self._say(one_line(str(error)))

        self.run_worker(does(), group="doing", exclusive=True)

    def _say(self, words: str) -> None:
        self.notify(words, severity="warning", markup=False, timeout=8)

    async def _cancel(self, entry: RunEntry) -> None:
        async with attach(self._socket(entry.run_id)) as run:
            await run.send(CancelPlan())
        await self.runs_screen.look()

    async def _go_on(self, entry: RunEntry) -> None:
        await self._start((entry.next, entry.run_id, "--detach"), entry.plan)

    async def _start(self, command: Sequence[str], name: str) -> None:
        """Let a plandeck of its own run it, and attach to that."""
        self.runs_screen.note.say(f"starting {name} ...")
        run_id = await self._launch(command)
        selected = self._run_screen.selected if self._run_screen else None
        await self._end_visit()
        await self._visit_run(run_id)
        if selected is not None and self._run_screen is not None:
            self._run_screen.go_to(selected)

    def _reopen(self, command: tuple[str, ...]) -> None:
        """Go on with the run that is being looked at."""
        self._do(partial(self._start, command, "the run"))

    async def _open(self, entry: RunEntry, what: str) -> None:
        await self._visit_run(entry.run_id, at_log=what == "log", from_start=what == "replay")

    async def _show_details(self, entry: RunEntry) -> None:
        from tui.screens.kept import KeptScreen

        def read() -> str:
            from tui.plain.history_view import Kept, show_text
            from tui.plain.report import Style

            with History(self._state) as history:
                kept = Kept.of(history, history.find(entry.run_id))
            return show_text(kept, Style(ascii=self.look.plain))

        text = await anyio.to_thread.run_sync(read)
        self.push_screen(KeptScreen(f"Run {entry.name}: {entry.plan}", text))

    # ── visits ──────────────────────────────────────────────────────────────────────────────────

    async def _visit_run(self, run_id: str, *, at_log: bool = False, from_start: bool = False) -> None:
        try:
            visit = await self._group.start(self._host, attach(self._socket(run_id)))
        except RunUnreachable:  # it is over, or its engine is gone
            visit = await self._group.start(self._host, self._recorded(run_id, from_start))
        self._visit = visit
        self._run_screen = screen = RunScreen(visit.run, self.keys, way_out="runs")
        await self.push_screen(screen)
        if at_log:
            if screen.view.failures:
                screen.action_next_trouble()
            screen.action_log()
        if isinstance(visit.run, AttachedRun):
            self._group.start_soon(self._notice_loss, visit)
        elif screen.view.phase is not RunPhase.COMPLETE and not from_start:
            self._say("The engine of this run is gone. It is shown as it was last; r in the list resumes it.")

    @staticmethod
    async def _host(
        opening: AbstractAsyncContextManager[RunHandle], *, task_status: TaskStatus[_Visit]
    ) -> None:
        async with opening as run:
            visit = _Visit(run)
            task_status.started(visit)
            await visit.left.wait()

    @asynccontextmanager
    async def _recorded(self, run_id: str, from_start: bool) -> AsyncIterator[RunHandle]:
        with History(self._state) as history:
            plan, events = history.plan(run_id), history.events(run_id)
        if not events:
            raise StoreError("nothing has happened in this run, or nothing of it was kept")
        async with replay(plan, run_id, events, directory=run_directory(self._state, run_id)) as run:
            if not from_start:
                run.seek(run.stop)
            yield EndedRun(run, self._reopen) if run.snapshot().phase is RunPhase.COMPLETE else run

    async def _notice_loss(self, visit: _Visit) -> None:
        run = visit.run
        if isinstance(run, AttachedRun):
            reason = await run.gone()
            if visit is self._visit and run.snapshot().phase is not RunPhase.COMPLETE:
                self._say(f"{reason}.")

    def _socket(self, run_id: str) -> Path:
        return socket_path(run_directory(self._state, run_id))


def _load(path: Path) -> Plan:
    """The plan with the user's settings behind it, as `plandeck run` would load it."""
    return load_plan(path, levels=levels_in(read_settings()))


def _go_on_question(entry: RunEntry) -> Question:
    if entry.next == "retry":
        words = f"Runs what failed of {entry.plan} again, and what that alone had blocked."
        return Question(f"Retry what failed in run {entry.name}?", (words,), "Retry it", "Leave it as it is")
    words = f"What has finished of {entry.plan} stays; what was cut off runs again."
    return Question(f"Resume run {entry.name}?", (words,), "Resume it", "Leave it as it is")
