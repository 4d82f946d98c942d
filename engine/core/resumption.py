"""Going on with a run whose engine is gone: from a snapshot back to a ledger, and on from there."""

from __future__ import annotations

import msgspec

from engine.core.consequences import Consequences
from engine.core.ledger import TIMED_OUT, Ledger, Stop, StopKind
from engine.core.records import INTERRUPTED, Snapshot
from engine.core.state import PENDING, RETRYING, RUNNING, STOPPING, TERMINAL
from engine.core.subplans import Subplans


class Resumption:
    """Brings the tasks of an interrupted run back to where they can go on.

    What is terminal stays so. Every other task is PENDING in the ledger at first, as it is in any run
    before it starts; `go_on` then says, by events, what becomes of each. Subplans that were going on still
    are: they were in nobody's hands.
    """

    def __init__(self, snapshot: Snapshot, ledger: Ledger) -> None:
        """Fills a fresh ledger. Attempts that went on when the engine ended are closed."""
        self._ledger = ledger
        self._left = {
            index: task
            for index, task in enumerate(snapshot.tasks)
            if task.state in (RUNNING, STOPPING, RETRYING)
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
                if records[-1].ended is None and index not in self._subplans:
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

        for scope in ledger.scopes.all[1:]:
            children = ledger.graph.nesting.children[scope.task]
            scope.unfinished = sum(ledger.state[index] not in TERMINAL for index in children)
            scope.is_held = scope.task in ledger.held
        for index in self._subplans:
            del self._left[index]
            if ledger.state[index] is STOPPING:
                reason = ledger.reasons[index]
                kind = StopKind.TIMEOUT if reason.startswith(TIMED_OUT) else StopKind.CANCEL
                ledger.stops[index] = Stop(kind, "resume", reason)

    def go_on(self, consequences: Consequences, subplans: Subplans) -> None:
        """Take up again what was interrupted, end what was being stopped, and make ready what can be."""
        ledger = self._ledger
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
