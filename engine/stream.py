"""One stream of events, many subscribers, each with its own queue and its own limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import anyio

from engine.core.events import Event

DEFAULT_LIMIT: Final = 100_000


class Missed(Exception):
    """The subscriber fell behind: `count` events were dropped. Start again from a snapshot."""

    def __init__(self, count: int) -> None:
        super().__init__(f"fell behind: {count} events were dropped")
        self.count = count


class Subscription:
    """One subscriber's queue.

    Events wait here until they are taken; all that waits is handed over at once. When more than
    `limit` wait, all of them are dropped and counted, and the next taking raises `Missed`: what is
    worth showing is the present, and that is in the snapshot.
    """

    def __init__(self, limit: int, closer: Callable[[Subscription], None]) -> None:
        self._limit = limit
        self._closer = closer
        self._backlog: list[Event] = []
        self._missed = 0
        self._arrived: anyio.Event | None = None
        self._ended: anyio.Event | None = None
        self._closed = False
        self.dropped = 0
        """How many events this subscriber has lost in all."""

    def put(self, events: Sequence[Event]) -> None:
        """Called by the stream alone. Never waits."""
        if len(self._backlog) + len(events) > self._limit:
            self.lose(len(events))
        else:
            self._backlog.extend(events)
            self._wake()

    def lose(self, count: int) -> None:
        """Drop what waits, and count with it `count` events, at least one, that never came this far.
        Called by the stream alone."""
        lost = len(self._backlog) + count
        self._missed += lost
        self.dropped += lost
        self._backlog.clear()
        self._wake()

    def take(self) -> list[Event]:
        """All that waits, oldest first; empty if nothing does. Raises `Missed` once after a loss."""
        if self._missed:
            count, self._missed = self._missed, 0
            self._backlog.clear()  # older than the snapshot the subscriber will now ask for
            raise Missed(count)
        batch, self._backlog = self._backlog, []
        return batch

    async def wait(self) -> bool:
        """Return True once something can be taken, False once the stream has ended and all is taken."""
        while not self._backlog and not self._missed:
            if self._closed:
                return False
            if self._arrived is None:
                self._arrived = anyio.Event()
            await self._arrived.wait()
        return True

    async def wait_end(self) -> None:
        """Return when the stream has ended, whatever waits to be taken."""
        if not self._closed:
            self._ended = self._ended or anyio.Event()
            await self._ended.wait()

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Batches until the stream ends."""
        while await self.wait():
            yield self.take()

    def end(self) -> None:
        """No more will come; what waits can still be taken."""
        self._closed = True
        self._wake()
        if self._ended is not None:
            self._ended.set()

    def close(self) -> None:
        """Stop listening."""
        self._closer(self)
        self._backlog.clear()
        self.end()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None


class EventStream:
    """Hands every batch of events to the listeners at once, and queues it for the subscribers.

    A *listener* is called in the publisher's turn and must be quick and not fail: it is how the
    journal, the stall watch and the metrics keep up by construction. A *subscriber* has a queue.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[Sequence[Event]], None]] = []
        self._subscriptions: list[Subscription] = []
        self._ended = False

    def listen(self, listener: Callable[[Sequence[Event]], None]) -> None:
        self._listeners.append(listener)

    def subscribe(self, limit: int = DEFAULT_LIMIT) -> Subscription:
        subscription = Subscription(limit, self._remove)
        if self._ended:
            subscription.end()
        else:
            self._subscriptions.append(subscription)
        return subscription

    def publish(self, events: Sequence[Event]) -> None:
        for listener in self._listeners:
            listener(events)
        for subscription in self._subscriptions:
            subscription.put(events)

    def lose(self, count: int) -> None:
        """Make every subscriber start again from a snapshot: the run has moved on, or back, by `count`
        events, at least one, that will not be published."""
        for subscription in self._subscriptions:
            subscription.lose(count)

    def end(self) -> None:
        """Let every subscriber finish what it has and stop."""
        self._ended = True
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()

    def _remove(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
