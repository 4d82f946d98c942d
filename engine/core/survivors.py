"""What outlives fail-fast: the tasks that are there to answer a failure."""

from __future__ import annotations

from engine.core.ledger import Ledger, Verdict
from engine.core.scopes import Scope
from engine.core.state import FAILED, PENDING, READY, SKIPPED, TERMINAL
from engine.plan.model import Condition


def survivors(ledger: Ledger, scope: Scope | None = None) -> set[int]:
    """The tasks of a scope (by default of the plan that is run) that fail-fast leaves alone there.

    A waiting task survives if one of its needs is met *by* a failure (or it needs such a task), and the rest
    of its needs can still be met when everything else is stopped: `finished` always can. So does what
    survived before. A subplan survives or ends as a whole: what is inside goes the way of the subplan.
    """
    nesting = ledger.graph.nesting
    home = (scope or ledger.scopes.outermost).task
    inside = nesting.inside.get(home)
    kept: set[int] = set()
    for index in ledger.graph.order:
        if inside is not None and index not in inside:
            continue
        if nesting.parents and (parent := nesting.parents[index]) != home:
            if parent in kept:
                kept.add(index)
        elif index in ledger.answering:
            if ledger.state[index] not in TERMINAL:
                kept.add(index)
        elif (
            ledger.state[index] in (PENDING, READY)
            and index not in ledger.in_flight
            and _answers_failure(ledger, index, kept)
        ):
            kept.add(index)
    return kept


def _answers_failure(ledger: Ledger, index: int, kept: set[int]) -> bool:
    answers = False
    for needed in ledger.graph.needs[index]:
        verdict = ledger.verdict(needed, index)
        if verdict is Verdict.MET:
            answers = answers or _stems_from_failure(ledger, needed)
        elif needed in kept:
            answers = True
        elif verdict is Verdict.NEVER or ledger.condition(needed, index) is not Condition.FINISHED:
            return False
    return answers


def _stems_from_failure(ledger: Ledger, index: int) -> bool:
    """Whether a task FAILED, or was skipped on account of one that did."""
    while ledger.state[index] is SKIPPED and index in ledger.blocked_by:
        index = ledger.blocked_by[index]
    return ledger.state[index] is FAILED
