"""`serve`: lets consoles in other processes watch and steer a run, through a socket in its directory."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from engine.handle import RunHandle
from engine.host.conversation import Conversation
from engine.host.local_socket import accept, listen

logger = logging.getLogger(__name__)

BACKLOG: Final = 20_000
"""Events that wait for a console that does not read; then they are dropped, and a snapshot replaces them."""

MOST_CONSOLES: Final = 32

ACCEPT_PAUSE: Final = 0.5
"""Seconds until connections are accepted again when the system allows no more open files."""


async def serve(
    run: RunHandle,
    path: Path,
    *,
    directory: Path | None = None,
    backlog: int = BACKLOG,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Listen at `path` until the run's stream of events ends, or until cancelled; then remove the socket.

    `task_status.started()` is called once consoles can connect. Whichever way it ends, each console is
    sent what it has not had yet, with the reason, if it reads that within `PARTING_PATIENCE`; so start it
    outside the block of `open_run` if consoles shall see how the end of that block stops what still runs.

    directory: where the run's logs are, by default that of the socket. backlog: events that may wait for
    one console. Raises `SocketUnusable` if there is nowhere to listen.
    """
    listener = listen(path)
    identity = _identity(path)
    try:
        await _Server(run, directory or path.parent, backlog).last(listener, task_status)
    finally:
        listener.close()
        if _identity(path) == identity:
            path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class _Server:
    def __init__(self, run: RunHandle, directory: Path, backlog: int) -> None:
        self._run = run
        self._directory = directory
        self._backlog = backlog
        self._consoles: set[Conversation] = set()

    async def last(self, listener: socket.socket, task_status: TaskStatus[None]) -> None:
        ending = self._run.subscribe(0)
        reason = "the run is no longer served"
        try:
            async with anyio.create_task_group() as group:
                accepting = anyio.CancelScope()
                group.start_soon(self._accept, listener, group, accepting)
                task_status.started()
                try:
                    await ending.wait_end()
                    reason = "the run has ended"
                finally:
                    accepting.cancel()
                    for console in self._consoles:
                        console.part(reason)
        finally:
            ending.close()

    async def _accept(self, listener: socket.socket, group: TaskGroup, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    stream = await accept(listener)
                except OSError as error:  # too many open files
                    logger.warning("cannot accept a console: %s", error)
                    await anyio.sleep(ACCEPT_PAUSE)
                    continue
                if not stream.is_of_this_user:
                    logger.warning("a process of another user was refused")
                    await stream.aclose()
                    continue
                console = Conversation(self._run, self._directory, stream, self._backlog)
                if len(self._consoles) >= MOST_CONSOLES:
                    console.part(f"{MOST_CONSOLES} consoles are attached already")
                self._consoles.add(console)
                group.start_soon(self._converse, console)

    async def _converse(self, console: Conversation) -> None:
        logger.info("a console is attached")
        try:
            await console.converse()
        except Exception:
            logger.exception("a console's connection failed")
        finally:
            self._consoles.discard(console)
            logger.info("a console has left")
