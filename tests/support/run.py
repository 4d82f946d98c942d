"""`FakeRun`: a `RunHandle` without an engine. Tests say what happens, and see what was asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio

from engine.core.events import Event, PlanCompleted
from engine.core.inputs import Command, Now
from engine.core.records import Snapshot
from engine.core.state import RunPhase, TaskState
from engine.errors import CommandRefused
from engine.handle import Playback
from engine.plan.graph import Graph
from engine.plan.model import Need, Plan, Task
from engine.result import PlanResult
from engine.stream import DEFAULT_LIMIT, EventStream, Subscription
from engine.view.run_view import RunView
from engine.view.snapshot import snapshot_of
from tests.support.events import EPOCH, EventFactory


def plan_of(needs: dict[str, str | Sequence[str]], name: str = "release") -> Plan:
    """A plan of `true` tasks: each name with what it needs, several separated by blanks."""
    return Plan(
        name=name,
        tasks=tuple(
            Task(
                name=task,
                run="true",
                needs=tuple(Need(n) for n in (of.split() if isinstance(of, str) else of)),
            )
            for task, of in needs.items()
        ),
    )


class FakeRun:
    """Time stands still unless a test sets `offset`. Nothing happens that is not pushed.

    make: makes the events; `push` hands them out. commands: what was sent and accepted, in order.
    refusal: when set, every command is refused with it. last_lines: by index. logs are files under
    `directory`, written with `write_log`.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        directory: Path | None = None,
        read_only: bool = False,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        self.plan = plan
        self.graph = Graph(plan)
        self.run_id = "3f2a9c1e-0000-4000-8000-000000000000"
        self.read_only = read_only
        self.is_recording = False
        self.playback: Playback | None = None
        self.offset = 0.0
        self.make = EventFactory(self.graph, run_id=self.run_id)
        self.commands: list[Command] = []
        self.refusal = ""
        self.last_lines: dict[int, str] = {}
        self._directory = directory or Path("/nonexistent/logs")
        self._limit = limit
        self._stream = EventStream()
        self._view = RunView(self.graph, self.run_id)
        self._completed = anyio.Event()
        self._sent = anyio.Event()

    # ── for the test ────────────────────────────────────────────────────────────────────────────

    def push(self, *events: Event) -> None:
        """Let these happen now; time moves on to the last of them, never back."""
        self._view.apply(events)
        self.offset = max([self.offset, *(event.offset for event in events)])
        self._stream.publish(events)
        if any(isinstance(event, PlanCompleted) for event in events):
            self._completed.set()

    def start(self, *tasks: str) -> None:
        """The run begins, and these tasks with it."""
        self.push(self.make.plan_started(), *(self.make.started(task) for task in tasks))

    def finish(self) -> None:
        """All that is not over succeeds, and the run is complete."""
        for task, state in self.make.state.items():
            if not state.is_terminal:
                self.push(self.make.completed(task))
        self.push(self.make.plan_completed())

    def write_log(self, task: str, text: str | bytes, attempt: int = 1) -> Path:
        """Append to the log of an attempt."""
        path = self.log_path(self.graph.index_of[task], attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(text.encode() if isinstance(text, str) else text)
        return path

    async def sent(self, count: int = 1) -> list[Command]:
        """Wait until that many commands have been accepted in all; return them."""
        while len(self.commands) < count:
            await self._sent.wait()
        return self.commands

    def end_stream(self) -> None:
        """No event will come any more."""
        self._stream.end()

    # ── the handle ──────────────────────────────────────────────────────────────────────────────

    def now(self) -> Now:
        return Now(self.offset, EPOCH + self.offset)

    def snapshot(self) -> Snapshot:
        return snapshot_of(self._view, self.offset)

    def subscribe(self, limit: int = DEFAULT_LIMIT) -> Subscription:
        return self._stream.subscribe(min(limit, self._limit))

    async def send(self, command: Command) -> None:
        await anyio.lowlevel.checkpoint()
        if self.refusal or self.read_only:
            raise CommandRefused(self.refusal or "read-only")
        self.commands.append(command)
        self._sent.set()
        self._sent = anyio.Event()

    async def wait(self) -> PlanResult:
        await self._completed.wait()
        view = self._view
        if view.phase is not RunPhase.COMPLETE or view.outcome is None:
            raise AssertionError("completed without an outcome")
        counts = view.counts
        return PlanResult(
            run_id=self.run_id,
            plan=self.plan.name,
            outcome=view.outcome,
            duration=view.elapsed(self.offset),
            success=counts[TaskState.SUCCESS],
            failed=counts[TaskState.FAILED],
            skipped=counts[TaskState.SKIPPED],
            cancelled=counts[TaskState.CANCELLED],
            retried=0,
        )

    def log_path(self, index: int, attempt: int) -> Path:
        return self._directory / f"{index}-{attempt}.log"

    def last_line(self, index: int) -> str:
        return self.last_lines.get(index, "")
