"""The station: a process on a worker's machine that makes attempts there, as the console's machine would.

It belongs to one Dask worker, which has started it and passes requests on, and to which it is linked by its
stdin. When that link ends, because the worker has, all attempts are stopped, with their grace periods. A
guardian is its parent, as it is the parent of an engine, and ends what it leaves behind should it be killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from asyncio import IncompleteReadError, StreamReader, StreamWriter, open_connection
from collections.abc import Callable
from typing import Final

import anyio
import anyio.abc

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, PacedOutput
from engine.dispatch.dask.messages import (
    HEADER,
    PIECE,
    UNKNOWN,
    Answer,
    AnyRequest,
    Forget,
    Order,
    Perform,
    Place,
    Read,
    Stop,
    encode,
    request_from,
)
from engine.dispatch.dask.spool import Spool
from engine.dispatch.local import LocalDispatcher
from engine.host.guardian import Guardian
from engine.host.prctl import adopt_orphans, be_signalled_when_parent_ends
from engine.host.signals import WAITED_FOR
from engine.host.words import OVER, word_link
from engine.plan.model import Plan

_PAUSE: Final = 0.05
"""Seconds between two answers about one attempt, so that small pieces of output become larger ones."""

_MUCH: Final = 64 * 1024
"""Bytes of output that are not waited with."""

_LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for what no console asks about any more."""

_IDLE_LIMIT: Final = 30.0
"""Seconds after its last attempt that what is warm for a run is kept."""

_STOPPED: Final = AttemptOutcome(OutcomeKind.STOPPED, "stopped")


class Stay(PacedOutput):
    """An attempt at a station, and its `Output`, from its order on until it is forgotten.

    scope: what to cancel to stop it, while it is made. outcome: once it is over.
    """

    def __init__(self, order: Order, folder: str) -> None:
        plan = Plan(name=order.plan, tasks=(order.task,), env=order.env, directory=order.directory)
        outputs = f"{folder}/outputs/{order.run_id}-{order.index}-{order.number}"
        self.order = order
        self.attempt = Attempt(
            plan,
            order.task,
            order.index,
            order.number,
            order.run_id,
            outputs if order.wants_outputs else None,
        )
        self.spool = Spool(folder)
        self.scope: anyio.CancelScope | None = None
        self.outcome: AttemptOutcome | None = None
        self.begun = False
        self.beats = 0
        self.asked_at = anyio.current_time()
        self._answered_at = 0.0
        self._taken = self._kept = 0
        self._news = anyio.Event()
        self._when_room: Callable[[], None] | None = None

    # ── as an output ────────────────────────────────────────────────────────────────────────────

    def started(self, where: str = "") -> None:
        self.begun = True
        self._tell()

    def write(self, data: bytes) -> None:
        self.spool.write(data)
        self._tell()

    def heartbeat(self) -> None:
        self.beats += 1
        self._tell()

    @property
    def is_full(self) -> bool:
        return self.spool.is_full

    def when_room(self, call: Callable[[], None]) -> None:
        self._when_room = call

    # ── for its console ─────────────────────────────────────────────────────────────────────────

    @property
    def is_going_on(self) -> bool:
        return self.scope is not None and self.outcome is None

    def end(self, outcome: AttemptOutcome) -> None:
        self.outcome = outcome
        self._tell()

    def stop(self, *, hasten: bool) -> None:
        if hasten:
            self.attempt.hasten()
        if self.scope is not None:
            self.scope.cancel()
        elif self.outcome is None:
            self.end(_STOPPED)

    async def read(self, request: Read) -> Answer:
        """Answer at once if there is news, else when there is some or the time is over."""
        self.asked_at = now = anyio.current_time()
        self._take_note(request)
        deadline = now + request.wait
        with anyio.move_on_at(deadline):
            while not self._has_news_for(request):
                await self._news.wait()
        due = min(self._answered_at + _PAUSE, deadline)
        with anyio.move_on_at(due):
            while self.outcome is None and self.spool.end - request.offset < _MUCH:
                await self._news.wait()
        self.asked_at = self._answered_at = anyio.current_time()
        offset = max(request.offset, self.spool.begin)
        data = self.spool.read(offset, PIECE)
        is_all = offset + len(data) == self.spool.end
        return Answer(
            is_known=True,
            begun=self.begun,
            offset=offset,
            data=data,
            lost=self.spool.lost,
            beats=self.beats,
            outcome=self.outcome if is_all else None,
            taken=self._taken,
            kept=self._kept,
        )

    def _has_news_for(self, request: Read) -> bool:
        return (
            self.outcome is not None
            or self.spool.end > request.offset
            or self.begun != request.begun
            or self.beats != request.beats
        )

    def _take_note(self, request: Read) -> None:
        if request.taken > self._taken:
            self._taken, self._kept = request.taken, request.kept
            self.spool.release(request.taken)
            if self._when_room is not None and not self.spool.is_full:
                when_room, self._when_room = self._when_room, None
                when_room()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


