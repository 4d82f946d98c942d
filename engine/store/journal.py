"""The journal: every event of one run on disk, before anything that depends on it starts."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from engine.core.events import Event, PlanCompleted, PlanResumed, PlanStarted
from engine.errors import StoreError
from engine.ground.folders import database_path, run_directory
from engine.plan.model import FailureMode, Plan
from engine.store import goals
from engine.store.database import PATIENCE, explain, intact, open_database, telling
from engine.store.rows import decode_plan, encode_plan, range_of, readable, seq_of, to_rows

HELD_LIMIT: Final = 100_000
"""Events that wait in memory for a database that cannot be written. When more would, all are given up."""

_TURN_PATIENCE: Final = 0.25
"""Seconds that a turn waits for another process that is writing: the engine stands still meanwhile."""

_INTERVAL: Final = 1.0
"""Seconds between two looks whether the file is still there, and between two tries after a fault."""

_TURN: Final = "INSERT INTO turns VALUES (?, ?)"

_COMPLETED: Final = (
    "UPDATE runs SET ended = ?, outcome = ?, duration = ?,"
    " success = ?, failed = ?, skipped = ?, cancelled = ?, retried = ? WHERE number = ?"
)

_MILESTONES: Final = frozenset({PlanStarted, PlanCompleted, PlanResumed})


class RunColumns(NamedTuple):
    """What the row of a run says from its beginning, in the words of schema.sql."""

    run_id: str
    plan: str
    goal: str | None
    source: str | None
    source_digest: str | None
    definition: str
    tasks: int
    max_parallel: int
    failure_mode: str
    seed: int | None
    speed: float
    pid: int
    created: float


def digest_of(plan: Plan) -> str | None:
    """The SHA-256 of a plan's file, in hex, and a line with digest and path for each file of a subplan; None
    if there is no file, or none that can be read."""
    own = _sha256(plan.source)
    inner = sorted({subplan.source for subplan in plan.subplans if subplan.source is not None})
    return own and "\n".join([own, *(f"{_sha256(path)} {json.dumps(path)}" for path in inner)])


def is_current(digest: str, source: str | None) -> bool:
    """Whether the files are as they were when `digest_of` was asked of them. source: the plan's file."""
    own, *inner = digest.split("\n")
    rows = (line.split(" ", 1) for line in inner)
    return own == _sha256(source) and all(known == str(_sha256(json.loads(path))) for known, path in rows)


def _sha256(path: str | None) -> str | None:
    try:
        return None if path is None else sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


