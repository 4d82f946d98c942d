"""Hosting a run from a terminal or a pipe: the engine outside, a console or a report inside it."""

from __future__ import annotations

import errno
import math
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Final, NamedTuple

import anyio
from anyio.abc import TaskGroup

from engine.core.inputs import CancelPlan, Command, DrainPlan
from engine.core.state import Outcome, RunPhase
from engine.dispatch.base import TaskDispatcher
from engine.errors import CommandRefused
from engine.handle import PlanResult
from engine.host import launcher
from engine.host.kept import KeptRun, open_kept_run, reopen_run
from engine.host.local_socket import SocketUnusable
from engine.host.server import serve
from engine.plan.model import FailureMode, Plan
from engine.store.places import socket_path
from engine.view.run_view import RunView
from tui.printer import Printer
from tui.readonly import ReadOnlyRun
from tui.report import JsonReport, PlainReport, Report, Style
from tui.summary import summary

EXIT_CODES: Final = {Outcome.SUCCESS: 0, Outcome.FAILED: 1, Outcome.CANCELLED: 130, Outcome.INTERRUPTED: 1}
SIGNAL_BASE: Final = 128
"""A process ended by signal n is reported as 128 + n by every shell; we leave with the same codes."""

UNLIMITED: Final = sys.maxsize
"""A report must be whole. What a run can say is bounded by its plan, so keeping it all is safe."""

PATIENCE: Final = 0.5
"""Seconds that the summary waits for a reader of the lines before it."""

FAREWELL: Final = 2.0
"""Seconds that it waits for a reader of its own, once a signal has come."""

