"""The command line. Each command imports what it needs when it runs, so that `--help` is there at once."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import click

from tui.cli.config import config
from tui.cli.goals import goals
from tui.cli.history import HISTORY_COMMANDS
from tui.cli.loading import has_sound_calls, load, tell
from tui.cli.metrics_option import metrics_option
from tui.cli.plan_options import FailureModeChoice, param_option
from tui.cli.reopen import REOPEN_COMMANDS
from tui.plain.streams import emit as _print
from tui.plain.streams import has_terminal as _has_terminal

EXIT_USAGE: Final = 2
EXIT_CANCELLED: Final = 130
GRAPH_FORMATS: Final = ("text", "mermaid", "dot", "json")
SHELLS: Final = ("bash", "zsh", "fish")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def run_command_line(arguments: Sequence[str]) -> int:
    """Carry a command line out and return its exit code.

    0 success, 1 the plan failed, 2 bad usage or plan, 130 cancelled by a person, 128 + n ended by signal n.
    """
    _open_standard_streams()
    try:
        code = cli.main(list(arguments), prog_name="plandeck", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_CANCELLED
    except Exception as error:
        from engine.errors import PlanInvalid, SettingsInvalid  # here, for `--help` does not need them

        if not isinstance(error, PlanInvalid | SettingsInvalid):
            raise
        tell(error)
        return EXIT_USAGE
    return code if isinstance(code, int) else 0


def run_options(command: _Command) -> _Command:
    """What `run` and `demo` have in common."""
    slots = click.IntRange(1, 32)
    factor = click.FloatRange(min=0, min_open=True)
    options = (
        click.option("--max-parallel", metavar="N", type=slots, help="Run at most N tasks at once, 1 to 32."),
        click.option("--failure-mode", type=FailureModeChoice(), help="What one failure means for the rest."),
        click.option("--executor", metavar="NAME", help="Where all tasks run, over what the plan says."),
        click.option("--speed", metavar="X", type=factor, default=1.0, help="Divide simulated time by X."),
        click.option("--seed", metavar="N", type=int, help="Make simulated failures and jitter repeatable."),
        click.option("--plain", is_flag=True, help="Print a line a change; do not open the console."),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON event a line, and nothing else."
        ),
        click.option("--read-only", is_flag=True, help="Open the console to watch, not to steer."),
        click.option("--detach", is_flag=True, help="Give the shell back; the run goes on."),
        click.option("--verbose", "-v", is_flag=True, help="Write more into plandeck's own log of the run."),
        metrics_option,
        click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing."),
    )
    for option in reversed(options):
        command = option(command)
    return param_option(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="plandeck", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> int:
    """Run a plan, watch it, steer it.

    A plan is a YAML or JSON file of tasks and what each of them needs. On a terminal `plandeck run`
    opens the console; elsewhere it prints plain lines. `plandeck` alone opens a list of all runs.

    Exit codes: 0 success, 1 the plan failed, 2 bad usage or plan, 130 cancelled.
    """
    if context.invoked_subcommand is not None:
        return 0
    if not _has_terminal():
        if sys.stdout.isatty() and sys.stdin.isatty():
            click.echo("This terminal (TERM=dumb) shows no list; try: plandeck runs\n", err=True)
        raise click.exceptions.NoArgsIsHelpError(context)
    import anyio

    from tui.home import be_at_home
    from tui.preferences import users_preferences

    return anyio.run(be_at_home, users_preferences(), backend="asyncio")


@cli.command()
@click.argument("plan", type=click.Path())
@run_options
def run(plan: str, **options: Any) -> int:
    """Run a plan."""
    return _run(plan, ["run", plan], **options)


@cli.command()
@click.argument("plans", metavar="PLAN...", type=click.Path(), nargs=-1, required=True)
@param_option
def check(plans: tuple[str, ...], params: Mapping[str, str]) -> int:
    """Say whether plans can be run.

    Every mistake is printed as file:line:column: message.
    """
    from engine.ground.text import one_line
    from tui.plain.marks import counted

    code = 0
    for path in plans:
        if (plan := load(path, params=params)) and has_sound_calls(plan):
            tasks = plan.total
            subplans = f", {counted(len(plan.subplans), 'subplan')}" if plan.subplans else ""
            _print(f"{one_line(path)}: fine, {counted(tasks, 'task')}{subplans}")
        else:
            code = EXIT_USAGE
    return code


@cli.command()
@click.argument("plan", type=click.Path())
@click.option(
    "--format", type=click.Choice(GRAPH_FORMATS), default="text", show_default=True, help="What to print."
)
@param_option
def graph(plan: str, format: str, params: Mapping[str, str]) -> int:
    """Print the graph of a plan: who needs whom."""
    loaded = load(plan, params=params)
    if not loaded:
        return EXIT_USAGE
    from engine.plan.graph import Graph
    from tui.plain.graph_formats import FORMATS

    _print(FORMATS[format](Graph(loaded)))
    return 0


@cli.command()
def schema() -> None:
    """Print the JSON Schema of a plan.

    Editors complete and check plans with it.
    """
    import json

    from engine.plan.document import plan_schema

    _print(json.dumps(plan_schema(), indent=2))


@cli.command()
@click.argument("name", required=False)
@run_options
def demo(name: str | None, **options: Any) -> int:
    """Run a sample plan; without NAME list them."""
    from tui.samples import headline, sample_plans

    samples = sample_plans()
    if name is None:
        width = max(map(len, samples))
        for sample, path in samples.items():
            _print(f"{sample.ljust(width)}  {headline(path)}")
        _print("\nRun one: plandeck demo NAME")
        return 0
    if name not in samples:
        raise click.UsageError(f"there is no sample plan {name!r}; there are {', '.join(samples)}")
    return _run(str(samples[name]), ["demo", name], **options)


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  eval "$(plandeck completion bash)"     in ~/.bashrc
    zsh:   eval "$(plandeck completion zsh)"      in ~/.zshrc
    fish:  plandeck completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"completion for {shell} is not known here")
    _print(kind(cli, {}, "plandeck", "_PLANDECK_COMPLETE").source())


for command in (config, *HISTORY_COMMANDS, *REOPEN_COMMANDS, goals):
    cli.add_command(command)


def _run(
    path: str,
    again: list[str],
    *,
    params: Mapping[str, str],
    max_parallel: int | None,
    executor: str | None,
    failure_mode: str | None,
    speed: float,
    seed: int | None,
    plain: bool,
    as_json: bool,
    read_only: bool,
    detach: bool,
    metrics: tuple[str, int] | None,
    dry_run: bool,
    verbose: bool,
) -> int:
    if not math.isfinite(speed):
        raise click.UsageError("--speed must be a finite number")
    if plain and as_json:
        raise click.UsageError("--plain and --json exclude each other")
    if dry_run and as_json:
        raise click.UsageError("--dry-run has no events to print; try: plandeck graph PLAN --format json")
    from engine.plan.model import FailureMode

    mode = FailureMode(failure_mode) if failure_mode else None
    plan = load(path, params=params, max_parallel=max_parallel, failure_mode=mode, executor=executor)
    if not plan:
        return EXIT_USAGE
    if dry_run:
        from engine.plan.graph import Graph
        from tui.plain.graph_formats import as_dry_run

        _print(as_dry_run(Graph(plan)))
        return 0

    again = ["plandeck", *again, *(f"--param={name}={value}" for name, value in params.items())]
    for option, value in (
        ("--max-parallel", max_parallel),
        ("--executor", executor),
        ("--failure-mode", failure_mode),
        ("--speed", None if speed == 1 else f"{speed:g}"),
        ("--seed", seed),
    ):
        if value is not None:
            again += [option, str(value)]
    from tui.cli.reopen import host_run

    return host_run(
        plan,
        again=again,
        speed=speed,
        seed=seed,
        console=not plain and not as_json and _has_terminal(),
        json=as_json,
        read_only=read_only,
        detach=detach,
        verbose=verbose,
        metrics=metrics,
    )


def _open_standard_streams() -> None:
    """Whoever started us may have closed some. A file opened later must not take their place and be
    written to as if it were the output."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
