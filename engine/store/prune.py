"""Deleting old runs: their events, and their logs with them."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from engine.errors import StoreError
from engine.ground.folders import run_directory
from engine.store.database import PATIENCE
from engine.store.lock import LOCK_NAME, RunHeld, RunLock, holder_of
from engine.store.rows import range_of

_CHUNK: Final = 1_000
"""Turns deleted in one transaction: so long, and no longer, a run has to wait that is writing."""

_WORTHWHILE: Final = 4
"""The file is made smaller when this part of it (a quarter) is empty."""


class Pruned(msgspec.Struct, frozen=True):
    """What came of pruning, in run ids. held: left alone, since somebody has them. faults: what
    could not be deleted and why, for people; what is left of such a run is still there."""

    removed: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def prune(
    connection: sqlite3.Connection, directory: Path, *, keep: int | None, older_than: float | None
) -> Pruned:
    """Delete all but the newest `keep` runs, and all that ended more than `older_than` seconds ago (began,
    if they never ended). directory: the state directory. Raises sqlite3.Error."""
    runs = connection.execute(
        "SELECT number, run_id, coalesce(ended, created) FROM runs ORDER BY number DESC"
    ).fetchall()
    now = time.time()
    removed: list[str] = []
    held: list[str] = []
    faults: list[str] = []
    for place, (number, run_id, ended) in enumerate(runs):
        is_surplus = keep is not None and place >= keep
        is_old = older_than is not None and now - ended > older_than
        if is_surplus or is_old:
            try:
                _remove(connection, number, run_directory(directory, run_id))
                removed.append(run_id)
            except RunHeld:
                held.append(run_id)
            except (OSError, StoreError) as error:
                faults.append(f"{run_id}: {error}")
    gone = set(removed)
    if not any(holder_of(run_directory(directory, run_id)) for _, run_id, _ in runs if run_id not in gone):
        _shrink(connection)
    return Pruned(tuple(removed), tuple(held), tuple(faults))


def _remove(connection: sqlite3.Connection, number: int, folder: Path) -> None:
    """The logs first, the lock last: at no moment can the run be resumed, and what an interruption
    leaves can be pruned again."""
    if folder.is_symlink():
        raise StoreError(f"{folder} is a symbolic link, and is not followed")
    with RunLock(folder) as lock:
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)  # which follows no links either
            elif entry.name != LOCK_NAME:
                entry.unlink()
        span = range_of(number)
        while connection.execute(
            "DELETE FROM turns WHERE key IN (SELECT key FROM turns WHERE key BETWEEN ? AND ? LIMIT ?)",
            (*span, _CHUNK),
        ).rowcount:
            pass
        connection.execute("DELETE FROM runs WHERE number = ?", (number,))
        connection.execute("DELETE FROM plans WHERE digest NOT IN (SELECT definition FROM runs)")
        lock.path.unlink()
        folder.rmdir()


def _shrink(connection: sqlite3.Connection) -> None:
    """Give the disk back what is empty, if that can be had without waiting. Nobody may be writing: it
    takes a while."""
    empty, pages = (
        connection.execute(f"PRAGMA {of}").fetchone()[0] for of in ("freelist_count", "page_count")
    )
    if empty * _WORTHWHILE > pages:
        with suppress(sqlite3.OperationalError):  # somebody reads, or the disk has no room for the copy
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