class Station:
    """Makes attempts. folder: for what it keeps on disk, for its owner alone."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._stays: dict[str, Stay] = {}
        self._locals: dict[str, LocalDispatcher] = {}
        self._used_at: dict[str, float] = {}  # by run

    async def answer(self, request: AnyRequest) -> Answer:
        stay = self._stays.get(request.key)
        if isinstance(request, Place):
            if stay is None:
                self._stays[request.key] = Stay(request.order, self._folder)
            return Answer(is_known=True)
        if stay is None:
            return UNKNOWN
        if isinstance(request, Read):
            return await stay.read(request)
        if isinstance(request, Perform):
            await self._perform(stay)
        elif isinstance(request, Stop):
            stay.stop(hasten=request.hasten)
        elif isinstance(request, Forget):
            self._forget(request.key, stay)
        elif stay.scope is None:  # withdrawn
            stay.stop(hasten=False)
        return Answer(is_known=True, begun=stay.scope is not None)

    async def watch(self) -> None:
        """For ever: end what no console asks about any more."""
        while True:
            await anyio.sleep(_LOOK_INTERVAL)
            now = anyio.current_time()
            for key, stay in list(self._stays.items()):
                if now > stay.asked_at + stay.order.patience:
                    stay.stop(hasten=False)
                    self._forget(key, stay)
                else:
                    self._used_at[stay.order.run_id] = now
            for run_id, used_at in list(self._used_at.items()):
                if now > used_at + _IDLE_LIMIT:
                    del self._used_at[run_id]
                    await self._locals.pop(run_id).__aexit__(None, None, None)

    async def close(self) -> None:
        """When nothing is made any more."""
        for local in self._locals.values():
            await local.__aexit__(None, None, None)

    async def _perform(self, stay: Stay) -> None:
        if stay.scope is not None or stay.outcome is not None:
            return
        outcome = _STOPPED
        with anyio.CancelScope() as stay.scope:
            local = await self._local(stay.order)
            try:
                outcome = await local.run(stay.attempt, stay)
            except Exception as error:
                outcome = AttemptOutcome(OutcomeKind.FAILED, f"{type(error).__name__}: {error}")
        stay.end(outcome)

    async def _local(self, order: Order) -> LocalDispatcher:
        """One for each run: what is warm in it has the environment of that run."""
        local = self._locals.get(order.run_id)
        if local is None:
            local = self._locals[order.run_id] = LocalDispatcher(speed=order.speed, seed=order.seed)
            await local.__aenter__()
        self._used_at[order.run_id] = anyio.current_time()
        return local

    def _forget(self, key: str, stay: Stay) -> None:
        if stay.outcome is not None:
            del self._stays[key]
            stay.spool.close()


async def serve(link: socket.socket, folder: str) -> None:
    """Answer what comes over the link until it ends or SIGTERM comes; then stop everything."""
    station = Station(folder)
    reader, writer = await open_connection(sock=link)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(station.watch)
            group.start_soon(_end_at_signal, group.cancel_scope)
            await _take_requests(station, reader, writer, group)
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await station.close()
        writer.close()


async def _take_requests(
    station: Station, reader: StreamReader, writer: StreamWriter, group: anyio.abc.TaskGroup
) -> None:
    async def answer(number: bytes, request: AnyRequest) -> None:
        data = encode(await station.answer(request))
        writer.write(number + len(data).to_bytes(4) + data)

    while True:
        try:
            header = await reader.readexactly(HEADER)
            data = await reader.readexactly(int.from_bytes(header[8:]))
        except (IncompleteReadError, OSError):
            return
        group.start_soon(answer, header[:8], request_from(data))


async def _end_at_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def main() -> None:
    """This process as a station, its link as stdin. First argument: its folder, removed at the end."""
    folder = sys.argv[1]
    heard, said = word_link()
    if adopt_orphans():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
        guardian = os.getpid()
        station = os.fork()
        if station:
            said.close()
            _no_stdin()
            Guardian(station, heard, None).guard()
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
        be_signalled_when_parent_ends(signal.SIGTERM)
        if os.getppid() != guardian:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    heard.close()
    link = socket.socket(fileno=os.dup(0))
    _no_stdin()
    anyio.run(serve, link, folder)
    said.say(OVER)
    shutil.rmtree(folder, ignore_errors=True)


def _no_stdin() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
