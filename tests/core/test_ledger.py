"""The one door for changes of state, and the proof that nothing contradicts anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.core.ledger import InvariantBroken, Ledger, Stop, StopKind, Verdict
from engine.core.state import TERMINAL, TRANSITIONS, RunPhase, TaskState
from engine.plan.graph import Graph
from engine.plan.model import Condition
from tests.support.world import World, plan, subplan, task

ALL_MOVES = [(old, new) for old in TaskState for new in TaskState]


def one_task(state: TaskState) -> Ledger:
    ledger = Ledger(Graph(plan(a="")))
    ledger.state[0] = state
    ledger.counts[TaskState.PENDING] -= 1
    ledger.counts[state] += 1
    return ledger


@pytest.mark.parametrize(("old", "new"), ALL_MOVES, ids=lambda state: state.value)
def test_the_door_lets_through_what_the_table_says_and_nothing_else(old: TaskState, new: TaskState) -> None:
    ledger = one_task(old)
    if new in TRANSITIONS[old]:
        ledger.enter(0, new, 1.5)
        assert ledger.state[0] is new
        assert [state for state, count in ledger.counts.items() if count] == [new]
        assert f"1.500s {old} -> {new}" in ledger.story(0)
    else:
        with pytest.raises(InvariantBroken, match=f"illegal move {old} -> {new}"):
            ledger.enter(0, new, 1.5)
        assert ledger.state[0] is old


def test_a_terminal_state_is_left_only_for_another_run_or_a_persons_mark() -> None:
    for state in TERMINAL:
        assert state.is_terminal
        assert TRANSITIONS[state] <= {TaskState.PENDING, TaskState.SUCCESS}


MET, NEVER, WAIT = Verdict.MET, Verdict.NEVER, Verdict.WAIT

VERDICTS: dict[Condition, dict[TaskState, Verdict]] = {
    Condition.SUCCESS: {TaskState.SUCCESS: MET},
    Condition.FAILED: {TaskState.FAILED: MET},
    Condition.SKIPPED: {TaskState.SKIPPED: MET},
    Condition.FINISHED: dict.fromkeys(TERMINAL, MET),
}


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("condition", Condition)
def test_what_a_state_says_to_a_condition(condition: Condition, state: TaskState) -> None:
    ledger = Ledger(Graph(plan(a="", b={"a": condition.value})))
    ledger.state[0] = state
    expected = VERDICTS[condition].get(state, NEVER) if state in TERMINAL else WAIT
    assert ledger.condition(0, 1) is condition
    assert ledger.verdict(0, 1) is expected
    assert ledger.count_unmet(1) == (expected is not MET)


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        (Condition.SUCCESS, MET),
        (Condition.SKIPPED, MET),
        (Condition.FINISHED, MET),
        (Condition.FAILED, NEVER),
    ],
)
def test_a_tolerated_failure_is_as_good_as_a_success(condition: Condition, verdict: Verdict) -> None:
    ledger = Ledger(Graph(plan(a="", b={"a": condition.value})))
    ledger.state[0] = TaskState.SKIPPED
    ledger.tolerated.add(0)
    assert ledger.verdict(0, 1) is verdict


# ── contradictions: each brought about by hand, and found ───────────────────────────────────────


def _running() -> World:
    """a runs, b needs it, c has nothing to do with it and is in back-off, d could not be."""
    world = World(plan(a="", b="a", c=task(retry=1), d=""))
    world.start()
    world.admit("a", "c", "d")
    world.fail("c")
    world.fail("d")
    return world


def _miscount(ledger: Ledger) -> None:
    ledger.counts[TaskState.RUNNING] += 1


def _fly(index: int) -> Callable[[Ledger], None]:
    return lambda ledger: ledger.in_flight.add(index)


def _land(ledger: Ledger) -> None:
    ledger.in_flight.discard(0)


def _stop(ledger: Ledger) -> None:
    ledger.stops[0] = Stop(StopKind.CANCEL, "nobody", "nothing")


def _lose_deadline(ledger: Ledger) -> None:
    del ledger.due[2]


def _miscount_needs(ledger: Ledger) -> None:
    ledger.unmet[1] = 0


def _move(index: int, state: TaskState) -> Callable[[Ledger], None]:
    def move(ledger: Ledger) -> None:
        ledger.counts[ledger.state[index]] -= 1
        ledger.counts[state] += 1
        ledger.state[index] = state

    return move


def _doom(ledger: Ledger) -> None:
    ledger.in_flight.discard(0)
    _move(0, TaskState.FAILED)(ledger)


def _tolerate(ledger: Ledger) -> None:
    ledger.tolerated.add(3)


def _stall(ledger: Ledger) -> None:
    ledger.stalled[3] = 0.0


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (_miscount, "2 tasks counted as running"),
        (_fly(2), "retrying in flight"),
        (_land, "running but not in flight"),
        (_stop, "STOPPING and the reason for it do not agree"),
        (_lose_deadline, "RETRYING and its deadline do not agree"),
        (_miscount_needs, "PENDING with 1 needs unmet, 0 counted"),
        (_doom, "PENDING though a need cannot be met"),
        (_move(1, TaskState.READY), "READY with an unmet need"),
        (_tolerate, "tolerated but failed"),
        (_stall, "stalled but failed"),
    ],
)
def test_a_contradiction_is_found_and_told(break_it: Callable[[Ledger], None], said: str) -> None:
    world = _running()
    break_it(world.scheduler.ledger)
    with pytest.raises(InvariantBroken, match=said):
        world.scheduler.check_invariants()


def _miscount_slots(ledger: Ledger) -> None:
    ledger.scopes.all[1].used = 0


def _miscount_unfinished(ledger: Ledger) -> None:
    ledger.scopes.all[1].unfinished = 3


def _outlive(ledger: Ledger) -> None:
    for index in (1, 2):
        ledger.in_flight.discard(index)
        _move(index, TaskState.SUCCESS)(ledger)
    ledger.scopes.all[1].used = ledger.scopes.all[1].unfinished = 0


def _hold_half(ledger: Ledger) -> None:
    ledger.scopes.all[1].is_held = True


def _output(ledger: Ledger) -> None:
    ledger.outputs[3] = {"tag": "2.4"}


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (_fly(0), "a subplan in flight"),
        (_miscount_slots, "2 attempts in flight inside, 0 counted"),
        (_miscount_unfinished, "2 tasks unfinished inside, 3 counted"),
        (_outlive, "running with nothing left inside"),
        (_move(0, TaskState.SUCCESS), "success with 2 tasks unfinished inside"),
        (_move(0, TaskState.READY), "ready with 2 attempts in flight inside"),
        (_hold_half, "do not agree on being held"),
        (_output, "outputs though ready"),
    ],
)
def test_a_contradiction_around_a_subplan_is_found_and_told(
    break_it: Callable[[Ledger], None], said: str
) -> None:
    """rollout stands for a and b, which have been handed out as has other."""
    world = World(plan(rollout=subplan({"a": "", "b": ""}), other=""), checked=False)
    world.start()
    break_it(world.scheduler.ledger)
    with pytest.raises(InvariantBroken, match=said):
        world.scheduler.check_invariants()


def test_a_run_whose_phase_and_tasks_disagree_contradicts_itself() -> None:
    world = World(plan(a=""), checked=False)
    world.start()
    world.succeed("a")
    world.scheduler.phase = RunPhase.PAUSED
    with pytest.raises(InvariantBroken, match="paused with 0 unfinished tasks"):
        world.scheduler.check_invariants()
    world.scheduler.phase, world.scheduler.outcome = RunPhase.COMPLETE, None
    with pytest.raises(InvariantBroken, match="complete with outcome None"):
        world.scheduler.check_invariants()


def test_a_story_tells_all_that_is_known() -> None:
    world = World(plan(a="", b=task({"a": "failed"}, retry=1)))
    world.start()
    world.admit("a")
    world.wait(1.0)
    world.fail("a", "exit 3", 3)
    world.admit("b")
    world.wait(1.0)
    world.fail("b", "no luck")
    assert world.scheduler.story(1).splitlines() == [
        "task 'b' is retrying, attempt 1",
        "  needs 'a' (failed: failed); 0 unmet",
        "  in back-off",
        "  attempt 1: began 1.000s, ended 2.000s no luck",
        "  1.000s pending -> ready",
        "  1.000s ready -> running",
        "  2.000s running -> retrying",
    ]
    world.wait(0.5)
    world.admit("b")
    story = world.scheduler.story(1)
    assert "in flight" in story
    assert "attempt 2: began 2.500s, goes on" in story
    assert "needs nothing" in world.scheduler.story(0)
