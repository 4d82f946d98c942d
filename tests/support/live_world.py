"""A world that moves by itself: attempts go as a script says, and reports come when they are due."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from engine.core.effects import StartAttempt, StopAttempt
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptStarted,
    Input,
    OutcomeKind,
    Report,
    Tick,
)
from engine.core.scheduler import Decision
from engine.core.state import RunPhase
from engine.plan.model import Plan
from tests.support.world import World


class Play(NamedTuple):
    """How one hand-over goes. admission: seconds until it is said to run, None if that is never said;
    duration: seconds from then to its end. stopping: seconds that it goes on after it was told to stop; a
    kill ends it at once."""

    kind: OutcomeKind = OutcomeKind.SUCCESS
    duration: float = 1.0
    admission: float | None = 0.0
    stopping: float = 0.0
    exit_code: int | None = None

    @property
    def outcome(self) -> AttemptOutcome:
        return AttemptOutcome(
            self.kind, "" if self.kind is OutcomeKind.SUCCESS else "it broke", self.exit_code
        )


SUCCESS = Play(exit_code=0)
FAILURE = Play(OutcomeKind.FAILED, exit_code=1)
REFUSAL = Play(OutcomeKind.REFUSED, 0.0)

Script = Callable[[str, int], Play]
"""(task, how many hand-overs of it came before) -> how this one goes"""


def script(**plays: Play | Sequence[Play]) -> Script:
    """A script from the plays of each task, the last of them repeated; SUCCESS for tasks not named."""

    def look_up(name: str, turn: int) -> Play:
        given = plays.get(name, SUCCESS)
        return given if isinstance(given, Play) else given[min(turn, len(given) - 1)]

    return look_up


class Flight:
    """What the dispatcher knows of an attempt in its hands. ending: the report that will end it, at `end`."""

    __slots__ = ("attempt", "end", "ending", "is_over", "play")

    def __init__(self, attempt: int, play: Play, end: float, ending: AttemptFinished) -> None:
        self.attempt = attempt
        self.play = play
        self.end = end
        self.ending = ending
        self.is_over = False


class Item(NamedTuple):
    """Something that is going to be given. flight: the attempt that it is a report about."""

    due: float
    number: int
    given: Input
    flight: Flight | None

    @property
    def is_outdated(self) -> bool:
        """Whether the attempt has come to another end before this could be said of it."""
        flight = self.flight
        if flight is None or flight.ending is self.given:
            return False
        return flight.is_over or isinstance(self.given, AttemptFinished)


class LiveWorld(World):
    """A world that plays the dispatcher and the clock by itself.

    capacity: how many attempts the dispatcher takes at once; more are refused. peak: the most that were
    in its hands at once, refused ones included. reports: all that were given so far.
    """

    def __init__(
        self, plan: Plan, script: Script | None = None, *, capacity: int | None = None, **settings: Any
    ) -> None:
        super().__init__(plan, **settings)
        self.flights: dict[int, Flight] = {}
        self.reports: list[Report] = []
        self.peak = 0
        self.peaks: Counter[str] = Counter()
        """The same for each subplan, by name."""
        self._script = script or (lambda _name, _turn: SUCCESS)
        self._capacity = capacity
        self._turns: Counter[int] = Counter()
        self._agenda: list[Item] = []
        self._number = 0

    def give(self, given: Input) -> Decision:
        decision = super().give(given)
        for effect in decision.effects:
            if isinstance(effect, StopAttempt):
                self._stop(effect)
            else:
                self._take(effect)
        self.peak = max(self.peak, len(self.flights))
        for parent, inside in self.graph.nesting.inside.items():
            inside_now = sum(index in inside for index in self.flights)
            self.peaks[self.name(parent)] = max(self.peaks[self.name(parent)], inside_now)
        return decision

    def at(self, offset: float, given: Input, flight: Flight | None = None) -> Self:
        """Give an input at a time to come."""
        self._number += 1
        heapq.heappush(self._agenda, Item(offset, self._number, given, flight))
        return self

    def run(self, until: float = float("inf")) -> Self:
        """Go on until nothing more would happen by itself, or until an offset."""
        if self.phase is RunPhase.PENDING:
            self.start()
        while True:
            while self._agenda and self._agenda[0].is_outdated:
                heapq.heappop(self._agenda)
            deadline = self.scheduler.next_deadline()
            posted = self._agenda[0].due if self._agenda else float("inf")
            due = posted if deadline is None else min(deadline, posted)
            if due > until or due == float("inf"):
                return self
            assert due >= self.offset, "a deadline that has passed already"
            self.offset = due
            if deadline == due:
                decision = self.give(Tick())
                after = self.scheduler.next_deadline()
                has_moved = after is None or after > due or bool(decision.events)
                assert has_moved, "a tick that changes nothing: the runner would spin"
            else:
                self._give_next()

    def _give_next(self) -> None:
        item = heapq.heappop(self._agenda)
        if item.flight is not None and isinstance(item.given, AttemptFinished):
            item.flight.is_over = True
            del self.flights[item.given.index]
        if isinstance(item.given, Report):
            self.reports.append(item.given)
        self.give(item.given)

    def _take(self, effect: StartAttempt) -> None:
        index, attempt = effect.index, effect.attempt
        assert index not in self.flights, f"{self.name(index)} was handed over twice at once"
        assert len(self.flights) < self.scheduler.max_parallel, f"there is no slot for {self.name(index)}"
        play = self._script(self.name(index), self._turns[index])
        self._turns[index] += 1
        if self._capacity is not None and self._admitted() >= self._capacity:
            play = REFUSAL
        end = self.offset + (play.admission or 0.0) + play.duration
        self.flights[index] = flight = Flight(attempt, play, end, _ending(effect, play.outcome))
        if play.kind is not OutcomeKind.REFUSED and play.admission is not None:
            started = AttemptStarted(index=index, attempt=attempt, where="paper")
            self.at(self.offset + play.admission, started, flight)
        self.at(end, flight.ending, flight)

    def _admitted(self) -> int:
        return sum(flight.play.kind is not OutcomeKind.REFUSED for flight in self.flights.values())

    def _stop(self, effect: StopAttempt) -> None:
        flight = self.flights[effect.index]
        assert flight.attempt == effect.attempt
        if flight.end == self.offset:
            return  # it is over already; the report of that is on its way
        flight.end = min(flight.end, self.offset + (0.0 if effect.kill else flight.play.stopping))
        flight.ending = _ending(effect, AttemptOutcome(OutcomeKind.STOPPED))
        self.at(flight.end, flight.ending, flight)


def _ending(effect: StartAttempt | StopAttempt, outcome: AttemptOutcome) -> AttemptFinished:
    return AttemptFinished(index=effect.index, attempt=effect.attempt, outcome=outcome)
