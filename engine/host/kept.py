"""Runs that are kept: journaled, locked, and to be gone on with after their engine has ended."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from engine.core.events import Event
from engine.dispatch.base import TaskDispatcher
from engine.dispatch.executors import open_executors
from engine.errors import StoreError
from engine.ground.folders import run_directory, state_directory
from engine.ground.identity import new_run_id
from engine.host.launcher import hold
from engine.logs.program import program_log
from engine.plan.model import NO_HOOKS, FailureMode, Plan
from engine.secrets import Mask, mask_for
from engine.session import Run, run_on
from engine.store.history import History
from engine.store.journal import Journal
from engine.store.lock import RunHeld, RunLock

if TYPE_CHECKING:
    from engine.monitor.hooks import HookRunner

MOMENT: Final = 0.5
"""Seconds of waiting that are not worth a word."""

_LOOK_INTERVAL: Final = 0.02
"""Seconds between two looks at a lock that others still have: nobody tells when they let go of it."""


class KeptRun:
    """An embedded run and its journal. hooks: None if its plan has none. gone_on: whether an earlier engine
    had begun it."""

    def __init__(
        self,
        run: Run,
        journal: Journal | None,
        refused: str | None,
        hooks: HookRunner | None,
        *,
        gone_on: bool,
    ) -> None:
        self.run = run
        self.hooks = hooks
        self.gone_on = gone_on
        self._journal = journal
        self._refused = refused

    @property
    def fault(self) -> str | None:
        """What keeps the run from being kept whole, in one line; None if nothing does."""
        return self._refused if self._journal is None else self._journal.fault


@asynccontextmanager
async def open_kept_run(
    plan: Plan,
    *,
    state: Path | None = None,
    max_parallel: int | None = None,
    failure_mode: FailureMode | None = None,
    seed: int | None = None,
    speed: float = 1.0,
    dispatchers: Mapping[str, TaskDispatcher] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    verbose: bool = False,
) -> AsyncIterator[KeptRun]:
    """Run a plan as `open_run` does, and keep all that happens in a state directory.

    state: by default the user's own. A state directory that cannot be written is told in `fault`, and
    the run goes on without. What tasks took in past runs decides which long path starts first. verbose:
    of the log that plandeck itself keeps (`engine.logs.program`). options: of executors, by name.
    Raises `PlanInvalid` as `open_run` does, also for a plan that holds one of its secrets.
    """
    mask = mask_for(plan, os.environ)  # before anything of the plan is kept
    state = state or state_directory()
    run_id = new_run_id()
    refused: str | None = None
    journal: Journal | None = None
    async with AsyncExitStack() as held:
        executors = await held.enter_async_context(
            # before anything is kept: a plan that cannot be run leaves nothing
            open_executors(plan, speed=speed, seed=seed, dispatchers=dispatchers, options=options)
        )
        try:
            hold(held.enter_context(RunLock(run_directory(state, run_id))).fileno())
            journal = held.enter_context(
                Journal.create(
                    state,
                    run_id,
                    plan,
                    max_parallel=max_parallel,
                    failure_mode=failure_mode,
                    seed=seed,
                    speed=speed,
                )
            )
        except StoreError as error:
            refused = str(error)
        folder = run_directory(state, run_id)
        tell = held.enter_context(program_log(folder, run_id, verbose=verbose, mask=mask))
        async with (
            run_on(
                executors,
                plan,
                max_parallel=max_parallel,
                failure_mode=failure_mode,
                seed=seed,
                directory=folder,
                durations=_expected(state, plan, speed),
                run_id=run_id,
                journal=_each(journal.commit, tell) if journal else tell,
            ) as run,
            _attended(run, mask) as hooks,
        ):
            yield KeptRun(run, journal, refused, hooks, gone_on=False)


@asynccontextmanager
async def reopen_run(
    run_id: str,
    *,
    state: Path | None = None,
    dispatchers: Mapping[str, TaskDispatcher] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    on_wait: Callable[[str], None] | None = None,
    verbose: bool = False,
) -> AsyncIterator[KeptRun]:
    """Go on with a run whose engine has ended, with the plan and the settings that it had.

    What had finished stays finished; what was running runs again, without using up a retry. A run that is
    complete waits for commands. While a guardian still ends what a killed engine has left, it is waited for;
    on_wait: called with the reason if that takes longer than a moment. Raises `RunHeld` if another engine has
    the run, and `StoreError` if there is no such run or it cannot be read.
    """
    state = state or state_directory()
    async with AsyncExitStack() as held:
        lock = RunLock(run_directory(state, run_id))
        await _acquire(lock, on_wait)
        held.callback(lock.release)
        hold(lock.fileno())
        journal = held.enter_context(Journal.reopen(state, run_id))
        past, seed, speed = _past(state, run_id)
        folder = run_directory(state, run_id)
        mask = mask_for(journal.plan, os.environ)
        tell = held.enter_context(program_log(folder, run_id, verbose=verbose, mask=mask))
        plan = journal.plan
        executors = await held.enter_async_context(
            open_executors(
                plan, speed=speed, seed=seed, dispatchers=dispatchers, options=options, check=False
            )
        )
        async with (
            run_on(
                executors,
                plan,
                seed=seed,
                directory=folder,
                durations=_expected(state, plan, speed),
                run_id=run_id,
                past=past,
                journal=_each(journal.commit, tell),
            ) as run,
            _attended(run, mask) as hooks,
        ):
            yield KeptRun(run, journal, None, hooks, gone_on=True)


@asynccontextmanager
async def _attended(run: Run, mask: Mask | None) -> AsyncIterator[HookRunner | None]:
    if run.plan.hooks == NO_HOOKS:
        yield None
        return
    from engine.monitor.hooks import attend  # here, for those who have any

    async with attend(run, mask) as hooks:
        yield hooks


async def _acquire(lock: RunLock, on_wait: Callable[[str], None] | None) -> None:
    """Take the lock, as soon as nothing is left of an engine that was killed."""
    said_at = anyio.current_time() + MOMENT
    while True:
        try:
            lock.acquire()
        except RunHeld as held:
            if not held.holder.is_gone:
                raise
        else:
            return
        if on_wait is not None and anyio.current_time() >= said_at:
            on_wait("the engine of this run was killed; waiting until what it had started has ended")
            said_at = math.inf
        await anyio.sleep(_LOOK_INTERVAL)


def _each(*listeners: Callable[[Sequence[Event]], None]) -> Callable[[Sequence[Event]], None]:
    """Tells each of them, in their order."""

    def tell(events: Sequence[Event]) -> None:
        for listener in listeners:
            listener(events)

    return tell


def _past(state: Path, run_id: str) -> tuple[list[Event], int | None, float]:
    with History(state) as history:
        record = history.find(run_id)
        return history.events(run_id), record.seed, record.speed


def _expected(state: Path, plan: Plan, speed: float) -> list[float | None] | None:
    """What the tasks took in past runs. Not worth a word if it cannot be read: it decides
    the order, and how long the run is said to take."""
    try:
        with History(state) as history:
            return history.expected(plan, speed=speed)
    except StoreError:
        return None
