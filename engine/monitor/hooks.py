"""`HookRunner`: calls the commands that a plan names for when it succeeds, fails, stalls or is unwell."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import anyio
import msgspec
from anyio import to_thread

from engine.core.events import Event, PlanCompleted
from engine.core.inputs import AttemptOutcome, HookFinished, Now, OutcomeKind
from engine.core.state import Outcome
from engine.dispatch.base import Attempt
from engine.dispatch.hook import HookDispatcher
from engine.ground.folders import make_folder
from engine.handle import RunHandle
from engine.logs.attempt import AttemptLog
from engine.monitor.evidence import evidence_of
from engine.monitor.facts import Facts, facts_of
from engine.monitor.monitor import Monitor
from engine.plan.model import Plan, Shutdown, Task
from engine.plan.rendering import Rendering, Unresolved
from engine.secrets import Mask
from engine.view.run_view import RunView
from engine.view.timing import short

logger = logging.getLogger(__name__)

UNHEALTHY: Final = 0.5
"""A run in which something has stalled is unhealthy when its health is below this."""

AT_ONCE: Final = 3
WAITING: Final = 100
"""Hooks that may run at the same time, and that may wait to: of more stalls at once nobody wants to hear."""

SHOWN: Final = 5
"""Faults that are told one by one."""

STOPPED: Final = "stopped at the end of the run"

GRACE: Final = 2.0
"""Seconds that a hook has which is stopped until it is killed."""

_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

_ENDS: Final = {
    Outcome.SUCCESS: "success",
    Outcome.FAILED: "failure",
    Outcome.INTERRUPTED: "failure",  # a person's own doing is no news to that person; the machine's is
}


class _Call(NamedTuple):
    """A hook to be run. task: index of the task that it is about; None for the whole run."""

    hook: str
    facts: Facts
    task: int | None
    view: RunView


class HookedRun(RunHandle, Protocol):
    """A run that has a place for the output of its hooks, and an audit trail that tells of them."""

    @property
    def directory(self) -> Path: ...

    def note(self, hook: HookFinished) -> None:
        """Write into the audit trail that a hook has ended."""


class HookRunner:
    """Observes a monitor, and runs hooks beside the run: it never holds it up, nor changes how it ends.

    A few run at once, each for a limited time, in the plan's directory; what they print, and what they
    were told, is kept in the folder `hooks` of the run. Made by `attend`.
    """

    def __init__(self, run: HookedRun, mask: Mask | None) -> None:
        self.faults: list[str] = []
        """What went wrong with which, in the order in which they ended."""
        self.not_run = 0
        """Calls that came while too many waited, or at the end of the run, when only its end matters."""
        self._run = run
        self._mask = mask
        self._hooks = run.plan.hooks
        self._folder = run.directory / "hooks"
        self._dispatcher = HookDispatcher()
        self._rendering = Rendering(run.graph, {}, dict(os.environ))
        self._waiting: deque[_Call] = deque()
        self._running = 0
        self._limits: set[anyio.CancelScope] = set()
        self._is_stopped = False
        self._stirred = anyio.Event()
        self._is_unhealthy = False
        self._number = 0
        monitor = Monitor()
        monitor.observe(self)
        self._following = monitor.follow(run)

    # ── what a monitor tells ────────────────────────────────────────────────────────────────────

    def joined(self, view: RunView, missed: int) -> None:
        """Nothing: what has stalled meanwhile is told by itself."""

    def happened(self, view: RunView, event: Event, latency: float) -> None:
        if isinstance(event, PlanCompleted) and (hook := _ENDS.get(event.outcome)):
            self._call(hook, view, None, event)

    def stalled(self, view: RunView, index: int) -> None:
        self._call("stall", view, index)

    def settled(self, view: RunView) -> None:
        """Whether the run is unhealthy, of which is told once until it recovers."""
        was, self._is_unhealthy = self._is_unhealthy, bool(view.stalled) and view.health < UNHEALTHY
        if self._is_unhealthy and not was:
            self._call("unhealthy", view, next(iter(view.stalled)))

    def left(self, view: RunView) -> None:
        """Nothing: what there was to say has been said."""

    def _call(self, hook: str, view: RunView, index: int | None, cause: Event | None = None) -> None:
        if getattr(self._hooks, hook) is None:
            return
        if len(self._waiting) >= WAITING or self._is_stopped:
            self.not_run += 1
            return
        self._waiting.append(_Call(hook, facts_of(self._run, view, hook, cause), index, view))
        self._stir()

    # ── running them ────────────────────────────────────────────────────────────────────────────

    async def follow(self) -> None:
        """Observe the run until it is closed."""
        await self._without_harm(self._following.last)

    async def work(self) -> None:
        """Run one hook after the other, for ever."""
        while True:
            while not self._waiting:
                await self._stirred.wait()
            call = self._waiting.popleft()
            self._running += 1
            await self._without_harm(partial(self._carry_out, call))
            self._running -= 1
            self._stir()

    async def _without_harm(self, function: Callable[[], Awaitable[None]]) -> None:
        """Whatever is wrong with hooks is nothing to the run."""
        try:
            await function()
        except Exception as defect:
            logger.exception("hooks are at fault")
            self.faults.append(f"a hook could not be run: {type(defect).__name__}: {defect}")

    async def finish(self) -> None:
        """Return when the hooks that run have ended, and those of the end of the run among them. Each has its
        time limit, so this has one. To be called once the run is complete."""
        with suppress(Exception):  # it has been told already that the run cannot be followed
            self._following.catch_up()
        of_the_end = deque(call for call in self._waiting if call.task is None)
        self.not_run += len(self._waiting) - len(of_the_end)
        self._waiting = of_the_end
        await self.idle()

    async def stop(self) -> None:
        """Stop the hooks that run, and call no more; return when they have ended, which takes no longer than
        their grace."""
        self._is_stopped = True
        self._waiting.clear()
        for limit in self._limits:
            limit.cancel()
        await self.idle()

    async def idle(self) -> None:
        """Return when no hook runs or waits to."""
        while self._waiting or self._running:
            await self._stirred.wait()

    def notes(self) -> list[str]:
        """What went wrong, in a few lines for people."""
        shown = self.faults[:SHOWN]
        if len(self.faults) > SHOWN:
            shown.append(f"and {len(self.faults) - SHOWN} more hooks failed")
        if self.not_run:
            shown.append(f"{self.not_run} more hooks were not run: too many at once, or too late")
        return shown

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = anyio.Event()

    async def _carry_out(self, call: _Call) -> None:
        began = anyio.current_time()
        facts = call.facts
        if call.task is not None:
            now = self._run.now().offset
            evidence = await to_thread.run_sync(evidence_of, self._run, call.view, call.task, now)
            facts = msgspec.structs.replace(facts, stall=evidence)
        path = await to_thread.run_sync(self._keep, call.hook, facts)
        log = _HookLog(path, self._mask)
        outcome: AttemptOutcome | None = None
        error: str | None = STOPPED
        limit = anyio.move_on_after(self._hooks.timeout)
        self._limits.add(limit)
        if self._is_stopped:  # while the evidence was being gathered
            limit.cancel()
        try:
            with limit:
                outcome = await self._dispatcher.run(self._attempt(call.hook, facts, path), log)
            if outcome is not None:
                error = None if outcome.kind is OutcomeKind.SUCCESS else outcome.error
            elif not self._is_stopped:
                error = f"not done after {short(self._hooks.timeout)}, and stopped"
        finally:
            self._limits.remove(limit)
            log.close()
            self._note(call, anyio.current_time() - began, outcome, error, log)

    def _attempt(self, hook: str, facts: Facts, path: Path | None) -> Attempt:
        task = Task(
            name=f"{hook} hook",
            run=getattr(self._hooks, hook),
            env=facts.variables(os.devnull if path is None else str(path)),
            shutdown=Shutdown(grace=GRACE),
        )
        return Attempt(self._plan(), task, 0, 1, self._run.run_id)

    def _plan(self) -> Plan:
        """With the values in its `env`, as its tasks have them."""
        try:
            return self._rendering.plan()
        except Unresolved:  # of which the failure of every task tells
            return msgspec.structs.replace(self._run.plan, env={})

    def _note(
        self,
        call: _Call,
        duration: float,
        outcome: AttemptOutcome | None,
        error: str | None,
        log: _HookLog,
    ) -> None:
        if error is not None:
            output = f"; its output: {log.path}" if log.size else ""
            self.faults.append(f"the {call.hook} hook failed: {error}{output}")
        about = "" if call.task is None else self._run.plan.tasks[call.task].name
        self._run.note(
            HookFinished(
                hook=call.hook,
                about=about,
                duration=duration,
                error=error,
                exit_code=None if outcome is None else outcome.exit_code,
            )
        )

    def _keep(self, hook: str, facts: Facts) -> Path | None:
        """Write the facts to a file of their own; None if that cannot be: then the hook has its variables."""
        data = msgspec.json.encode(facts) + b"\n"
        if self._mask is not None:
            data = self._mask.data(data)
        try:
            make_folder(self._folder)
            while True:
                self._number += 1
                path = self._folder / f"{self._number:03}-{hook}.json"
                try:
                    fd = os.open(path, _FILE, 0o600)
                except FileExistsError:  # of an engine that had the run before
                    continue
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                return path
        except OSError:
            return None


def _now() -> Now:
    return Now(time.monotonic(), time.time())


class _HookLog(AttemptLog):
    """The output of a hook, beside what it was told."""

    def __init__(self, facts: Path | None, mask: Mask | None) -> None:
        self._beside = Path(os.devnull) if facts is None else facts.with_suffix(".log")
        super().__init__(self._beside.parent, 0, 1, _now, lambda where: None, mask)

    @property
    def path(self) -> Path:
        return self._beside


@asynccontextmanager
async def attend(run: HookedRun, mask: Mask | None) -> AsyncIterator[HookRunner]:
    """Run the hooks of a run for as long as the block lasts; those that run at its end are stopped."""
    runner = HookRunner(run, mask)
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(runner.follow)
        for _ in range(AT_ONCE):
            group.start_soon(runner.work)
        try:
            yield runner
        except Exception as error:
            failure = error  # raised again outside the group, which would wrap it
        finally:
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
