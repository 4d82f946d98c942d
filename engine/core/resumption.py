"""Going on with a run whose engine is gone: from a snapshot back to a ledger, and on from there."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from engine.core.attempts import Attempts
from engine.core.consequences import Consequences
from engine.core.ledger import TIMED_OUT, Ledger, Stop, StopKind
from engine.core.records import INTERRUPTED, Snapshot, TaskSnapshot
from engine.core.state import PENDING, READY, RETRYING, RUNNING, STOPPING, TERMINAL
from engine.core.subplans import Subplans


class Resumption:
    """Brings the tasks of an interrupted run back to where they can go on.

    What is terminal stays so. Every other task is PENDING in the ledger at first, as it is in any run
    before it starts; `go_on` then says, by events, what becomes of each. Subplans that were going on still
    are: they were in nobody's hands.
    """

    def __init__(self, snapshot: Snapshot, ledger: Ledger, adopted: Collection[int] = ()) -> None:
        """Fills a fresh ledger. Attempts that went on when the engine ended are closed, but for those of the
        `adopted` tasks, which still go on."""
        self._ledger = ledger
        self._adopted = sorted(adopted)
        self._left = {
            index: task
            for index, task in enumerate(snapshot.tasks)
            if task.state in (RUNNING, STOPPING, RETRYING) and index not in adopted
        }
        self._subplans = [
            index
            for index, task in self._left.items()
            if ledger.is_subplan(index) and task.state is not RETRYING
        ]
        place = {name: index for index, name in enumerate(ledger.names)}
        for index, task in enumerate(snapshot.tasks):
            records = [msgspec.structs.replace(record) for record in task.attempts]
            if records:
                ledger.history[index] = records
                ledger.attempt[index] = records[-1].number
                if records[-1].ended is None and index not in self._subplans and index not in adopted:
                    records[-1].ended = snapshot.offset
                    records[-1].error = INTERRUPTED
            if task.held:
                ledger.held[index] = task.held_by
            if task.retries:
                ledger.retries[index] = task.retries
            if task.state in TERMINAL or index in self._subplans:
                ledger.state[index] = task.state
                ledger.counts[PENDING] -= 1
                ledger.counts[task.state] += 1
                ledger.reasons[index] = task.reason
                if task.tolerated:
                    ledger.tolerated.add(index)
                if task.outputs:
                    ledger.outputs[index] = task.outputs
                if task.blocked_by is not None:
                    ledger.blocked_by[index] = place[task.blocked_by]

        for index in self._adopted:
            self._adopt(index, snapshot.tasks[index])
        for scope in ledger.scopes.all[1:]:
            children = ledger.graph.nesting.children[scope.task]
            scope.unfinished = sum(ledger.state[index] not in TERMINAL for index in children)
            scope.is_held = scope.task in ledger.held
        for index in self._subplans:
            del self._left[index]
            if ledger.state[index] is STOPPING:
                ledger.stops[index] = _stop(ledger.reasons[index])

    def _adopt(self, index: int, task: TaskSnapshot) -> None:
        """In flight, as it was: also if the dispatcher had not said yet that it had it."""
        ledger = self._ledger
        state = task.state if task.state in (RUNNING, STOPPING) else READY
        ledger.state[index] = state
        ledger.counts[PENDING] -= 1
        ledger.counts[state] += 1
        ledger.unmet[index] = 0
        ledger.attempt[index] = current_number(task)
        ledger.in_flight.add(index)
        ledger.scopes.take(index)
        if state is STOPPING:
            ledger.stops[index] = _stop(task.reason)

    def go_on(self, consequences: Consequences, subplans: Subplans, attempts: Attempts) -> None:
        """Take up again what was interrupted, end what was being stopped, and make ready what can be."""
        ledger = self._ledger
        for index in self._adopted:
            attempts.adopt(index)
        for index in self._subplans:
            if ledger.state[index] is STOPPING:
                inside = ledger.waiting(ledger.inside(index))
                consequences.cancel_all(inside, "resume", ledger.stops[index].reason)
        for index in self._subplans:
            if not ledger.scopes.by_task[index].unfinished:
                ledger.settled.append(ledger.scopes.by_task[index])
        left = {index: task for index, task in self._left.items() if ledger.is_waiting(index)}
        for index, task in left.items():
            if task.state is not STOPPING or task.reason.startswith(TIMED_OUT):
                consequences.interrupt(index)
                if ledger.is_subplan(index):
                    subplans.try_again(index)
        consequences.reconsider(range(len(ledger.state)))
        place = {name: index for index, name in enumerate(ledger.names)}
        for index, task in left.items():
            if ledger.is_waiting(index) and task.state is STOPPING and not task.reason.startswith(TIMED_OUT):
                culprit = None if task.blocked_by is None else place[task.blocked_by]
                consequences.cancel(index, "resume", task.reason, culprit)


def current_number(task: TaskSnapshot) -> int:
    """Of the attempt that goes on, or else of the one that may have been handed out without having been
    taken up."""
    if not task.attempts:
        return 1
    last = task.attempts[-1]
    return last.number if last.ended is None else last.number + 1


def _stop(reason: str) -> Stop:
    kind = StopKind.TIMEOUT if reason.startswith(TIMED_OUT) else StopKind.CANCEL
    return Stop(kind, "resume", reason)