ECHO: Final = 1.0
"""Seconds within which a signal that is not typed comes twice, but is meant once: `kill %1` and timeout(1)
send it to this process and to its launcher, which passes it on."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOST: Final = {errno.EPIPE: signal.SIGPIPE, errno.EIO: signal.SIGHUP}
"""What a failed write means where it is no fault: nobody reads any more, or the terminal has gone."""

STDOUT: Final = 1
STDERR: Final = 2


class Request(NamedTuple):
    """What the command line asks for.

    subject: a plan to run, or the id of a kept run to go on with. again: the argv that asks for the same
    once more. first: what to do before anything else. detach: give the shell back at once.
    """

    subject: Plan | str
    again: Sequence[str]
    first: Sequence[Command] = ()
    detach: bool = False
    max_parallel: int | None = None
    failure_mode: FailureMode | None = None
    speed: float = 1.0
    seed: int | None = None
    console: bool = False
    json: bool = False
    read_only: bool = False
    dispatchers: Mapping[str, TaskDispatcher] | None = None


async def host(request: Request, out: Style, err: Style) -> int:
    """Run the plan to its end and return the exit code. out, err: how the two streams are written.

    Whatever ends it, every process of the run is gone when this returns.
    """
    printed, told = Printer(STDOUT), Printer(STDERR)
    try:
        async with _opened(request) as kept:
            return await _Hosting(kept, request, (printed, out), (told, err)).last()
    finally:
        printed.close()
        told.close()


def _opened(request: Request) -> AbstractAsyncContextManager[KeptRun]:
    if isinstance(request.subject, str):
        return reopen_run(request.subject, dispatchers=request.dispatchers)
    return open_kept_run(
        request.subject,
        max_parallel=request.max_parallel,
        failure_mode=request.failure_mode,
        seed=request.seed,
        speed=request.speed,
        dispatchers=request.dispatchers,
    )


class _Hosting:
    """One run, the signals that concern it, and what shows it."""

    def __init__(
        self, kept: KeptRun, request: Request, out: tuple[Printer, Style], err: tuple[Printer, Style]
    ) -> None:
        self._kept = kept
        self._run = kept.run
        self._request = request
        self._out, self._out_style = out
        self._err, self._err_style = err
        self._signalled = anyio.Event()
        self._interrupted_by: signal.Signals | None = None
        self._on_screen = False
        self._over = False
        # from before the first event, for the lines; a console has its own
        self._early = None if request.console else (self._run.snapshot(), self._run.subscribe(UNLIMITED))

    async def last(self) -> int:
        """Return the exit code once the run has ended and all has been said."""
        # one that we were started to ignore (nohup, a job in the background) stays ignored
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        with anyio.open_signal_receiver(*heeded) as received:
            async with anyio.create_task_group() as group:
                group.start_soon(self._obey, received, group.cancel_scope)
                group.start_soon(self._stop_unread)
                await self._serve(group)
                for command in self._request.first:
                    await self._run.send(command)
                if self._request.detach:
                    self._detach()
                elif self._request.console:
                    await self._show_console()
                # who leaves the console while the run goes on sees the rest of it in lines
                await self._show_lines()
                result = await self._run.wait()
                self._over = True
                await self._say_goodbye(result)
                group.cancel_scope.cancel()
        return self._exit_code(result)

    async def _serve(self, group: TaskGroup) -> None:
        """Let other consoles in. A run that cannot be kept or reached goes on, but says so."""
        if self._kept.fault is not None:
            self._tell(f"this run is not kept: {self._kept.fault}")
        directory = self._run.directory
        try:
            await group.start(partial(serve, self._run, socket_path(directory), directory=directory))
        except SocketUnusable as error:
            self._tell(f"nobody can attach to this run: {error}")

    def _detach(self) -> None:
        """Give the shell back; what would have been printed goes to a file beside the logs."""
        run_id = self._run.run_id
        farewell = f"run {run_id} goes on; to see it: plandeck attach {run_id[:8]}\n"
        launcher.detach(farewell, output=self._run.directory / "output")

    async def _show_console(self) -> None:
        from tui.app import (  # Textual costs a quarter of a second, and lines do without it
            DETACHED,
            ConsoleApp,
        )

        run = ReadOnlyRun(self._run) if self._request.read_only else self._run
        app = ConsoleApp(run, can_detach=launcher.can_detach())

        async def leave_when_told() -> None:
            await self._signalled.wait()
            await self._run.wait()
            app.exit()

        async with anyio.create_task_group() as group:
            group.start_soon(leave_when_told)
            self._on_screen = True
            left = await app.run_async()
            self._on_screen = False
            group.cancel_scope.cancel()
        if left == DETACHED:
            self._detach()

    async def _show_lines(self) -> None:
        run = self._run
        if self._early is not None:
            snapshot, subscription = self._early
        else:
            # nothing is awaited between the two, so nothing is missed and nothing is said twice
            snapshot = run.snapshot()
            if snapshot.phase is RunPhase.COMPLETE:
                return
            subscription = run.subscribe(UNLIMITED)
        view = RunView.from_snapshot(run.graph, snapshot)
        report: Report = (
            JsonReport(run.plan, run.run_id)
            if self._request.json
            else PlainReport(run.plan, run.run_id, self._out_style)
        )
        async for events in subscription:
            view.apply(events)
            self._out.write(report.render(events))
            if view.phase is RunPhase.COMPLETE:
                break
            if view.phase is RunPhase.PAUSED and not view.active:
                self._tell(
                    "the plan is paused and nobody is here to steer it, so what has not started is cancelled"
                )
                await self._send(DrainPlan(actor="plandeck"))
        subscription.close()

    async def _obey(self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
        """The first signal stops what runs in good order, every further one kills it. Once the run is
        over a signal means: do not wait for whoever should read the rest."""
        heeded_at: dict[signal.Signals, float] = {}
        async for number in received:
            person = number == signal.SIGINT
            now = anyio.current_time()
            if not person and now - heeded_at.get(number, -math.inf) < ECHO:
                continue
            heeded_at[number] = now
            if self._over:
                scope.cancel()
                return
            again = self._signalled.is_set()
            if not person:
                self._interrupted_by = number
            self._signalled.set()
            who = "operator" if person else number.name
            if not self._on_screen:  # the console shows it
                self._tell("killing what still runs" if again else "stopping what runs; once more to kill it")
            await self._send(CancelPlan(actor=who, interrupted=not person, kill=again))

    async def _stop_unread(self) -> None:
        """Nobody reads what the run says any more (`| head`): stop it, as other programs stop."""
        await self._out.failed.wait()
        failure = self._out.failure
        number = LOST.get(failure.errno or 0) if failure else None
        if number is not None:
            self._interrupted_by = number
        else:
            self._tell(f"cannot write the output: {failure}")
        await self._send(CancelPlan(actor="closed output", interrupted=True))

    async def _send(self, command: Command) -> None:
        # refused when the run has ended meanwhile, or is ending that way already
        with suppress(CommandRefused):
            await self._run.send(command)

    def _tell(self, message: str) -> None:
        self._err.write(self._err_style.encode(f"plandeck: {message}\n"))

    async def _say_goodbye(self, result: PlanResult) -> None:
        view = RunView.from_snapshot(self._run.graph, self._run.snapshot())
        printer, style = (self._err, self._err_style) if self._request.json else (self._out, self._out_style)
        with anyio.move_on_after(PATIENCE):  # both may be the same terminal, and this comes last
            await self._out.drained()
            await self._err.drained()
        if self._kept.fault is not None:
            self._tell(f"not all of this run could be kept: {self._kept.fault}")
        request = self._request
        text = summary(result, view, self._run.log_path, request.again, style, self._further(result))
        printer.write(style.encode(text))
        # a reader who has stopped may come back (a pager, XOFF); whoever sent a signal wants us gone
        with anyio.move_on_after(FAREWELL if self._signalled.is_set() else math.inf):
            await self._err.drained()
            await self._out.drained()

    def _further(self, result: PlanResult) -> tuple[str, list[str]] | None:
        """What can be done with the run now that it has ended, if it is kept."""
        if self._kept.fault is not None:
            return None
        name = self._run.run_id[:8]
        if result.outcome is Outcome.FAILED:
            return "run what failed again", ["plandeck", "retry", name]
        return "go on with it", ["plandeck", "resume", name]

    def _exit_code(self, result: PlanResult) -> int:
        if result.outcome is Outcome.INTERRUPTED and self._interrupted_by is not None:
            return SIGNAL_BASE + self._interrupted_by
        return EXIT_CODES[result.outcome]
