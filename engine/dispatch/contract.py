"""What every dispatcher must do: a suite that the tests of any dispatcher inherit, in other packages too.

It needs pytest and is loaded by tests alone; nothing else of the engine uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import msgspec
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, ConcurrencyLimit, TaskDispatcher
from engine.ground.identity import new_run_id
from engine.plan.model import Plan, Task

A_DAY: Final = 86_400.0
"""A grace period, in seconds, that no test waits for."""


@dataclass
class Subject:
    """A dispatcher with room for two attempts or more, and tasks for it: one that succeeds, one that
    fails, one that goes on until it is stopped, and one that is `stubborn` as well: it ends only by force."""

    dispatcher: TaskDispatcher
    success: Task
    failure: Task
    endless: Task
    stubborn: Task


def attempt_at(
    task: Task, plan: Plan | None = None, *, index: int = 0, number: int = 1, run_id: str = "run-1"
) -> Attempt:
    """An attempt as the engine would hand it over; without a plan, in one that has only this task."""
    return Attempt(plan or Plan(name="plan", tasks=(task,)), task, index, number, run_id)


class RecordedOutput:
    """An `Output` that can be waited for, and keeps what an attempt tells.

    log: what was told, in its order: ("started", where), ("write", data), ("heartbeat", "").
    data: all that was written.
    """

    def __init__(self) -> None:
        self.log: list[tuple[str, bytes | str]] = []
        self.data = bytearray()
        self.where = ""
        self._changed = anyio.Event()

    def started(self, where: str = "") -> None:
        self.where = where
        self._note("started", where)

    def write(self, data: bytes) -> None:
        self.data += data
        self._note("write", data)

    def heartbeat(self) -> None:
        self._note("heartbeat", "")

    @property
    def pid(self) -> int:
        """Of an attempt that has said it is at "pid 4711"."""
        return int(self.where.removeprefix("pid "))

    @property
    def calls(self) -> list[str]:
        """The names of the methods that were called."""
        return [name for name, _ in self.log]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at whenever something is told."""
        while not condition():
            self._changed = anyio.Event()
            await self._changed.wait()

    async def says(self, text: bytes) -> None:
        """Return once the text was written."""
        await self.until(lambda: text in self.data)

    def _note(self, name: str, detail: bytes | str) -> None:
        self.log.append((name, detail))
        self._changed.set()


class Defect(Exception):
    """Something that no output should raise."""


class DefectiveOutput(RecordedOutput):
    def started(self, where: str = "") -> None:
        super().started(where)
        raise Defect


class DispatcherContract:
    """Inherit it and provide the fixture `subject`, which makes a `Subject` for each test.

    A dispatcher that does not stop makes the tests wait for ever: bound them with pytest-timeout.
    """

    pytestmark = pytest.mark.anyio

    async def test_success(self, subject: Subject) -> None:
        outcome = await subject.dispatcher.run(_fresh(subject.success), RecordedOutput())
        assert outcome.kind is OutcomeKind.SUCCESS, outcome
        assert outcome.error == "", outcome

    async def test_failure_says_in_one_line_why(self, subject: Subject) -> None:
        outcome = await subject.dispatcher.run(_fresh(subject.failure), RecordedOutput())
        assert outcome.kind is OutcomeKind.FAILED, outcome
        assert outcome.error, outcome
        assert outcome.error.isprintable(), outcome

    @pytest.mark.parametrize("kind", ["success", "failure"])
    async def test_started_is_told_once_and_first(self, subject: Subject, kind: str) -> None:
        output = RecordedOutput()
        await subject.dispatcher.run(_fresh(getattr(subject, kind)), output)
        assert output.calls[0] == "started", output.calls
        assert output.calls.count("started") == 1, output.calls

    async def test_many_at_once_do_not_disturb_each_other(self, subject: Subject) -> None:
        kinds: list[OutcomeKind] = []

        async def run(task: Task, number: int) -> None:
            outcome = await _admitted(subject.dispatcher, _fresh(task, number=number))
            kinds.append(outcome.kind)

        async with anyio.create_task_group() as group:
            for number in range(1, 9):
                group.start_soon(run, subject.success, number)
                group.start_soon(run, subject.failure, number)
        assert sorted(kinds) == [OutcomeKind.FAILED] * 8 + [OutcomeKind.SUCCESS] * 8, kinds

    async def test_cancelling_stops_one_and_leaves_the_others(self, subject: Subject) -> None:
        stopped, other = RecordedOutput(), RecordedOutput()
        outcomes: list[AttemptOutcome] = []
        ended = anyio.Event()

        async def run(output: RecordedOutput, number: int, scope: anyio.CancelScope) -> None:
            with scope:
                attempt = _fresh(subject.endless, number=number)
                outcomes.append(await subject.dispatcher.run(attempt, output))
            if output is stopped:
                ended.set()

        first, second = anyio.CancelScope(), anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(run, stopped, 1, first)
            group.start_soon(run, other, 2, second)
            await stopped.until(lambda: stopped.calls != [])
            await other.until(lambda: other.calls != [])
            first.cancel()
            await ended.wait()
            outcome = await subject.dispatcher.run(_fresh(subject.success), RecordedOutput())
            second.cancel()
        assert outcome.kind is OutcomeKind.SUCCESS, outcome
        assert outcomes == [], "an attempt that was cancelled has returned"

    async def test_cancelled_before_it_begins(self, subject: Subject) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await subject.dispatcher.run(_fresh(subject.endless), RecordedOutput())
        assert scope.cancelled_caught, "the cancellation was swallowed"

    async def test_a_stop_can_be_hastened(self, subject: Subject) -> None:
        await self._stop(subject, hasten_after_cancel=True)

    async def test_a_stop_can_be_hasty_from_the_start(self, subject: Subject) -> None:
        await self._stop(subject, hasten_after_cancel=False)

    async def test_a_defect_of_the_output_ends_the_attempt_and_is_seen(self, subject: Subject) -> None:
        with pytest.raises(Defect):
            await subject.dispatcher.run(_fresh(subject.endless), DefectiveOutput())

    async def _stop(self, subject: Subject, *, hasten_after_cancel: bool) -> None:
        patient = msgspec.structs.replace(subject.stubborn.shutdown, grace=A_DAY)
        attempt = _fresh(msgspec.structs.replace(subject.stubborn, shutdown=patient))
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


def _fresh(task: Task, *, number: int = 1) -> Attempt:
    """Of a run of its own: no two attempts are the same."""
    return attempt_at(task, number=number, run_id=new_run_id())


async def _admitted(dispatcher: TaskDispatcher, attempt: Attempt) -> AttemptOutcome:
    """The outcome of an attempt that is offered until it is taken up; what is refused must tell nothing."""
    while True:
        output = RecordedOutput()
        try:
            return await dispatcher.run(attempt, output)
        except ConcurrencyLimit:
            assert output.calls == [], output.calls
            await anyio.sleep(0.01)
