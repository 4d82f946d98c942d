"""What fail-fast leaves alone: the tasks that are there to answer a failure."""

from __future__ import annotations

import pytest

from engine.core.ledger import Ledger
from engine.core.state import TaskState
from engine.core.survivors import survivors
from engine.plan.graph import Graph
from tests.support.world import Needs, plan


def spared(states: dict[str, str], **tasks: Needs) -> set[str]:
    """The survivors of a plan whose tasks are PENDING unless `states` says otherwise.

    "running" is in flight; "handed over" is READY and in flight; "skipped by x" has x as its cause.
    """
    given = plan(**tasks)
    ledger = Ledger(Graph(given))
    index_of = ledger.graph.index_of
    for name, state in states.items():
        index = index_of[name]
        if state in ("running", "handed over"):
            ledger.in_flight.add(index)
        if state.startswith("skipped by "):
            ledger.blocked_by[index] = index_of[state.removeprefix("skipped by ")]
            state = "skipped"
        ledger.state[index] = TaskState.READY if state == "handed over" else TaskState(state)
    return {given.tasks[index].name for index in survivors(ledger)}


@pytest.mark.parametrize("condition", ["failed", "finished"])
def test_a_handler_of_the_failure_survives(condition: str) -> None:
    assert spared({"a": "failed", "h": "ready"}, a="", b="", h={"a": condition}) == {"h"}


def test_what_comes_after_a_handler_survives_with_it() -> None:
    tasks: dict[str, Needs] = {
        "a": "",
        "h": {"a": "failed"},
        "i": "h",
        "j": {"i": "finished"},
        "b": "",
        "k": "b",
    }
    assert spared({"a": "failed", "h": "ready"}, **tasks) == {"h", "i", "j"}


def test_a_cleanup_behind_what_the_failure_skipped_survives() -> None:
    tasks: dict[str, Needs] = {
        "a": "",
        "b": "a",
        "c": "b",
        "clean": {"c": "finished"},
        "note": {"c": "skipped"},
    }
    states = {"a": "failed", "b": "skipped by a", "c": "skipped by b", "clean": "ready", "note": "ready"}
    assert spared(states, **tasks) == {"clean", "note"}


def test_a_cleanup_of_several_waits_for_those_that_are_being_stopped() -> None:
    assert spared({"a": "failed", "b": "running"}, a="", b="", h={"a": "failed", "b": "finished"}) == {"h"}


@pytest.mark.parametrize("condition", ["success", "failed", "skipped"])
def test_a_handler_that_needs_more_of_what_is_being_stopped_does_not_survive(condition: str) -> None:
    assert spared({"a": "failed", "b": "running"}, a="", b="", h={"a": "failed", "b": condition}) == set()


def test_what_has_succeeded_is_no_failure_to_answer() -> None:
    tasks: dict[str, Needs] = {
        "a": "",
        "b": "",
        "c": "b",
        "d": {"b": "finished"},
        "e": {"a": "finished", "b": "success"},
    }
    assert spared({"a": "failed", "b": "success"}, **tasks) == {"e"}


def test_what_a_person_skipped_is_no_failure_to_answer() -> None:
    assert spared({"a": "failed", "b": "skipped"}, a="", b="", c={"b": "skipped"}) == set()


def test_what_is_in_somebodys_hands_is_not_waiting() -> None:
    states = {"a": "failed", "h": "handed over", "i": "running"}
    assert spared(states, a="", h={"a": "failed"}, i={"a": "failed"}) == set()
