"""Going on with kept runs: `resume`, `retry`, `cancel`. What they need they import when they run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tui.cli import completions
from tui.cli.kept_runs import find, open_history, plainly
from tui.cli.metrics_option import metrics_option
from tui.plain.ids import short_id
from tui.plain.streams import has_terminal, style_of

if TYPE_CHECKING:
    from engine.plan.model import Plan
    from engine.store.history import History
    from engine.store.records import RunRecord

_CUT_OFF: Final = ("cancelled", "interrupted")
"""The outcomes of runs that can be gone on with."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def reopen_options(command: _Command) -> _Command:
    """How a run is gone on with."""
    options = (
        click.option("--plain", is_flag=True, help="Print a line a change; do not open the console."),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON event a line, and nothing else."
        ),
        click.option("--detach", is_flag=True, help="Give the shell back; the run goes on."),
        click.option("--anyway", is_flag=True, help="Also if not all that happened could be kept."),
        click.option("--verbose", "-v", is_flag=True, help="Write more into plandeck's own log of the run."),
        metrics_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("run", metavar="RUN", shell_complete=completions.runs)
@reopen_options
def resume(run: str, **options: Any) -> int:
    """Go on with a run that was interrupted or cancelled.

    RUN is its id, any beginning of it that no other has, or "last". What had finished stays finished;
    what was running runs again, and uses up no retry for it.
    """
    with open_history() as history:
        record = find(history, run)
        first = _cut_off(history, record) if record.outcome in _CUT_OFF else ()
    if record.outcome is not None and record.outcome not in _CUT_OFF:
        name = short_id(record.run_id)
        raise click.ClickException(
            f"run {name} has ended: {record.outcome}; to run parts of it again: plandeck retry {name}"
        )
    return _go_on(record, first, **options)


@click.command()
@click.argument("run", metavar="RUN", shell_complete=completions.runs)
@click.argument("task", required=False, shell_complete=completions.tasks)
@click.option("--downstream", is_flag=True, help="Run all that comes after TASK again as well.")
@reopen_options
def retry(run: str, task: str | None, downstream: bool, **options: Any) -> int:
    """Run again what failed in an earlier run, or one task of it.

    Without TASK all that failed runs again. What they alone had blocked runs as well. TASK may be a
    matrix: all its tasks run again.
    """
    from engine.core.inputs import Command, RetryFailed, RetryTask
    from engine.plan.graph import Graph

    if downstream and task is None:
        raise click.UsageError("--downstream needs a TASK")
    with open_history() as history:
        record = find(history, run)
        indices = [] if task is None else Graph(history.plan(record.run_id)).group(task)
    name = short_id(record.run_id)
    if task is not None and not indices:
        raise click.UsageError(f"there is no task {task!r} in run {name}")
    was_cut_off = record.outcome in _CUT_OFF and task is None and not record.failed
    if was_cut_off or (record.outcome is None and (record.holder is None or record.holder.is_gone)):
        word = record.outcome or "interrupted"
        raise click.ClickException(f"run {name} was {word}; to go on with it: plandeck resume {name}")
    commands: list[Command] = [RetryTask(index=index, downstream=downstream) for index in indices]
    return _go_on(record, commands or [RetryFailed()], **options)


def _go_on(
    record: RunRecord, first: Sequence[Any], *, anyway: bool, plain: bool, as_json: bool, **more: Any
) -> int:
    """more: goes on to the `Request`."""
    from engine.ground.text import one_line
    from tui.plain.marks import counted

    if plain and as_json:
        raise click.UsageError("--plain and --json exclude each other")
    if record.missing and not anyway:
        raise click.ClickException(
            f"{counted(record.missing, 'event')} of run {short_id(record.run_id)} could not be kept: what"
            " ended meanwhile is not known to have, and would run again; to go on all the same: --anyway"
        )
    if record.has_changed():
        click.echo(
            one_line(f"plandeck: {record.source} has changed since; the plan as it was then goes on"),
            err=True,
        )
    return host_run(
        record.run_id,
        again=(),
        first=first,
        console=not plain and not as_json and has_terminal(),
        json=as_json,
        **more,
    )


@click.command()
@click.argument("run", metavar="RUN", shell_complete=completions.runs)
@click.option("--kill", is_flag=True, help="At once, without the grace periods.")
def cancel(run: str, kill: bool) -> int:
    """Cancel a run that goes on, wherever its console is."""
    import anyio

    from engine.core.inputs import CancelPlan
    from engine.ground.folders import run_directory, socket_path
    from engine.host.attached import attach

    with open_history() as history:
        record = find(history, run)
        socket = socket_path(run_directory(history.directory, record.run_id))
    name = short_id(record.run_id)
    if record.holder is None:
        ended = f"has ended: {record.outcome}" if record.outcome else "was interrupted: nothing of it runs"
        raise click.ClickException(f"run {name} {ended}")

    async def send() -> None:
        async with attach(socket) as attached:
            await attached.send(CancelPlan(kill=kill))

    with plainly():
        anyio.run(send)
    click.echo(f"run {name} is being cancelled")
    return 0


REOPEN_COMMANDS: Final = (resume, retry, cancel)


def _cut_off(history: History, record: RunRecord) -> list[Any]:
    """The commands that run again what was cancelled, needed before needing."""
    from engine.core.inputs import RetryTask
    from engine.core.state import TaskState
    from engine.plan.graph import Graph
    from engine.view.snapshot import snapshot_after

    graph = Graph(history.plan(record.run_id))
    tasks = snapshot_after(graph, history.events(record.run_id), record.run_id).tasks
    return [RetryTask(index=index) for index in graph.order if tasks[index].state is TaskState.CANCELLED]


def host_run(subject: Plan | str, **settings: Any) -> int:
    """Run a plan, or go on with a kept run, to its end."""
    import anyio

    from engine.host.launcher import can_detach
    from engine.settings.reader import read_settings
    from tui.hosting.host import Request, host
    from tui.preferences import users_preferences

    if settings.get("detach") and not can_detach():
        raise click.UsageError("--detach is not possible here")
    with plainly():
        request = Request(
            subject,
            executors=read_settings().settings.executors,
            preferences=users_preferences() if settings.get("console") else None,
            **settings,
        )
        return anyio.run(host, request, style_of(sys.stdout), style_of(sys.stderr), backend="asyncio")
