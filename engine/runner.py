"""The runner: inputs to the scheduler, its events to the stream, its effects to the dispatchers."""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import anyio
import anyio.abc
import anyio.lowlevel

from engine.clock import RunClock
from engine.core.effects import Effect, StartAttempt, StopAttempt
from engine.core.events import Event
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptStarted,
    CancelPlan,
    Command,
    HookFinished,
    Input,
    Now,
    OutcomeKind,
    Report,
    Start,
    Tick,
)
from engine.core.scheduler import Scheduler
from engine.core.state import RunPhase
from engine.dispatch.base import Attempt, ConcurrencyLimit, TaskDispatcher
from engine.errors import CommandRefused
from engine.ground.wakeup import Wakeup, wakeup_type
from engine.logs.attempt import AttemptLog
from engine.plan.rendering import Rendering, Unresolved
from engine.secrets import Mask
from engine.stream import EventStream

logger = logging.getLogger(__name__)

TURN_LIMIT: Final = 256
"""Inputs taken in one turn: then whoever else lives on this event loop has a turn too."""

_STOPPED: Final = AttemptOutcome(OutcomeKind.STOPPED, "stopped")


class Watch(Protocol):
    """Something that looks at the run from outside and may have to speak at a certain time."""

    def next_deadline(self) -> float | None:
        """The offset at which `check` is due."""

    def check(self, now: float) -> Sequence[Report]:
        """What there is to report at offset `now`."""


class Flight:
    """An attempt on its way: first waiting for a worker, then in the hands of its dispatcher.

    scope: what to cancel to stop it, once a worker has it.
    """

    __slots__ = ("attempt", "fault", "is_stopped", "log", "scope")

    def __init__(self, attempt: Attempt, log: AttemptLog) -> None:
        self.attempt = attempt
        self.log = log
        self.scope: anyio.CancelScope | None = None
        self.is_stopped = False
        self.fault: str | None = None
        """Why it cannot be made, if it cannot: a reference without a value."""

    def stop(self, *, kill: bool) -> None:
        self.is_stopped = True
        if kill:
            self.attempt.hasten()
        if self.scope is not None:
            self.scope.cancel()


class _Request:
    """A command on its way, and whoever waits for the answer."""

    __slots__ = ("answered", "command", "refusal")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.refusal: str | None = None
        self.answered = anyio.Event()