class Journal:
    """Writes the events of one run to the database of a state directory.

    `commit` is a listener of the event stream. It never raises for what is wrong with the disk or the
    database: it holds the events back, tries again about once a second, and says so in `fault`. What
    has to be given up is written down as a gap. Only who holds the lock of a run (`engine.store.lock`)
    opens its journal, and after the last fork: SQLite must not be carried into a child.
    """

    def __init__(self, directory: Path, columns: RunColumns, plan: Plan) -> None:
        """Made by `create` and `reopen`."""
        self.run_id = columns.run_id
        self.plan = plan
        self.fault: str | None = None
        """What keeps events from disk, or has made some be lost; None while all are there."""
        self.lost = 0
        """Events given up for good."""
        self.last_seq = 0
        """The number of the last event on disk."""
        self._directory = directory
        self._path = database_path(directory)
        self._columns = columns
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._run = 0
        self._held: list[Event] = []
        self._gap: tuple[int, int] | None = None
        self._due = 0.0

    @classmethod
    def create(
        cls,
        directory: Path,
        run_id: str,
        plan: Plan,
        *,
        max_parallel: int | None = None,
        failure_mode: FailureMode | None = None,
        seed: int | None = None,
        speed: float = 1.0,
    ) -> Journal:
        """Begin the journal of a new run, and the database if it is the first.

        directory: the state directory. max_parallel, failure_mode: where they are not the plan's own.
        Raises `StoreError` if it cannot be written, or has a run of this id.
        """
        run_directory(directory, run_id)  # refuses what cannot be the name of a folder
        definition = encode_plan(plan)
        columns = RunColumns(
            run_id=run_id,
            plan=readable(plan.name),
            goal=None if plan.goal is None else readable(plan.goal),
            source=None if plan.source is None else readable(plan.source),
            source_digest=digest_of(plan),
            definition=sha256(definition.encode()).hexdigest(),
            tasks=plan.total,
            max_parallel=plan.max_parallel if max_parallel is None else max_parallel,
            failure_mode=(plan.failure_mode if failure_mode is None else failure_mode).value,
            seed=seed,
            speed=speed,
            pid=os.getpid(),
            created=time.time(),
        )
        journal = cls(directory, columns, plan)
        journal._begin(definition)
        return journal

    @classmethod
    def reopen(cls, directory: Path, run_id: str) -> Journal:
        """Go on with the journal of a run whose engine is gone; `last_seq` is where it ends, `plan` the
        plan as it was run. Raises `StoreError` if there is no such run, or it cannot be written."""
        path = database_path(directory)
        connection = open_database(directory, create=False)
        try:
            with telling(path):
                found = connection.execute(
                    f"SELECT runs.{', runs.'.join(RunColumns._fields)}, plans.definition"
                    " FROM runs JOIN plans ON digest = runs.definition WHERE run_id = ?",
                    (run_id,),
                ).fetchone()
        finally:
            connection.close()
        if found is None:
            raise StoreError(f"there is no run {run_id} in {path}")
        *columns, definition = found
        with intact(path):
            plan = decode_plan(definition)
        journal = cls(directory, RunColumns(*columns)._replace(pid=os.getpid()), plan)
        journal._begin()
        return journal

    @property
    def missing(self) -> int:
        """Events that are not on disk now: those that wait, and those that are lost."""
        return self.lost + len(self._held)

    def commit(self, events: Sequence[Event]) -> None:
        """Write the events of a turn in one transaction; when this returns, no end of this process can
        undo it. Called with every event of the run, in their order."""
        if not events:
            return
        last = events[-1]
        is_due = last.offset >= self._due
        if self._connection is None:
            self._held += events
            if not is_due and type(last) is not PlanCompleted:  # after which nothing may come for long
                self._bound()
                return
            events = self._held
        try:
            if is_due:
                self._due = last.offset + _INTERVAL
                self._look()
            self._write(events)
        except (sqlite3.Error, OSError, StoreError) as error:
            self._hold(events, error)
        else:
            if self._held:
                self._recover()

    def close(self) -> None:
        """Write what waits, if that is possible now, and let the database go."""
        if self._held:
            try:
                self._write(self._held)
            except (sqlite3.Error, OSError, StoreError):
                pass  # `fault` says already what is wrong
            else:
                self._recover()
        self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── the connection ──────────────────────────────────────────────────────────────────────────

    def _begin(self, definition: str | None = None) -> None:
        """definition: the plan, if the run is a new one."""
        try:
            with telling(self._path):
                self._connect(PATIENCE, definition)
        except StoreError:
            self._disconnect()
            raise

    def _connect(self, patience: float, new: str | None = None) -> sqlite3.Connection:
        """Open the database and find the run in it, or put it there. new: the definition of its plan, if
        the run must not be there yet."""
        self._connection = connection = open_database(self._directory, patience=patience)
        status = self._path.stat()
        self._file = (status.st_dev, status.st_ino)
        connection.execute("BEGIN IMMEDIATE")
        number = self._number(connection)
        if number is None:
            number = self._enlist(connection, new or encode_plan(self.plan))
        elif new is not None:
            raise StoreError(f"{self._path} has a run {self.run_id} already")
        connection.execute("UPDATE runs SET pid = ? WHERE number = ?", (self._columns.pid, number))
        connection.execute("COMMIT")
        self._run = number
        connection.execute(f"PRAGMA busy_timeout = {_TURN_PATIENCE * 1000:.0f}")
        self._find_end(connection)
        return connection

    def _number(self, connection: sqlite3.Connection) -> int | None:
        found = connection.execute("SELECT number FROM runs WHERE run_id = ?", (self.run_id,)).fetchone()
        return None if found is None else found[0]

    def _enlist(self, connection: sqlite3.Connection, definition: str) -> int:
        connection.execute(
            "INSERT INTO plans VALUES (?, ?) ON CONFLICT DO NOTHING", (self._columns.definition, definition)
        )
        row = connection.execute(
            f"INSERT INTO runs ({', '.join(RunColumns._fields)})"
            f" VALUES ({', '.join('?' * len(RunColumns._fields))})",
            self._columns,
        )
        if self._columns.goal is not None:
            goals.enlist(connection, self._columns.goal, self._columns.created, self.run_id)
        return row.lastrowid or 0  # never 0 after an INSERT

    def _find_end(self, connection: sqlite3.Connection) -> None:
        """Whether this database, which may be another one by now, has what was written before."""
        key = connection.execute(
            "SELECT max(key) FROM turns WHERE key BETWEEN ? AND ?",
            range_of(self._run),
        ).fetchone()[0]
        end = 0 if key is None else seq_of(key)
        if end < self.last_seq:
            self._give_up(end + 1, self.last_seq)
        self.last_seq = end

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _look(self) -> None:
        """Let go of a file that is no longer the one by that name: what is written to it is lost."""
        if self._connection is None:
            return
        try:
            status = self._path.stat()
            is_there = self._file == (status.st_dev, status.st_ino)
        except FileNotFoundError:
            is_there = False
        if not is_there:
            self._disconnect()
            if self.last_seq:
                self.fault = f"{self._path} was deleted while it was in use: the beginning of the run is lost"

    # ── writing ─────────────────────────────────────────────────────────────────────────────────

    def _write(self, events: Sequence[Event]) -> None:
        # who has waited once does not wait again: that would stand in the way of every second or so
        connection = self._connection or self._connect(patience=0.0)
        if events[0].seq <= self.last_seq:
            # an error at COMMIT does not say whether it was carried out: those it concerned come again
            events = [event for event in events if event.seq > self.last_seq]
        if events:
            self._insert(connection, events)
            self.last_seq = events[-1].seq

    def _insert(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        """Whatever fails in here, the connection is given up, and the transaction with it."""
        rows = list(to_rows(self._run, events))
        milestones = [event for event in events if type(event) in _MILESTONES]
        if len(rows) == 1 and not milestones and self._gap is None:
            connection.execute(_TURN, rows[0])  # which is a transaction of its own
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_TURN, rows)
        if self._gap is not None:
            connection.execute("INSERT INTO gaps VALUES (?, ?, ?, ?)", (self._run, *self._gap, self.fault))
        for event in milestones:
            self._mark(connection, event)
        connection.execute("COMMIT")
        self._gap = None

    def _mark(self, connection: sqlite3.Connection, event: Event) -> None:
        """The run has begun, ended, or goes on after its end."""
        values: tuple[Any, ...] = (None,) * 8
        if isinstance(event, PlanCompleted):
            values = (
                event.utc, event.outcome.value, event.duration,
                event.success, event.failed, event.skipped, event.cancelled, event.retried,
            )  # fmt: skip
        connection.execute(_COMPLETED, (*values, self._run))
        step = goals.step_of(event)
        if step is not None and self._columns.goal is not None:
            with intact(self._path):
                goals.take(connection, self._columns.goal, step, event.utc, self.run_id)

    # ── trouble ─────────────────────────────────────────────────────────────────────────────────

    def _hold(self, events: Sequence[Event], error: sqlite3.Error | OSError | StoreError) -> None:
        self._disconnect()
        if self.fault is None:
            self.fault = str(error) if isinstance(error, StoreError) else explain(self._path, error)
        if events is not self._held:
            self._held += events
        self._due = events[-1].offset + _INTERVAL
        self._bound()

    def _bound(self) -> None:
        """Give up what waits when it is too much to keep in memory."""
        if len(self._held) > HELD_LIMIT:
            self._give_up(self._held[0].seq, self._held[-1].seq)
            self._held.clear()

    def _give_up(self, first: int, last: int) -> None:
        self.lost += last - first + 1
        if self._gap is not None:
            first, last = min(first, self._gap[0]), max(last, self._gap[1])
        self._gap = (first, last)

    def _recover(self) -> None:
        self._held.clear()
        if not self.lost:
            self.fault = None
