"""How a subplan goes: it begins when its needs are met, and ends when all that is inside has ended."""

from __future__ import annotations

from collections.abc import Callable

from engine.core.attempts import Attempts
from engine.core.consequences import Consequences
from engine.core.events import PlanResumed
from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.core.ledger import Ledger, Stop, StopKind
from engine.core.ready import ReadyQueue
from engine.core.recorder import Recorder
from engine.core.scopes import Scope
from engine.core.state import CANCELLED, FAILED, PENDING, RUNNING, STOPPING, RunPhase
from engine.errors import AggregateSubplanError, SubplanExecutionError
from engine.plan.model import FailureMode


class Subplans:
    """Begins and ends the tasks that stand for subplans: they take no slot, and no dispatcher knows them."""

    def __init__(
        self,
        ledger: Ledger,
        recorder: Recorder,
        ready: ReadyQueue,
        consequences: Consequences,
        attempts: Attempts,
        phase: Callable[[], RunPhase],
    ) -> None:
        """phase: asked for the phase of the run, which what ends in here can change."""
        self._ledger = ledger
        self._recorder = recorder
        self._ready = ready
        self._consequences = consequences
        self._attempts = attempts
        self._phase = phase
        self._children = ledger.graph.nesting.children

    def advance(self) -> None:
        """Begin and end what can, for as long as one leads to another."""
        settled, to_begin = self._ledger.settled, self._consequences.to_begin
        while settled or (to_begin and self._phase() is RunPhase.RUNNING):
            if settled:
                self._end(settled.pop())
            else:
                self._begin(to_begin.pop(0))

    # ── the beginning ───────────────────────────────────────────────────────────────────────────

    def _begin(self, index: int) -> None:
        """READY → RUNNING, unless it is held or must wait for a scope that is shut: then `reopen` comes back
        to it."""
        ledger = self._ledger
        is_shut = any(scope.is_shut for scope in ledger.scopes.of(index).chain())
        if is_shut or not ledger.is_startable(index):
            return
        ledger.attempt[index] += 1
        self._attempts.take_up(index, "")
        for inner in self._children[index]:
            if ledger.state[inner] is PENDING:
                ledger.unmet[inner] -= 1
                if not ledger.unmet[inner]:
                    self._consequences.make_ready(inner)
        scope = ledger.scopes.by_task[index]
        if not scope.unfinished:
            ledger.settled.append(scope)

    def shut(self, scope: Scope) -> None:
        """Something new may no longer start in it: it was paused or held."""
        self._ready.reconsider([scope])

    def reopen(self, scope: Scope) -> None:
        """It may be that something new can start in it again."""
        self._ready.reconsider([scope])
        for index in self._ledger.inside(scope.task):
            if index in self._children and self._ledger.is_startable(index):
                self._consequences.enqueue(index)

    def lift_pause(self, scope: Scope, cause: str) -> None:
        """Tasks of the subplan start again."""
        scope.is_paused = scope.is_paused_by_failure = False
        self._recorder.emit(PlanResumed, cause=cause, phase=self._phase(), scope=scope.number)
        self.reopen(scope)

    def try_again(self, index: int) -> None:
        """The back-off of a subplan is over: what failed inside, and what that stopped, runs again."""
        ledger = self._ledger
        again = {index}
        for inner in ledger.inside(index):
            if ledger.state[inner] is FAILED and ledger.graph.nesting.parents[inner] in again:
                again.add(inner)
        self._consequences.reset(sorted(again - {index}), f"retry of {ledger.names[index]}")

    # ── the end ─────────────────────────────────────────────────────────────────────────────────

    def _end(self, scope: Scope) -> None:
        """Nothing inside is left, unless something was brought back since."""
        index = scope.task
        if scope.unfinished or self._ledger.state[index] not in (RUNNING, STOPPING):
            return
        if scope.is_paused_by_failure:
            self.lift_pause(scope, f"{scope.name} ended")  # it shall not stand in the way of a retry
        self._attempts.end_subplan(index, self._outcome(scope))

    def _outcome(self, scope: Scope) -> AttemptOutcome:
        """What has become of all that is inside, as if it were one attempt."""
        ledger = self._ledger
        failures = [inner for inner in self._children[scope.task] if ledger.state[inner] is FAILED]
        if failures:
            return AttemptOutcome(OutcomeKind.FAILED, self._error(scope, failures))
        for inner in self._children[scope.task]:
            if ledger.state[inner] is CANCELLED:
                return AttemptOutcome(OutcomeKind.STOPPED, f"{ledger.names[inner]} was cancelled")
        return AttemptOutcome(OutcomeKind.SUCCESS)

    def _error(self, scope: Scope, failures: list[int]) -> str:
        ledger = self._ledger
        told = []
        for inner in failures:
            record = (ledger.history[inner] or [])[-1]
            told.append((record.ended or 0.0, ledger.names[inner], record.error or ""))
        told.sort(key=lambda failure: failure[0])
        if scope.failure_mode is FailureMode.FAIL_FAST:
            return str(SubplanExecutionError(scope.name, *told[0][1:]))
        return str(AggregateSubplanError(scope.name, [failure[1:] for failure in told]))

    def stop(self, index: int, stop: Stop, *, kill: bool = False) -> None:
        """Stop a subplan that goes on, with all that is inside; with `kill` also what is stopping already."""
        ledger, name = self._ledger, self._ledger.names[index]
        self._attempts.stop(index, stop, kill=kill)
        if stop.kind is StopKind.TIMEOUT:
            stop = stop._replace(reason=f"{name} {stop.reason}", culprit=index, is_final=True)
        inside = ledger.inside(index)
        self._attempts.stop_all(stop, inside, kill=kill)
        self._consequences.cancel_all(ledger.waiting(inside), stop.cause, stop.reason, stop.culprit)
