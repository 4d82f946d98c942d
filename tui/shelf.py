"""What the list of runs shows: runs that go on or are kept, and plans that can be run."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from engine.core.state import Outcome, TaskState
from engine.ground.text import one_line
from engine.store.history import History
from engine.store.records import RunRecord
from engine.view.timing import short
from tui.plain.history_view import status_of
from tui.plain.ids import short_id
from tui.plain.marks import counted
from tui.samples import headline, sample_plans

SHOWN_RUNS: Final = 200
SHOWN_PLANS: Final = 50
LOOKED_AT: Final = 64 * 1024
"""Bytes of a file that are looked at to tell whether it is a plan."""

_TASKS: Final = re.compile(rb"""^\s*["']?tasks["']?\s*:""", re.MULTILINE)


class RunEntry(NamedTuple):
    """A run, as one line of the list. state: gives shape and colour. started, took, tasks: as text. next:
    what can be done with it, "" if nothing: attach, resume or retry."""

    run_id: str
    name: str
    state: TaskState
    word: str
    started: str
    took: str
    tasks: str
    plan: str
    next: str
    note: str


class PlanEntry(NamedTuple):
    """A plan that can be run. path: of its file. command: the argv after `plandeck` that runs it."""

    name: str
    about: str
    path: Path
    command: tuple[str, ...]


class Shelf(NamedTuple):
    """All of it, in the order in which it is shown: first what goes on, then what was interrupted, then
    the rest, the newest first."""

    runs: Sequence[RunEntry] = ()
    plans: Sequence[PlanEntry] = ()


def take_stock(state: Path, folder: Path) -> Shelf:
    """state: the state directory. folder: where plan files are looked for. Reads files; raises
    `StoreError` if the runs cannot be read."""
    with History(state) as history:
        records = history.runs(SHOWN_RUNS)
    ids = [record.run_id for record in records]
    now = time.time()
    entries = [_run(record, short_id(record.run_id, ids), now) for record in records]
    entries.sort(key=_rank)
    return Shelf(entries, [*_plan_files(folder), *_samples()])


def why(state: Path, run_id: str) -> str:
    """What went wrong in a run, in one line; "" if nothing did. Raises `StoreError`."""
    with History(state) as history:
        diagnosis = history.diagnosis(run_id)
    if diagnosis.defect is not None:
        return f"ended by a defect: {one_line(diagnosis.defect)}"
    if not diagnosis.failures:
        return ""
    detail = diagnosis.failures[0].detail
    more = len(diagnosis.failures) - 1
    return f"{one_line(detail.name)} failed: {one_line(detail.error)}" + (
        f" (and {more} more)" if more else ""
    )


def _rank(entry: RunEntry) -> int:
    if entry.next == "attach":
        return 0
    return 1 if entry.word == "interrupted" else 2


def _run(record: RunRecord, name: str, now: float) -> RunEntry:
    status = status_of(record)
    is_alive = record.holder is not None
    ended = record.success + record.failed + record.skipped + record.cancelled
    took = now - record.created if is_alive and record.outcome is None else record.duration
    if is_alive:
        can, note = "attach", f"in the hands of {record.holder}"
    elif record.outcome is Outcome.SUCCESS:
        can, note = "", ""
    elif record.outcome is Outcome.FAILED:
        can, note = "retry", ""
    else:
        left = counted(record.tasks - record.success, "task")
        can, note = "resume", f"{name} {status.sentence}; {left} left to do"
    return RunEntry(
        run_id=record.run_id,
        name=name,
        state=status.state,
        word=status.word,
        started=_moment(record.created, now),
        took=short(took),
        tasks=f"{ended}/{record.tasks}" + (f" {record.failed} failed" if record.failed else ""),
        plan=one_line(record.plan),
        next=can,
        note=note,
    )


def _moment(utc: float, now: float) -> str:
    """The time of day, or the date if it was another day."""
    then, today = datetime.fromtimestamp(utc).astimezone(), datetime.fromtimestamp(now).astimezone()
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d")


def _plan_files(folder: Path) -> list[PlanEntry]:
    """Files in the folder itself that look like plans."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml", ".json"))
    except OSError:
        return []
    return [
        PlanEntry(one_line(path.name), _comment(path) or "in this directory", path, ("run", str(path)))
        for path in found[: 2 * SHOWN_PLANS]
        if _looks_like_a_plan(path)
    ][:SHOWN_PLANS]


def _looks_like_a_plan(path: Path) -> bool:
    try:
        if not path.is_file():  # to open a pipe would be to wait
            return False
        with path.open("rb") as file:
            return _TASKS.search(file.read(LOOKED_AT)) is not None
    except OSError:
        return False


def _comment(path: Path) -> str:
    """The first line, if it is a comment."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            line = file.readline(LOOKED_AT)
    except OSError:
        return ""
    return one_line(line.lstrip("# ")) if line.startswith("#") else ""


def _samples() -> list[PlanEntry]:
    return [
        PlanEntry(name, f"sample: {one_line(headline(path))}", path, ("demo", name))
        for name, path in sample_plans().items()
    ]
