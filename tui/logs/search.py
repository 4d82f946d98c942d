"""`Search`: what is sought in a document, what of it is found, and whether anything else is shown."""

from __future__ import annotations

from typing import Final

from engine.ground.text import one_line
from tui.logs.document import Document
from tui.logs.filtered import FilteredDocument
from tui.logs.finder import Finder
from tui.logs.pattern import Pattern

CONTEXTS: Final = (0, 1, 3, 10)
"""Lines shown around those that match, from one press of the key to the next."""

AT_ONCE: Final = 0.02
"""Seconds that a search may take before the keys have their turn again."""


class Search:
    """document: the lines that are shown: all, or those that match and some around them. pattern: what is
    sought, None if nothing is. found: the line that was found last."""

    def __init__(self, whole: Document) -> None:
        self._whole = whole
        self.document: Document = whole
        self.pattern: Pattern | None = None
        self.found: int | None = None
        self.context = CONTEXTS[0]
        self._finder: Finder | None = None
        self._seeking: tuple[int, int] | None = None

    def open(self, whole: Document) -> None:
        """Seek the same in another document."""
        is_filtered = self.is_filtered
        self._whole = self.document = whole
        self.found = self._seeking = None
        self._finder = Finder(whole, self.pattern) if self.pattern is not None else None
        self.filter(is_filtered)

    def refresh(self) -> bool:
        """Take up what has come to the document; whether anything has."""
        changed = self.document.refresh()
        if changed and self._finder is not None:
            self._finder.refresh()
        return changed

    def work(self, seconds: float) -> int | None:
        """Search for about that long; a line that was waited for, if it is found by now."""
        if self._finder is not None:
            self._finder.work(seconds)
        return None if self._seeking is None else self.seek(*self._seeking)

    def notes(self) -> list[str]:
        """How the search stands, the most important first."""
        if self._finder is None:
            return []
        notes = [self._search_note(self._finder)]
        if self.is_filtered:
            notes.append("matches only" if not self.context else f"matches and {self.context} around")
        return notes

    def _search_note(self, finder: Finder) -> str:
        words = f"/{one_line(finder.pattern.text, 20)}"
        if not finder.is_complete:
            return f"{words} {finder.count:,}+ ({finder.progress:.0%})"
        if not finder.count:
            return f"{words} not found"
        number = finder.number(self.found) if self.found is not None else None
        return f"{words} {number:,}/{finder.count:,}" if number else f"{words} {finder.count:,}"

    def seek_for(self, text: str) -> None:
        """Seek that from now on; "" for nothing."""
        if text != (self.pattern.text if self.pattern is not None else ""):
            self.filter(False)
            self.pattern = Pattern(text) if text else None
            self._finder = Finder(self._whole, self.pattern) if self.pattern is not None else None
            self.found = self._seeking = None

    @property
    def is_seeking(self) -> bool:
        """Whether what is sought may still be found."""
        return self._seeking is not None

    @property
    def is_in_vain(self) -> bool:
        """Whether what is sought is nowhere."""
        return self._finder is not None and self._finder.is_complete and not self._finder.count

    @property
    def is_searched(self) -> bool:
        """Whether all has been searched."""
        return self._finder is None or self._finder.is_complete

    def seek(self, place: int, step: int) -> int | None:
        """The next line that matches, round the end; None if there is none, or if that takes longer: then
        `is_seeking`, and `work` goes on with it."""
        finder = self._finder
        self._seeking = None
        if finder is None:
            return None
        finder.want(place, step)
        found = finder.seek(place, step)
        if not finder.is_settled(place, found, step):
            finder.work(AT_ONCE)
            found = finder.seek(place, step)
        if found is None and finder.is_settled(place, None, step):
            end = self._whole.start - 1 if step > 0 else self._whole.end
            finder.want(end, step)
            found = finder.seek(end, step)
            if not finder.is_settled(end, found, step):
                finder.work(AT_ONCE)
                found = finder.seek(end, step)
            is_settled = finder.is_settled(end, found, step)
        else:
            is_settled = finder.is_settled(place, found, step)
        if not is_settled:
            self._seeking = place, step
            return None
        self.found = found
        return found

    @property
    def is_filtered(self) -> bool:
        """Whether only lines that match are shown."""
        return self.document is not self._whole

    def filter(self, only: bool) -> None:
        """Show only the lines that match, or all."""
        if only and self._finder is not None:
            self.document = FilteredDocument(self._whole, self._finder, self.context)
        else:
            self.document = self._whole

    def more_context(self) -> None:
        """Show more lines around those that match, or none again."""
        self.context = CONTEXTS[(CONTEXTS.index(self.context) + 1) % len(CONTEXTS)]
        if self.is_filtered:
            self.filter(True)

    def is_context(self, place: int) -> bool:
        """Whether a line is shown for the sake of another."""
        return isinstance(self.document, FilteredDocument) and not self.document.is_match(place)

    def is_break(self, place: int) -> bool:
        """Whether lines are left out before this one."""
        return isinstance(self.document, FilteredDocument) and self.document.is_break(place)
