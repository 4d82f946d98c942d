"""Threads in which processes are started, so that the event loop goes on meanwhile."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

from engine.dispatch.readiness import Readiness

THREADS: Final = 3
"""A start waits until the new process has had a processor: with eight tasks on two processors about
0.4 ms. One thread alone starts no more processes in a second than the event loop would; a third still
gains a little on a second."""


class Startable(Protocol):
    """Something whose start takes a while, and never raises."""

    def start(self) -> None: ...


_Order = tuple[Startable, Callable[[], None]]


class Spawner:
    """Has things started in threads, and tells in the event loop when that is done.

    The threads begin with the first starts and last as long as the spawner: where Linux tells a process
    of its parent's death, the parent is the thread.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._exchange = _Exchange()
        self._threads = 0
        self._under_way = 0
        weakref.finalize(self, self._exchange.close)

    def start(self, what: Startable, begun: Callable[[], None]) -> None:
        """Have it started. begun: called when it is, by the readiness, for which somebody must wait."""
        if not self._under_way:
            self._readiness.add(self._exchange.bell, self._collect)
        if self._threads < THREADS and self._threads <= self._under_way:
            self._add_thread()
        self._under_way += 1
        if self._threads:
            self._exchange.orders.put((what, begun))
        else:
            self._exchange.carry_out((what, begun))

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._exchange.serve, name="plandeck spawner", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the machine has no more: those there are must do, or none
            return
        self._threads += 1

    def _collect(self) -> None:
        for begun in self._exchange.collect():
            self._under_way -= 1
            if not self._under_way:
                self._readiness.remove(self._exchange.bell)
            begun()


class _Exchange:
    """What loop and threads share. It knows nothing of the spawner, which can so be forgotten.

    orders: None ends a thread. bell: can be read when there is something to collect.
    """

    def __init__(self) -> None:
        self.orders: SimpleQueue[_Order | None] = SimpleQueue()
        self.bell, self._rope = os.pipe()
        self._done: deque[Callable[[], None]] = deque()
        self._is_rung = False
        self._is_closed = False
        self._lock = threading.Lock()

    def serve(self) -> None:
        """A thread: one order after the other."""
        while (order := self.orders.get()) is not None:
            self.carry_out(order)
            del order  # while it waits it holds on to nothing
        self.orders.put(None)  # for the next thread

    def carry_out(self, order: _Order) -> None:
        what, begun = order
        what.start()
        with self._lock:
            self._done.append(begun)
            if not self._is_rung and not self._is_closed:
                self._is_rung = True
                os.write(self._rope, b"!")

    def collect(self) -> list[Callable[[], None]]:
        """What is to be called for what has been started since the last time."""
        os.read(self.bell, 1)
        with self._lock:
            self._is_rung = False
            done = list(self._done)
            self._done.clear()
        return done

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            os.close(self.bell)
            os.close(self._rope)
        self.orders.put(None)
