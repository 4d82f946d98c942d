"""The proof that what is known of a run does not contradict itself."""

from __future__ import annotations

from engine.core.ledger import InvariantBroken, Ledger
from engine.core.scopes import Scope
from engine.core.state import (
    PENDING,
    READY,
    RETRYING,
    RUNNING,
    SKIPPED,
    STOPPING,
    SUCCESS,
    TERMINAL,
    TaskState,
)


def check(ledger: Ledger) -> None:
    """Raise `InvariantBroken` if anything contradicts anything. Costs a walk over the whole graph."""
    for state in TaskState:
        if ledger.counts[state] != sum(known is state for known in ledger.state):
            raise InvariantBroken(f"{ledger.counts[state]} tasks counted as {state}")
    for index, state in enumerate(ledger.state):
        fault = _contradiction(ledger, index, state)
        if fault:
            raise InvariantBroken(f"{fault}\n{ledger.story(index)}")
    for scope in ledger.scopes.all[1:]:
        fault = _contradiction_in(ledger, scope)
        if fault:
            raise InvariantBroken(f"{fault}\n{ledger.story(scope.task)}")


def _contradiction_in(ledger: Ledger, scope: Scope) -> str | None:
    state = ledger.state[scope.task]
    used = sum(index in ledger.in_flight for index in ledger.inside(scope.task))
    if used != scope.used:
        return f"{used} attempts in flight inside, {scope.used} counted"
    unfinished = sum(
        ledger.state[index] not in TERMINAL for index in ledger.graph.nesting.children[scope.task]
    )
    if unfinished != scope.unfinished:
        return f"{unfinished} tasks unfinished inside, {scope.unfinished} counted"
    if state in (RUNNING, STOPPING) and not unfinished:
        return f"{state} with nothing left inside"
    if state in TERMINAL and unfinished:
        return f"{state} with {unfinished} tasks unfinished inside"
    if used and state not in (RUNNING, STOPPING):
        return f"{state} with {used} attempts in flight inside"
    if scope.is_held != (scope.task in ledger.held):
        return "the subplan and the task that stands for it do not agree on being held"
    return None


def _contradiction(ledger: Ledger, index: int, state: TaskState) -> str | None:
    flying = index in ledger.in_flight
    is_subplan = ledger.is_subplan(index)
    if is_subplan and flying:
        return "a subplan in flight"
    if flying and state not in (READY, RUNNING, STOPPING):
        return f"{state} in flight"
    if not flying and not is_subplan and state in (RUNNING, STOPPING):
        return f"{state} but not in flight"
    if (state is STOPPING) != (index in ledger.stops):
        return "STOPPING and the reason for it do not agree"
    if (state is RETRYING) != (index in ledger.due):
        return "RETRYING and its deadline do not agree"
    if state is PENDING:
        if ledger.unmet[index] != ledger.count_unmet(index) or not ledger.unmet[index]:
            return f"PENDING with {ledger.count_unmet(index)} needs unmet, {ledger.unmet[index]} counted"
        if ledger.doomed_by(index) is not None:
            return "PENDING though a need cannot be met"
    if state is READY and not flying and ledger.count_unmet(index):
        return "READY with an unmet need"
    if index in ledger.tolerated and state is not SKIPPED:
        return f"tolerated but {state}"
    if index in ledger.stalled and state is not RUNNING:
        return f"stalled but {state}"
    if index in ledger.outputs and state is not SUCCESS:
        return f"outputs though {state}"
    return None
