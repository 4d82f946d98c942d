"""The built-in executor "local": each task goes to the dispatcher for its kind, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from engine.core.inputs import AttemptOutcome
from engine.dispatch.base import Attempt, Output
from engine.dispatch.callable import CallableDispatcher
from engine.dispatch.process import ProcessDispatcher
from engine.dispatch.python import PythonDispatcher
from engine.dispatch.simulate import SimulateDispatcher
from engine.errors import PlanInvalid
from engine.plan.model import Plan


class LocalDispatcher:
    """speed: divides the time of simulated tasks. seed: makes their failures repeatable. callables: functions
    of this process, by what the `python` of tasks says."""

    def __init__(
        self,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        callables: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._process = ProcessDispatcher()
        self._simulate = SimulateDispatcher(speed=speed, seed=seed)
        self._callable = CallableDispatcher(callables or {})
        self._python = PythonDispatcher()
        self._entered = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._entered.enter_async_context(self._python)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._entered.aclose()

    async def prepare(self, plan: Plan) -> None:
        """Raises `PlanInvalid` if functions that the plan calls cannot be called as it says."""
        calls = [task for task in plan.tasks if task.python is not None and task.executor == "local"]
        if calls:
            here = self._callable
            faults = here.check(plan)
            faults += await self._python.check(plan, [task for task in calls if not here.has(task.python)])
            if faults:
                raise PlanInvalid(faults)

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        task = attempt.task
        if task.python is not None:
            dispatcher = self._callable if self._callable.has(task.python) else self._python
            return await dispatcher.run(attempt, output)
        if task.simulate is not None:
            return await self._simulate.run(attempt, output)
        return await self._process.run(attempt, output)
