"""Runs that go on whose engine was killed, with a dispatcher that still has some of their attempts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from engine.core.events import Event
from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.core.state import TaskState
from engine.dispatch.base import Attempt, Output
from engine.errors import ExecutorUnusable
from engine.plan.graph import Graph
from engine.plan.model import Plan, Task
from engine.session import open_run
from tests.support.events import EventFactory
from tests.support.world import plan as plan_of

pytestmark = pytest.mark.anyio


class Elsewhere:
    """Has the attempts of some tasks from before.

    asked, ran: what it was asked for and given to run, as "a#1", or "a#1+" where it was said to be adopted.
    stopped: what it was told to stop.
    """

    def __init__(self, *kept: str) -> None:
        self.kept = kept
        self.asked: list[str] = []
        self.ran: list[str] = []
        self.stopped: list[str] = []

    async def adopt(self, attempts: Sequence[Attempt]) -> Collection[int]:
        self.asked = [f"{attempt.task.name}#{attempt.number}" for attempt in attempts]
        return [attempt.index for attempt in attempts if attempt.task.name in self.kept]

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        name = f"{attempt.task.name}#{attempt.number}"
        self.ran.append(name + "+" * attempt.is_adopted)
        try:
            await anyio.lowlevel.checkpoint()
            output.started("elsewhere")
        except anyio.get_cancelled_exc_class():
            self.stopped.append(name)
            raise
        return AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)


def elsewhere(plan: Plan) -> Plan:
    return Plan(
        name=plan.name,
        tasks=tuple(
            Task(name=task.name, run="true", needs=task.needs, executor="far") for task in plan.tasks
        ),
    )


async def test_only_what_may_go_on_is_asked_for_and_what_does_is_handed_over_again(tmp_path: Path) -> None:
    plan = elsewhere(plan_of(done="", going="done", lost="done", handed="done", later="going lost handed"))
    made = EventFactory(Graph(plan), run_id="run")
    past: list[Event] = [made.plan_started(), made.started("done"), made.completed("done")]
    past += [made.started("going"), made.started("lost")]
    far = Elsewhere("going")
    async with open_run(plan, dispatchers={"far": far}, past=past, run_id="run", directory=tmp_path) as run:
        result = await run.wait()
        going, lost = run.snapshot().tasks[1:3]
    assert far.asked == ["going#1", "lost#1", "handed#1"]
    assert far.ran == ["going#1+", "lost#2", "handed#1", "later#1"]
    assert result.success == 5
    assert [record.error for record in going.attempts] == [None]
    assert [record.error for record in lost.attempts] == ["interrupted", None]


async def test_what_was_being_stopped_is_stopped_by_its_dispatcher(tmp_path: Path) -> None:
    plan = elsewhere(plan_of(going=""))
    made = EventFactory(Graph(plan), run_id="run")
    past = [made.plan_started(), made.started("going"), made.stopping("going")]
    far = Elsewhere("going")
    async with open_run(plan, dispatchers={"far": far}, past=past, run_id="run", directory=tmp_path) as run:
        await run.wait()
        assert run.snapshot().tasks[0].state is TaskState.CANCELLED
    assert far.stopped == ["going#1"]


async def test_a_dispatcher_that_cannot_tell_keeps_the_run_from_going_on(tmp_path: Path) -> None:
    class Unreachable(Elsewhere):
        async def adopt(self, attempts: Sequence[Attempt]) -> Collection[int]:
            raise ExecutorUnusable("nobody answers")

    plan = elsewhere(plan_of(going=""))
    made = EventFactory(Graph(plan), run_id="run")
    past = [made.plan_started(), made.started("going")]
    with pytest.raises(ExecutorUnusable, match="nobody answers"):
        async with open_run(
            plan, dispatchers={"far": Unreachable()}, past=past, run_id="run", directory=tmp_path
        ):
            pass
