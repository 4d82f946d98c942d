"""Visiting a run: watching one whose engine is elsewhere, or was. Leaving it leaves it as it is."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from engine.core.events import Event
from engine.core.state import RunPhase
from engine.ground.folders import run_directory, socket_path
from engine.handle import RunHandle
from engine.host.attached import AttachedRun, RunUnreachable, attach
from engine.host.replayed import replay
from engine.plan.model import Plan
from engine.result import PlanResult
from engine.store.lock import holder_of
from engine.store.records import RunRecord
from engine.view.run_view import RunView
from tui.hosting.ways_out import EXIT_CODES, SIGNAL_BASE, UNLIMITED, heeded_signals
from tui.plain.ids import short_id
from tui.plain.lines import PlainLines
from tui.plain.report import Style
from tui.plain.summary import summary
from tui.plain.teller import Teller
from tui.preferences import Preferences

if TYPE_CHECKING:
    from tui.app import ConsoleApp

EXIT_LOST: Final = 1


async def visit_living(
    directory: Path, record: RunRecord, read_only: bool, console: Preferences | None, out: Style, err: Style
) -> int:
    """Watch and steer a run of another process, until it ends or the visitor leaves; return the exit code.

    directory: the state directory. console: how it is wanted, None for lines. Raises
    `RunUnreachable` if there is nobody to talk to.
    """
    folder = run_directory(directory, record.run_id)
    name = short_id(record.run_id)
    async with attach(socket_path(folder), read_only=read_only) as run:
        with closing(Teller(out, err)) as teller:
            visit = _Visit(run, teller)
            left = await visit.watch(console)
            if left is None and run.snapshot().phase is RunPhase.COMPLETE:
                with suppress(RunUnreachable):  # it may go away between its last event and its result
                    result = await run.wait()
                    await visit.say_goodbye(result)
                    return EXIT_CODES[result.outcome]
            if run.lost is None or holder_of(folder) is not None:
                lost = f"{run.lost}; " if run.lost else ""
                await teller.tell_last(f"{lost}run {name} goes on; come back with: plandeck attach {name}")
                return left or 0
            await teller.tell_last(f"{run.lost}; see what has become of it: plandeck show {name}")
            return left or EXIT_LOST


async def visit_recorded(
    directory: Path,
    record: RunRecord,
    plan: Plan,
    events: Sequence[Event],
    usual: Sequence[float | None],
    speed: float,
    console: Preferences | None,
    out: Style,
    err: Style,
) -> int:
    """Watch a recorded run until the recording or the visitor's patience ends; return the exit code.

    directory: the state directory. events: all of the run, at least one. usual: what each task took in the
    runs before, as in `replay`.
    """
    folder = run_directory(directory, record.run_id)
    async with replay(plan, record.run_id, events, directory=folder, speed=speed, usual=usual) as run:
        with closing(Teller(out, err)) as teller:
            visit = _Visit(run, teller)
            left = await visit.watch(console, last=events[-1].seq)
            if left is None and run.snapshot().phase is RunPhase.COMPLETE:
                await visit.say_goodbye(await run.wait())
            elif left is None and run.snapshot().seq == events[-1].seq:
                await teller.tell_last("the recording ends here, before the run was complete")
            return left or 0


class _Visit:
    """One visitor: the console or the lines that show the run, and what makes him leave."""

    def __init__(self, run: RunHandle, teller: Teller) -> None:
        self._run = run
        self._teller = teller
        self._left: int | None = None
        self._app: ConsoleApp | None = None

    async def watch(self, console: Preferences | None, last: int | None = None) -> int | None:
        """Return None when there is no more to see or the visitor has left by a key, and the exit code
        when a signal, or a reader that is gone, has sent him away.

        console: how it is wanted, None for lines. last: the number of the event after which nothing comes;
        None to watch until the run is complete.
        """
        with anyio.open_signal_receiver(*heeded_signals()) as received:
            async with anyio.create_task_group() as group:
                group.start_soon(self._obey, received, group.cancel_scope)
                group.start_soon(self._leave_unread, group.cancel_scope)
                if console is not None:
                    await self._show_console(console)
                else:
                    await self._show_lines(last)
                group.cancel_scope.cancel()
        return self._left

    async def say_goodbye(self, result: PlanResult) -> None:
        """Print the summary, and wait until it has been read."""
        view = RunView.from_snapshot(self._run.graph, self._run.snapshot())
        await self._teller.part(
            summary(result, view, self._run.log_path, self._run.last_line, (), self._teller.out)
        )

    async def _show_console(self, preferences: Preferences) -> None:
        from tui.app import ConsoleApp  # Textual costs a quarter of a second, and lines do without it

        app = self._app = ConsoleApp(self._run, can_detach=True, preferences=preferences)

        async def leave_when_lost() -> None:
            if isinstance(self._run, AttachedRun):
                await self._run.gone()
                if self._run.snapshot().phase is not RunPhase.COMPLETE:  # else there is all to look at
                    app.exit()

        async with anyio.create_task_group() as group:
            group.start_soon(leave_when_lost)
            await app.show()
            group.cancel_scope.cancel()
        self._app = None
        if app.return_code and self._left is None:
            self._left = app.return_code  # it has failed, and has said so

    async def _show_lines(self, last: int | None) -> None:
        def has_seen_all(view: RunView) -> bool:
            return view.phase is RunPhase.COMPLETE if last is None else view.last_seq >= last

        await PlainLines(self._run, self._teller, UNLIMITED).follow(has_seen_all)

    async def _obey(self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
        async for number in received:
            is_first = self._left is None
            self._left = SIGNAL_BASE + number
            if self._app is not None and is_first:
                self._app.exit()
            else:
                scope.cancel()

    async def _leave_unread(self, scope: anyio.CancelScope) -> None:
        meaning, failure = await self._teller.unread()
        if meaning is None:
            await self._teller.tell_last(f"cannot write the output: {failure}")
        self._left = EXIT_LOST if meaning is None else SIGNAL_BASE + meaning
        scope.cancel()
