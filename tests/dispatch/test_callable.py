"""Functions of the application itself as tasks."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.core.state import Outcome
from engine.dispatch.callable import CallableDispatcher
from engine.dispatch.contract import RecordedOutput, attempt_at
from engine.errors import PlanInvalid
from engine.plan.model import Plan, Subplan, Task
from engine.session import open_run

pytestmark = pytest.mark.anyio


def thread_name() -> str:
    return threading.current_thread().name


async def answer(question: str = "") -> dict[str, object]:
    return {"answer": 42, "question": question}


def fails() -> None:
    raise ValueError("no\nway")


CALLABLES = {
    "thread": thread_name,
    "answer": answer,
    "fails": fails,
    "object": object,
    "sleep": anyio.sleep,
    "builtin": print,
}


async def call(name: str, **arguments: object) -> tuple[AttemptOutcome, str]:
    output = RecordedOutput()
    task = Task(name="call", python=name, arguments=arguments)
    outcome = await CallableDispatcher(CALLABLES).run(attempt_at(task), output)
    assert output.log[0] == ("started", "this process")
    return outcome, output.data.decode()


async def test_a_function_runs_in_a_thread() -> None:
    outcome, _ = await call("thread")
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.outputs is not None
    assert outcome.outputs["result"] != threading.main_thread().name


async def test_a_coroutine_function_runs_in_the_loop() -> None:
    outcome, _ = await call("answer", question="?")
    assert outcome.outputs == {"answer": "42", "question": "?"}


async def test_an_exception_is_the_error() -> None:
    outcome, said = await call("fails")
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.error.startswith("ValueError: no")
    assert outcome.error.isprintable()
    assert 'raise ValueError("no\\nway")' in said


async def test_what_cannot_be_an_output_is_a_failure() -> None:
    outcome, _ = await call("object")
    assert outcome.error == "TypeError: Object of type object is not JSON serializable"


async def test_it_can_be_stopped_in_the_loop() -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(call_for_ever, group)
    assert not scope.cancelled_caught


async def call_for_ever(group: anyio.abc.TaskGroup) -> None:
    group.start_soon(lambda: call("sleep", delay=1e6))
    await anyio.wait_all_tasks_blocked()
    group.cancel_scope.cancel()


async def test_arguments_are_checked_before_the_run_begins(tmp_path: Path) -> None:
    plan = Plan(
        name="p",
        tasks=(
            Task(name="a", python="answer", arguments={"qestion": "?"}),
            Task(name="b", python="builtin", arguments={"sep": ""}),
        ),
    )
    with pytest.raises(PlanInvalid, match=r"task 'a': answer.*unexpected keyword argument 'qestion'"):
        async with open_run(plan, directory=tmp_path, callables=CALLABLES):
            pytest.fail("it has begun")


async def test_what_does_not_fit_inside_of_a_subplan_is_told_with_its_file() -> None:
    plan = Plan(
        name="p",
        source="outer.yaml",
        tasks=(
            Task(name="roll", plan="inner.yaml"),
            Task(name="roll/a", python="answer", arguments={"qestion": "?"}, scope=1, line=7),
        ),
        subplans=(Subplan(name="roll", task=0, parent=0, source="inner.yaml"),),
    )
    (fault,) = CallableDispatcher(CALLABLES).check(plan)
    assert str(fault).startswith("inner.yaml:7:1: task 'roll/a': answer")


async def test_an_application_runs_its_own_functions(tmp_path: Path) -> None:
    plan = Plan(
        name="p",
        tasks=(
            Task(name="a", python="answer", arguments={"question": "why"}),
            Task(name="b", run="true"),
            Task(name="c", python="fails"),
        ),
    )
    async with open_run(plan, directory=tmp_path, callables=CALLABLES) as run:
        result = await run.wait()
    assert result.outcome is Outcome.FAILED
    assert [failure.task for failure in result.failures] == ["c"]
