"""The outpost: the part of plandeck within a Dask worker. It starts the station and passes requests on."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from engine.dispatch.dask.messages import HEADER, OPERATION, Perform, encode, own_version

logger = logging.getLogger(__name__)

_START: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); from engine.dispatch.dask.station import main; main()"
)

_PARTING: Final = 15.0
"""Seconds that a worker in good order waits for the end of what its station runs. Later it ends by itself."""


async def open_outpost(dask_worker: Any) -> dict[str, str]:
    """Make this worker pass requests on. Called by a console, on the worker, through Dask; returns who it is
    and which plandeck it has. Raises OSError."""
    if OPERATION not in dask_worker.handlers:
        outpost = Outpost(dask_worker)
        dask_worker.handlers[OPERATION] = outpost.pass_on
        dask_worker.plugins[OPERATION] = outpost
    return {"id": str(dask_worker.id), "name": str(dask_worker.name), "version": own_version()}


def perform(dask_worker: Any, key: str) -> None:
    """Make the attempt of that key, and return when it is over. Called in a thread of the worker, which is so
    taken as long as the attempt lasts."""
    outpost = dask_worker.plugins[OPERATION]
    request = encode(Perform(key=key))
    loop = dask_worker.loop.asyncio_loop
    asyncio.run_coroutine_threadsafe(outpost.pass_on(request), loop).result()


class Outpost:
    """Of one Dask worker: its handler for requests, and its plugin, to be told of its end."""

    name = OPERATION

    def __init__(self, worker: Any) -> None:
        self._folder = str(worker.local_directory)
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._is_over = False

    async def pass_on(self, request: bytes) -> dict[str, bytes]:
        """The station's `answer`; empty if it has ended before it could give one."""
        try:
            async with self._opening:
                link = await self._open()
        except OSError as error:
            logger.warning("cannot start what runs the tasks of plandeck: %s", error)
            return {"answer": b""}
        return {"answer": await link.ask(request)}

    async def _open(self) -> _Link:
        """The station that there is, or a new one. Raises OSError."""
        if self._link is None or (self._link.is_closed and not self._is_over):
            self._link = _Link(tempfile.mkdtemp(prefix="plandeck-", dir=self._folder))
            await self._link.open()
        return self._link

    async def teardown(self, worker: Any) -> None:
        """The worker ends, so all that was started here must."""
        self._is_over = True
        if self._link is not None:
            await self._link.close()


class _Link:
    """A station process, and what is asked of it."""

    def __init__(self, folder: str) -> None:
        """Starts it. Raises OSError."""
        own, theirs = socket.socketpair()
        source = str(Path(__file__).parents[3])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, source, folder],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket = own
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self.is_closed = False

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, request: bytes) -> bytes:
        if self.is_closed:
            return b""
        self._number += 1
        number = self._number
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(number.to_bytes(8) + len(request).to_bytes(4) + request)
        try:
            answer: bytes = await waiting
        finally:
            self._waiting.pop(number, None)
        return answer

    async def close(self) -> None:
        """End the station, with all that it runs."""
        self.is_closed = True
        if self._writer.can_write_eof():
            self._writer.write_eof()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._listening), _PARTING)
            await asyncio.to_thread(self._process.wait, _PARTING)

    async def _listen(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(HEADER)
                data = await self._reader.readexactly(int.from_bytes(header[8:]))
                waiting = self._waiting.get(int.from_bytes(header[:8]))
                if waiting is not None and not waiting.done():
                    waiting.set_result(data)
        except (asyncio.IncompleteReadError, OSError):
            self.is_closed = True
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(b"")
            self._writer.close()
            self._process.poll()
