"""Visiting a run: watching one whose engine is elsewhere, or was. Leaving it leaves it as it is."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from engine.core.events import Event, TaskStarted
from engine.core.state import RunPhase, TaskState
from engine.handle import PlanResult, RunHandle
from engine.host.attached import AttachedRun, RunUnreachable, attach
from engine.host.replayed import replay
from engine.plan.model import Plan
from engine.store.lock import holder_of
from engine.store.places import run_directory, socket_path
from engine.store.records import RunRecord
from engine.stream import Missed
from engine.view.run_view import RunView
from engine.view.text import one_line
from tui.host import EXIT_CODES, SIGNAL_BASE, UNLIMITED, heeded_signals
from tui.marks import short_id
from tui.report import PlainReport, Style
from tui.summary import summary
from tui.teller import Teller

if TYPE_CHECKING:
    from tui.app import ConsoleApp

EXIT_LOST: Final = 1


async def visit_living(
    directory: Path, record: RunRecord, read_only: bool, console: bool, out: Style, err: Style
) -> int:
    """Watch and steer a run of another process, until it ends or the visitor leaves; return the exit code.

    directory: the state directory. Raises `RunUnreachable` if there is nobody to talk to.
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
    speed: float,
    console: bool,
    out: Style,
    err: Style,
) -> int:
    """Watch a recorded run until the recording or the visitor's patience ends; return the exit code.

    directory: the state directory. events: all of the run, at least one.
    """
    folder = run_directory(directory, record.run_id)
    async with replay(plan, record.run_id, events, directory=folder, speed=speed) as run:
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

    async def watch(self, console: bool, last: int | None = None) -> int | None:
        """Return None when there is no more to see or the visitor has left by a key, and the exit code
        when a signal, or a reader that is gone, has sent him away.

        last: the number of the event after which nothing comes; None to watch until the run is complete.
        """
        with anyio.open_signal_receiver(*heeded_signals()) as received:
            async with anyio.create_task_group() as group:
                group.start_soon(self._obey, received, group.cancel_scope)
                group.start_soon(self._leave_unread, group.cancel_scope)
                if console:
                    await self._show_console()
                else:
                    await self._show_lines(last)
                group.cancel_scope.cancel()
        return self._left

    async def say_goodbye(self, result: PlanResult) -> None:
        """Print the summary, and wait until it has been read."""
        view = RunView.from_snapshot(self._run.graph, self._run.snapshot())
        await self._teller.part(summary(result, view, self._run.log_path, (), self._teller.out))

    async def _show_console(self) -> None:
        from tui.app import ConsoleApp  # Textual costs a quarter of a second, and lines do without it

        app = self._app = ConsoleApp(self._run, can_detach=True)

        async def leave_when_lost() -> None:
            if isinstance(self._run, AttachedRun):
                await self._run.gone()
                if self._run.snapshot().phase is not RunPhase.COMPLETE:  # else there is all to look at
                    app.exit()

        async with anyio.create_task_group() as group:
            group.start_soon(leave_when_lost)
            await app.run_async()
            group.cancel_scope.cancel()
        self._app = None

    async def _show_lines(self, last: int | None) -> None:
        run = self._run
        # nothing is awaited between the two, so nothing is missed and nothing is said twice
        view = RunView.from_snapshot(run.graph, run.snapshot())
        subscription = run.subscribe(UNLIMITED)
        report = PlainReport(run.plan, run.run_id, self._teller.out)
        if view.phase is not RunPhase.PENDING:
            self._teller.say(_standing(run, view))
        if going_on := _going_on(run, view):
            self._teller.write(report.render(going_on))
        while not self._has_seen_all(view, last) and await subscription.wait():
            try:
                events = subscription.take()
            except Missed as missed:
                view = RunView.from_snapshot(run.graph, run.snapshot())
                self._teller.say(f"{missed.count} events were missed here\n")
            else:
                view.apply(events)
                self._teller.write(report.render(events))
        subscription.close()

    def _has_seen_all(self, view: RunView, last: int | None) -> bool:
        return view.phase is RunPhase.COMPLETE if last is None else view.last_seq >= last

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


def _standing(run: RunHandle, view: RunView) -> str:
    """How a run stands that is met on its way, in the form of the lines that follow."""
    time = datetime.fromtimestamp(run.now().utc).astimezone().strftime("%H:%M:%S")
    counts = ", ".join(f"{count} {state}" for state, count in view.counts.items() if count)
    return f"{time}   {'plan':<10} {one_line(run.plan.name)}: {view.phase}, {counts}, run {run.run_id}\n"


def _going_on(run: RunHandle, view: RunView) -> list[Event]:
    """What has begun and not ended, told as it began."""
    ahead = run.now().utc - run.now().offset
    return [
        TaskStarted(
            seq=view.last_seq,
            utc=record.started + ahead,
            offset=record.started,
            run_id=run.run_id,
            cause="",
            task=task.name,
            index=task.index,
            attempt=record.number,
            state=TaskState.RUNNING,
            where=record.where,
        )
        for task in view.tasks
        for record in task.attempts[-1:]
        if record.ended is None
    ]
