"""The journal: the events of a run of 10,000 tasks, in turns of several sizes.

Two peers, both SQLite alone with all made ready for it: a row an event in one transaction, which is the
least that a table of events costs; and the journal's own rows, a transaction each, which is what the rule
costs that a turn is on disk before what depends on it starts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Contender, Sample, interleave, median, table
from benchmarks.overhead import needs_of
from engine.core.events import TaskCompleted, TaskEvent, TaskStarted
from engine.core.state import TaskState
from engine.plan.model import Need, Plan, Task
from engine.store.database import open_database
from engine.store.journal import Journal
from engine.store.rows import to_rows

TASKS = 10_000
TURNS = (1, 2, 4, 16, 50)
RUN_ID = "3f2a9c14-0000-4000-8000-000000000000"
PLAIN = "SQLite alone, a row an event, one transaction"
TABLE = """CREATE TABLE events (
    key INTEGER PRIMARY KEY, type TEXT NOT NULL, utc REAL NOT NULL, offset REAL NOT NULL, task INTEGER,
    attempt INTEGER, state TEXT NOT NULL, cause TEXT NOT NULL, detail TEXT NOT NULL)"""


def events() -> list[TaskEvent]:
    """What a run is made of: every task starts and succeeds."""
    made: list[TaskEvent] = []
    for index in range(TASKS):
        for kind, state, cause, own in (
            (TaskStarted, TaskState.RUNNING, "needs met", {"where": f"pid {4711 + index}"}),
            (TaskCompleted, TaskState.SUCCESS, "attempt ended", {"duration": 0.0123456, "exit_code": 0}),
        ):
            seq = len(made) + 1
            made.append(
                kind(
                    seq=seq, utc=1.7e9 + seq / 1000, offset=seq / 1000, run_id=RUN_ID, cause=cause,
                    task=f"t{index}", index=index, attempt=1, state=state, **own,
                )
            )  # fmt: skip
    return made


def plan() -> Plan:
    return Plan(
        name="journal",
        tasks=tuple(
            Task(name=f"t{index}", run="true", needs=tuple(Need(f"t{need}") for need in needs_of(index)))
            for index in range(TASKS)
        ),
    )


def report(rounds: int) -> str:
    """Measure, and return the table: the time of the process for each event, and of the slowest turn."""
    made, run = events(), plan()

    def plain(directory: Path) -> list[float]:
        connection = open_database(directory)
        connection.execute(TABLE)
        rows = [
            (event.seq, event.type, event.utc, event.offset, event.index, event.attempt, event.state.value,
             event.cause, '{"duration":0.0123456,"exit_code":0}')
            for event in made
        ]  # fmt: skip
        began = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        turns = [time.perf_counter() - began]
        connection.close()
        return turns

    def alone(size: int) -> Callable[[Path], list[float]]:
        def write(directory: Path) -> list[float]:
            connection = open_database(directory)
            rows = [
                row for first in range(0, len(made), size) for row in to_rows(1, made[first : first + size])
            ]
            turns = []
            for row in rows:
                began = time.perf_counter()
                connection.execute("INSERT INTO turns VALUES (?, ?)", row)
                turns.append(time.perf_counter() - began)
            connection.close()
            return turns

        return write

    def journal(size: int) -> Callable[[Path], list[float]]:
        def write(directory: Path) -> list[float]:
            turns = []
            with Journal.create(directory, RUN_ID, run) as journal:
                for first in range(0, len(made), size):
                    began = time.perf_counter()
                    journal.commit(made[first : first + size])
                    turns.append(time.perf_counter() - began)
                assert journal.missing == 0
            return turns

        return write

    contenders = [_contender(PLAIN, plain, len(made))]
    for size in TURNS:
        contenders.append(_contender(f"SQLite alone, {_turn(size)}", alone(size), len(made)))
        contenders.append(_contender(f"journal, {_turn(size)}", journal(size), len(made)))
    samples = interleave(contenders, rounds)
    floor = median(samples[PLAIN], "us")
    rows = [
        [
            who,
            f"{median(taken, 'us'):.1f}",
            f"{median(taken, 'us') / floor:.2f}",
            f"{median(taken, 'cpu_us'):.1f}",
            f"{median(taken, 'p50'):.3f}",
            f"{median(taken, 'worst'):.1f}",
        ]
        for who, taken in samples.items()
    ]
    return table(["", "µs an event", "ratio", "CPU µs an event", "median turn, ms", "slowest turn, ms"], rows)


def _turn(size: int) -> str:
    return f"{size:,} event{'s' * (size > 1)} a turn"


def _contender(name: str, work: Callable[[Path], list[float]], count: int) -> Contender:
    def run() -> Sample:
        with tempfile.TemporaryDirectory() as directory:
            wall, cpu = time.perf_counter(), time.process_time()
            turns = work(Path(directory))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        figures = {
            "us": sum(turns) / count * 1e6,
            "p50": sorted(turns)[len(turns) // 2] * 1e3,
            "worst": max(turns) * 1e3,
            "cpu_us": cpu / count * 1e6,
        }
        return Sample(wall, cpu, figures)

    return Contender(name, run)


if __name__ == "__main__":
    print(report(5))
