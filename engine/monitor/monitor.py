"""`Monitor`: follows runs by their event streams, and says at any time how each of them is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import anyio
import msgspec

from engine.core.events import Event, TaskStalled
from engine.core.state import RunPhase, TaskState
from engine.errors import PlandeckError
from engine.ground.identity import task_id
from engine.handle import RunHandle
from engine.monitor.evidence import Evidence, evidence_of
from engine.stream import Missed
from engine.view.run_view import RunView

KEEP: Final = 300.0
"""Seconds that a finished run stays in memory."""

MOST: Final = 500
"""Runs that are held at the same time, finished ones included."""

BACKLOG: Final = 100_000
"""Events of one run that may wait for its monitor."""


class MonitoredTask(msgspec.Struct, frozen=True, gc=False):
    """One task as it stands. id: the same in every attempt. attempt: 0 before the first."""

    id: str
    name: str
    state: TaskState
    attempt: int


class MonitorView(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it stands.

    plan_id: the run's id, since a plan may run twice at once. tasks: in plan order, without those that only
    stand for a subplan. health_score: 0..1.
    stalled_ids: of tasks, the one that has been silent longest first. created_at_ms, updated_at_ms: when the
    run began, and when something last happened in it, in milliseconds since the epoch.
    """

    plan_id: str
    tasks: tuple[MonitoredTask, ...]
    health_score: float
    stalled_ids: tuple[str, ...]
    is_complete: bool
    created_at_ms: int
    updated_at_ms: int

    @property
    def counts(self) -> Mapping[TaskState, int]:
        """How many tasks are in each state; one that no task is in may be missing."""
        return Counter(task.state for task in self.tasks)

    @property
    def progress(self) -> float:
        """Terminal tasks of all, 0..1; 1 for a plan without tasks."""
        ended = sum(task.state.is_terminal for task in self.tasks)
        return ended / len(self.tasks) if self.tasks else 1.0


class Observer(Protocol):
    """Whoever is told what a monitor learns, at once and in its turn: quick, and never failing."""

    def joined(self, view: RunView, missed: int) -> None:
        """A run as it stands: when it begins to be followed, and after `missed` events were lost."""

    def happened(self, view: RunView, event: Event, latency: float) -> None:
        """view: with the event. latency: seconds since it happened."""

    def stalled(self, view: RunView, index: int) -> None:
        """A task has stalled: once per stall, after the event that says so."""

    def settled(self, view: RunView) -> None:
        """All that has come by now has been told."""

    def left(self, view: RunView) -> None:
        """No more will come of this run."""


class MonitorFull(PlandeckError):
    """As many runs as may be held go on, so no other can be followed."""


