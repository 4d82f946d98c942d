"""`Wakeup`: what one task waits for, once; an event at a third of the price."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Protocol

import anyio


class Wakeup(Protocol):
    """Awaited by one task at most. Once set, it stays set. The waiting can be cancelled as any other."""

    def set(self) -> None: ...

    def __await__(self) -> Generator[Any, Any, Any]: ...


def wakeup_type() -> type[Wakeup]:
    """The kind for the event loop that is running now. Ask once, and make many of it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return EventWakeup
    return FutureWakeup


class FutureWakeup:
    """On asyncio: a future alone, without the event and the queue of those who wait around it."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future = asyncio.get_running_loop().create_future()

    def set(self) -> None:
        if not self._future.done():  # cancelled, that is, with the task that waited
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._future.__await__()


class EventWakeup:
    """On every other event loop."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._event.wait().__await__()
