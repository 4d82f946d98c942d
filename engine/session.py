"""`open_run`: the public way in. Hosts a run's engine for as long as a block of code lasts."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import anyio
from msgspec.structs import replace

from engine.clock import RunClock
from engine.completion import Completion
from engine.core.events import Event
from engine.core.inputs import Command, HookFinished, Now
from engine.core.records import Snapshot
from engine.core.scheduler import Scheduler
from engine.dispatch.base import TaskDispatcher
from engine.dispatch.executors import Executors, open_executors
from engine.ground.collector import collector_paused
from engine.ground.folders import run_directory, state_directory
from engine.ground.identity import new_run_id
from engine.logs.attempt import AttemptLog, attempt_log_path
from engine.monitor.stalls import StallWatch
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Plan
from engine.result import PlanResult
from engine.runner import Runner
from engine.secrets import mask_for
from engine.stream import DEFAULT_LIMIT, EventStream, Subscription
from engine.view.run_view import AUDIT_LIMIT

logger = logging.getLogger(__name__)


class Run:
    """An embedded run: a `RunHandle` whose engine lives in this process.

    Made by `open_run` alone. directory: where its logs are kept.
    """

    read_only = False
    is_recording = False
    playback = None

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        stream: EventStream,
        clock: RunClock,
        past: Sequence[Event] = (),
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._stream = stream
        self._clock = clock
        self.defect: Exception | None = None
        """What broke the engine, if anything did."""
        self.output_fault: str | None = None
        """The first thing that kept output of a task from disk, in one line."""
        self.directory = Path()
        self.graph: Graph = scheduler.graph
        self.plan: Plan = scheduler.graph.plan
        self.run_id = scheduler.run_id
        self._completion = Completion(self.plan, self.run_id)
        self._completion.listen(past)
        stream.listen(self._completion.listen)
        self._past = deque(past, AUDIT_LIMIT)
        stream.listen(self._past.extend)

    def now(self) -> Now:
        return self._clock.now()

    @collector_paused()
    def snapshot(self) -> Snapshot:
        return replace(self._scheduler.snapshot(), past=tuple(self._past))

    def subscribe(self, limit: int = DEFAULT_LIMIT) -> Subscription:
        return self._stream.subscribe(limit)

    async def send(self, command: Command) -> None:
        await self._runner.ask(command)

    def note(self, hook: HookFinished) -> None:
        """Write it into the audit trail that a hook has ended."""
        self._runner.post(hook)

    async def wait(self) -> PlanResult:
        return await self._completion.wait()

    async def idle(self) -> None:
        """Return when all has happened that can happen without time passing or anybody's doing."""
        await self._runner.idle()

    def log_path(self, index: int, attempt: int) -> Path:
        return attempt_log_path(self.directory, index, attempt)

    def last_line(self, index: int) -> str:
        flight = self._runner.flights.get(index)
        return flight.log.last_line if flight else self._runner.last_words.get(index, "")


@asynccontextmanager
async def open_run(
    plan: Plan,
    *,
    max_parallel: int | None = None,
    failure_mode: FailureMode | None = None,
    seed: int | None = None,
    speed: float = 1.0,
    directory: Path | None = None,
    dispatchers: Mapping[str, TaskDispatcher] | None = None,
    durations: Sequence[float | None] | None = None,
    run_id: str | None = None,
    past: Sequence[Event] = (),
    journal: Callable[[Sequence[Event]], None] | None = None,
    callables: Mapping[str, Callable[..., Any]] | None = None,
) -> AsyncIterator[Run]:
    """Run a plan for as long as the block lasts.

    max_parallel, failure_mode: over the plan's own. seed: makes jitter and simulated failures
    repeatable. speed: divides simulated time. directory: where logs go, by default a folder of this
    run in the user's state directory. dispatchers: by executor name, over the built-in "local".
    durations: seconds each task usually takes, None where that is not known, to start long paths first
    and to foretell the end. run_id: of its own accord a random one. past: the events of the same run
    until its engine ended: it goes on from there.
    journal: called with the events of each turn before anything that depends on them is started.
    callables: functions to be called in this process, by what the `python` of tasks says; all others are
    called in workers.

    Leaving the block cancels what still runs and returns when nothing of it is left, also when the
    block is left by an exception or is being cancelled. Raises `PlanInvalid` before anything starts,
    and `RuntimeError` from a defect of the engine itself. Should this process be killed, nobody stops
    what runs, unless `engine.host.launcher.launch` was called first of all.
    """
    opened = open_executors(plan, speed=speed, seed=seed, dispatchers=dispatchers, callables=callables)
    async with (
        opened as executors,
        run_on(
            executors,
            plan,
            max_parallel=max_parallel,
            failure_mode=failure_mode,
            seed=seed,
            directory=directory,
            durations=durations,
            run_id=run_id,
            past=past,
            journal=journal,
        ) as run,
    ):
        yield run


