"""The fake: what a handler says is what happens, and what happened can be looked up."""

from __future__ import annotations

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, ConcurrencyLimit
from engine.dispatch.contract import DispatcherContract, RecordedOutput, Subject, attempt_at
from engine.dispatch.fake import Answer, FakeDispatcher
from engine.plan.model import Task

pytestmark = pytest.mark.anyio

FAILED = AttemptOutcome(OutcomeKind.FAILED, "exit 2", 2)


class TestContract(DispatcherContract):
    @pytest.fixture(params=[None, 2], ids=["boundless", "two at once"])
    def subject(self, request: pytest.FixtureRequest) -> Subject:
        async def handler(attempt: Attempt) -> Answer:
            if attempt.task.name == "failure":
                return FAILED
            if attempt.task.name == "endless":
                await anyio.sleep_forever()
            return AttemptOutcome(OutcomeKind.SUCCESS)

        endless = Task(name="endless")
        fake = FakeDispatcher(handler, capacity=request.param)
        return Subject(fake, Task(name="success"), Task(name="failure"), endless, endless)


async def test_succeeds_by_default() -> None:
    outcome = await FakeDispatcher().run(attempt_at(Task(name="a")), RecordedOutput())
    assert outcome.kind is OutcomeKind.SUCCESS


async def test_a_handler_may_just_return() -> None:
    fake = FakeDispatcher(lambda attempt: FAILED)
    assert await fake.run(attempt_at(Task(name="a")), RecordedOutput()) is FAILED


async def test_an_exception_that_is_returned_is_raised() -> None:
    fake = FakeDispatcher(lambda attempt: LookupError(attempt.task.name))
    with pytest.raises(LookupError, match="a"):
        await fake.run(attempt_at(Task(name="a")), RecordedOutput())
    assert fake.running == 0


async def test_it_remembers_calls_and_the_peak() -> None:
    release = anyio.Event()

    async def handler(attempt: Attempt) -> Answer:
        await release.wait()
        return AttemptOutcome(OutcomeKind.SUCCESS)

    fake = FakeDispatcher(handler)
    outputs = [RecordedOutput(), RecordedOutput()]
    async with anyio.create_task_group() as group:
        for number, output in enumerate(outputs, 1):
            group.start_soon(fake.run, attempt_at(Task(name="a"), number=number), output)
            await output.until(lambda output=output: output.calls == ["started"])  # type: ignore[misc]
        assert fake.running == 2
        release.set()
    assert fake.calls == [("a", 1), ("a", 2)]
    assert (fake.running, fake.peak) == (0, 2)


async def test_beyond_its_capacity_it_refuses_and_takes_nothing_up() -> None:
    release = anyio.Event()

    async def handler(attempt: Attempt) -> Answer:
        await release.wait()
        return AttemptOutcome(OutcomeKind.SUCCESS)

    fake = FakeDispatcher(handler, capacity=1)
    first, second = RecordedOutput(), RecordedOutput()
    async with anyio.create_task_group() as group:
        group.start_soon(fake.run, attempt_at(Task(name="a")), first)
        await first.until(lambda: first.calls == ["started"])
        with pytest.raises(ConcurrencyLimit, match="all 1 places"):
            await fake.run(attempt_at(Task(name="b")), second)
        release.set()
    assert second.calls == []
    assert fake.calls == [("a", 1)]
    assert fake.peak == 1
