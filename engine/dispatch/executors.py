"""The executors of a run: a dispatcher for each name, entered before the run begins, left after its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from engine.core.records import Snapshot
from engine.core.resumption import current_number
from engine.core.state import PENDING, TERMINAL
from engine.dispatch.base import AdoptingDispatcher, Attempt, Pretending, TaskDispatcher
from engine.dispatch.catalogue import make_dispatcher
from engine.dispatch.local import LocalDispatcher
from engine.plan.model import Plan


class Executors(dict[str, TaskDispatcher]):
    """By name. They are ready for use."""

    async def adopt(self, plan: Plan, snapshot: Snapshot) -> set[int]:
        """The tasks, by index, of which an executor still has the attempt that went on, or may have been
        about to, when the run was at that snapshot. Raises `ExecutorUnusable` if one cannot tell."""
        adopted: set[int] = set()
        for name, dispatcher in self.items():
            if isinstance(dispatcher, AdoptingDispatcher):
                attempts = [
                    Attempt(plan, task, index, current_number(known), snapshot.run_id)
                    for index, (task, known) in enumerate(zip(plan.tasks, snapshot.tasks, strict=True))
                    if task.executor == name and task.plan is None and known.state not in (PENDING, *TERMINAL)
                ]
                if attempts:
                    adopted.update(await dispatcher.adopt(attempts))
        return adopted


@asynccontextmanager
async def open_executors(
    plan: Plan,
    *,
    speed: float = 1.0,
    seed: int | None = None,
    dispatchers: Mapping[str, TaskDispatcher] | None = None,
    callables: Mapping[str, Callable[..., Any]] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    check: bool = True,
) -> AsyncIterator[Executors]:
    """speed, seed: of simulated tasks. callables: of the built-in executor "local". dispatchers: others, over
    the built-in ones; one that is an asynchronous context manager is entered here. options: by executor, for
    those that the plan names and that are made here (`engine.dispatch.catalogue`). check: the calls of
    `python` tasks.

    Raises `PlanInvalid` for calls that cannot be made as the plan says, and `ExecutorUnusable`. An executor
    that nothing is known of is no mistake: its tasks fail.
    """
    async with AsyncExitStack() as entered:
        executors = Executors(dispatchers or {})
        if "local" not in executors:
            local = LocalDispatcher(speed=speed, seed=seed, callables=callables)
            executors["local"] = local
        for name in sorted({task.executor for task in plan.tasks} - executors.keys()):
            made = make_dispatcher(name, (options or {}).get(name, {}))
            if isinstance(made, Pretending):
                made.pretend(speed=speed, seed=seed)
            if made is not None:
                executors[name] = made
        for dispatcher in executors.values():
            if isinstance(dispatcher, AbstractAsyncContextManager):
                await entered.enter_async_context(dispatcher)
            if check and isinstance(dispatcher, LocalDispatcher):
                await dispatcher.prepare(plan)
        yield executors
