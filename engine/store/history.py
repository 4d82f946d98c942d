"""The history: what the journals of all runs say, for whoever asks afterwards or from another process."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import msgspec

from engine.core.events import Event, TaskCompleted, TaskEvent, TaskFailed, TaskRetried
from engine.core.records import INTERRUPTED
from engine.errors import CommandRefused, StoreError
from engine.ground.folders import database_path, run_directory
from engine.plan.graph import Graph, median
from engine.plan.model import Plan
from engine.result import failure_detail
from engine.store.database import intact, open_database, telling
from engine.store.goals import GoalState, Step, take
from engine.store.journal import RunColumns
from engine.store.lock import holder_of
from engine.store.prune import Pruned, prune
from engine.store.records import Diagnosis, Failure, Gap, GoalMove, GoalRecord, RunRecord
from engine.store.rows import Outline, decode_outlines, decode_plan, from_row, range_of
from engine.view.run_view import RunView

T = TypeVar("T")

RUNS_COUNTED: Final = 5
"""Of how many of a plan's last runs durations are taken: what a task took long ago says little."""

MAX_NUMBER: Final = 2**62
"""Above the number of any run."""

_CANDIDATES: Final = 8
"""How many runs are named when it is not clear which is meant."""

_AT_END: Final = ("ended", "outcome", "duration", "success", "failed", "skipped", "cancelled", "retried")
_RECORD: Final = ("number", *RunColumns._fields, *_AT_END, "missing")
_SELECT: Final = (
    f"SELECT number, {', '.join((*RunColumns._fields, *_AT_END))},"
    " (SELECT coalesce(sum(last - first + 1), 0) FROM gaps WHERE run = number) FROM runs "
)
_TURNS: Final = "SELECT events FROM turns WHERE key BETWEEN ? AND ? ORDER BY key"
_ENDS: Final = frozenset({"success", "failed", "skipped", "cancelled"})


