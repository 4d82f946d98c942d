"""`LogPane`: the output of an attempt, or of all of them in one, as it comes and as it was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final

import anyio
from textual import events
from textual.binding import BindingType
from textual.message import Message

from engine.handle import RunHandle
from engine.view.run_view import Changes, RunView
from tui.keymap import Place, bindings
from tui.logs.reading import TimeStyle
from tui.present import PLAIN_LOOK
from tui.widgets.log_rows import Row
from tui.widgets.log_selection import Selection, Spot
from tui.widgets.log_view import LogView
from tui.widgets.output import draw_output

if TYPE_CHECKING:
    from tui.logs.files import LogFiles

COPY_LIMIT: Final = 100_000
"""Characters copied at most: what terminals take."""

SLICE: Final = 0.004
PAUSE: Final = 0.008
"""Seconds of searching and counting at a time, and between: a third of a processor."""


class LogPane(LogView):
    """The log of the current attempt at a task, of an earlier one, or of all tasks merged, with its keys."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.LIST, Place.LOG)
    ALLOW_SELECT = False  # what is selected here may be out of view, which Textual's own selection cannot be

    class FindWanted(Message):
        """What is to be sought must be typed first."""

    def __init__(
        self,
        run: RunHandle,
        view: RunView,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(run, view, name=name, id=id, classes=classes)
        self._now = 0.0
        self._is_dragging = False
        self._is_working = False
        self._has_found_more = False
        self._before_search: tuple[Row, bool] | None = None  # the top, and whether it followed
        self._filters_next = False  # once it is known what is sought

    # ── what is shown ───────────────────────────────────────────────────────────────────────────

    @property
    def selected(self) -> int | None:
        """The task whose log is shown."""
        return self.reading.task

    def select(self, index: int) -> None:
        """Show the current attempt of a task, and follow it."""
        if self.reading.select(index):
            self.reopen()

    @property
    def attempt(self) -> int:
        """The attempt that is shown, 0 before any."""
        return self.reading.attempt

    @property
    def merged(self) -> bool:
        """Whether the logs of all tasks are shown in one."""
        return self.reading.merged

    @merged.setter
    def merged(self, merged: bool) -> None:
        if merged != self.reading.merged:
            self.reading.merge(merged)
            self.reopen()

    def rebind(self, view: RunView) -> None:
        """Show another view of the same run, after a resync."""
        self.reading.rebind(view)

    def update_from(self, changes: Changes, now: float) -> None:
        """Read on and draw what is new. Called on every tick, also when no event came: files have none."""
        is_new_second = int(now) != int(self._now)
        self._now = now
        if not self.page:
            return
        if self.reading.catch_up(changes.tasks):
            self.reopen()
        elif time.monotonic() >= self.rests_until:
            if self.reading.refresh() or self._has_found_more:
                self._has_found_more = False
                self.settle()
            elif not self.rows_in_view and (is_new_second or changes.tasks or changes.plan):
                self.redraw_changed()  # what is said in its place, which may count seconds
        if self.reading.is_busy and not self._is_working and self._work(SLICE):
            self._is_working = True
            self.run_worker(self._work_on(), name="log")

    async def _work_on(self) -> None:
        """Search and count until that is done, and let the keys have their turn all the while."""
        try:
            while self._work(SLICE):
                await anyio.sleep(PAUSE)
        finally:
            self._is_working = False

    def _work(self, seconds: float) -> bool:
        if not self.page:
            return False
        found, is_busy = self.reading.work(seconds)
        if found is not None:
            self.go_to(found)
        self._has_found_more = self.reading.search.is_filtered or self.merged  # drawn at the next tick
        return is_busy

    @property
    def title(self) -> str:
        return self.reading.title

    @property
    def note(self) -> str:
        """What matters most comes first: the rest is left out where there is no room."""
        last = self.rows_in_view[-1].place if self.rows_in_view and not self._follow else None
        words = ["selecting"] if self.selection is not None else []
        words += self.reading.search.notes()
        if self.reading.is_open:
            following = "ended" if self.reading.has_ended else "following"
            words.append(following if self._follow else "not following")
        words += self.reading.notes(last)
        if self._wrap:
            words.append("wrapped")
        elif self._column:
            words.append(f"from column {self._column + 1}")
        return " · ".join(words)

    def empty_note(self) -> str:
        return self.reading.empty_note(self._now)

    # ── attempts, times, filter ─────────────────────────────────────────────────────────────────

    def show_attempt(self, number: int) -> None:
        """Show another attempt of the same task, if there is that one."""
        if self.reading.show_attempt(number):
            self.reopen()

    def action_previous_attempt(self) -> None:
        self.show_attempt(self.attempt - 1)

    def action_next_attempt(self) -> None:
        self.show_attempt(self.attempt + 1)

    def next_time_style(self) -> None:
        """The time of day before each line; then the time since the run began; then none."""
        choices = [None, *TimeStyle]
        at = choices.index(self.reading.time_style)
        self.reading.time_style = choices[(at + 1) % len(choices)]
        self.layout_lines()

    def action_log_filter(self) -> None:
        """Show only the lines that match what is sought, or all again; ask for it if nothing is sought."""
        self._filters_next = self.reading.search.pattern is None
        if self._filters_next:
            self.post_message(self.FindWanted())
        else:
            self.reading.search.filter(not self.reading.search.is_filtered)
            self.settle()

    def action_log_context(self) -> None:
        """More lines around those that match, or none again."""
        self.reading.search.more_context()
        self.layout_lines()

    def action_log_save(self) -> None:
        self._files().save()

    def action_log_pager(self) -> None:
        self._files().open_pager()

    def _files(self) -> LogFiles:
        from tui.logs.files import LogFiles  # with its dialogs, which most runs end without

        return LogFiles(self.screen, self.reading)

    # ── finding ─────────────────────────────────────────────────────────────────────────────────

    def find_as_typed(self, text: str) -> None:
        """Show where that is found next, from where one was when one began to type."""
        if self._before_search is None:
            self._before_search = self._window.top or Row(self.document.start, 0), self._follow
        self.reading.search.seek_for(text)
        self._window.top, self._follow = self._before_search
        if not text or not self._sought_from(self._before_search[0].place - 1, 1):
            self.settle()

    def end_typing(self, text: str | None) -> None:
        """What was typed is meant; None gives the search up and goes back to where it began."""
        before, self._before_search = self._before_search, None
        if text is None:
            self.reading.search.seek_for("")
            if before is not None:
                self._window.top, self._follow = before
        else:
            self.reading.search.seek_for(text)
            self.reading.search.filter(self._filters_next or self.reading.search.is_filtered)
        self._filters_next = False
        self.settle()

    def find_next(self, text: str) -> bool:
        """Go to the next line with `text` in it, round the end, and mark it; False if there is none."""
        return self._seek(text, 1)

    def find_previous(self, text: str) -> bool:
        """As `find_next`, backwards."""
        return self._seek(text, -1)

    def _seek(self, text: str, step: int) -> bool:
        self.reading.search.seek_for(text)
        place = self.reading.search.found
        if place is None or place not in {row.place for row in self.rows_in_view}:
            edge = self.rows_in_view[0 if step > 0 else -1] if self.rows_in_view else Row(0, 0)
            place = edge.place - step
        return self._sought_from(place, step)

    def _sought_from(self, place: int, step: int) -> bool:
        found = self.reading.search.seek(place, step)
        if found is not None:
            self.go_to(found)
        self.redraw_changed()
        return found is not None or self.reading.search.is_seeking

    # ── selecting ───────────────────────────────────────────────────────────────────────────────

    def action_log_select(self) -> None:
        """Begin to select lines, or stop."""
        rows = self.rows_in_view
        if self.selection is not None:
            self.selection = None
        elif rows:
            places = [row.place for row in rows]
            found = self.reading.search.found
            at = found if found in places else places[-1] if self._follow else places[0]
            self.selection = Selection(Spot(at or 0, 0), Spot(at or 0, 0), by_line=True)
            self._follow = False
        self.redraw_changed()

    def selected_text(self) -> str:
        """What is selected, without colours; "" if nothing is."""
        if self.selection is None:
            return ""
        lines: list[str] = []
        size = 0
        place: int | None = self.selection.first.place
        while place is not None and place <= self.selection.last.place and size < COPY_LIMIT:
            text = draw_output(self.document.read(place), self.document.style(place), None, PLAIN_LOOK, None)
            span = self.selection.span(place, text.cell_length)
            if span is not None:
                lines.append(text.crop(*span).text)
                size += len(lines[-1]) + 1
            place = self.document.after(place)
        return "\n".join(lines)[:COPY_LIMIT]

    def action_log_copy(self) -> None:
        """Copy what is selected, and select nothing any more."""
        text = self.selected_text()
        if text:
            self.app.copy_to_clipboard(text)
            self.clear_selection()
            lines = text.count("\n") + 1
            self.notify("Copied." if lines == 1 else f"Copied {lines:,} lines.", timeout=2, markup=False)
        else:
            self.notify("Nothing is selected.", severity="warning", timeout=4, markup=False)

    def clear_selection(self) -> None:
        """Select nothing any more."""
        if self.selection is not None:
            self.selection = None
            self.redraw_changed()

    def step_back(self) -> bool:
        """Undo the last of selecting, filtering, finding and merging; False if there is nothing to undo."""
        if self.selection is not None:
            self.clear_selection()
        elif self.reading.search.is_filtered:
            self.action_log_filter()
        elif self.reading.search.pattern is not None:
            self.reading.search.seek_for("")
            self.settle()
        elif self.merged:
            self.merged = False
        else:
            return False
        return True

    def on_mouse_down(self, event: events.MouseDown) -> None:
        spot = self._spot_at(event)
        self.clear_selection()
        if event.button == 1 and spot is not None:
            self.selection = Selection(spot, spot, by_line=False)
            self._is_dragging = True
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if not self._is_dragging or self.selection is None:
            return
        if event.y < 0:
            self.move(-1)
        elif event.y >= self.page:
            self.move(1)
        spot = self._spot_at(event)
        if spot is not None and spot != self.selection.head:
            self._follow = False
            self.selection = self.selection._replace(head=spot)
            self.redraw_changed()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._is_dragging:
            self._is_dragging = False
            self.release_mouse()
            if self.selection is not None and self.selection.anchor == self.selection.head:
                self.clear_selection()  # a click

    def _spot_at(self, event: events.MouseEvent) -> Spot | None:
        rows = self.rows_in_view
        if not rows:
            return None
        offset = event.get_content_offset_capture(self)
        place, part = rows[min(max(0, offset.y), len(rows) - 1)]
        cell = max(0, offset.x - self._lead_width)
        if not self._wrap:
            return Spot(place, cell + self._column)
        cuts = self._cuts(place, self.document.read(place))
        return Spot(place, cuts[max(0, part)] + cell)
