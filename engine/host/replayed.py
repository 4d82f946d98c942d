"""`replay`: a recorded run, happening again in a time of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate
from pathlib import Path
from typing import Final

import anyio

from engine.completion import Completion
from engine.core.events import Event, PlanCompleted
from engine.core.inputs import Command, Now
from engine.core.records import AttemptRecord
from engine.errors import CommandRefused, PlandeckError
from engine.host.mirror import Mirror
from engine.logs.times import LogTimes
from engine.plan.graph import Graph
from engine.plan.model import Plan
from engine.result import PlanResult
from engine.view.run_view import RunView

REFUSAL: Final = "this is a recording: it can be watched, not steered"


class RecordingEnds(PlandeckError):
    """The recording ends before its run is complete."""


@asynccontextmanager
async def replay(
    plan: Plan,
    run_id: str,
    events: Iterable[Event],
    *,
    directory: Path,
    speed: float = 1.0,
    usual: Sequence[float | None] = (),
) -> AsyncIterator[ReplayedRun]:
    """Show a recorded run, from its first event on, for as long as the block lasts.

    events: all of the run, in their order. directory: where its logs are. speed: virtual seconds a second,
    more than 0. usual: seconds that each task took in the runs before, None where they do not tell.
    """
    run = ReplayedRun(plan, run_id, events, directory, speed, usual)
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(run.play)
        try:
            yield run
        except Exception as error:
            failure = error  # raised again outside the group, which would wrap it
        finally:
            run.end()
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure


class ReplayedRun(Mirror):
    """A `RunHandle` of a run that has been, with a tape's buttons. Made by `replay` alone.

    Time is virtual: offsets are the recorded ones. It stands still when paused, and at the last event.
    start, stop: the offsets of the first and the last event.
    """

    read_only = True
    is_recording = True

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        events: Iterable[Event],
        directory: Path,
        speed: float,
        usual: Sequence[float | None] = (),
    ) -> None:
        self._events = list(events)
        # a run that was resumed after a crash may have lost a little time: it never goes back here
        self._due = list(accumulate((event.offset for event in self._events), max))
        self.start = self._due[0] if self._due else 0.0
        self.stop = self._due[-1] if self._due else 0.0
        self._usual = usual
        super().__init__(RunView(Graph(plan), run_id, usual), self.start, directory)
        self._position = 0  # how many events have happened
        self._completion = Completion(plan, run_id)
        self._speed = _checked(speed)
        self._is_paused = False
        self._anchor = (anyio.current_time(), self.start)  # a moment here, and the offset then
        self._changed = anyio.Event()
        self.playback = self

    # ── the handle ──────────────────────────────────────────────────────────────────────────────

    def now(self) -> Now:
        moment, offset = self._anchor
        if not self._is_paused:
            offset = min(self.stop, offset + (anyio.current_time() - moment) * self._speed)
        if not self._events:
            return Now(offset, offset)
        last = self._events[max(0, self._position - 1)]
        return Now(offset, last.utc + offset - last.offset)

    async def send(self, command: Command) -> None:
        raise CommandRefused(REFUSAL)

    async def wait(self) -> PlanResult:
        """Return when the replay has come to where the run was complete. Raises `RecordingEnds` if it never
        was, afterwards."""
        if not any(isinstance(event, PlanCompleted) for event in self._events):
            raise RecordingEnds("the recording ends before the run was complete")
        return await self._completion.wait()

    def _extent(self, index: int, record: AttemptRecord) -> int | None:
        if self.is_over:  # what came after the last event, until its engine was killed, was printed as well
            return None
        now = self.now()
        start = Now(record.started, record.started + now.utc - now.offset)
        return LogTimes(self.log_path(index, record.number), start).extent(now.offset)

    # ── the buttons ─────────────────────────────────────────────────────────────────────────────

    @property
    def speed(self) -> float:
        """Virtual seconds a second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        """Raises `ValueError` unless it is more than 0."""
        checked = _checked(speed)
        self._move_anchor()
        self._speed = checked

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    @property
    def is_over(self) -> bool:
        return self._position == len(self._events)

    def pause(self) -> None:
        """Let time stand still."""
        self._move_anchor()
        self._is_paused = True

    def resume(self) -> None:
        """Let time go on."""
        self._move_anchor()
        self._is_paused = False

    def step(self, count: int = 1) -> None:
        """Pause, and go that many events on, or back if negative."""
        self.pause()
        position = min(max(0, self._position + count), len(self._events))
        self._move_to(position)
        self._anchor = (anyio.current_time(), self._due[position - 1] if position else self.start)

    def seek(self, offset: float) -> None:
        """Go to that offset: what was recorded up to then has happened, and nothing else."""
        offset = min(max(self.start, offset), self.stop)
        self._move_to(bisect_right(self._due, offset))
        self._anchor = (anyio.current_time(), offset)
        self._wake()

    # ── for `replay` alone ──────────────────────────────────────────────────────────────────────

    async def play(self) -> None:
        """Let events happen when their time has come."""
        while True:
            changed = self._changed
            if self._is_paused or self._position == len(self._events):
                await changed.wait()
                continue
            moment, offset = self._anchor
            due = self._due[self._position]
            with anyio.move_on_at(moment + (due - offset) / self._speed) as waiting:
                await changed.wait()
            if waiting.cancelled_caught:
                # not before the event that has just come, which rounding can make it
                self._anchor = (anyio.current_time(), max(due, self.now().offset))
                self._move_to(bisect_right(self._due, self._anchor[1]))

    def end(self) -> None:
        """Nothing more will happen."""
        self._stream.end()

    def _move_to(self, position: int) -> None:
        """Let what lies between happen, or have never happened."""
        if position > self._position:
            passed = self._events[self._position : position]
            self._position = position
            self._completion.listen(passed)
            self._happen(passed)
        elif position < self._position:
            distance = self._position - position
            view = RunView(self.graph, self.run_id, self._usual)
            view.apply(self._events[:position])
            self._completion.forget()
            self._completion.listen(self._events[:position])
            self._position = position
            self._jump(view, self._due[position - 1] if position else self.start, distance)

    def _move_anchor(self) -> None:
        self._anchor = (anyio.current_time(), self.now().offset)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _checked(speed: float) -> float:
    if not 0 < speed < float("inf"):
        raise ValueError(f"the speed must be more than 0, not {speed}")
    return speed
