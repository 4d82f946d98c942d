"""The socket of a run, from both sides: a run that is served, and connections that say what a test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from engine.handle import RunHandle
from engine.host import wire
from engine.host.local_socket import LocalStream, connect
from engine.host.server import serve


@asynccontextmanager
async def served(run: RunHandle, path: Path, **options: Any) -> AsyncIterator[None]:
    """Serve a run at `path` for as long as the block lasts."""
    async with anyio.create_task_group() as group:
        await group.start(partial(serve, run, path, **options))
        yield
        group.cancel_scope.cancel()


class RawConsole:
    """A connection without manners. Made by `raw_console`."""

    def __init__(self, stream: LocalStream) -> None:
        self.stream = stream
        self._read = b""

    async def greet(self, **fields: Any) -> None:
        await self.say({"type": "greeting", "version": wire.VERSION, **fields})

    async def say(self, what: dict[str, Any] | bytes) -> None:
        """Send an object as a line, or bytes as they are; whether anybody still reads does not matter."""
        data = what if isinstance(what, bytes) else json.dumps(what).encode() + b"\n"
        with suppress(anyio.BrokenResourceError):
            await self.stream.send(data)

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message of that type. Raises EOFError if the connection ends before."""
        while True:
            line, end, rest = self._read.partition(b"\n")
            if end:
                self._read = rest
                message: dict[str, Any] = json.loads(line)
                if message["type"] == kind:
                    return message
            else:
                try:
                    self._read += await self.stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                    raise EOFError(kind) from error

    async def farewell(self) -> str:
        """The reason why the other side ends the connection, which it has to do."""
        reason = (await self.hear("farewell"))["reason"]
        await self.ended()
        return str(reason)

    async def ended(self) -> None:
        """Return once the other side has ended the connection, whatever it said before."""
        with suppress(EOFError):
            while True:
                await self.hear("nothing is called that")


@asynccontextmanager
async def raw_console(path: Path) -> AsyncIterator[RawConsole]:
    async with await connect(path) as stream:
        yield RawConsole(stream)
