"""Goals as text: a table of them, and one of them with its moves and its runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from engine.core.state import TaskState
from engine.ground.text import one_line
from engine.store.goals import GoalState
from engine.store.records import GoalMove, GoalRecord, RunRecord
from tui.plain.history_view import moment, runs_text, status_of
from tui.plain.ids import short_id
from tui.plain.marks import counted
from tui.plain.report import COLOURS, Style

SHAPES: Final[dict[GoalState, TaskState]] = {
    GoalState.PENDING: TaskState.PENDING,
    GoalState.ACTIVE: TaskState.RUNNING,
    GoalState.ACHIEVED: TaskState.SUCCESS,
    GoalState.FAILED: TaskState.FAILED,
    GoalState.ABANDONED: TaskState.CANCELLED,
}
"""Of a task in which state each has its shape and its colour."""


def goals_text(goals: Sequence[GoalRecord], style: Style) -> str:
    """A line a goal: how it stands, since when, how many runs it had and how the last one went."""
    rows = [_row(goal) for goal in goals]
    heads = ("STATE", "SINCE", "RUNS", "LAST RUN", "GOAL")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["  " + "  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()]
    for goal, row in zip(goals, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        colour = COLOURS.get(SHAPES[goal.state])
        cells[0] = style.paint(cells[0], colour)
        shape = style.paint(style.glyph(SHAPES[goal.state]), colour)
        lines.append(f"{shape} {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def goal_text(goal: GoalRecord, moves: Sequence[GoalMove], runs: Sequence[RunRecord], style: Style) -> str:
    """How it stands, every move that led there, its runs, and what to do next."""
    shape = SHAPES[goal.state]
    title = f"{style.glyph(shape)} {one_line(goal.goal)}: {goal.state}"
    lines = [style.paint(title, COLOURS.get(shape), bold=True)]
    for move in moves:
        by = f"run {short_id(move.run_id)}" if move.run_id else "abandoned by a person"
        lines.append(f"  {moment(move.utc)}  {move.state:<9}  {by}")
    if runs:
        more = f", of {goal.runs} the last" if goal.runs > len(runs) else ""
        lines += ["", f"{counted(len(runs), 'run')}{more}:", runs_text(runs, style)]
    if command := _next_command(goal):
        lines += ["", f"Next: {shlex.join(command)}"]
    return "\n".join(lines)


def _next_command(goal: GoalRecord) -> tuple[str, ...] | None:
    run = goal.last_run
    if run is None or goal.state in (GoalState.ACHIEVED, GoalState.ABANDONED):
        return None
    if run.holder is not None:
        return "plandeck", "attach", short_id(run.run_id)
    return "plandeck", "retry" if goal.state is GoalState.FAILED else "resume", short_id(run.run_id)


def _row(goal: GoalRecord) -> tuple[str, str, str, str, str]:
    run = goal.last_run
    last = "-" if run is None else f"{short_id(run.run_id)} {status_of(run).word}"
    return goal.state, moment(goal.since), str(goal.runs), last, one_line(goal.goal)
