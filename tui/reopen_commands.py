"""Going on with kept runs: `resume`, `retry`, `cancel`. What they need they import when they run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tui.streams import has_terminal, style_of

if TYPE_CHECKING:
    from engine.plan.model import Plan
    from engine.store.records import RunRecord

EXIT_USAGE: Final = 2

_Command = TypeVar("_Command", bound=Callable[..., Any])


def shown_options(command: _Command) -> _Command:
    """How a run that goes on is shown."""
    options = (
        click.option("--plain", is_flag=True, help="Print a line a change; do not open the console."),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON event a line, and nothing else."
        ),
        click.option("--detach", is_flag=True, help="Give the shell back; the run goes on."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("run", metavar="RUN")
@shown_options
def resume(run: str, plain: bool, as_json: bool, detach: bool) -> int:
    """Go on with a run that was interrupted or cancelled.

    RUN is its id, any beginning of it that no other has, or "last". What had finished stays finished;
    what was running runs again, and uses up no retry for it.
    """
    from engine.view.text import one_line

    record = _find(run)
    if record is None:
        return EXIT_USAGE
    first: Sequence[Any] = ()
    if record.outcome in ("cancelled", "interrupted"):
        first = _cut_off(record.run_id)
    elif record.outcome is not None:
        short = record.run_id[:8]
        hint = f"to run parts of it again: plandeck retry {short}"
        click.echo(f"plandeck: run {short} has ended: {record.outcome}; {hint}", err=True)
        return EXIT_USAGE
    if record.has_changed():
        click.echo(
            one_line(f"plandeck: {record.source} has changed since; the plan as it was then goes on"),
            err=True,
        )
    return _go_on(record.run_id, first, plain=plain, as_json=as_json, detach=detach)


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("task", required=False)
@click.option("--downstream", is_flag=True, help="Run all that comes after TASK again as well.")
@shown_options
def retry(run: str, task: str | None, downstream: bool, plain: bool, as_json: bool, detach: bool) -> int:
    """Run a task of an earlier run again; without TASK all that failed.

    What they alone had blocked runs as well.
    """
    from engine.core.inputs import Command, RetryFailed, RetryTask

    if downstream and task is None:
        raise click.UsageError("--downstream needs a TASK")
    record = _find(run)
    if record is None:
        return EXIT_USAGE
    command: Command = RetryFailed()
    if task is not None:
        names = _names(record.run_id)
        if task not in names:
            raise click.UsageError(f"there is no task {task!r} in run {record.run_id[:8]}")
        command = RetryTask(index=names.index(task), downstream=downstream)
    return _go_on(record.run_id, (command,), plain=plain, as_json=as_json, detach=detach)


def _go_on(run_id: str, first: Sequence[Any], *, plain: bool, as_json: bool, detach: bool) -> int:
    if plain and as_json:
        raise click.UsageError("--plain and --json exclude each other")
    return host_run(
        run_id,
        again=(),
        first=first,
        console=not plain and not as_json and has_terminal(),
        json=as_json,
        detach=detach,
    )


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--kill", is_flag=True, help="At once, without the grace periods.")
def cancel(run: str, kill: bool) -> int:
    """Cancel a run that goes on, wherever its console is."""
    import anyio

    from engine.core.inputs import CancelPlan
    from engine.errors import CommandRefused, PlandeckError
    from engine.host.attached import attach
    from engine.store.places import run_directory, socket_path, state_directory

    record = _find(run)
    if record is None:
        return EXIT_USAGE
    short = record.run_id[:8]
    if record.holder is None:
        ended = f"has ended: {record.outcome}" if record.outcome else "was interrupted: nothing of it runs"
        click.echo(f"plandeck: run {short} {ended}", err=True)
        return EXIT_USAGE

    async def send() -> None:
        async with attach(socket_path(run_directory(state_directory(), record.run_id))) as attached:
            await attached.send(CancelPlan(kill=kill))

    code = EXIT_USAGE
    try:
        anyio.run(send)
        code = 0
    except* (CommandRefused, PlandeckError) as errors:
        _tell(errors)
    if not code:
        click.echo(f"run {short} is being cancelled")
    return code


REOPEN_COMMANDS: Final = (resume, retry, cancel)


def _find(run: str) -> RunRecord | None:
    """The run meant, or None after it has been said why there is none."""
    from engine.errors import StoreError
    from engine.store.history import History
    from engine.store.places import state_directory
    from engine.view.text import one_line

    try:
        with History(state_directory()) as history:
            return history.find(run)
    except StoreError as error:
        click.echo(one_line(f"plandeck: {error}"), err=True)
        return None


def _cut_off(run_id: str) -> list[Any]:
    """The commands that run again what was cancelled, needed before needing."""
    from engine.core.inputs import RetryTask
    from engine.core.state import TaskState
    from engine.plan.graph import Graph
    from engine.store.history import History
    from engine.store.places import state_directory
    from engine.store.restore import snapshot_of

    with History(state_directory()) as history:
        graph = Graph(history.plan(run_id))
        tasks = snapshot_of(graph, history.events(run_id), run_id).tasks
    return [RetryTask(index=index) for index in graph.order if tasks[index].state is TaskState.CANCELLED]


def _names(run_id: str) -> list[str]:
    from engine.store.history import History
    from engine.store.places import state_directory

    with History(state_directory()) as history:
        return [task.name for task in history.plan(run_id).tasks]


def host_run(subject: Plan | str, **settings: Any) -> int:
    """Run a plan, or go on with a kept run, to its end."""
    import anyio

    from engine.errors import CommandRefused, StoreError
    from engine.host.launcher import can_detach
    from tui.host import Request, host
    from tui.preferences import users_preferences

    if settings.get("detach") and not can_detach():
        raise click.UsageError("--detach is not possible on this system")
    request = Request(
        subject, preferences=users_preferences() if settings.get("console") else None, **settings
    )
    code = EXIT_USAGE
    try:
        code = anyio.run(host, request, style_of(sys.stdout), style_of(sys.stderr), backend="asyncio")
    except* (StoreError, CommandRefused) as errors:
        _tell(errors)
    return code


def _tell(errors: BaseExceptionGroup[Exception]) -> None:
    from engine.view.text import one_line

    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _tell(error)
        else:
            click.echo(one_line(f"plandeck: {error}"), err=True)
