"""What a shell offers for the arguments RUN and TASK. Says and raises nothing: nobody has pressed Enter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

OFFERED: Final = 50


def runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The last runs by their short ids, with their plan and how they stand; and `last`."""
    from click.shell_completion import CompletionItem

    from engine.errors import PlandeckError
    from engine.ground.folders import state_directory
    from engine.ground.text import one_line
    from engine.store.history import History
    from tui.plain.history_view import status_of
    from tui.plain.ids import short_id

    try:
        with History(state_directory()) as history:
            records = history.runs(OFFERED)
    except (PlandeckError, OSError):
        return []
    ids = [record.run_id for record in records]
    items = [
        CompletionItem(
            short_id(record.run_id, ids), help=one_line(f"{record.plan}, {status_of(record).word}")
        )
        for record in records
    ]
    if items:
        items.append(CompletionItem("last", help="the newest run"))
    return [item for item in items if item.value.startswith(incomplete)]


def tasks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The tasks of the run that was named before."""
    from engine.errors import PlandeckError
    from engine.ground.folders import state_directory
    from engine.store.history import History

    try:
        with History(state_directory()) as history:
            plan = history.plan(history.find(context.params.get("run") or "last").run_id)
    except (PlandeckError, OSError):
        return []
    return [task.name for task in plan.tasks if task.name.startswith(incomplete)]
