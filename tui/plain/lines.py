"""`PlainLines`: a run that is met on its way, as plain lines from then on."""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.core.events import Event, TaskStarted
from engine.core.state import RunPhase, TaskState
from engine.ground.text import one_line
from engine.handle import RunHandle
from engine.stream import DEFAULT_LIMIT, Missed
from engine.view.run_view import RunView
from engine.view.timing import time_of_day
from tui.plain.report import PlainReport
from tui.plain.teller import Teller


class PlainLines:
    """Prints how the run stands, what goes on, and then a line a change."""

    def __init__(self, run: RunHandle, teller: Teller, limit: int = DEFAULT_LIMIT) -> None:
        """limit: changes that may wait for a reader; then they are dropped, and their number is printed."""
        self._run = run
        self._teller = teller
        # nothing is awaited between the two, so nothing is missed and nothing is said twice
        self._view = RunView.from_snapshot(run.graph, run.snapshot())
        self._subscription = run.subscribe(limit)

    async def follow(self, is_over: Callable[[RunView], bool]) -> None:
        """Return once `is_over`, or when no more will come."""
        run, view, subscription = self._run, self._view, self._subscription
        report = PlainReport(run.plan, run.run_id, self._teller.out)
        try:
            if view.phase is not RunPhase.PENDING:
                self._teller.say(_standing(run, view))
            if going_on := _going_on(run, view):
                self._teller.write(report.render(going_on))
            while not is_over(view) and await subscription.wait():
                try:
                    events = subscription.take()
                except Missed as missed:
                    view = RunView.from_snapshot(run.graph, run.snapshot())
                    self._teller.say(f"{missed.count} events were missed here\n")
                else:
                    view.apply(events)
                    self._teller.write(report.render(events))
                await self._teller.drained(math.inf)
        finally:
            subscription.close()


def _standing(run: RunHandle, view: RunView) -> str:
    """How a run stands that is met on its way, in the form of the lines that follow."""
    time = time_of_day(run.now().utc)
    counts = ", ".join(f"{count} {state}" for state, count in view.counts.items() if count)
    return f"{time}   {'plan':<10} {one_line(run.plan.name)}: {view.phase}, {counts}, run {run.run_id}\n"


def _going_on(run: RunHandle, view: RunView) -> list[Event]:
    """What has begun and not ended, told as it began."""
    ahead = run.now().utc - run.now().offset
    return [
        TaskStarted(
            seq=view.last_seq,
            utc=record.started + ahead,
            offset=record.started,
            run_id=run.run_id,
            cause="",
            task=task.name,
            index=task.index,
            attempt=record.number,
            state=TaskState.RUNNING,
            where=record.where,
        )
        for task in view.tasks
        for record in task.attempts[-1:]
        if record.ended is None
    ]
