"""`ReadOnlyRun`: a run that can be watched and not steered."""

from __future__ import annotations

from pathlib import Path

from engine.core.inputs import Command, Now
from engine.core.records import Snapshot
from engine.errors import CommandRefused
from engine.handle import Playback, RunHandle
from engine.plan.graph import Graph
from engine.plan.model import Plan
from engine.result import PlanResult
from engine.stream import DEFAULT_LIMIT, Subscription


class ReadOnlyRun:
    """A `RunHandle` that passes everything on but commands, which it refuses."""

    read_only = True

    def __init__(self, run: RunHandle) -> None:
        self._run = run

    @property
    def plan(self) -> Plan:
        return self._run.plan

    @property
    def graph(self) -> Graph:
        return self._run.graph

    @property
    def run_id(self) -> str:
        return self._run.run_id

    @property
    def is_recording(self) -> bool:
        return self._run.is_recording

    @property
    def playback(self) -> Playback | None:
        return self._run.playback

    def now(self) -> Now:
        return self._run.now()

    def snapshot(self) -> Snapshot:
        return self._run.snapshot()

    def subscribe(self, limit: int = DEFAULT_LIMIT) -> Subscription:
        return self._run.subscribe(limit)

    async def send(self, command: Command) -> None:
        raise CommandRefused("this console is read-only: start it without --read-only to steer")

    async def wait(self) -> PlanResult:
        return await self._run.wait()

    def log_path(self, index: int, attempt: int) -> Path:
        return self._run.log_path(index, attempt)

    def last_line(self, index: int) -> str:
        return self._run.last_line(index)
