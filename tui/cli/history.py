"""The commands over runs that are kept: runs, show, logs, attach, replay."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Final

import click

from tui.cli import completions
from tui.cli.kept_runs import NO_RUNS, find, open_history, plainly
from tui.plain.ids import short_id
from tui.plain.streams import emit, has_terminal, style_of

if TYPE_CHECKING:
    from engine.store.history import History
    from engine.store.records import RunRecord
    from tui.preferences import Preferences

EXIT_FAULT: Final = 2
_FACTOR: Final = click.FloatRange(min=0, min_open=True)
_COUNT: Final = click.IntRange(min=0)


def _seconds(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """A span as plans spell it."""
    if text is None:
        return None
    from engine.plan.values import duration

    try:
        return duration(text)
    except ValueError as mistake:
        raise click.BadParameter(f"{text!r} {mistake}", context, option) from None


@click.command()
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="List the last N."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, one for each run.")
@click.option("--prune", is_flag=True, help="Delete old runs with their logs, instead of listing any.")
@click.option("--keep", metavar="N", type=_COUNT, help="With --prune: delete all but the newest N.")
@click.option(
    "--older-than",
    metavar="AGE",
    callback=_seconds,
    help="With --prune: delete what ended longer ago, as in 30d.",
)
def runs(limit: int, as_json: bool, prune: bool, keep: int | None, older_than: float | None) -> int:
    """List the runs that are kept, newest first.

    A run that lives is never deleted.
    """
    has_bound = keep is not None or older_than is not None
    if prune and not has_bound:
        raise click.UsageError("--prune needs --keep N, --older-than AGE or both")
    if has_bound and not prune:
        raise click.UsageError("--keep and --older-than go with --prune")
    if prune and as_json:
        raise click.UsageError("--prune and --json exclude each other")
    with open_history() as history:
        if prune:
            return _prune(history, keep, older_than)
        records = history.runs(limit)
    if as_json:
        from tui.plain.history_json import run_line

        for record in records:
            emit(run_line(record))
    elif records:
        from tui.plain.history_view import runs_text

        emit(runs_text(records, style_of(sys.stdout)))
    else:
        click.echo(NO_RUNS, err=True)
    return 0


@click.command()
@click.argument("run", shell_complete=completions.runs)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def show(run: str, as_json: bool) -> int:
    """Tell how a run went: what failed and why, then every task.

    RUN is the id of a run, any beginning of it that no other has, or `last`.
    """
    from tui.plain.history_view import Kept

    with open_history() as history:
        kept = Kept.of(history, find(history, run))
    if as_json:
        from tui.plain.history_json import shown_line

        emit(shown_line(kept))
    else:
        from tui.plain.history_view import show_text

        emit(show_text(kept, style_of(sys.stdout)))
    return 0


@click.command()
@click.argument("run", shell_complete=completions.runs)
@click.argument("task", shell_complete=completions.tasks)
@click.option(
    "--attempt", metavar="N", type=click.IntRange(min=1), help="Of that attempt, instead of the last."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as more is printed, until the run ends.")
@click.option("-t", "--times", is_flag=True, help="Print before each line when it was printed.")
def logs(run: str, task: str, attempt: int | None, follow: bool, times: bool) -> int:
    """Print what a task has printed.

    On a terminal without what would drive it but for colours, elsewhere byte for byte.
    RUN is the id of a run, any beginning of it that no other has, or `last`.
    """
    from tui.cli.log_output import print_log

    with open_history() as history:
        print_log(history, find(history, run), task, attempt, follow=follow, times=times)
    return 0


@click.command()
@click.argument("run", required=False, shell_complete=completions.runs)
@click.option("--read-only", is_flag=True, help="Watch, and do not steer.")
def attach(run: str | None, read_only: bool) -> int:
    """Watch and steer a run that goes on in another process.

    RUN is the id of a run, any beginning of it that no other has, or `last`; without it, the newest
    run that goes on. Without a terminal a line is printed for each change.
    """
    with open_history() as history:
        record = find(history, run) if run is not None else _newest_alive(history)
        if record.holder is None:
            raise click.ClickException(_not_alive(record))
        directory = history.directory

    import anyio

    from tui.hosting.visit import visit_living

    console = _console()
    with plainly():
        return anyio.run(
            visit_living, directory, record, read_only, console, style_of(sys.stdout), style_of(sys.stderr),
            backend="asyncio",
        )  # fmt: skip


@click.command()
@click.argument("run", shell_complete=completions.runs)
@click.option("--speed", metavar="N", type=_FACTOR, default=1.0, help="So many times as fast as it was.")
def replay(run: str, speed: float) -> int:
    """Watch a run again as it was.

    RUN is the id of a run, any beginning of it that no other has, or `last`. Without a terminal a line
    is printed for each change.
    """
    if not math.isfinite(speed):
        raise click.UsageError("--speed must be a finite number")
    with open_history() as history:
        record = find(history, run)
        plan, events = history.plan(record.run_id), history.events(record.run_id)
        usual = history.expected(plan, speed=record.speed, before=record.number) or ()
        directory = history.directory
    if not events:
        raise click.ClickException(f"nothing has happened in run {record.run_id}, or nothing of it was kept")

    import anyio

    from tui.hosting.visit import visit_recorded

    console = _console()
    with plainly():
        return anyio.run(
            visit_recorded, directory, record, plan, events, usual, speed, console, style_of(sys.stdout),
            style_of(sys.stderr), backend="asyncio",
        )  # fmt: skip


HISTORY_COMMANDS: Final = (runs, show, logs, attach, replay)


def _console() -> Preferences | None:
    """How the console is wanted, None where none can be opened."""
    if not has_terminal():
        return None
    from tui.preferences import users_preferences

    return users_preferences()


def _prune(history: History, keep: int | None, older_than: float | None) -> int:
    from engine.ground.text import one_line
    from tui.plain.marks import counted

    pruned = history.prune(keep=keep, older_than=older_than)
    emit(f"deleted {counted(len(pruned.removed), 'run')}")
    for run_id in pruned.held:
        click.echo(f"kept {run_id}: it goes on", err=True)
    for fault in pruned.faults:
        click.echo(f"could not delete {one_line(fault)}", err=True)
    return EXIT_FAULT if pruned.faults else 0


def _newest_alive(history: History) -> RunRecord:
    records = history.runs(None)
    for record in records:
        if record.holder is not None:
            return record
    if not records:
        raise click.ClickException(NO_RUNS)
    raise click.ClickException("no run goes on now: `plandeck runs` lists those that are kept")


def _not_alive(record: RunRecord) -> str:
    from tui.plain.history_view import status_of

    name = short_id(record.run_id)
    if record.outcome is None:
        return (
            f"the engine of run {name} is gone: plandeck show {name} tells how far it came, "
            f"plandeck resume {name} goes on with it"
        )
    return f"run {name} has ended ({status_of(record).word}): plandeck show {name} tells how"
