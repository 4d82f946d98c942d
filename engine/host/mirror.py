"""`Mirror`: what the attached and the replayed run have in common: they know a run by its events alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from engine.core.events import Event
from engine.core.records import AttemptRecord, Snapshot
from engine.core.state import TaskState
from engine.ground.text import plain
from engine.handle import Playback
from engine.logs.attempt import LINE_LIMIT, LogReader, attempt_log_path
from engine.stream import DEFAULT_LIMIT, EventStream, Subscription
from engine.view.run_view import RunView
from engine.view.snapshot import snapshot_of

LINES_KEPT: Final = 256
"""Last lines that are remembered for as long as their files stay as they are."""

_LINE_ENDS: Final = re.compile(rb"[\r\n]+")


class Mirror:
    """Half of a `RunHandle`: events are folded as they come, and handed on.

    directory: where the run's logs are.
    """

    is_recording = False
    playback: Playback | None = None

    def __init__(self, view: RunView, offset: float, directory: Path) -> None:
        """view: the run as it stands at `offset`."""
        self.graph = view.graph
        self.plan = view.plan
        self.run_id = view.run_id
        self.directory = directory
        self._view = view
        self._offset = offset
        self._stream = EventStream()

    def snapshot(self) -> Snapshot:
        return snapshot_of(self._view, self._offset)

    def subscribe(self, limit: int = DEFAULT_LIMIT) -> Subscription:
        return self._stream.subscribe(limit)

    def log_path(self, index: int, attempt: int) -> Path:
        return attempt_log_path(self.directory, index, attempt)

    def last_line(self, index: int) -> str:
        """Read from the log, when it has changed."""
        task = self._view.tasks[index]
        if not task.attempts:
            return ""
        record = task.attempts[-1]
        failed = record.error is not None and task.state is not TaskState.CANCELLED
        if record.ended is not None and not failed:
            return ""
        path = self.log_path(index, record.number)
        try:
            status = path.stat()
        except OSError:
            return ""
        extent = self._extent(index, record)
        size = status.st_size if extent is None else min(extent, status.st_size)
        return _last_line(path, status.st_ino, size, status.st_mtime_ns)

    def _extent(self, index: int, record: AttemptRecord) -> int | None:
        """How much of a log there is by now, None for all of it."""
        return None

    def _happen(self, events: Sequence[Event]) -> None:
        """These have happened."""
        self._view.apply(events)
        self._offset = events[-1].offset
        self._stream.publish(events)

    def _jump(self, view: RunView, offset: float, distance: int) -> None:
        """The run now stands as in `view`, `distance` events from where it stood."""
        self._view = view
        self._offset = offset
        self._stream.lose(max(1, distance))


@lru_cache(maxsize=LINES_KEPT)
def _last_line(path: Path, inode: int, size: int, modified: int) -> str:
    """The last line that says anything of the first `size` bytes; the rest tells one file from another."""
    tail = LogReader(path).tail(2 * LINE_LIMIT, size)
    for line in reversed(_LINE_ENDS.split(tail)):
        if line.strip():
            return plain(line[:LINE_LIMIT])
    return ""