class Monitor:
    """Follows any number of runs. It owns nothing of them, and they know nothing of it.

    keep: seconds that a finished run is held. most: runs held at once; to follow another one lets go of
    the one that finished first. backlog: events that may wait; who falls behind further loses them, counts
    them and starts again from a snapshot. clock: seconds, as of anyio.
    """

    def __init__(
        self,
        *,
        keep: float = KEEP,
        most: int = MOST,
        backlog: int = BACKLOG,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self.dropped = 0
        """Events that were lost by falling behind."""
        self.stalls_detected = 0
        """Each stall counts once, however often one looks."""
        self._keep = keep
        self._most = most
        self._backlog = backlog
        self._clock = clock
        self._observers: list[Observer] = []
        self._held: dict[str, Following] = {}

    def observe(self, observer: Observer) -> None:
        """Tell it all that is learned from now on."""
        self._observers.append(observer)

    def follow(self, run: RunHandle) -> Following:
        """Begin to listen to a run, now; its `last` does the rest. Raises `MonitorFull`."""
        following = Following(self, run, self._backlog)
        if not self.admit(following):
            following.close()
            raise MonitorFull(f"{self._most} runs are followed already, and all of them go on")
        following.join()
        return following

    def view(self, plan_id: str) -> MonitorView | None:
        """One run as it stands; None if it is not held, or no longer."""
        self.let_go()
        following = self._held.get(plan_id)
        return None if following is None else following.view()

    def views(self) -> list[MonitorView]:
        """Every run that is held, in the order in which they came."""
        self.let_go()
        return [following.view() for following in self._held.values()]

    def stalls(self, plan_id: str) -> list[Evidence]:
        """What is known of each task of a run that is stalled now, the one longest silent first."""
        self.let_go()
        following = self._held.get(plan_id)
        return [] if following is None else following.stalls()

    @property
    def tracked(self) -> int:
        """How many runs are held. May be asked in any thread."""
        return len(self._held)

    # ── for its followings ──────────────────────────────────────────────────────────────────────

    def admit(self, following: Following) -> bool:
        """Hold it, if there is room or somebody can be let go for it."""
        self.let_go()
        held = self._held
        if following.plan_id not in held and len(held) >= self._most:
            finished = [one for one in held.values() if one.finished_at is not None]
            if not finished:
                return False
            del held[min(finished, key=lambda one: one.finished_at or 0.0).plan_id]
        held[following.plan_id] = following
        return True

    def let_go(self) -> None:
        """Forget what finished long enough ago."""
        now = self._clock()
        for following in [one for one in self._held.values() if self._is_over(one, now)]:
            del self._held[following.plan_id]

    def tell_joined(self, view: RunView, missed: int) -> None:
        self.dropped += missed
        for observer in self._observers:
            observer.joined(view, missed)

    def tell_happened(self, view: RunView, event: Event, latency: float) -> None:
        for observer in self._observers:
            observer.happened(view, event, latency)

    def tell_stalled(self, view: RunView, index: int) -> None:
        self.stalls_detected += 1
        for observer in self._observers:
            observer.stalled(view, index)

    def tell_settled(self, view: RunView) -> None:
        for observer in self._observers:
            observer.settled(view)

    def tell_left(self, view: RunView) -> None:
        for observer in self._observers:
            observer.left(view)

    def time(self) -> float:
        return self._clock()

    def time_to_let_go(self, following: Following) -> float | None:
        """Seconds until this one is to be forgotten; None if that is not to come."""
        if following.finished_at is None or following.plan_id not in self._held:
            return None
        return following.finished_at + self._keep - self._clock()

    def _is_over(self, following: Following, now: float) -> bool:
        return following.finished_at is not None and now - following.finished_at >= self._keep


class Following:
    """One run, followed by one monitor. Made by `Monitor.follow`.

    finished_at: when it was seen to be complete, by the monitor's clock; None while it goes on.
    """

    def __init__(self, monitor: Monitor, run: RunHandle, backlog: int) -> None:
        self.plan_id = run.run_id
        self.finished_at: float | None = None
        self._monitor = monitor
        self._run = run
        # nothing is awaited between the two, so nothing is missed and nothing comes twice
        self._subscription = run.subscribe(backlog)
        snapshot, now = run.snapshot(), run.now()
        self._view = RunView.from_snapshot(run.graph, snapshot)
        self._created = now.utc - (now.offset - snapshot.began)
        self._updated = now.utc
        self._ids: list[str] = []

    def join(self) -> None:
        """Tell the observers of the run as it is found."""
        self._note_phase()
        self._monitor.tell_joined(self._view, 0)
        self._find_stalls({})

    def close(self) -> None:
        """Stop listening."""
        self._subscription.close()

    async def last(self) -> None:
        """Follow until the stream ends. What is held of the run afterwards is how it ended."""
        try:
            while await self._wait():
                self.catch_up()
        finally:
            self.close()
            if self.finished_at is None:
                self.finished_at = self._monitor.time()
            self._monitor.tell_left(self._view)

    def catch_up(self) -> None:
        """Take in all that has happened by now."""
        try:
            events = self._subscription.take()
        except Missed as missed:
            self._start_again(missed.count)
        else:
            self._fold(events)

    def view(self) -> MonitorView:
        """The run as far as it has been followed."""
        view, plan = self._view, self._run.plan
        if not self._ids:
            self._ids = [task_id(self.plan_id, task.type, index) for index, task in enumerate(plan.tasks)]
        return MonitorView(
            plan_id=self.plan_id,
            tasks=tuple(
                MonitoredTask(self._ids[task.index], task.name, task.state, task.attempt)
                for task in view.tasks
                if task.index not in view.graph.nesting.children
            ),
            health_score=view.health,
            stalled_ids=tuple(self._ids[index] for index in view.stalled),
            is_complete=view.phase is RunPhase.COMPLETE,
            created_at_ms=round(self._created * 1000),
            updated_at_ms=round(self._updated * 1000),
        )

    def stalls(self) -> list[Evidence]:
        """What is known of each task that is stalled."""
        now = self._run.now().offset
        return [evidence_of(self._run, self._view, index, now) for index in self._view.stalled]

    async def _wait(self) -> bool:
        """As the subscription's; and see to it that a finished run is let go in time."""
        while (left := self._monitor.time_to_let_go(self)) is not None:
            with anyio.move_on_after(left):
                return await self._subscription.wait()
            self._monitor.let_go()
        return await self._subscription.wait()

    def _fold(self, events: Sequence[Event]) -> None:
        view, monitor = self._view, self._monitor
        now = self._run.now().offset
        for event in events:
            if event.seq <= view.last_seq:
                continue  # known from the snapshot
            stalls = type(event) is TaskStalled and event.index not in view.stalled
            view.apply((event,))
            self._updated = event.utc
            monitor.tell_happened(view, event, now - event.offset)
            if stalls:
                monitor.tell_stalled(view, event.index)  # type: ignore[attr-defined]
        self._note_phase()
        monitor.tell_settled(view)

    def _start_again(self, missed: int) -> None:
        before, run = self._view, self._run
        self._view = RunView.from_snapshot(run.graph, run.snapshot())
        self._updated = run.now().utc
        self._note_phase()
        self._monitor.tell_joined(self._view, missed)
        self._find_stalls({index: before.tasks[index].attempt for index in before.stalled})

    def _find_stalls(self, known: Mapping[int, int]) -> None:
        """Tell of the stalls in a snapshot. known: those told before, task index to attempt."""
        for index in self._view.stalled:
            if known.get(index) != self._view.tasks[index].attempt:
                self._monitor.tell_stalled(self._view, index)
        self._monitor.tell_settled(self._view)

    def _note_phase(self) -> None:
        if self._view.phase is not RunPhase.COMPLETE:
            if self.finished_at is not None:
                self.finished_at = None
                self._monitor.admit(self)  # a retry has reopened it; where there is no room it is not held
        elif self.finished_at is None:
            self.finished_at = self._monitor.time()
