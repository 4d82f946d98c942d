"""`KeyProvider`: every action of the keymap, to be found by name in the command palette."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode
from textual.types import IgnoreReturnCallbackType

from tui.keymap import KEYMAP, Group, Key, Place, effective, shown

_PANES: Final = frozenset({Place.TABLE, Place.TREE, Place.LOG, Place.TIMELINE, Place.EVENTS})
_LEFT_OUT: Final = frozenset({"commands", "back"})


class KeyProvider(Provider):
    """Offers what can be done from here, with the keys that do it faster. Moving about is left out."""

    async def discover(self) -> Hits:
        for key, does in self._entries():
            yield DiscoveryHit(Content(self._text(key)), does, text=key.tooltip)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key, does in self._entries():
            text = self._text(key)
            score = max(matcher.match(text), matcher.match(key.label))
            if score > 0:
                yield Hit(score, matcher.highlight(text), does, text=key.tooltip)

    def _entries(self) -> Iterator[tuple[Key, IgnoreReturnCallbackType]]:
        order = list(Group)
        offered = {Place.APP, *getattr(self.screen, "PLACES", ())}
        for key in sorted(KEYMAP, key=lambda key: order.index(key.group)):
            if key.place in offered and key.id not in _LEFT_OUT:
                yield key, self._doing(key)

    def _doing(self, key: Key) -> IgnoreReturnCallbackType:
        """In the place where the key would be pressed."""

        async def does() -> None:
            target: DOMNode = self.app if key.place is Place.APP else self.screen
            if key.place in _PANES:
                target = self.screen.query_one(f"#{key.place.value}")
            await self.app.run_action(key.action, target)

        return does

    def _text(self, key: Key) -> str:
        keys = shown(effective(self.app._keymap)[key.id])
        return f"{key.tooltip.rstrip('.')}  ({keys})" if keys else key.tooltip.rstrip(".")
