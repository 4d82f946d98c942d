"""Opening the database: one SQLite file for all runs, used by several processes at once."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from engine.errors import StoreError
from engine.ground.folders import database_path, make_folder

SCHEMA_VERSION: Final = 2
"""What this program writes: the number of the last section in schema.sql."""

PATIENCE: Final = 5.0
"""Seconds to wait for another process that is writing."""

_CHECKPOINT: Final = 2_000
"""Pages written until they are brought to where they belong, for which the system waits for the disk: 8 MB.
Twice SQLite's own number costs a run half as many such stops."""

_EFFECTIVE: Final = os.access in os.supports_effective_ids
_SECTION: Final = re.compile(r"^-- version \d+$", re.MULTILINE)

_OF_ERRNO: Final = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EIO: sqlite3.SQLITE_IOERR,
}
"""What SQLite would call an error of the system; everything else is about permissions and places."""


def open_database(directory: Path, *, create: bool = True, patience: float = PATIENCE) -> sqlite3.Connection:
    """Open the database of a state directory, and bring its schema up to date.

    The connection is in autocommit: say BEGIN where several statements belong together. A commit
    survives the end of any process at once; the last ones may be lost, whole, when the machine loses
    its power (`synchronous = NORMAL`). Readers and one writer do not wait for each other.

    create: make directory (0700) and database (0600) if they are not there. A database that cannot be
    written can be read. patience: seconds. Raises `StoreError` naming the file and what to do.
    """
    path = database_path(directory)
    with telling(path):
        if create:
            make_folder(directory)
            _make_file(path)
        try:
            return _connect(path, "mode=rw", patience)
        except sqlite3.OperationalError as error:
            if not _is_frozen(path, error):
                raise
            return _connect(path, "mode=ro&immutable=1", patience)


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn what goes wrong with the database into a `StoreError` for people."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(explain(path, error)) from error


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Turn what comes of reading rows that this program has not written into a `StoreError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise StoreError(f"{path} holds what plandeck has not written: {error!r}") from error


def explain(path: Path, error: sqlite3.Error | OSError) -> str:
    """What went wrong, with which file, and what to do."""
    if isinstance(error, OSError):
        code, said = _OF_ERRNO.get(error.errno or 0, sqlite3.SQLITE_CANTOPEN), error.strerror
    else:
        code, said = _code(error), str(error)
    match code:
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return (
                f"{path} is damaged ({said}): move it away, and a new one is begun with the next run;"
                " the logs beside it stay"
            )
        case sqlite3.SQLITE_FULL:
            return f"cannot write {path}: the disk is full: free some space"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return (
                f"cannot write {path} ({said}): see to its permissions and those of its folder,"
                " or set XDG_STATE_HOME to another place"
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{path} is locked by another program: end that, or try again"
        case sqlite3.SQLITE_IOERR:
            return f"cannot read or write {path} ({said}): see whether the disk is full or broken"
        case _:
            return f"cannot use {path}: {said}"


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code; that of an error in general where the module itself complains."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _make_file(path: Path) -> None:
    """SQLite gives its other files the mode of this one. Opened only where it is not there yet: closing
    a file that SQLite has open would take its locks away."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _connect(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    location = f"file:{quote(os.fsencode(path.absolute()))}?{mode}"
    connection = sqlite3.connect(location, uri=True, timeout=patience, isolation_level=None)
    try:
        _prepare(connection, path, patience)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_frozen(path: Path, error: sqlite3.OperationalError) -> bool:
    """Whether it cannot be opened only because nothing can be written beside it: then nobody is writing
    it either, and it can be read as it is."""
    return (
        _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        and os.access(path, os.R_OK, effective_ids=_EFFECTIVE)
        and not os.access(path.parent, os.W_OK, effective_ids=_EFFECTIVE)
        and not path.with_name(path.name + "-wal").exists()
    )


def _prepare(connection: sqlite3.Connection, path: Path, patience: float) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    connection.execute("PRAGMA foreign_keys = ON")
    version = _version(connection)
    if version < SCHEMA_VERSION:
        _use_wal(connection, patience)
        connection.execute("BEGIN IMMEDIATE")
        for number, statements in list(enumerate(_sections(), 1))[_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
        version = _version(connection)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer plandeck (schema {version}; this one knows {SCHEMA_VERSION}):"
            " get that, or set XDG_STATE_HOME to another place"
        )


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _use_wal(connection: sqlite3.Connection, patience: float) -> None:
    """The file remembers it. Where the file system cannot do it, SQLite's older way is used.

    SQLite does not wait by itself when two do this at the same time.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.005)


def _sections() -> list[list[str]]:
    """The statements of each version, from the first."""
    text = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    return [section.split(";\n") for section in _SECTION.split(text)[1:]]
