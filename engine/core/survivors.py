"""What outlives fail-fast: the tasks that are there to answer a failure."""

from __future__ import annotations

from engine.core.ledger import Ledger, Verdict
from engine.core.state import FAILED, PENDING, READY, SKIPPED
from engine.plan.model import Condition


def survivors(ledger: Ledger) -> set[int]:
    """The waiting tasks that fail-fast leaves alone.

    A task survives if one of its needs is met *by* a failure (or it needs such a task), and the rest
    of its needs can still be met when everything else is stopped: `finished` always can.
    """
    kept: set[int] = set()
    for index in ledger.graph.order:
        if ledger.state[index] not in (PENDING, READY):
            continue
        if index not in ledger.in_flight and _answers_failure(ledger, index, kept):
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
