"""The commands over goals: what they are, how they came to where they stand, and giving one up."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Final

import click

from tui.cli.kept_runs import open_history
from tui.plain.streams import emit, style_of

if TYPE_CHECKING:
    from engine.store.records import GoalRecord

NO_GOALS: Final = "no goals yet: a plan with `goal:` has one"


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, one for each goal.")
@click.pass_context
def goals(context: click.Context, as_json: bool) -> int | None:
    """List the goals that plans were run for.

    The one that has moved last comes first. A goal is pending until a run begins it, active while one
    goes on, then achieved or failed; or it is abandoned.
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json goes with the list")
        return None
    with open_history() as history:
        known = history.goals()
    if as_json:
        from tui.plain.history_json import goal_line

        for goal in known:
            emit(goal_line(goal))
    elif known:
        from tui.plain.goal_view import goals_text

        emit(goals_text(known, style_of(sys.stdout)))
    else:
        click.echo(NO_GOALS, err=True)
    return 0


@goals.result_callback()
def _code(code: int | None, **_: object) -> int:
    """What a command of the group returns is its exit code."""
    return code or 0


@goals.command("show")
@click.argument("goal")
def show_goal(goal: str) -> int:
    """Tell how a goal came to where it stands, and which runs it had.

    GOAL is its text, or any beginning of it that no other has.
    """
    from tui.plain.goal_view import goal_text

    with open_history() as history:
        record = history.find_goal(goal)
        moves, runs = history.goal_moves(record), history.runs(goal=record.goal)
    emit(goal_text(record, moves, runs, style_of(sys.stdout)))
    return 0


@goals.command("abandon")
@click.argument("goal")
def abandon_goal(goal: str) -> int:
    """Give a goal up. A run towards it that goes on is left alone.

    GOAL is its text, or any beginning of it that no other has. The next run takes it up again.
    """
    from engine.ground.text import one_line

    with open_history() as history:
        record = history.find_goal(goal)
        history.abandon(record)
    emit(f"abandoned: {one_line(record.goal)}")
    if hint := _still_running(record):
        click.echo(hint, err=True)
    return 0


def _still_running(goal: GoalRecord) -> str:
    from tui.plain.ids import short_id

    run = goal.last_run
    if run is None or run.holder is None:
        return ""
    cancel = shlex.join(["plandeck", "cancel", short_id(run.run_id)])
    return f"run {short_id(run.run_id)} goes on; to stop it: {cancel}"
