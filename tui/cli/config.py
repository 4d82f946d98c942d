"""The commands about settings: which hold for a plan, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from tui.cli.loading import load
from tui.cli.plan_options import FailureModeChoice, param_option
from tui.plain.streams import emit

if TYPE_CHECKING:
    from engine.plan.levels import Effective
    from engine.plan.model import Plan

EXIT_USAGE: Final = 2
ROOM: Final = 30
"""Columns for a value, unless it is longer."""


@click.group()
def config() -> None:
    """Settings that hold for all your plans."""


@config.command()
def path() -> None:
    """Print where config.toml is read, whether or not there is one."""
    from engine.settings.reader import settings_path

    emit(str(settings_path()))


@config.command()
@click.argument("plan", type=click.Path())
@click.option("--task", metavar="NAME", help="All the settings of this task, not only those of its own.")
@click.option("--max-parallel", metavar="N", type=click.IntRange(1, 32), help="As for run.")
@click.option("--failure-mode", type=FailureModeChoice(), help="As for run.")
@click.option("--executor", metavar="NAME", help="As for run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, one for each setting.")
@param_option
def explain(
    plan: str,
    task: str | None,
    max_parallel: int | None,
    failure_mode: str | None,
    executor: str | None,
    as_json: bool,
    params: Mapping[str, str],
) -> int:
    """Print every setting of a plan and the level that it comes from.

    The levels, the strongest first: the command line, the task, the plan, the profile that the plan
    names, for executors the [[routes]] of config.toml, its [defaults], what is built in.
    """
    from engine.plan.levels import effective
    from engine.plan.model import FailureMode

    mode = FailureMode(failure_mode) if failure_mode else None
    loaded = load(plan, max_parallel=max_parallel, failure_mode=mode, executor=executor, params=params)
    if loaded is None:
        return EXIT_USAGE
    if task is not None and task not in (one.name for one in loaded.tasks):
        raise click.UsageError(f"there is no task {task!r} in {plan}")
    rows = [row for row in effective(loaded) if task is None or row.task in (None, task)]
    if as_json:
        emit("\n".join(map(_json_line, rows)))
    else:
        emit("\n".join(_lines(_blocks(loaded, rows, task))))
    return 0


def _blocks(plan: Plan, rows: list[Effective], task: str | None) -> dict[str, list[Effective]]:
    """What to print under which heading. With a task in mind, all that it has; else what each task has of its
    own, after what all the others have."""
    blocks: dict[str, list[Effective]] = {}
    common: set[tuple[str, str]] = set()
    for row in rows:
        heading = f"plan {row.scope or plan.name}"
        if row.task is not None:
            if task is not None or row.is_own:
                heading = f"task {row.task}"
            elif (row.scope, row.field) in common:
                continue
            else:
                heading = f"tasks of {heading}"
                common.add((row.scope, row.field))
        blocks.setdefault(heading, []).append(row)
    return blocks


def _lines(blocks: dict[str, list[Effective]]) -> Iterator[str]:
    from engine.ground.text import one_line
    from engine.plan.levels import plan_fields, task_fields

    fields = [*plan_fields(), *task_fields()]
    width = max(map(len, fields))
    spelled = {row: one_line(_spelled(row.field, row.value)) for rows in blocks.values() for row in rows}
    room = min(ROOM, max(map(len, spelled.values())))
    for number, (heading, rows) in enumerate(blocks.items()):
        if number:
            yield ""
        yield one_line(heading)
        for row in sorted(rows, key=lambda row: fields.index(row.field)):
            yield f"  {row.field:<{width}}  {spelled[row]:<{room}}  {row.level}"


def _spelled(field: str, value: Any) -> str:
    """A value as a plan spells it."""
    import signal

    from engine.plan.values import DURATIONS, spelled_duration

    if field in DURATIONS:
        return "never" if value is None else spelled_duration(value)
    if field == "shutdown.signal":
        return signal.Signals(value).name.removeprefix("SIG")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return "-" if value is None else str(value)


def _json_line(row: Effective) -> str:
    import json

    value = _spelled(row.field, row.value) if row.field == "shutdown.signal" else row.value
    return json.dumps(
        {"scope": row.scope, "task": row.task, "field": row.field, "value": value, "level": row.level}
    )