@asynccontextmanager
async def run_on(
    executors: Executors,
    plan: Plan,
    *,
    max_parallel: int | None = None,
    failure_mode: FailureMode | None = None,
    seed: int | None = None,
    directory: Path | None = None,
    durations: Sequence[float | None] | None = None,
    run_id: str | None = None,
    past: Sequence[Event] = (),
    journal: Callable[[Sequence[Event]], None] | None = None,
) -> AsyncIterator[Run]:
    """As `open_run`, on executors that somebody else has opened."""
    run_id = run_id or new_run_id()
    graph = Graph(plan)
    mask = mask_for(plan, os.environ)
    snapshot = _snapshot(graph, past, run_id) if past else None
    adopted = await executors.adopt(plan, snapshot) if snapshot else ()
    clock = RunClock(snapshot.offset if snapshot else 0.0)
    stream = EventStream()
    if journal is not None:
        stream.listen(journal)
    scheduler = Scheduler(
        graph,
        run_id,
        random=Random(seed),  # noqa: S311 -- jitter, not a secret
        max_parallel=max_parallel,
        failure_mode=failure_mode,
        durations=durations,
        snapshot=snapshot,
        adopted=adopted,
    )
    where = directory if directory is not None else run_directory(state_directory(), run_id)

    def note_fault(fault: str) -> None:
        run.output_fault = run.output_fault or fault

    def open_log(index: int, number: int, started: Callable[[str], None]) -> AttemptLog:
        return AttemptLog(where, index, number, clock.now, started, mask, note_fault)

    outputs_folder = str(where.absolute() / "outputs")

    def outputs_path(index: int, number: int) -> str:
        return f"{outputs_folder}/{index:06}-{number}"

    runner = Runner(scheduler, executors, stream, clock, open_log, outputs_path, mask)

    def life(index: int) -> float:
        flight = runner.flights.get(index)
        return flight.log.last_life if flight else 0.0

    run = Run(runner, scheduler, stream, clock, past)
    run.directory = where
    watch = StallWatch(plan, life, run.last_line)
    stream.listen(watch.listen)
    runner.watches.append(watch)

    failure: Exception | None = None
    async with anyio.create_task_group() as hosted:

        async def host() -> None:
            # shielded: a block that is cancelled must still find an engine that stops its processes
            with anyio.CancelScope(shield=True):
                try:
                    await runner.run()
                except Exception as defect:
                    logger.exception("the engine failed")
                    run.defect = _unwrap(defect)
                    hosted.cancel_scope.cancel()

        hosted.start_soon(host)
        try:
            yield run
        except Exception as error:
            failure = error  # raised again outside the group, which would wrap it
        finally:
            runner.close()
    if run.defect is not None:
        raise RuntimeError("the engine failed") from run.defect
    if failure is not None:
        raise failure


def _snapshot(graph: Graph, past: Sequence[Event], run_id: str) -> Snapshot:
    from engine.view.snapshot import snapshot_after  # here, for those who go on with a run

    return snapshot_after(graph, past, run_id)


def _unwrap(error: Exception) -> Exception:
    """What a task group has wrapped, if it was one thing."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
