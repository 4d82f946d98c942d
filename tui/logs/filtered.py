"""`FilteredDocument`: of a document only the lines that match, with some of those around them."""

from __future__ import annotations

from engine.core.inputs import Now
from engine.ground.text import Style
from tui.logs.document import Document
from tui.logs.finder import Finder
from tui.logs.pattern import Pattern

LINES_HELD = 4096


class FilteredDocument:
    """Shows what the finder has found so far; more comes as it searches on.

    context: how many lines are shown before and after each that matches.
    """

    def __init__(self, whole: Document, finder: Finder, context: int) -> None:
        self.whole = whole
        self.finder = finder
        self.context = context
        self.block_size = whole.block_size
        self._matching: dict[int, bool] = {}

    @property
    def start(self) -> int:
        return self.whole.start

    @property
    def end(self) -> int:
        return self.whole.end

    def refresh(self) -> bool:
        changed = self.whole.refresh()
        if changed:
            self._matching.clear()
        return changed

    def first(self) -> int | None:
        found = self.finder.seek(self.start - 1, 1)
        return None if found is None else self._context_of(found)

    def last(self) -> int | None:
        found = self.finder.seek(self.end, -1)
        if found is None:
            return None
        for _ in range(self.context):
            further = self.whole.after(found)
            if further is None:
                break
            found = further
        return found

    def line_at(self, position: int) -> int:
        place = self.whole.line_at(position)
        if self._is_shown(place):
            return place
        nearest = self.after(place)
        if nearest is None:
            nearest = self.before(place)
        return place if nearest is None else nearest

    def after(self, place: int) -> int | None:
        further = self.whole.after(place)
        if further is None or self._is_shown(further):
            return further
        found = self.finder.seek(further, 1)
        return None if found is None else self._context_of(found)

    def before(self, place: int) -> int | None:
        further = self.whole.before(place)
        if further is None or self._is_shown(further):
            return further
        found = self.finder.seek(further, -1)
        for _ in range(self.context):
            following = None if found is None else self.whole.after(found)
            if following is None:
                break
            found = following
        return found

    def is_match(self, place: int) -> bool:
        """Whether the line itself matches, and is not there for the sake of another."""
        known = self._matching.get(place)
        if known is None:
            if len(self._matching) >= LINES_HELD:
                self._matching.clear()
            known = self._matching[place] = self.finder.pattern.is_in(self.whole.read(place))
        return known

    def is_break(self, place: int) -> bool:
        """Whether lines are left out before this one, where lines are shown in groups."""
        before = self.whole.before(place)
        return bool(self.context) and before is not None and not self._is_shown(before)

    def _context_of(self, match: int) -> int:
        """The first of the lines shown for the sake of a match."""
        for _ in range(self.context):
            further = self.whole.before(match)
            if further is None:
                break
            match = further
        return match

    def _is_shown(self, place: int) -> bool:
        if self.is_match(place):
            return True
        back: int | None = place
        forth: int | None = place
        for _ in range(self.context):
            back = None if back is None else self.whole.before(back)
            forth = None if forth is None else self.whole.after(forth)
            if (back is not None and self.is_match(back)) or (forth is not None and self.is_match(forth)):
                return True
        return False

    # ── as in the whole document ────────────────────────────────────────────────────────────────

    def read(self, place: int) -> bytes:
        return self.whole.read(place)

    def style(self, place: int) -> Style:
        return self.whole.style(place)

    def time(self, place: int) -> Now | None:
        return self.whole.time(place)

    def task(self, place: int) -> int | None:
        return self.whole.task(place)

    def number(self, place: int) -> int | None:
        return self.whole.number(place)

    def count(self) -> int | None:
        return self.whole.count()

    def found_in(self, block: int, pattern: Pattern) -> list[int]:
        return [place for place in self.whole.found_in(block, pattern) if self._is_shown(place)]
