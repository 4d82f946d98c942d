"""What every `TaskDispatcher` must do: a suite that a test of any dispatcher inherits."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, TaskDispatcher
from engine.plan.model import Task
from tests.support.processes import RecordedOutput, attempt_at


@dataclass
class Subject:
    """A dispatcher, and tasks for it: one that succeeds, one that fails, one that goes on until it is
    stopped, and one that is `stubborn` as well: it ends only by force."""

    dispatcher: TaskDispatcher
    success: Task
    failure: Task
    endless: Task
    stubborn: Task


class Defect(Exception):
    """Something that no output should raise."""


class DefectiveOutput(RecordedOutput):
    def started(self, where: str = "") -> None:
        super().started(where)
        raise Defect


class DispatcherContract:
    """Inherit it, provide the fixture `subject`, and run it on every event loop."""

    async def test_success(self, subject: Subject) -> None:
        output = RecordedOutput()
        outcome = await subject.dispatcher.run(attempt_at(subject.success), output)
        assert outcome.kind is OutcomeKind.SUCCESS
        assert outcome.error == ""

    async def test_failure_says_in_one_line_why(self, subject: Subject) -> None:
        output = RecordedOutput()
        outcome = await subject.dispatcher.run(attempt_at(subject.failure), output)
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.error
        assert outcome.error.isprintable()

    @pytest.mark.parametrize("kind", ["success", "failure"])
    async def test_started_is_told_once_and_first(self, subject: Subject, kind: str) -> None:
        output = RecordedOutput()
        await subject.dispatcher.run(attempt_at(getattr(subject, kind)), output)
        assert output.calls[0] == "started"
        assert output.calls.count("started") == 1

    async def test_many_at_once_do_not_disturb_each_other(self, subject: Subject) -> None:
        kinds: list[OutcomeKind] = []

        async def run(task: Task, number: int) -> None:
            outcome = await subject.dispatcher.run(attempt_at(task, number=number), RecordedOutput())
            kinds.append(outcome.kind)

        async with anyio.create_task_group() as group:
            for number in range(1, 9):
                group.start_soon(run, subject.success, number)
                group.start_soon(run, subject.failure, number)
        assert sorted(kinds) == [OutcomeKind.FAILED] * 8 + [OutcomeKind.SUCCESS] * 8

    async def test_cancelling_stops_one_and_leaves_the_others(self, subject: Subject) -> None:
        stopped, other = RecordedOutput(), RecordedOutput()
        outcomes: list[AttemptOutcome] = []

        async def run(output: RecordedOutput, scope: anyio.CancelScope) -> None:
            with scope:
                outcomes.append(await subject.dispatcher.run(attempt_at(subject.endless), output))

        first, second = anyio.CancelScope(), anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(run, stopped, first)
            group.start_soon(run, other, second)
            await stopped.until(lambda: stopped.calls != [])
            await other.until(lambda: other.calls != [])
            first.cancel()
            outcome = await subject.dispatcher.run(attempt_at(subject.success), RecordedOutput())
            second.cancel()
        assert outcome.kind is OutcomeKind.SUCCESS
        assert outcomes == []

    async def test_cancelled_before_it_begins(self, subject: Subject) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await subject.dispatcher.run(attempt_at(subject.endless), RecordedOutput())
        assert scope.cancelled_caught

    async def test_a_stop_can_be_hastened(self, subject: Subject) -> None:
        attempt = attempt_at(subject.stubborn)
        await self._stop(subject, attempt, hasten_after_cancel=True)

    async def test_a_stop_can_be_hasty_from_the_start(self, subject: Subject) -> None:
        attempt = attempt_at(subject.stubborn)
        await self._stop(subject, attempt, hasten_after_cancel=False)

    async def test_a_defect_of_the_output_ends_the_attempt_and_is_seen(self, subject: Subject) -> None:
        with pytest.raises(Defect):
            await subject.dispatcher.run(attempt_at(subject.endless), DefectiveOutput())

    async def _stop(self, subject: Subject, attempt: Attempt, *, hasten_after_cancel: bool) -> None:
        output = RecordedOutput()
        async with anyio.create_task_group() as group:
            group.start_soon(subject.dispatcher.run, attempt, output)
            await output.until(lambda: output.calls != [])
            if hasten_after_cancel:
                group.cancel_scope.cancel()
                attempt.hasten()
            else:
                attempt.hasten()
                group.cancel_scope.cancel()
