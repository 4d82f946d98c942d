"""What the commands over kept runs share: the history, the run that is meant, and how a fault is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from engine.errors import PlandeckError
    from engine.store.history import History
    from engine.store.records import RunRecord

NO_RUNS: Final = "no runs yet: `plandeck run PLAN` makes one"


@contextmanager
def open_history() -> Iterator[History]:
    """The history of this user. What is wrong with it, or is asked of it, is told in one line."""
    from engine.ground.folders import state_directory
    from engine.store.history import History

    with plainly(), History(state_directory()) as history:
        yield history


def find(history: History, run: str) -> RunRecord:
    """The run that is meant. Raises `StoreError` if there is none, or several."""
    if not history.runs(1):
        raise click.ClickException(NO_RUNS)
    return history.find(run)


@contextmanager
def plainly() -> Iterator[None]:
    """Tell in one line what is wrong, and end the command with exit code 2."""
    from engine.errors import PlandeckError, PlanInvalid, SettingsInvalid
    from engine.ground.text import one_line

    fault: PlandeckError | None = None
    try:
        yield
    except* PlandeckError as faults:
        fault = _first(faults)
    # raised within except*, it would be wrapped
    if isinstance(fault, PlanInvalid | SettingsInvalid):
        raise fault  # told elsewhere, a line for each mistake
    if fault is not None:
        raise click.ClickException(one_line(str(fault))) from fault


def _first(faults: BaseExceptionGroup[PlandeckError]) -> PlandeckError:
    first = faults.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
