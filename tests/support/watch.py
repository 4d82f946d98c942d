"""What can be seen of a scheduler from outside, held against what it promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from engine.core.effects import StartAttempt
from engine.core.events import (
    DispatchDeferred,
    Event,
    PlanCompleted,
    RetryScheduled,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskHeld,
    TaskReleased,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    TaskStarted,
    TaskStopping,
)
from engine.core.records import AttemptRecord
from engine.core.scheduler import Decision, Scheduler
from engine.core.state import TERMINAL, TRANSITIONS, RunPhase, TaskState
from engine.plan.model import Condition
from engine.view.run_view import RunView

SILENT: Final[dict[TaskState, set[TaskState]]] = {
    # the moves that are no events: a need met or reset, a back-off over
    TaskState.PENDING: {TaskState.READY},
    TaskState.READY: {TaskState.PENDING},
    TaskState.RETRYING: {TaskState.READY, TaskState.PENDING},
}

STATE_AFTER: Final[dict[type[Event], set[TaskState]]] = {
    TaskStarted: {TaskState.RUNNING},
    TaskRetried: {TaskState.RUNNING},
    TaskCompleted: {TaskState.SUCCESS},
    TaskFailed: {TaskState.FAILED},
    TaskSkipped: {TaskState.SKIPPED},
    TaskCancelled: {TaskState.CANCELLED},
    RetryScheduled: {TaskState.RETRYING},
    TaskStopping: {TaskState.STOPPING},
    TaskReset: {TaskState.PENDING, TaskState.READY},
    TaskHeld: {TaskState.PENDING, TaskState.READY, TaskState.RETRYING, TaskState.RUNNING},
    TaskReleased: set(TaskState),
    TaskStalled: {TaskState.RUNNING},
    StallCleared: {TaskState.RUNNING},
    DispatchDeferred: {TaskState.PENDING, TaskState.READY},
}

MET_BY: Final[dict[Condition, set[TaskState]]] = {
    Condition.SUCCESS: {TaskState.SUCCESS},
    Condition.FAILED: {TaskState.FAILED},
    Condition.SKIPPED: {TaskState.SKIPPED},
    Condition.FINISHED: set(TERMINAL),
}


ENDS: Final = (TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED)
BAD: Final = (TaskState.FAILED, TaskState.CANCELLED)


def ends_of(event: PlanCompleted) -> tuple[int, ...]:
    """What the end of a run counts, in the order of `ENDS`, and the tolerated."""
    return (event.success, event.failed, event.skipped, event.cancelled, event.tolerated)


class Watch:
    """Follows a scheduler by its decisions alone and raises AssertionError at the first broken promise.

    It keeps what the events have told so far, and folds them into a `RunView`, which must show what the
    snapshot says.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._graph = scheduler.graph
        self._seq = 0
        self._offset = 0.0
        self._told = [TaskState.PENDING] * len(scheduler.tasks)
        self._tolerated: set[int] = set()
        self._is_complete = False
        self.view = RunView(scheduler.graph, scheduler.run_id)

    def see(self, decision: Decision) -> None:
        """Check one decision, right after it was made."""
        for event in decision.events:
            self._check_event(event)
            if isinstance(event, TaskEvent):
                self._check_task_event(event)
        for index, told in enumerate(self._told):
            state = self._scheduler.ledger.state[index]
            assert state is told or state in SILENT.get(told, ()), f"{told} was told\n{self._story(index)}"
        self._check_hand_over([e.index for e in decision.effects if isinstance(e, StartAttempt)])
        self.view.apply(decision.events)
        self._check_view()

    def _check_event(self, event: Event) -> None:
        self._seq += 1
        assert event.seq == self._seq
        assert event.run_id == self._scheduler.run_id
        assert event.offset >= self._offset
        assert event.cause
        self._offset = event.offset
        if isinstance(event, PlanCompleted):
            assert not self._is_complete
            ended = [state in TERMINAL for state in self._told]
            assert all(ended)
            assert ends_of(event) == self._recount()

    def _recount(self) -> tuple[int, ...]:
        """The ends of all tasks that do work, one by one."""
        nesting, told = self._graph.nesting, self._told
        excused = [
            any(told[parent] in (TaskState.SUCCESS, TaskState.SKIPPED) for parent in nesting.around(index))
            for index in range(len(told))
        ]
        ends = []
        for index, state in enumerate(told):
            if index in nesting.inside:
                inside = [told[inner] for inner in nesting.inside[index] if not excused[inner]]
                if state in BAD and state not in inside and not excused[index]:
                    ends.append((state, False))
            elif excused[index] and state in BAD:
                ends.append((TaskState.SKIPPED, state is TaskState.FAILED))
            else:
                ends.append((state, index in self._tolerated))
        counts = [sum(state is kind for state, _ in ends) for kind in ENDS]
        return (*counts, sum(tolerated for _, tolerated in ends))

    def _check_task_event(self, event: TaskEvent) -> None:
        index, state, told = event.index, event.state, self._told[event.index]
        assert event.task == self._graph.plan.tasks[index].name
        assert state in STATE_AFTER[type(event)], event
        if told in TERMINAL and state is not told:
            by_a_person = isinstance(event, TaskCompleted) and event.reason
            assert isinstance(event, TaskReset) or by_a_person, f"{told} already, then {event}"
        elif told in TERMINAL:
            assert isinstance(event, TaskReleased), f"ended twice: {event}"
        known = {told} | SILENT.get(told, set())
        if isinstance(event, TaskReset) and event.interrupted:
            known.add(TaskState.RETRYING)  # without a back-off
        assert state in known or any(state in TRANSITIONS[old] for old in known), f"{told}, then {event}"
        self._told[index] = state
        self._tolerated.discard(index)
        if isinstance(event, TaskSkipped) and event.tolerated:
            self._tolerated.add(index)

    def _check_hand_over(self, indices: Sequence[int]) -> None:
        """Nothing starts without a slot, before its needs, while it is held, or while nothing may."""
        if not indices:
            return
        scheduler = self._scheduler
        assert scheduler.phase is RunPhase.RUNNING
        assert len(scheduler.ledger.in_flight) <= scheduler.max_parallel
        assert len(indices) == len(set(indices))
        for index in indices:
            assert index not in scheduler.ledger.held
            assert index not in self._graph.nesting.inside, "a subplan was handed to a dispatcher"
            self._check_scopes(index)
            for needed in self._graph.needs[index]:
                condition = self._graph.special_conditions.get((needed, index), Condition.SUCCESS)
                is_met = self._told[needed] in MET_BY[condition] or (
                    condition is Condition.SUCCESS and needed in self._tolerated
                )
                assert is_met, f"started before its need of {needed} was met\n{self._story(index)}"

    def _check_scopes(self, index: int) -> None:
        ledger, nesting = self._scheduler.ledger, self._graph.nesting
        for parent in nesting.around(index):
            scope = ledger.scopes.by_task[parent]
            assert self._told[parent] is TaskState.RUNNING, f"its subplan does not run\n{self._story(index)}"
            assert parent not in ledger.held
            assert not scope.is_paused
            used = len(ledger.in_flight.intersection(nesting.inside[parent]))
            assert used <= scope.max_parallel, f"{used} of {scope.max_parallel} slots in {scope.name}"

    def _check_view(self) -> None:
        """What the events tell is what the snapshot says, as far as it is told at all."""
        scheduler, view = self._scheduler, self.view
        snapshot = scheduler.snapshot()
        assert (view.phase, view.outcome) == (snapshot.phase, snapshot.outcome)
        assert (view.max_parallel, view.failure_mode) == (snapshot.max_parallel, snapshot.failure_mode)
        assert [(s.max_parallel, s.failure_mode, s.paused) for s in view.scopes.all[1:]] == [
            (s.max_parallel, s.failure_mode, s.paused) for s in snapshot.scopes
        ]
        assert view.last_seq == snapshot.seq
        if snapshot.phase is RunPhase.PENDING:
            return  # the view shows already what will be ready
        for shown, kept in zip(view.tasks, snapshot.tasks, strict=True):
            story = self._story(shown.index)
            is_going_on = shown.state in SILENT and shown.index in scheduler.ledger.in_flight
            if shown.state is not TaskState.RETRYING and not is_going_on:
                assert shown.state is kept.state, f"shown as {shown.state}\n{story}"
            if shown.due is not None and shown.due > snapshot.offset:  # one that is past means nothing
                assert shown.due == kept.due, story
            if kept.state is not TaskState.STOPPING:  # another may have taken the stop over
                assert shown.reason == kept.reason, story
            assert (shown.held, shown.tolerated) == (kept.held, kept.tolerated), story
            assert (shown.stalled_since, shown.blocked_by) == (kept.stalled_since, kept.blocked_by), story
            self._check_attempts(shown.attempts, kept.attempts, story)

    def _check_attempts(
        self, shown: Sequence[AttemptRecord], kept: Sequence[AttemptRecord], story: str
    ) -> None:
        """The same records, but for attempts that were taken up after they were told to stop: of these
        there is no event, so the view learns of them by their end, or not at all if they took no time."""
        told = {record.number: record for record in shown}
        for record in kept:
            if record.number in told:
                assert replace(told[record.number], where=record.where) == record, story
            else:
                assert record.ended is None or record.ended == record.started, story
        assert told.keys() <= {record.number for record in kept}, story

    def _story(self, index: int) -> str:
        return self._scheduler.story(index)
