"""Simulated tasks, in virtual time: they last, talk and fail as their plan says."""

from __future__ import annotations

import anyio
import pytest
import trio.testing

from engine.core.inputs import OutcomeKind
from engine.dispatch.contract import DispatcherContract, RecordedOutput, Subject, attempt_at
from engine.dispatch.simulate import SimulateDispatcher
from engine.plan.model import Simulation, Task

pytestmark = pytest.mark.anyio


class TestContract(DispatcherContract):
    @pytest.fixture
    def subject(self) -> Subject:
        endless = Task(name="endless", simulate=Simulation(duration=1e6, output=0.001))
        return Subject(
            SimulateDispatcher(seed=1),
            Task(name="success", simulate=Simulation(duration=0, fail_rate=0)),
            Task(name="failure", simulate=Simulation(duration=0, fail_rate=1)),
            endless,
            endless,
        )


class TestInVirtualTime:
    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}

    @pytest.mark.parametrize(("speed", "seconds"), [(1, 3600), (100, 36), (0.5, 7200)])
    async def test_it_lasts_as_long_as_it_says(self, speed: float, seconds: float) -> None:
        start = anyio.current_time()
        task = Task(name="a", simulate=Simulation(duration=3600))
        await SimulateDispatcher(speed=speed).run(attempt_at(task), RecordedOutput())
        assert anyio.current_time() - start == pytest.approx(seconds)

    @pytest.mark.parametrize(
        ("duration", "rate", "lines"), [(10, 5, 50), (10, 0.25, 2), (3, 0.1, 0), (0, 5, 0), (2, 200, 400)]
    )
    async def test_it_writes_so_many_lines(self, duration: float, rate: float, lines: int) -> None:
        output = RecordedOutput()
        task = Task(name="build", simulate=Simulation(duration=duration, output=rate))
        await SimulateDispatcher().run(attempt_at(task), output)
        assert output.data.decode().splitlines() == [
            f"build: line {number} of {lines}" for number in range(1, lines + 1)
        ]

    async def test_its_lines_are_spread_over_its_time(self) -> None:
        times: list[float] = []

        class Timed(RecordedOutput):
            def write(self, data: bytes) -> None:
                times.append(anyio.current_time() - start)

        start = anyio.current_time()
        task = Task(name="a", simulate=Simulation(duration=2, output=2))
        await SimulateDispatcher().run(attempt_at(task), Timed())
        assert times == pytest.approx([0.5, 1, 1.5, 2])

    async def test_speed_divides_time_and_not_lines(self) -> None:
        output = RecordedOutput()
        task = Task(name="a", simulate=Simulation(duration=100, output=5))
        await SimulateDispatcher(speed=10).run(attempt_at(task), output)
        assert output.data.count(b"\n") == 500

    async def test_output_is_bounded_however_fast(self) -> None:
        output = RecordedOutput()
        task = Task(name="a", simulate=Simulation(duration=1, output=1e9))
        await SimulateDispatcher().run(attempt_at(task), output)
        assert output.calls.count("write") <= 50
        assert output.data.count(b"\n") <= 50_000
        assert output.data.endswith(b"line 1000000000 of 1000000000\n")

    async def test_without_output_it_is_silent(self) -> None:
        output = RecordedOutput()
        await SimulateDispatcher().run(attempt_at(Task(name="a", simulate=Simulation(duration=60))), output)
        assert output.calls == ["started"]

    async def test_it_fails_at_about_its_rate_and_the_same_way_again(self) -> None:
        async def outcomes(seed: int | None) -> list[bool]:
            dispatcher = SimulateDispatcher(seed=seed)
            task = Task(name="a", simulate=Simulation(duration=1, fail_rate=0.3))
            return [
                (await dispatcher.run(attempt_at(task, number=number), RecordedOutput())).kind
                is OutcomeKind.FAILED
                for number in range(1, 201)
            ]

        first = await outcomes(7)
        assert await outcomes(7) == first
        assert await outcomes(8) != first
        assert await outcomes(None) != await outcomes(None)
        assert 40 <= sum(first) <= 80

    async def test_a_name_that_is_no_text_is_no_obstacle(self) -> None:
        output = RecordedOutput()
        task = Task(name="\ud800", simulate=Simulation(duration=1, output=1))
        await SimulateDispatcher().run(attempt_at(task), output)
        assert bytes(output.data) == b"?: line 1 of 1\n"

    async def test_another_kind_of_task_is_refused(self) -> None:
        outcome = await SimulateDispatcher().run(attempt_at(Task(name="a", run="true")), RecordedOutput())
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.error == "'a' has nothing to simulate"
