"""Runs that are kept, as text: a table of them, and one of them with its diagnosis first."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from engine.core.records import AttemptRecord
from engine.core.state import Outcome, TaskState
from engine.ground.folders import run_directory
from engine.ground.text import one_line
from engine.logs.attempt import attempt_log_path, last_lines
from engine.plan.graph import Graph
from engine.store.history import History
from engine.store.records import Diagnosis, Failure, Gap, RunRecord
from engine.view.run_view import RunView
from engine.view.task_view import TaskView
from engine.view.timing import clock, short
from tui.plain.ids import short_id
from tui.plain.marks import MODE_WORDS, counted
from tui.plain.report import COLOURS, NAME_WIDTH, Style

SHOWN_TASKS: Final = 200
"""Of a larger plan only the tasks that have not succeeded are listed, and so many of them at most."""

SHOWN_FAILURES: Final = 50


class Status(NamedTuple):
    """How a run stands. word: one word. sentence: goes on from its name. state: gives shape and colour."""

    word: str
    sentence: str
    state: TaskState


_OUTCOMES: Final[dict[Outcome, Status]] = {
    Outcome.SUCCESS: Status("success", "succeeded", TaskState.SUCCESS),
    Outcome.FAILED: Status("failed", "failed", TaskState.FAILED),
    Outcome.CANCELLED: Status("cancelled", "was cancelled", TaskState.CANCELLED),
    Outcome.INTERRUPTED: Status("interrupted", "was interrupted", TaskState.CANCELLED),
}
_ALIVE: Final = Status("running", "is running", TaskState.RUNNING)
_DEAD: Final = Status("interrupted", "lost its engine", TaskState.CANCELLED)


class Kept(NamedTuple):
    """All that is kept of one run. view: after its last event. now: the offset to which times are shown.
    folder: where its logs are."""

    record: RunRecord
    diagnosis: Diagnosis
    view: RunView
    now: float
    gaps: Sequence[Gap]
    folder: Path

    @classmethod
    def of(cls, history: History, record: RunRecord) -> Kept:
        """Raises `StoreError`."""
        run_id = record.run_id
        view = RunView(Graph(history.plan(run_id)), run_id)
        events = history.events(run_id)
        view.apply(events)
        now = events[-1].offset if events else 0.0
        if events and status_of(record) is _ALIVE:
            now += max(0.0, time.time() - events[-1].utc)
        folder = run_directory(history.directory, run_id)
        return cls(record, history.diagnosis(run_id), view, now, history.gaps(run_id), folder)

    def log_path(self, index: int, attempt: int) -> Path:
        return attempt_log_path(self.folder, index, attempt)

    @property
    def next_command(self) -> tuple[str, ...] | None:
        """What whoever has read this will most likely want to do, as an argv; None if nothing is left."""
        record, name = self.record, short_id(self.record.run_id)
        if record.holder is not None:
            return "plandeck", "attach", name
        if record.outcome is Outcome.SUCCESS:
            return None
        if record.outcome is Outcome.FAILED:
            return "plandeck", "retry", name
        return "plandeck", "resume", name


def status_of(record: RunRecord) -> Status:
    """How a run stands, with what is known of the process that has it."""
    if record.outcome is not None:
        return _OUTCOMES[record.outcome]
    return _ALIVE if record.holder is not None else _DEAD


def moment(utc: float) -> str:
    """A time of day where the reader is, with the date. utc: seconds since the epoch."""
    return datetime.fromtimestamp(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


# ── the table of runs ───────────────────────────────────────────────────────────────────────────


def runs_text(records: Sequence[RunRecord], style: Style) -> str:
    """A line a run: its short id, how it stands, when it began, how long it took, its tasks and its plan."""
    ids = [record.run_id for record in records]
    rows = [_run_row(record, short_id(record.run_id, ids)) for record in records]
    heads = ("RUN", "STATE", "STARTED", "TOOK", "TASKS", "PLAN")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["  " + "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()]
    for record, row in zip(records, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        state = status_of(record).state
        cells[1] = style.paint(cells[1], COLOURS.get(state))
        lines.append(f"{style.paint(style.glyph(state), COLOURS.get(state))} {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def _run_row(record: RunRecord, name: str) -> tuple[str, str, str, str, str, str]:
    ended = record.success + record.failed + record.skipped + record.cancelled
    tasks = f"{ended}/{record.tasks}" + (f", {record.failed} failed" if record.failed else "")
    plan = one_line(record.plan, NAME_WIDTH)
    status = status_of(record)
    took = time.time() - record.created if status is _ALIVE else record.duration
    return name, status.word, moment(record.created), short(took), tasks, plan


# ── one run ─────────────────────────────────────────────────────────────────────────────────────


def show_text(kept: Kept, style: Style) -> str:
    """What went wrong first, then the counts, every task, and what to do next."""
    lines = [*_head(kept, style), *_warnings(kept, style), *_diagnosis(kept, style), *_tasks(kept, style)]
    if kept.next_command:
        lines += ["", f"Next: {shlex.join(kept.next_command)}"]
    return "\n".join(lines)


def _head(kept: Kept, style: Style) -> Iterator[str]:
    record = kept.record
    status = status_of(record)
    took = kept.view.elapsed(kept.now) if status is _ALIVE else record.duration
    span = f", {short(took)} so far" if status is _ALIVE else f" after {short(took)}"
    title = f"{style.glyph(status.state)} {one_line(record.plan)} {status.sentence}{span}"
    yield style.paint(title, COLOURS.get(status.state), bold=True)
    ended = f", ended {moment(record.ended)}" if record.ended is not None else ""
    yield f"  run {record.run_id}"
    yield f"  began {moment(record.created)}{ended}"
    slots = counted(record.max_parallel, "slot")
    seed = "" if record.seed is None else f", seed {record.seed}"
    speed = "" if record.speed == 1 else f", speed {record.speed:g}"
    yield f"  {slots}, {MODE_WORDS[record.failure_mode]}{seed}{speed}"
    if record.source is not None:
        yield f"  plan {one_line(record.source)}"
    if record.goal is not None:
        yield f"  goal {one_line(record.goal)}"
    if record.holder is not None:
        yield f"  in the hands of {record.holder}"


def _warnings(kept: Kept, style: Style) -> Iterator[str]:
    if kept.record.has_changed():
        said = "! the plan's file has changed since, or is gone: the run keeps the plan as it was"
        yield style.paint(said, "yellow")
    for gap in kept.gaps:
        events = f"event {gap.first} is" if gap.first == gap.last else f"events {gap.first} to {gap.last} are"
        yield style.paint(f"! {events} missing, so this may not be all: {one_line(gap.reason)}", "yellow")


def _diagnosis(kept: Kept, style: Style) -> Iterator[str]:
    diagnosis = kept.diagnosis
    if diagnosis.defect is not None:
        yield f"! the engine could not go on: {one_line(diagnosis.defect)}"
    detail = diagnosis.failed_task_detail
    if detail is None:
        return
    used = f"{detail.retry_count} of {detail.max_retries} retries used"
    yield ""
    yield f"failed_task_index   {diagnosis.failed_task_index}"
    yield f"failed_task_detail  {one_line(detail.name)} ({detail.type}): {one_line(detail.error)}; {used}"
    yield f"                    task id {detail.id}"
    for failure in diagnosis.failures[:SHOWN_FAILURES]:
        yield ""
        yield from _failure(kept, failure, style)
    if len(diagnosis.failures) > SHOWN_FAILURES:
        yield ""
        yield f"and {counted(len(diagnosis.failures) - SHOWN_FAILURES, 'more failure')}"


def _failure(kept: Kept, failure: Failure, style: Style) -> Iterator[str]:
    name = one_line(failure.detail.name)
    again = f" after {len(failure.attempts)} attempts" if len(failure.attempts) > 1 else ""
    title = f"{style.glyph(TaskState.FAILED)} {name} failed{again}: {one_line(failure.detail.error)}"
    yield style.paint(title, COLOURS[TaskState.FAILED], bold=True)
    for attempt in failure.attempts:
        yield f"    {_attempt(attempt, kept.view)}"
    if failure.attempts:
        log = kept.log_path(failure.index, failure.attempts[-1].number)
        lines = last_lines(log)
        for line in lines:
            yield f"    {'|' if style.ascii else '│'} {line}"
        if lines:
            yield f"    whole log: {log}"


def _attempt(attempt: AttemptRecord, view: RunView) -> str:
    began = clock(attempt.started - (view.started_at or 0.0))
    took = "" if attempt.ended is None else f", took {short(attempt.ended - attempt.started)}"
    error = "" if attempt.error is None else f": {one_line(attempt.error)}"
    return f"attempt {attempt.number} at {began}{took}{error}"


def _tasks(kept: Kept, style: Style) -> Iterator[str]:
    view = kept.view
    counts = ", ".join(f"{count} {state}" for state, count in view.counts.items() if count)
    retried = f"; {kept.record.retried} retried" if kept.record.retried else ""
    yield ""
    yield f"{counts or 'no tasks'}{retried}"
    tasks = view.tasks
    if len(tasks) > SHOWN_TASKS:
        tasks = [task for task in tasks if task.state is not TaskState.SUCCESS][:SHOWN_TASKS]
    width = min(NAME_WIDTH, max((len(one_line(task.name)) for task in tasks), default=0))
    for task in tasks:
        yield _task(kept, task, width, style)
    if len(tasks) < len(view.tasks):
        yield f"  and {len(view.tasks) - len(tasks)} more; --json lists them all"


def _task(kept: Kept, task: TaskView, width: int, style: Style) -> str:
    shape = style.paint(f"{style.glyph(task.state)} {task.state:<10}", COLOURS.get(task.state))
    elapsed = task.elapsed(kept.now)
    took = "-" if elapsed is None else short(elapsed)
    tries = f"{task.attempt}/{task.max_attempts}" if task.attempt else "-"
    line = f"  {shape} {one_line(task.name).ljust(width)}  {tries:<5} {took:<6} {why(kept, task)}"
    return line.rstrip()


def why(kept: Kept, task: TaskView) -> str:
    """Why the task stands where it stands, in one line; "" if there is nothing to explain."""
    if status_of(kept.record) is not _DEAD:
        return kept.view.why(task.index, kept.now)
    if task.state in (TaskState.RUNNING, TaskState.STOPPING):
        return "it ran when the engine ended"
    return kept.view.why(task.index, kept.now) if task.state.is_terminal else ""
