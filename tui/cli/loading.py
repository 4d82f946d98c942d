"""Plans for commands: loaded with the user's settings behind them, or all that is wrong is printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.errors import PlanInvalid, SettingsInvalid
    from engine.plan.model import FailureMode, Plan


def load(
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    max_parallel: int | None = None,
    failure_mode: FailureMode | None = None,
    executor: str | None = None,
) -> Plan | None:
    """The plan in a file, or None after every fault has been printed.

    All others come from the command line, over what the plan and the settings say. params: by name.
    """
    from engine.errors import PlanInvalid, SettingsInvalid
    from engine.ground.text import one_line
    from engine.plan.document import ProfileSection
    from engine.plan.levels import NOTHING
    from engine.plan.load import load_plan
    from engine.settings.levels import levels_in
    from engine.settings.reader import read_settings

    given = {"max_parallel": max_parallel, "failure_mode": failure_mode, "executor": executor}
    given = {name: value for name, value in given.items() if value is not None}
    command_line = ProfileSection.model_validate(given) if given else NOTHING
    try:
        return load_plan(path, params=params, levels=levels_in(read_settings(), command_line))
    except (PlanInvalid, SettingsInvalid) as invalid:
        tell(invalid)
    except OSError as error:
        click.echo(one_line(f"{path}: {error.strerror or error}"), err=True)
    return None


def has_sound_calls(plan: Plan) -> bool:
    """Whether the functions that the plan calls are there and take what they are given. Says why not."""
    import anyio

    from engine.dispatch.local import LocalDispatcher
    from engine.errors import PlanInvalid

    async def check() -> None:
        async with LocalDispatcher() as local:
            await local.prepare(plan)

    if not any(task.python is not None for task in plan.tasks):
        return True
    try:
        anyio.run(check)
    except PlanInvalid as invalid:
        tell(invalid)
        return False
    return True


def tell(invalid: PlanInvalid | SettingsInvalid) -> None:
    """Print every fault, a line each."""
    from engine.ground.text import one_line

    for fault in invalid.faults:
        click.echo(one_line(str(fault)), err=True)
