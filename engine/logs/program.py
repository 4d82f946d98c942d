"""The log of plandeck itself: what the program did and what went wrong with it, a JSON object a line.

It stands in the folder of the run that it is about, away from the screen and from what tasks print. Each line
has `time` (UTC), `level`, `logger` and `message`, often `fields`, and after a defect the `traceback`.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.core.events import Event, TaskCompleted, TaskFailed, TaskRetried, TaskStalled, TaskStarted
from engine.ground.folders import make_folder
from engine.secrets import Mask

NAME: Final = "plandeck.log"

SIZE: Final = 10 * 1024 * 1024
"""Bytes, after which it begins anew; the ones before are kept once more beside it, as `plandeck.log.1`."""

logger = logging.getLogger(__name__)

_LEVELS: Final[dict[type[Event], int]] = {
    TaskStarted: logging.DEBUG,
    TaskRetried: logging.DEBUG,
    TaskCompleted: logging.DEBUG,
    TaskFailed: logging.WARNING,
    TaskStalled: logging.WARNING,
}
"""What says only that all goes well is for those who ask for it. All other events count as usual."""

_run: ContextVar[str | None] = ContextVar("run", default=None)
_Listener = Callable[[Sequence[Event]], None]


@contextmanager
def program_log(
    directory: Path, run_id: str, *, verbose: bool = False, mask: Mask | None = None
) -> Iterator[_Listener]:
    """Keep the log in a run's folder for as long as the block lasts; gives what is to be told of events.

    What is logged in other contexts, by other runs of this process, is not taken for this run's. verbose:
    every event, and all that libraries have to say. mask: hides the run's secrets. A folder that
    cannot be written costs the log and nothing else.
    """
    handler = _handler(directory / NAME)
    handler.setFormatter(_Lines(mask))
    handler.addFilter(lambda record: _run.get() == run_id)
    level = logging.DEBUG if verbose else logging.INFO
    handler.setLevel(level)
    root = logging.getLogger()
    loggers = {root: logging.DEBUG if verbose else root.level}
    loggers |= {logging.getLogger(name): level for name in ("engine", "tui")}
    before = {each: each.level for each in loggers}
    token = _run.set(run_id)
    root.addHandler(handler)
    for each, its_level in loggers.items():
        each.setLevel(its_level)
    try:
        _say_where_we_are(run_id)
        yield _tell
    finally:
        root.removeHandler(handler)
        handler.close()
        for each, its_level in before.items():
            each.setLevel(its_level)
        with suppress(ValueError):  # left in another context than it was entered in
            _run.reset(token)


def _handler(path: Path) -> logging.Handler:
    try:
        make_folder(path.parent)
        return _Private(
            path, maxBytes=SIZE, backupCount=1, encoding="utf-8", errors="backslashreplace", delay=True
        )
    except OSError:
        return logging.NullHandler()


class _Private(RotatingFileHandler):
    """Its files are for their owner alone, and a full disk is no fault of the program."""

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)

    def close(self) -> None:
        with suppress(OSError):  # what could not be written could not be written
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Say nothing: it would be said on the screen."""


class _Lines(logging.Formatter):
    """One JSON object for a record."""

    def __init__(self, mask: Mask | None) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if fields := getattr(record, "fields", None):
            line["fields"] = fields
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = msgspec.json.encode(line, enc_hook=str).decode()
        return text if self._mask is None else self._mask.text(text)


def _say_where_we_are(run_id: str) -> None:
    fields = {
        "run_id": run_id,
        "pid": os.getpid(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "argv": sys.argv,
    }
    logger.info("the log begins", extra={"fields": fields})


def _tell(events: Sequence[Event]) -> None:
    for event in events:
        level = _LEVELS.get(type(event), logging.INFO)
        if level > logging.DEBUG or logger.isEnabledFor(level):
            fields = {
                name: value
                for name, value in msgspec.structs.asdict(event).items()
                if value and name not in ("run_id", "utc")
            }
            logger.log(level, event.type, extra={"fields": fields})