class History:
    """Reads the database of a state directory, also while runs write to it.

    Without a database it is empty, and none is made. Every method raises `StoreError` if the database
    cannot be read, and those that take a run_id if there is no such run.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = database_path(directory)
        self._opened: sqlite3.Connection | None = None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── which runs there are ────────────────────────────────────────────────────────────────────

    def runs(
        self, limit: int | None = 50, *, plan: str | None = None, goal: str | None = None
    ) -> list[RunRecord]:
        """The last runs, newest first. limit: None for all. plan, goal: only runs of plans of this name, or
        towards this goal."""
        wanted = {column: value for column, value in (("plan", plan), ("goal", goal)) if value is not None}
        only = f"WHERE {' AND '.join(f'{column} = ?' for column in wanted)} " if wanted else ""
        return self._records(
            f"{only}ORDER BY number DESC LIMIT ?", *wanted.values(), -1 if limit is None else limit
        )

    def find(self, run: str) -> RunRecord:
        """The run meant by its id, by any beginning of it that no other has, or by `last`.

        Raises `StoreError` naming the candidates if it is not clear which.
        """
        if run == "last":
            found = self._records("ORDER BY number DESC LIMIT 1")
            if not found:
                raise StoreError("there are no runs yet")
            return found[0]
        prefix = run.strip().lower()
        found = self._records(
            "WHERE substr(run_id, 1, ?) = ? ORDER BY run_id = ? DESC, number DESC LIMIT ?",
            len(prefix), prefix, prefix, _CANDIDATES + 1,
        )  # fmt: skip
        if len(found) == 1 or (found and found[0].run_id == prefix):
            return found[0]
        if not found:
            raise StoreError(f"no run begins with {run!r}: `plandeck runs` lists them")
        candidates = [f"{record.run_id} ({record.plan})" for record in found[:_CANDIDATES]]
        if len(found) > _CANDIDATES:
            candidates.append("...")
        raise StoreError(f"{run!r} may be any of these: {', '.join(candidates)}")

    # ── one run ─────────────────────────────────────────────────────────────────────────────────

    def plan(self, run_id: str) -> Plan:
        """The plan as it was run."""
        return self._plan(self._number(run_id))

    def events(self, run_id: str, after: int = 0) -> list[Event]:
        """The events numbered above `after`, in their order, exactly as they were published."""
        events = self._events(self._number(run_id), after + 1)
        return [event for event in events if event.seq > after] if after else events

    def gaps(self, run_id: str) -> list[Gap]:
        """What is missing among the events, in order."""
        rows = self._query(
            "SELECT first, last, reason FROM gaps WHERE run = ? ORDER BY first", self._number(run_id)
        )
        return [Gap(*row) for row in rows]

    def diagnosis(self, run_id: str) -> Diagnosis:
        """Which tasks have failed, and how."""
        [record] = self._records("WHERE number = ?", self._number(run_id))
        plan, events = self._plan(record.number), self._events(record.number)
        failed = {event.index for event in events if isinstance(event, TaskFailed)}
        events = [e for e in events if not isinstance(e, TaskEvent) or e.index in failed]
        view = RunView(Graph(plan), run_id)
        with intact(self._path):
            view.apply(events)
        words = {event.index: event for event in events if isinstance(event, TaskFailed)}
        failures = tuple(
            Failure(
                index=index,
                detail=failure_detail(plan, words[index]),
                offset=words[index].offset,
                exit_code=words[index].exit_code,
                attempts=tuple(view.tasks[index].attempts),
            )
            for index in view.failures
        )
        first = failures[0] if failures else None
        return Diagnosis(
            run=record,
            failed_task_index=None if first is None else first.index,
            failed_task_detail=None if first is None else first.detail,
            failures=failures,
            defect=view.diagnosis,
        )

    # ── all runs of a plan ──────────────────────────────────────────────────────────────────────

    def durations(self, plan: str, *, speed: float = 1.0, before: int | None = None) -> dict[str, float]:
        """What each task of the plans of this name usually takes: the median, in seconds, of its
        successes in the last `RUNS_COUNTED` runs. speed: only runs whose simulated time went as fast.
        before: only runs with a smaller number."""
        known: defaultdict[str, list[float]] = defaultdict(list)
        for (number,) in self._query(
            "SELECT number FROM runs WHERE plan = ? AND speed = ? AND number < ?"
            " ORDER BY number DESC LIMIT ?",
            plan, speed, MAX_NUMBER if before is None else before, RUNS_COUNTED,
        ):  # fmt: skip
            for event in self._outlines(number):
                # else a person said so, and it took no time
                if event.type == TaskCompleted.type and not event.reason:
                    known[event.task].append(event.duration)
        return {name: median(values) for name, values in known.items()}

    def expected(
        self, plan: Plan, *, speed: float = 1.0, before: int | None = None
    ) -> list[float | None] | None:
        """What each task of a plan can be expected to take, in seconds; None for a task that is new, and
        for all of them if nothing is known of any. speed, before: as for `durations`."""
        known = self.durations(plan.name, speed=speed, before=before)
        usual = [known.get(task.name) for task in plan.tasks]
        return usual if any(seconds is not None for seconds in usual) else None

    # ── goals ───────────────────────────────────────────────────────────────────────────────────

    def goals(self) -> list[GoalRecord]:
        """Every goal, the one that has moved last first."""
        return self._goals("ORDER BY since DESC, number DESC")

    def find_goal(self, goal: str) -> GoalRecord:
        """The goal meant by its text, or by any beginning of it, in whatever case, that no other has.

        Raises `StoreError` naming the candidates if it is not clear which.
        """
        known = self.goals()
        wanted = goal.strip().casefold()
        found = [one for one in known if one.goal == goal] or [
            one for one in known if wanted and one.goal.casefold().startswith(wanted)
        ]
        if not found:
            raise StoreError(f"no goal begins with {goal!r}: `plandeck goals` lists them")
        if len(found) > 1:
            candidates = [repr(one.goal) for one in found[:_CANDIDATES]]
            raise StoreError(f"{goal!r} may be any of these: {', '.join(candidates)}")
        return found[0]

    def goal_moves(self, goal: GoalRecord) -> list[GoalMove]:
        """How the goal came to where it stands, oldest first."""
        rows = self._query(
            "SELECT state, utc, run_id FROM goal_moves WHERE goal = ? ORDER BY number", goal.number
        )
        return [self._decode(lambda given: GoalMove(GoalState(given[0]), *given[1:]), row) for row in rows]

    def abandon(self, goal: GoalRecord) -> None:
        """Give a goal up. A run of it that goes on is left alone. Raises `CommandRefused` if it has been
        achieved, or given up before."""
        connection = self._connection()
        if connection is None:
            raise StoreError(f"there is no goal {goal.goal!r} in {self._path}")
        with telling(self._path):
            connection.execute("BEGIN IMMEDIATE")
            moved = take(connection, goal.goal, Step.ABANDONED, time.time())
            connection.execute("COMMIT")
        if moved is None:
            [now] = self._goals("WHERE number = ?", goal.number)
            raise CommandRefused(f"the goal is {now.state} already")

    def prune(self, *, keep: int | None = None, older_than: float | None = None) -> Pruned:
        """Delete runs, with their events and logs: all but the newest `keep`, and all that ended (or, if
        they never did, began) more than `older_than` seconds ago. Never one that somebody has."""
        connection = self._connection()
        if connection is None:
            return Pruned()
        with telling(self._path):
            return prune(connection, self.directory, keep=keep, older_than=older_than)

    # ── the database ────────────────────────────────────────────────────────────────────────────

    def _connection(self) -> sqlite3.Connection | None:
        if self._opened is None:
            with telling(self._path):
                is_there = self._path.exists()
            if is_there:
                self._opened = open_database(self.directory, create=False)
        return self._opened

    def _query(self, statement: str, *arguments: object) -> list[Any]:
        connection = self._connection()
        if connection is None:
            return []
        with telling(self._path):
            return connection.execute(statement, arguments).fetchall()

    def _records(self, which: str, *arguments: object) -> list[RunRecord]:
        return [self._record(row) for row in self._query(_SELECT + which, *arguments)]

    def _record(self, row: Sequence[Any]) -> RunRecord:
        values = dict(zip(_RECORD, row, strict=True))
        if values["outcome"] is None:
            values |= self._so_far(values["number"])
        values["holder"] = holder_of(run_directory(self.directory, values["run_id"]))
        return self._decode(lambda given: msgspec.convert(given, RunRecord), values)

    def _goals(self, which: str, *arguments: object) -> list[GoalRecord]:
        rows = self._query(f"SELECT number, goal, state, since FROM goals {which}", *arguments)
        return [self._decode(self._goal, row) for row in rows]

    def _goal(self, row: Sequence[Any]) -> GoalRecord:
        number, goal, state, since = row
        state = GoalState(state)
        if state is GoalState.ACTIVE:
            unfinished = self._records("WHERE goal = ? AND outcome IS NULL", goal)
            if not any(record.holder for record in unfinished):
                state = GoalState.PENDING  # its engine was killed, and could not say so
        [(runs,)] = self._query("SELECT count(*) FROM runs WHERE goal = ?", goal)
        return GoalRecord(
            number=number,
            goal=goal,
            state=state,
            since=since,
            runs=runs,
            last_run=next(iter(self.runs(1, goal=goal)), None),
        )

    def _so_far(self, number: int) -> dict[str, float]:
        """The counts and the duration of a run that has not ended."""
        events = self._outlines(number)
        states = Counter({event.index: event.state for event in events if event.index is not None}.values())
        offsets = [event.offset for event in events]
        return {
            **{state: states[state] for state in _ENDS},
            "retried": sum(event.type == TaskRetried.type and event.cause != INTERRUPTED for event in events),
            "duration": max(offsets, default=0.0) - min(offsets, default=0.0),
        }

    def _number(self, run_id: str) -> int:
        rows = self._query("SELECT number FROM runs WHERE run_id = ?", run_id)
        if not rows:
            raise StoreError(f"there is no run {run_id} in {self._path}")
        number: int = rows[0][0]
        return number

    def _definition(self, number: int) -> str:
        definition: str = self._query(
            "SELECT plans.definition FROM plans JOIN runs ON digest = runs.definition WHERE number = ?",
            number,
        )[0][0]
        return definition

    def _plan(self, number: int) -> Plan:
        return self._decode(decode_plan, self._definition(number))

    def _events(self, number: int, first: int = 0) -> list[Event]:
        """Those of the turns that have the event numbered `first` or a later one."""
        return self._of_turns(from_row, number, first)

    def _outlines(self, number: int) -> list[Outline]:
        return self._of_turns(decode_outlines, number)

    def _of_turns(self, decode: Callable[[str], Sequence[T]], number: int, first: int = 0) -> list[T]:
        rows = self._query(_TURNS, *range_of(number, first))
        with intact(self._path):
            return [each for (text,) in rows for each in decode(text)]

    def _decode(self, decode: Callable[[Any], T], data: object) -> T:
        with intact(self._path):
            return decode(data)
