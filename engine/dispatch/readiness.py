"""Waiting for many file descriptors at the price of one: a poll of its own inside the event loop's."""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable
from typing import Final, Protocol

import anyio

from engine.ground.wakeup import Wakeup, wakeup_type

READABLE: Final = getattr(select, "EPOLLIN", 1)


class Poller(Protocol):
    """The part of `select.epoll` that is used here."""

    def fileno(self) -> int: ...
    def register(self, fd: int, eventmask: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def poll(self, timeout: float) -> list[tuple[int, int]]: ...


class PortablePoller:
    """The same where there is no epoll."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        return self._selector.fileno()

    def register(self, fd: int, eventmask: int) -> None:
        self._selector.register(fd, selectors.EVENT_READ)

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return [(key.fd, READABLE) for key, _ in self._selector.select(timeout)]


class Signal:
    """Something to wait for: once set, it stays set. Cheaper than an event where nobody waits yet."""

    __slots__ = ("is_set", "wakeup")

    def __init__(self) -> None:
        self.is_set = False
        self.wakeup: Wakeup | None = None

    def set(self) -> None:
        self.is_set = True
        if self.wakeup is not None:
            self.wakeup.set()


class Readiness:
    """Calls back when a file descriptor can be read, for as long as anybody waits.

    To register each descriptor with the event loop, and to wake a task for each, costs more than all
    else that is done in Python for a short process. So the descriptors stand in one poll. asyncio
    watches that poll as long as there is something in it. Elsewhere one of the tasks that wait leads:
    it waits for the poll on behalf of all, calls back, and hands the lead on when what it waits for
    itself has come. Neither needs a task of its own that somebody must end.
    """

    def __init__(self, poller: Poller | None = None) -> None:
        self._poller = poller if poller is not None else new_poller()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._followers: dict[Signal, None] = {}  # in the order in which they came
        self._loop: asyncio.AbstractEventLoop | None = None  # that watches the poll
        self._is_led = False
        self._new_wakeup: type[Wakeup] | None = None  # known once a loop runs

    def add(self, fd: int, callback: Callable[[], object]) -> None:
        """callback: must not raise, and must read or remove, or it is called again in the next turn."""
        self._poller.register(fd, READABLE)
        if not self._callbacks:
            self._loop = _running_loop()
            if self._loop is not None:
                self._loop.add_reader(self._poller.fileno(), self._call_back)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """To be called before the descriptor is closed. One that is not there is no error."""
        if self._callbacks.pop(fd, None) is not None:
            self._poller.unregister(fd)
            if not self._callbacks and self._loop is not None:
                self._loop.remove_reader(self._poller.fileno())
                self._loop = None

    def look(self) -> None:
        """Call back for what has come. For a task that waits for something else: where no loop watches the
        poll, nobody might look at it meanwhile."""
        if self._loop is None and not self._is_led:
            self._call_back()

    async def wait(self, signal: Signal) -> None:
        """Return once the signal is set. One task a signal; what comes meanwhile is called back."""
        try:
            while not signal.is_set:
                if self._is_led or self._loop is not None:
                    await self._follow(signal)
                else:
                    await self._lead()
        finally:
            if self._followers and not self._is_led and self._loop is None:
                next(iter(self._followers)).wakeup.set()  # type: ignore[union-attr]

    async def _lead(self) -> None:
        self._is_led = True
        try:
            await anyio.wait_readable(self._poller.fileno())
        finally:
            self._is_led = False
        self._call_back()

    def _call_back(self) -> None:
        for fd, _ in self._poller.poll(0):
            callback = self._callbacks.get(fd)
            if callback is not None:  # else removed by a callback of this turn
                callback()

    async def _follow(self, signal: Signal) -> None:
        if self._new_wakeup is None:
            self._new_wakeup = wakeup_type()
        signal.wakeup = wakeup = self._new_wakeup()
        self._followers[signal] = None
        try:
            await wakeup
        finally:
            del self._followers[signal]
            signal.wakeup = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """The running loop of asyncio, or None if another library's is running."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def new_poller() -> Poller:
    """The best poller of this system."""
    return select.epoll() if hasattr(select, "epoll") else PortablePoller()
