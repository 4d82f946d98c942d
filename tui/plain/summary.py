"""The closing summary: how a run ended, what did not succeed and why, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from engine.core.state import Outcome, TaskState
from engine.ground.text import one_line
from engine.logs.attempt import LINE_WIDTH, last_lines
from engine.result import PlanResult
from engine.view.run_view import RunView
from engine.view.task_view import TaskView
from engine.view.timing import short
from tui.plain.ids import short_id
from tui.plain.marks import counted
from tui.plain.report import COLOURS, Style

SHOWN_FAILURES: Final = 10
SHOWN_OTHERS: Final = 5

_OUTCOMES: Final[dict[Outcome, tuple[str, TaskState]]] = {
    Outcome.SUCCESS: ("succeeded", TaskState.SUCCESS),
    Outcome.FAILED: ("failed", TaskState.FAILED),
    Outcome.CANCELLED: ("was cancelled", TaskState.CANCELLED),
    Outcome.INTERRUPTED: ("was interrupted", TaskState.CANCELLED),
}


def summary(
    result: PlanResult,
    view: RunView,
    log_path: Callable[[int, int], Path],
    last_line: Callable[[int], str],
    again: Sequence[str],
    style: Style,
    *,
    is_kept: bool = True,
    notes: Sequence[str] = (),
) -> str:
    """The whole text, failures last.

    view: the run as it ended. log_path: from task index and attempt to the log. last_line: what a
    task has printed last, where its log could not be kept. again: the command line that runs the plan again,
    as an argv. is_kept: whether the run can be gone on with.
    notes: what went wrong beside the run, a line each.
    """
    lines = [*_headline(result, view, style), *_others(view, style)]
    lines += [f"  {style.paint(f'! {one_line(note)}', 'yellow')}" for note in notes]
    failures = [view.tasks[index] for index in view.failures]
    for task in failures[:SHOWN_FAILURES]:
        lines += ["", *_failure(task, log_path(task.index, task.attempt), last_line(task.index), style)]
    if len(failures) > SHOWN_FAILURES:
        lines += ["", f"and {counted(len(failures) - SHOWN_FAILURES, 'more failure')}"]
    if result.diagnosis:
        lines += ["", f"The engine could not go on: {one_line(result.diagnosis)}"]
    if result.outcome is not Outcome.SUCCESS:
        lines.append("")
        if is_kept:
            lines.append(_go_on(result))
        if again:
            lines.append(f"To run it again: {shlex.join(again)}")
    return "".join(f"{line}\n" for line in lines)


def _go_on(result: PlanResult) -> str:
    if result.outcome is Outcome.FAILED:
        return f"To run what failed again: plandeck retry {short_id(result.run_id)}"
    return f"To go on with it: plandeck resume {short_id(result.run_id)}"


def _headline(result: PlanResult, view: RunView, style: Style) -> Iterator[str]:
    verb, state = _OUTCOMES[result.outcome]
    tolerated = sum(task.tolerated for task in view.tasks)
    aside = f", with {counted(tolerated, 'tolerated failure')}" if tolerated else ""
    title = f"{style.glyph(state)} {one_line(result.plan)} {verb} after {short(result.duration)}{aside}"
    counts = ", ".join(
        f"{count} {state}" for state in TaskState if state.is_terminal and (count := view.counts[state])
    )
    retried = f"; {result.retried} retried" if result.retried else ""
    yield ""
    yield style.paint(title, COLOURS[state], bold=True)
    yield f"  {counts or 'no tasks'}{retried}; run {result.run_id}"


def _others(view: RunView, style: Style) -> Iterator[str]:
    """What neither succeeded nor failed, a few of each with the reason."""
    tolerated = [task for task in view.tasks if task.tolerated]
    skipped = [task for task in view.tasks if task.state is TaskState.SKIPPED and not task.tolerated]
    cancelled = [task for task in view.tasks if task.state is TaskState.CANCELLED]
    for tasks, what in ((skipped, "skipped"), (cancelled, "cancelled"), (tolerated, "tolerated")):
        for task in tasks[:SHOWN_OTHERS]:
            reason = task.error if task.tolerated else task.reason
            because = "" if not reason or reason == what else f": {one_line(reason)}"
            yield f"  {_painted(task, what, style)} {one_line(task.name)}{because}"
        if len(tasks) > SHOWN_OTHERS:
            yield f"  and {len(tasks) - SHOWN_OTHERS} more {what}"


def _painted(task: TaskView, word: str, style: Style) -> str:
    return style.paint(f"{style.glyph(task.state)} {word:<9}", COLOURS[task.state])


def _failure(task: TaskView, log: Path, last_line: str, style: Style) -> Iterator[str]:
    attempts = f" after {task.attempt} attempts" if task.attempt > 1 else ""
    title = f"{style.glyph(TaskState.FAILED)} {one_line(task.name)} failed{attempts}"
    yield f"{style.paint(title, 'red', bold=True)}: {one_line(task.error or 'no reason given')}"
    lines = last_lines(log)
    for line in lines or filter(None, [one_line(last_line, LINE_WIDTH)]):
        yield f"    {'|' if style.ascii else '│'} {line}"
    if lines:
        yield f"    whole log: {log}"