class Runner:
    """Owns the scheduler's state and is alone in touching it.

    Commands and reports arrive in one inbox and are handled in the order of their arrival, a batch a
    turn. In a turn the events are published first and the effects carried out after: whoever listens
    to the stream knows of an end before anything that depends on it starts.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        dispatchers: Mapping[str, TaskDispatcher],
        stream: EventStream,
        clock: RunClock,
        open_log: Callable[[int, int, Callable[[str], None]], AttemptLog],
        outputs_path: Callable[[int, int], str],
        mask: Mask | None = None,
    ) -> None:
        """open_log: makes the log for (task index, attempt number, what to call when it starts).
        outputs_path: names the file for the outputs of (task index, attempt number). mask: hides the
        secrets of the run in all that comes in; None if it has none."""
        self.flights: dict[int, Flight] = {}
        """What is in flight now, by task index."""
        self.last_words: dict[int, str] = {}
        """The last line of output of the last attempt at each task, where that attempt failed."""
        self.watches: list[Watch] = []
        self._scheduler = scheduler
        self._rendering = Rendering(scheduler.graph, scheduler.outputs, dict(os.environ))
        self._dispatchers = dispatchers
        self._stream = stream
        self._clock = clock
        self._open_log = open_log
        self._mask = mask
        self._outputs_path = outputs_path
        self._inbox: deque[Input | _Request] = deque()
        self._asked: list[_Request] = []
        self._posted: Wakeup | None = None
        self._work: deque[Flight] = deque()
        self._idle: list[Wakeup] = []
        self._closing = False
        self._reached = 0.0
        self._alarm_at = math.inf
        self._quiet: list[anyio.Event] = []
        # the classes of the backend in use: looking it up anew for every one costs more than the thing itself
        self._new_wakeup = wakeup_type()
        self._new_scope = type(anyio.CancelScope())

    def post(self, report: Report | HookFinished) -> None:
        """Put a report into the inbox. Returns at once."""
        self._inbox.append(report)
        self._wake()

    async def ask(self, command: Command) -> None:
        """Carry a command out. Raises `CommandRefused` if the scheduler or the end of the run refuses it."""
        if self._closing:
            raise CommandRefused("the run has been closed")
        request = _Request(command)
        self._inbox.append(request)
        self._wake()
        await request.answered.wait()
        if request.refusal is not None:
            raise CommandRefused(request.refusal)

    def close(self) -> None:
        """Cancel what still runs; `run` returns once nothing is left."""
        if self._closing:
            return
        self._closing = True
        self._inbox.append(CancelPlan(actor="shutdown", interrupted=True))
        self._wake()

    async def idle(self) -> None:
        """Return when nothing is in flight, nothing is in the inbox and no deadline has come: a test's
        "now everything has happened that can happen"."""
        quiet = anyio.Event()
        self._quiet.append(quiet)
        self._wake()
        await quiet.wait()

    async def run(self) -> None:
        """Run until closed. Whatever ends it, every dispatcher has ended its work when it returns."""
        try:
            async with anyio.create_task_group() as workers:
                self._inbox.appendleft(Start())
                while True:
                    with self._new_scope() as alarm:
                        await self._work_until(alarm, workers)
                    if not alarm.cancelled_caught:
                        break
                    self._reached = max(self._reached, self._alarm_at)
                workers.cancel_scope.cancel()
        finally:
            self._closing = True
            self._refuse_the_rest()
            self._stream.end()

    async def _work_until(self, alarm: anyio.CancelScope, workers: anyio.abc.TaskGroup) -> None:
        """A turn whenever there is something to do, until closed or until the alarm goes off. One alarm
        serves many turns, for to set one is dear; so it may go off for a deadline that is no more."""
        self._alarm_at = math.inf
        while True:
            self._turn(workers)
            if self._closing and self._scheduler.phase is RunPhase.COMPLETE:
                return
            if self._inbox:
                await anyio.lowlevel.checkpoint()
            else:
                await self._wait(alarm)

    # ── a turn ──────────────────────────────────────────────────────────────────────────────────

    def _turn(self, workers: anyio.abc.TaskGroup) -> None:
        scheduler, inbox = self._scheduler, self._inbox
        now = self._now()
        deadline = scheduler.next_deadline()
        if deadline is not None and deadline <= now.offset:
            inbox.append(Tick())  # behind the reports: what has ended by now has not timed out
        for watch in self.watches:
            due = watch.next_deadline()
            if due is not None and due <= now.offset:
                inbox.extend(watch.check(now.offset))
        events: list[Event] = []
        effects: list[Effect] = []
        for _ in range(min(len(inbox), TURN_LIMIT)):
            given = inbox.popleft()
            if isinstance(given, _Request):
                self._asked.append(given)
                decision = scheduler.handle(self._masked(given.command), now)
                given.refusal = decision.refusal
                if given.refusal is not None:
                    logger.info("%r is refused: %s", given.command, given.refusal)
            else:
                decision = scheduler.handle(self._masked(given), now)
            events += decision.events
            effects += decision.effects
        if events:
            self._stream.publish(events)
        for effect in effects:
            if isinstance(effect, StartAttempt):
                self._launch(effect, workers)
            else:
                self._stop(effect)
        self._answer()

    def _masked(self, given: Input) -> Input:
        return given if self._mask is None else self._mask.input(given)

    def _wake(self) -> None:
        if self._posted is not None:
            self._posted.set()
            self._posted = None

    async def _wait(self, alarm: anyio.CancelScope) -> None:
        """Until something is posted or a deadline comes."""
        deadline = self._scheduler.next_deadline()
        for watch in self.watches:
            due = watch.next_deadline()
            if due is not None and (deadline is None or due < deadline):
                deadline = due
        if self._quiet and not self.flights and (deadline is None or deadline > self._clock.now().offset):
            for quiet in self._quiet:
                quiet.set()
            self._quiet.clear()
        if deadline is not None and deadline < self._alarm_at:
            self._alarm_at = deadline
            alarm.deadline = self._clock.deadline(deadline)
        self._posted = posted = self._new_wakeup()
        try:
            await posted
        finally:
            self._posted = None

    def _now(self) -> Now:
        """The present: never before the deadline that has just come, which rounding can make it."""
        offset, utc = self._clock.now()
        self._reached = max(self._reached, offset)
        return Now(self._reached, utc)

    def _answer(self) -> None:
        for request in self._asked:
            request.answered.set()
        self._asked.clear()

    def _refuse_the_rest(self) -> None:
        """Leave nobody waiting, however the run has ended."""
        self._asked.extend(given for given in self._inbox if isinstance(given, _Request))
        self._inbox.clear()
        for request in self._asked:
            request.refusal = "the run has been closed"
        self._answer()

    # ── effects ─────────────────────────────────────────────────────────────────────────────────

    def _launch(self, effect: StartAttempt, workers: anyio.abc.TaskGroup) -> None:
        """Hand an attempt to an idle worker, or to a new one: never more workers than slots."""
        index, number = effect.index, effect.attempt
        scheduler = self._scheduler

        def started(where: str) -> None:
            self.post(AttemptStarted(index=index, attempt=number, where=where))

        fault = None
        try:
            plan, task = self._rendering.plan(), self._rendering.task(index)
        except Unresolved as unresolved:
            plan, fault = scheduler.graph.plan, str(unresolved)
            task = plan.tasks[index]
        outputs = self._outputs_path(index, number)
        attempt = Attempt(plan, task, index, number, scheduler.run_id, outputs, is_adopted=effect.is_adopted)
        flight = Flight(attempt, self._open_log(index, number, started))
        flight.fault = fault
        self.flights[index] = flight
        self._work.append(flight)
        if self._idle:
            self._idle.pop().set()
        else:
            workers.start_soon(self._serve)

    def _stop(self, effect: StopAttempt) -> None:
        flight = self.flights.get(effect.index)
        if flight is not None:  # else it has ended in the meantime, and the report of that is in the inbox
            flight.stop(kill=effect.kill)

    async def _serve(self) -> None:
        """A worker: one attempt after the other. A pool, and one scope for all of a worker's attempts
        until one of them is stopped, are far cheaper than a task and a scope for each attempt."""
        while True:
            scope = self._new_scope()
            stopped: Flight | None = None
            with scope:
                while not scope.cancel_called:
                    while not self._work:
                        wanted = self._new_wakeup()
                        self._idle.append(wanted)
                        await wanted
                    flight = self._work.popleft()
                    flight.scope, stopped = scope, flight
                    if not flight.is_stopped:
                        outcome = await self._fly(flight)
                    elif flight.attempt.is_adopted:
                        scope.cancel()  # it goes on already, so its dispatcher must hear of that
                        outcome = await self._fly(flight)
                    else:
                        outcome = _STOPPED
                    stopped = None
                    self._land(flight, outcome)
            if stopped is not None:
                self._land(stopped, _STOPPED)

    async def _fly(self, flight: Flight) -> AttemptOutcome:
        if flight.fault is not None and not flight.attempt.is_adopted:
            return AttemptOutcome(OutcomeKind.FAILED, flight.fault, is_final=True)
        executor = flight.attempt.task.executor
        dispatcher = self._dispatchers.get(executor)
        if dispatcher is None:
            return AttemptOutcome(OutcomeKind.FAILED, f"no eligible executor: {executor}", is_final=True)
        try:
            return await dispatcher.run(flight.attempt, flight.log)
        except ConcurrencyLimit as limit:
            return AttemptOutcome(OutcomeKind.REFUSED, str(limit))
        except Exception as error:
            logger.exception("dispatcher %r failed", executor)
            return AttemptOutcome(OutcomeKind.FAILED, f"{type(error).__name__}: {error}")

    def _land(self, flight: Flight, outcome: AttemptOutcome) -> None:
        attempt = flight.attempt
        if self._mask is not None:
            for key in self._mask.hidden_in(outcome.outputs or {}):
                flight.log.write(f"plandeck: the output {key} holds a secret and is not passed on\n".encode())
        flight.log.close()
        del self.flights[attempt.index]
        if outcome.kind is OutcomeKind.FAILED:
            self.last_words[attempt.index] = flight.log.last_line
        else:
            self.last_words.pop(attempt.index, None)
        self.post(AttemptFinished(index=attempt.index, attempt=attempt.number, outcome=outcome))
