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
from typing import Final

import anyio
import anyio.abc

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.dask.messages import (
    HEADER,
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
from engine.dispatch.dask.stay import STOPPED, Stay
from engine.dispatch.local import LocalDispatcher
from engine.host.guardian import Guardian
from engine.host.prctl import adopt_orphans, be_signalled_when_parent_ends
from engine.host.signals import WAITED_FOR
from engine.host.words import OVER, word_link

_LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for what no console asks about any more."""

_IDLE_LIMIT: Final = 30.0
"""Seconds after its last attempt that what is warm for a run is kept."""


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

    def stay(self, key: str) -> Stay:
        """What is known of that attempt. Raises KeyError."""
        return self._stays[key]

    @property
    def is_warm(self) -> bool:
        """Whether anything is kept for the next attempt of a run."""
        return bool(self._locals)

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
        outcome = STOPPED
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
