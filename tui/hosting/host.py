"""Hosting a run from a terminal or a pipe: the engine outside, a console or a report inside it."""

from __future__ import annotations

import logging
import math
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, closing, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
from anyio.abc import TaskGroup

from engine.core.inputs import CancelPlan, Command, DrainPlan
from engine.core.state import Outcome, RunPhase
from engine.dispatch.base import TaskDispatcher
from engine.errors import CommandRefused
from engine.ground.collector import settle_collector
from engine.ground.folders import socket_path
from engine.ground.text import one_line
from engine.host import launcher
from engine.host.kept import KeptRun, open_kept_run, reopen_run
from engine.host.local_socket import SocketUnusable
from engine.host.server import serve
from engine.plan.model import Plan
from engine.result import PlanResult
from engine.view.run_view import RunView
from tui.hosting.companions import Companions
from tui.hosting.readonly import ReadOnlyRun
from tui.hosting.ways_out import EXIT_CODES, SIGNAL_BASE, UNLIMITED, heeded_signals
from tui.plain.ids import short_id
from tui.plain.report import JsonReport, PlainReport, Report, Style
from tui.plain.summary import summary
from tui.plain.teller import FAREWELL, Teller
from tui.preferences import Preferences

if TYPE_CHECKING:
    from engine.monitor.publication import Publication
    from tui.app import ConsoleApp


logger = logging.getLogger(__name__)

LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks whether the run is kept still."""

NOTICE: Final = 30.0
"""Seconds that the console shows that it is not."""

ECHO: Final = 1.0
"""Seconds within which a signal that is not typed comes twice, but is meant once: `kill %1` and timeout(1)
send it to this process and to its launcher, which passes it on."""


class Request(NamedTuple):
    """What the command line asks for.

    subject: a plan to run, or the id of a kept run to go on with. again: the argv that asks for the same
    once more. first: what to do before anything else. detach: give the shell back at once. preferences:
    how the console is wanted. metrics: host and port to serve them at, None for nowhere.
    """

    subject: Plan | str
    again: Sequence[str]
    first: Sequence[Command] = ()
    detach: bool = False
    speed: float = 1.0
    seed: int | None = None
    console: bool = False
    json: bool = False
    read_only: bool = False
    verbose: bool = False
    dispatchers: Mapping[str, TaskDispatcher] | None = None
    executors: Mapping[str, Mapping[str, Any]] | None = None
    preferences: Preferences | None = None
    metrics: tuple[str, int] | None = None


async def host(request: Request, out: Style, err: Style) -> int:
    """Run the plan to its end and return the exit code. out, err: how the two streams are written.

    Whatever ends it, every process of the run is gone when this returns.
    """
    with closing(Teller(out, err)) as teller, ExitStack() as opened:
        publication = None
        if request.metrics is not None:
            # here, for those who ask for it
            from engine.monitor.exposition import Address
            from engine.monitor.publication import publish

            publication = opened.enter_context(publish(Address(*request.metrics)))
        async with _opened(request, teller) as kept:
            return await _Hosting(kept, request, teller, publication).last()


def _opened(request: Request, teller: Teller) -> AbstractAsyncContextManager[KeptRun]:
    if isinstance(request.subject, str):
        return reopen_run(
            request.subject,
            dispatchers=request.dispatchers,
            options=request.executors,
            on_wait=teller.tell,
            verbose=request.verbose,
        )
    return open_kept_run(
        request.subject,
        seed=request.seed,
        speed=request.speed,
        dispatchers=request.dispatchers,
        options=request.executors,
        verbose=request.verbose,
    )


class _Hosting:
    """One run, the signals that concern it, and what shows it."""

    def __init__(
        self, kept: KeptRun, request: Request, teller: Teller, publication: Publication | None = None
    ) -> None:
        self._kept = kept
        self._run = kept.run
        self._request = request
        self._teller = teller
        self._has_person = sys.stdin is not None and sys.stdin.isatty()
        self._signalled = anyio.Event()
        self._hung_up = anyio.Event()
        self._interrupted_by: signal.Signals | None = None
        self._is_reachable = False
        self._is_detached = False
        self._app: ConsoleApp | None = None
        self._over = False
        # both from before the first event; a console has its own subscription
        self._companions = Companions(kept, publication, teller)
        self._early = None if request.console else (self._run.snapshot(), self._run.subscribe(UNLIMITED))

    async def last(self) -> int:
        """Return the exit code once the run has ended and all has been said."""
        with anyio.open_signal_receiver(*heeded_signals()) as received:
            async with anyio.create_task_group() as group:
                group.start_soon(self._obey, received, group.cancel_scope)
                group.start_soon(self._notice_unread)
                group.start_soon(self._notice_faults)
                self._companions.start(group)
                await self._serve(group)
                if not self._request.console:  # which has more to load
                    settle_collector()
                for command in self._request.first:
                    await self._run.send(command)
                if self._request.detach:
                    await self._detach()
                elif self._request.console:
                    await self._show_console()
                # who leaves the console while the run goes on sees the rest of it in lines
                await self._show_lines()
                result = await self._run.wait()
                self._over = True
                launcher.bequeath("")  # there is nothing to go on with
                await self._say_goodbye(result, await self._companions.finish_hooks())
                if not self._signalled.is_set():
                    await self._companions.read()
                group.cancel_scope.cancel()
        return self._exit_code(result)

    async def _serve(self, group: TaskGroup) -> None:
        """Let other consoles in. A run that cannot be kept or reached goes on, but says so."""
        if self._kept.fault is not None:
            self._teller.tell(f"this run is not kept: {self._kept.fault}")
        else:
            resume = f"plandeck resume {short_id(self._run.run_id)}"
            launcher.bequeath(f"plandeck: the engine was killed; to go on: {resume}\n")
        directory = self._run.directory
        try:
            await group.start(partial(serve, self._run, socket_path(directory), directory=directory))
            self._is_reachable = True
        except SocketUnusable as error:
            self._teller.tell(f"nobody can attach to this run: {error}")

    # ── leaving the terminal ────────────────────────────────────────────────────────────────────

    async def _detach(self, *, hung_up: bool = False) -> None:
        """Give the shell back; what would have been printed goes to a file beside the logs."""
        name = short_id(self._run.run_id)
        farewell = f"run {self._run.run_id} goes on; to see it: plandeck attach {name}\n"
        if hung_up:
            farewell = f"plandeck: the terminal has gone; {farewell}"
        else:
            await self._teller.drained()
        self._is_detached = True
        try:
            launcher.detach(farewell, output=self._run.directory / "output", hung_up=hung_up)
        except OSError:  # nothing can be kept there, as has been said
            launcher.detach(farewell, hung_up=hung_up)
        self._teller.renew()

    async def _do_without_terminal(self) -> None:
        """It has gone. The run goes on if it can be left alone; else it ends in good order."""
        if self._is_detached or self._run.snapshot().phase is RunPhase.COMPLETE:
            return
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            return  # who started us so counts on our going on where we are
        if launcher.can_detach():
            await self._detach(hung_up=True)
        else:
            await self._interrupt(signal.SIGHUP)

    async def _interrupt(self, number: signal.Signals, *, kill: bool = False) -> None:
        self._interrupted_by = number
        self._signalled.set()
        await self._send(CancelPlan(actor=number.name, interrupted=True, kill=kill))

    # ── showing it ──────────────────────────────────────────────────────────────────────────────

    async def _show_console(self) -> None:
        # Textual costs a quarter of a second, and lines do without it. It is loaded beside the event loop:
        # what tasks do meanwhile shall be noticed when they do it.
        await anyio.to_thread.run_sync(import_module, "tui.app")
        from tui.app import DETACHED, HUNG_UP, ConsoleApp

        run = ReadOnlyRun(self._run) if self._request.read_only else self._run
        app = ConsoleApp(
            run,
            can_detach=launcher.can_detach() and self._is_reachable,
            preferences=self._request.preferences,
        )

        async def leave_when_told() -> None:
            await self._signalled.wait()
            await self._run.wait()
            app.exit()

        async def leave_when_hung_up() -> None:
            await self._hung_up.wait()
            app.exit()

        async with anyio.create_task_group() as group:
            group.start_soon(leave_when_told)
            group.start_soon(leave_when_hung_up)
            self._app = app
            left = await app.show()
            self._app = None
            group.cancel_scope.cancel()
        if app.return_code:
            self._teller.tell("the console has failed, and the run goes on; ctrl+c cancels it")
        if left == HUNG_UP or self._hung_up.is_set():
            await self._do_without_terminal()
        elif left == DETACHED:
            await self._detach()

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
            else PlainReport(run.plan, run.run_id, self._teller.out)
        )
        is_waiting = False
        async for events in subscription:
            view.apply(events)
            self._teller.write(report.render(events))
            if view.phase is RunPhase.COMPLETE:
                break
            was_waiting, is_waiting = is_waiting, view.phase is RunPhase.PAUSED and not view.active
            if is_waiting and not was_waiting:
                await self._wait_for_operator()
        subscription.close()

    async def _wait_for_operator(self) -> None:
        """The plan is paused. Where nobody can be expected to come, the pause would last for ever."""
        if self._is_reachable and (self._is_detached or self._has_person):
            name = short_id(self._run.run_id)
            self._teller.tell(f"the plan is paused; to steer it: plandeck attach {name}")
            return
        self._teller.tell(
            "the plan is paused and nobody is here to steer it, so what has not started is cancelled"
        )
        await self._send(DrainPlan(actor="plandeck"))

    async def _notice_faults(self) -> None:
        """Say what cannot be kept when it happens, for the run goes on."""
        before, is_output_told = self._kept.fault, False
        while True:
            await anyio.sleep(LOOK_INTERVAL)
            fault = self._kept.fault
            if fault != before:
                self._warn("all of this run is kept again" if fault is None else f"not all is kept: {fault}")
                before = fault
            if self._run.output_fault is not None and not is_output_told:
                self._warn(f"not all output is kept: {self._run.output_fault}")
                is_output_told = True

    def _warn(self, message: str) -> None:
        if self._app is None:
            self._teller.tell(message)
        else:
            self._app.notify(one_line(message), severity="warning", timeout=NOTICE, markup=False)

    # ── what ends it ────────────────────────────────────────────────────────────────────────────

    async def _obey(self, received: AsyncIterator[signal.Signals], scope: anyio.CancelScope) -> None:
        """The first signal stops what runs in good order, every further one kills it; SIGHUP only says that
        the terminal has gone. Once the run is over a signal means: do not wait for whoever should read the
        rest."""
        heeded_at: dict[signal.Signals, float] = {}
        async for number in received:
            person = number == signal.SIGINT
            now = anyio.current_time()
            if not person and now - heeded_at.get(number, -math.inf) < ECHO:
                continue
            heeded_at[number] = now
            if self._companions.is_waiting:
                if number != signal.SIGHUP:  # that the terminal has gone is nothing to hooks
                    self._companions.hurry()
                continue
            if self._over:
                scope.cancel()
                return
            if number == signal.SIGHUP:
                self._hung_up.set()
                if self._app is None:
                    await self._do_without_terminal()
                continue
            again = self._signalled.is_set()
            if self._app is None:  # the console shows it
                self._teller.tell(
                    "killing what still runs" if again else "stopping what runs; once more to kill it"
                )
            if person:
                self._signalled.set()
                await self._send(CancelPlan(actor="operator", kill=again))
            else:
                await self._interrupt(number, kill=again)

    async def _notice_unread(self) -> None:
        """Nobody reads what the run says any more (`| head`): stop it, as other programs stop."""
        meaning, failure = await self._teller.unread()
        if meaning == signal.SIGHUP:
            await self._do_without_terminal()
        elif not self._is_detached:
            if meaning is None:
                self._teller.tell(f"cannot write the output: {failure}")
            self._interrupted_by = meaning
            await self._send(CancelPlan(actor="closed output", interrupted=True))

    async def _send(self, command: Command) -> None:
        # refused when the run has ended meanwhile, or is ending that way already
        with suppress(CommandRefused):
            await self._run.send(command)

    async def _say_goodbye(self, result: PlanResult, notes: Sequence[str]) -> None:
        request, fault = self._request, self._kept.fault
        if fault is not None:
            self._teller.tell(f"not all of this run could be kept: {fault}")
        if self._run.output_fault is not None:
            self._teller.tell(f"not all output could be kept: {self._run.output_fault}")
        if not self._signalled.is_set():
            self._companions.announce_reading()
        style = self._teller.err if request.json else self._teller.out
        view = RunView.from_snapshot(self._run.graph, self._run.snapshot())
        text = summary(
            result,
            view,
            self._run.log_path,
            self._run.last_line,
            request.again,
            style,
            is_kept=fault is None,
            notes=notes,
        )
        # a reader who has stopped may come back (a pager, XOFF); whoever sent a signal wants us gone
        patience = FAREWELL if self._signalled.is_set() else math.inf
        await self._teller.part(text, on_stderr=request.json, patience=patience)

    def _exit_code(self, result: PlanResult) -> int:
        if result.outcome is Outcome.INTERRUPTED and self._interrupted_by is not None:
            return SIGNAL_BASE + self._interrupted_by
        return EXIT_CODES[result.outcome]
