"""`RunHandle`: all that a console or a reporter may know of a run, whichever kind of run it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from engine.core.inputs import Command, Now
from engine.core.records import Snapshot
from engine.plan.graph import Graph
from engine.plan.model import Plan
from engine.result import PlanResult
from engine.stream import Subscription


class Playback(Protocol):
    """The buttons of a run that happens again: time in it can be stopped, hastened and turned back."""

    @property
    def speed(self) -> float:
        """Virtual seconds a second."""

    @speed.setter
    def speed(self, speed: float) -> None: ...

    @property
    def is_paused(self) -> bool: ...

    @property
    def is_over(self) -> bool:
        """Whether all has happened that was recorded."""

    def pause(self) -> None:
        """Let time stand still."""

    def resume(self) -> None:
        """Let time go on."""

    def step(self, count: int = 1) -> None:
        """Pause, and go that many events on, or back if negative."""


class RunHandle(Protocol):
    """A run to watch and steer: embedded, attached or replayed."""

    @property
    def plan(self) -> Plan: ...

    @property
    def graph(self) -> Graph: ...

    @property
    def run_id(self) -> str: ...

    @property
    def read_only(self) -> bool:
        """Whether `send` refuses everything."""

    @property
    def is_recording(self) -> bool:
        """Whether this has been and is shown again: what it ran is no more."""

    @property
    def playback(self) -> Playback | None:
        """The buttons, if it happens again; None for a run that happens now."""

    def now(self) -> Now:
        """The run's present: the `offset` against which elapsed times are shown."""

    def snapshot(self) -> Snapshot:
        """The run as it stands, to start a `RunView` from."""

    def subscribe(self, limit: int = ...) -> Subscription:
        """Every event after this call (see `engine.stream`)."""

    async def send(self, command: Command) -> None:
        """Carry a command out. Raises `CommandRefused` with the reason if it makes no sense now."""

    async def wait(self) -> PlanResult:
        """Return when every task is terminal. A retry afterwards reopens the run: wait again."""

    def log_path(self, index: int, attempt: int) -> Path:
        """Where the attempt's output is kept, byte for byte. The file appears with the first byte."""

    def last_line(self, index: int) -> str:
        """The last line that the current attempt printed, or the last one if it failed, without control
        characters; "" if there is none."""
