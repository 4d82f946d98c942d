"""Keys one after the other: each is dealt with, wherever that takes the focus, before the next one."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any, Final, TypeVar

from textual import events
from textual.app import App
from textual.message import Message

Left = TypeVar("Left")

LONGEST: Final = 0.5
"""Seconds after which a key that never came back is given up: what it was on its way to is gone."""


class KeyFollower(Message, bubble=True):
    """Goes the way of a key right behind it, from widget to widget; when it comes to the app, the key has
    been dealt with."""


class OneKeyAtATime(App[Left]):
    """An app for people who type faster than the link to their terminal.

    Textual hands a key to whatever has the focus when it arrives, and a key that opens a text field or a
    dialog has not done so yet when the next ones arrive with it. So `/retry` typed at once would be a `/`
    and the commands r, e, t, r, y.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._keys: deque[events.Key] = deque()
        self._sent_at: float | None = None

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._keys.append(event)
        if self._sent_at is None or monotonic() - self._sent_at > LONGEST:
            await self._next_key()

    async def _next_key(self) -> None:
        self._sent_at = None
        while self._keys and self._sent_at is None:
            key = self._keys.popleft()
            target = self.focused or self.screen
            await super().on_event(key)
            if key.is_forwarded and target.post_message(KeyFollower()):
                self._sent_at = monotonic()

    def on_key_follower(self) -> None:
        # one turn later: to give the focus to something takes Textual a message of its own
        self.call_later(self._next_key)
