"""The embedded engine of plandeck: runs a plan, streams events, takes commands.

    plan = load_plan("release.yaml")
    async with open_run(plan) as run:
        async for batch in run.subscribe():
            ...

Commands are in `engine.core.inputs`, events in `engine.core.events`. Names are loaded when they are
first used: importing one small part of the engine does not load all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.errors import CommandRefused, PlandeckError, PlanInvalid, RunFailed
    from engine.handle import RunHandle
    from engine.plan.load import load_plan, parse_plan
    from engine.plan.model import (
        Condition,
        FailureMode,
        Need,
        Plan,
        Retry,
        Shutdown,
        Simulation,
        Task,
    )
    from engine.result import PlanResult
    from engine.session import Run, open_run

__all__ = [
    "CommandRefused",
    "Condition",
    "FailureMode",
    "Need",
    "Plan",
    "PlanInvalid",
    "PlanResult",
    "PlandeckError",
    "Retry",
    "Run",
    "RunFailed",
    "RunHandle",
    "Shutdown",
    "Simulation",
    "Task",
    "load_plan",
    "open_run",
    "parse_plan",
]

_HOMES: Final = {
    "CommandRefused": "engine.errors",
    "PlandeckError": "engine.errors",
    "PlanInvalid": "engine.errors",
    "RunFailed": "engine.errors",
    "PlanResult": "engine.result",
    "RunHandle": "engine.handle",
    "load_plan": "engine.plan.load",
    "parse_plan": "engine.plan.load",
    "Run": "engine.session",
    "open_run": "engine.session",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "engine.plan.model")), name)
