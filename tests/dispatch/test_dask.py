"""A real Dask cluster: a scheduler and two workers of eight threads each, on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from dask import config as dask_config
from distributed import Client
from msgspec.structs import replace

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import ConcurrencyLimit
from engine.dispatch.contract import DispatcherContract, RecordedOutput, Subject, attempt_at
from engine.dispatch.dask import cluster as cluster_module
from engine.dispatch.dask import connection as connection_module
from engine.dispatch.dask import following as following_module
from engine.dispatch.dask.dispatcher import DaskDispatcher
from engine.dispatch.dask.following import Following
from engine.errors import ExecutorUnusable
from engine.ground.folders import run_directory, state_directory
from engine.ground.identity import new_run_id
from engine.logs.attempt import attempt_log_path
from engine.plan.model import Plan, Simulation, Task
from engine.session import open_run
from engine.store.lock import holder_of
from tests.support.commands import HASTY, PATIENT, STUBBORN, task_for
from tests.support.dask_cluster import ROOT, DaskCluster, Node
from tests.support.processes import become, group_is_empty
from tests.support.world import plan as plan_of
from tests.support.world import subplan
from tui.cli.main import run_command_line

pytestmark = pytest.mark.anyio

SUCCESS = AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


@pytest.fixture
async def dask(cluster: DaskCluster) -> AsyncIterator[DaskDispatcher]:
    async with DaskDispatcher(cluster.address) as dispatcher:
        yield dispatcher


async def run(
    dask: DaskDispatcher, task: Task, output: RecordedOutput, plan: Plan | None = None
) -> AttemptOutcome:
    return await dask.run(attempt_at(task, plan, run_id=new_run_id()), output)


def group_in(output: RecordedOutput) -> int:
    """Of a task that has printed `$$` first."""
    return int(output.data.split()[0])


class TestContract(DispatcherContract):
    @pytest.fixture
    def subject(self, dask: DaskDispatcher) -> Subject:
        return Subject(
            dask,
            task_for("true"),
            task_for(("sh", "-c", "exit 3")),
            task_for("exec sleep 1000"),
            task_for(STUBBORN),
        )


class TestWhatATaskFinds:
    async def test_a_command_with_its_output_and_where_it_ran(self, dask: DaskDispatcher) -> None:
        output = RecordedOutput()
        outcome = await run(dask, task_for("echo out; echo err >&2; exit 3"), output)
        assert outcome == AttemptOutcome(OutcomeKind.FAILED, "exit 3", 3)
        assert bytes(output.data) == b"out\nerr\n"
        assert output.where in ("worker one", "worker two")

    async def test_a_python_function_and_what_it_returns(self, dask: DaskDispatcher, tmp_path: Path) -> None:
        (tmp_path / "ops.py").write_text("def add(a, b):\n    print('adding')\n    return {'sum': a + b}\n")
        task = Task(name="add", python="ops:add", arguments={"a": 1, "b": 2})
        plan = Plan(name="plan", tasks=(task,), directory=str(tmp_path))
        output = RecordedOutput()
        attempt = attempt_at(task, plan, run_id=new_run_id())
        attempt.outputs = "/nonexistent/on/this/side"
        outcome = await dask.run(attempt, output)
        assert outcome == AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0, outputs={"sum": "3"})
        assert bytes(output.data) == b"adding\n"

    async def test_a_simulated_task_goes_as_fast_as_the_run_says(self, cluster: DaskCluster) -> None:
        dispatcher = DaskDispatcher(cluster.address)
        dispatcher.pretend(speed=1e6, seed=7)
        output = RecordedOutput()
        async with dispatcher:
            task = Task(name="nap", simulate=Simulation(duration=1000, output=0.003))
            assert await run(dispatcher, task, output) == SUCCESS
        assert bytes(output.data) == b"nap: line 1 of 3\nnap: line 2 of 3\nnap: line 3 of 3\n"

    async def test_the_environment_is_the_workers_with_the_plans_and_the_secrets(
        self, dask: DaskDispatcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OF_CONSOLE", "1")
        monkeypatch.setenv("TOKEN", "wxyz-1234")
        task = Task(
            name="env", run="echo $OF_CONSOLE,$TOKEN,$OF_PLAN,$OF_TASK,$PLANDECK_TASK", env={"OF_TASK": "t"}
        )
        plan = Plan(name="plan", tasks=(task,), env={"OF_PLAN": "p"}, secrets=("TOKEN", "UNSET"))
        output = RecordedOutput()
        await run(dask, task, output, plan)
        assert bytes(output.data) == b",wxyz-1234,p,t,env\n"

    async def test_a_folder_of_its_own(self, cluster: DaskCluster, tmp_path: Path) -> None:
        output = RecordedOutput()
        plan = Plan(name="plan", tasks=(task_for("pwd -P"),), directory="/nonexistent")
        async with DaskDispatcher(cluster.address, directory=str(tmp_path)) as dispatcher:
            await run(dispatcher, plan.tasks[0], output, plan)
        assert output.data.decode() == f"{tmp_path.resolve()}\n"

    async def test_much_output_comes_whole(self, dask: DaskDispatcher) -> None:
        output = RecordedOutput()
        assert await run(dask, task_for("head -c 40000000 /dev/zero; echo end"), output) == SUCCESS
        assert len(output.data) == 40_000_004
        assert output.data.endswith(b"\0end\n")


class TestStopping:
    async def test_nothing_is_left_on_the_worker(self, dask: DaskDispatcher) -> None:
        output = RecordedOutput()
        task = task_for("echo $$; trap '' TERM; (trap '' TERM; sleep 1000) & echo up; wait", shutdown=HASTY)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, dask, task, output)
            await output.says(b"up\n")
            tasks.cancel_scope.cancel()
        assert group_is_empty(group_in(output))

    async def test_what_it_prints_while_it_ends_is_heard(self, dask: DaskDispatcher) -> None:
        output = RecordedOutput()
        task = task_for("trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.01; done", shutdown=PATIENT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, dask, task, output)
            await output.says(b"up\n")
            tasks.cancel_scope.cancel()
        assert output.data.endswith(b"bye\n")


class TestRoom:
    async def test_as_many_as_there_are_threads(self, dask: DaskDispatcher) -> None:
        outputs = [RecordedOutput() for _ in range(16)]
        async with anyio.create_task_group() as tasks:
            for output in outputs:
                tasks.start_soon(run, dask, task_for("exec sleep 1000"), output)
            for output in outputs:
                await output.until(lambda output=output: output.calls != [])  # type: ignore[misc]
            with pytest.raises(ConcurrencyLimit, match=r"^all 16 threads of the Dask cluster are taken$"):
                await run(dask, task_for("true"), RecordedOutput())
            tasks.cancel_scope.cancel()
        assert sorted(output.where for output in outputs) == ["worker one"] * 8 + ["worker two"] * 8

    async def test_the_load_of_others_counts(
        self, dask: DaskDispatcher, cluster: DaskCluster, tmp_path: Path
    ) -> None:
        go = str(tmp_path / "go")

        def wait(number: int) -> None:
            import os
            import time

            while not os.path.exists(go):  # noqa: PTH110
                time.sleep(0.01)

        async with Client(cluster.address, asynchronous=True, set_as_default=False) as other:  # type: ignore[no-untyped-call]
            theirs = other.map(wait, range(16))
            await become_busy(other, 16)
            with pytest.raises(ConcurrencyLimit):
                await run(dask, task_for("true"), RecordedOutput())
            Path(go).touch()
            await other.gather(theirs)
        assert await admitted(dask, task_for("true")) == SUCCESS

    async def test_a_run_waits_for_room(self, dask: DaskDispatcher, tmp_path: Path) -> None:
        plan = Plan(
            name="wide",
            max_parallel=32,
            directory=str(tmp_path),
            tasks=tuple(Task(name=f"t{n}", run=f"echo {n} >> done", executor="dask") for n in range(40)),
        )
        async with open_run(plan, dispatchers={"dask": dask}, directory=tmp_path / "run") as going:
            result = await going.wait()
        assert result.success == 40
        assert sorted(map(int, (tmp_path / "done").read_text().split())) == list(range(40))

    async def test_subplans_keep_every_limit(self, dask: DaskDispatcher, tmp_path: Path) -> None:
        leaf = {f"t{n}": "" for n in range(4)}
        middle = {f"s{n}": subplan(leaf, slots=2) for n in range(3)}
        plan = plan_of(a=subplan(middle, slots=3), b=subplan(middle, slots=3))
        counted = "mkdir now/$$; ls now | wc -l >> counts; rmdir now/$$"
        (tmp_path / "now").mkdir()
        tasks = tuple(
            each if each.plan is not None else replace(each, run=counted, executor="dask")
            for each in plan.tasks
        )
        plan = replace(plan, tasks=tasks, max_parallel=5, directory=str(tmp_path))
        async with open_run(plan, dispatchers={"dask": dask}, directory=tmp_path / "run") as going:
            result = await going.wait()
        assert result.success == 24
        assert max(map(int, (tmp_path / "counts").read_text().split())) <= 5


class TestAwkwardWorkers:
    async def test_one_that_only_the_scheduler_can_reach(
        self, dask: DaskDispatcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = connection_module.Connection.call

        async def only_by_scheduler(self: Any, *given: Any, is_direct: bool, **more: Any) -> Any:
            if is_direct:
                raise OSError("no route to host")
            return await call(self, *given, is_direct=False, **more)

        monkeypatch.setattr(connection_module.Connection, "call", only_by_scheduler)
        output = RecordedOutput()
        assert await run(dask, task_for("echo hello; head -c 3000000 /dev/zero"), output) == SUCCESS
        assert len(output.data) == 3_000_006

    async def test_one_that_does_not_begin_is_left_alone(
        self, dask: DaskDispatcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(following_module, "_BEGIN_LIMIT", 0.0)
        monkeypatch.setattr(following_module, "_FIRST_WAIT", 0.01)
        monkeypatch.setattr(cluster_module, "_errand", lambda: lambda key, worker_id: "")
        output = RecordedOutput()
        for _ in ("one", "two"):
            with pytest.raises(ConcurrencyLimit, match=r"^the Dask worker (one|two) has no room$"):
                await run(dask, task_for("true"), output)
        with pytest.raises(ConcurrencyLimit, match="are taken"):
            await run(dask, task_for("true"), output)
        assert output.calls == []

    async def test_one_on_which_dask_itself_fails(
        self, dask: DaskDispatcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(following_module, "_FIRST_WAIT", 0.01)
        monkeypatch.setattr(cluster_module, "_errand", lambda: lambda *_: 1 / 0)
        outcome = await run(dask, task_for("true"), RecordedOutput())
        why = "Dask cannot begin it: ZeroDivisionError: division by zero"
        assert outcome == AttemptOutcome(OutcomeKind.FAILED, why)

    async def test_those_that_cannot_be_used(
        self, dask: DaskDispatcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cluster_module, "open_outpost", os.nice)  # called without its argument
        outcome = await run(dask, task_for("true"), RecordedOutput())
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.is_final
        assert "cannot be used: " in outcome.error
        assert "nice() takes exactly one argument" in outcome.error


async def become_busy(client: Client, keys: int) -> None:
    while True:
        processing = await client.scheduler.processing()  # type: ignore[union-attr]
        if sum(map(len, processing.values())) >= keys:
            return
        await anyio.sleep(0.01)


async def admitted(dask: DaskDispatcher, task: Task) -> AttemptOutcome:
    while True:
        try:
            return await run(dask, task, RecordedOutput())
        except ConcurrencyLimit:
            await anyio.sleep(0.05)


class TestOpening:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({}, "^which Dask cluster?"),
            ({"address": "tcp://127.0.0.1:9"}, "^the Dask scheduler at tcp://127.0.0.1:9 cannot be reached"),
            ({"scheduler_file": "/nonexistent"}, "^cannot read /nonexistent: No such file"),
            ({"scheduler_file": __file__}, "is no scheduler file of Dask$"),
        ],
    )
    async def test_no_cluster(
        self, options: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "REACH_LIMIT", 0.2)
        with pytest.raises(ExecutorUnusable, match=why):
            async with DaskDispatcher(**options):
                pass

    async def test_a_scheduler_file(self, cluster: DaskCluster, tmp_path: Path) -> None:
        file = tmp_path / "scheduler.json"
        file.write_text(f'{{"address": "{cluster.address}"}}')
        async with DaskDispatcher(scheduler_file=str(file)) as dask:
            assert await run(dask, task_for("true"), RecordedOutput()) == SUCCESS

    async def test_workers_with_another_plandeck_are_refused(
        self, dask: DaskDispatcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cluster_module, "own_version", lambda: "99.0")
        outcome = await run(dask, task_for("true"), RecordedOutput())
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.is_final
        assert "here it is 99.0" in outcome.error


PLAN = """
name: long
secrets: [TOKEN]
defaults: {executor: dask}
tasks:
  long:
    run: |
      echo began >> marks
      echo one $TOKEN
      touch long-is-up
      until [ -e go ]; do sleep 0.02; done
      echo last
  short:
    run: |
      echo began >> marks
      touch short-is-up
      until [ -e end ]; do sleep 0.02; done
      echo answer=42 >> $PLANDECK_OUTPUT
      echo said
      touch short-ends
  after:
    needs: [short, long]
    run: echo the answer is ${{ tasks.short.outputs.answer }}
"""


class TestAKilledConsole:
    async def test_what_goes_on_is_taken_up_again_and_what_has_ended_has_ended(
        self, cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.address)
        monkeypatch.setenv("TOKEN", "wxyz-1234")
        plan = tmp_path / "plan.yaml"
        plan.write_text(PLAN)
        command = plandeck("run", plan, "--json")
        run_id = json.loads(await first_line(command))["run_id"]
        folder = run_directory(state_directory(), run_id)
        log = attempt_log_path(folder, 0, 1)
        await become(
            lambda: (tmp_path / "short-is-up").exists() and log.exists() and b"one" in log.read_bytes()
        )
        holder = holder_of(folder)
        assert holder is not None
        os.kill(holder.pid, signal.SIGKILL)
        await anyio.to_thread.run_sync(command.communicate)
        (tmp_path / "end").touch()
        await become((tmp_path / "short-ends").exists)
        command = plandeck("resume", run_id, "--json")
        await first_line(command)
        (tmp_path / "go").touch()
        output, _ = await anyio.to_thread.run_sync(command.communicate)
        assert command.returncode == 0, output
        assert (tmp_path / "marks").read_text() == "began\nbegan\n"
        assert log.read_text() == "one ***\nlast\n"
        assert attempt_log_path(folder, 1, 1).read_text() == "said\n"
        assert attempt_log_path(folder, 2, 1).read_text() == "the answer is 42\n"
        types = [json.loads(line)["type"] for line in output.splitlines()]
        assert types.count("TASK_COMPLETED") == 3
        assert "TASK_RESET" not in types

    async def test_what_no_console_asks_about_ends_by_itself(
        self, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Following, "_end", pass_away)  # it is killed, and so stops nothing
        output = RecordedOutput()
        dispatcher = DaskDispatcher(cluster.address, orphan_limit="1s")
        plan = Plan(name="plan", tasks=(task_for("echo $$; exec sleep 1000", HASTY),))
        attempt = attempt_at(plan.tasks[0], plan, run_id=new_run_id())
        async with dispatcher:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dispatcher.run, attempt, output)
                await output.says(b"\n")
                tasks.cancel_scope.cancel()
            assert not group_is_empty(group_in(output))
            await become(lambda: group_is_empty(group_in(output)))
            assert await dispatcher.adopt([attempt]) == set()


async def pass_away(self: Following, **_: object) -> None:
    """Instead of ending what is followed."""


def plandeck(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tui", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def first_line(command: subprocess.Popen[str]) -> str:
    assert command.stdout is not None
    return await anyio.to_thread.run_sync(command.stdout.readline)


def test_a_sample_plan_runs_unchanged(
    cluster: DaskCluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with dask_config.set({"scheduler-address": cluster.address}):
        code = run_command_line(["demo", "matrix", "--executor", "dask", "--speed", "1000", "--json"])
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert code == 0
    assert {event["where"] for event in events if event["type"] == "TASK_STARTED"} <= {
        "worker one",
        "worker two",
    }
    assert sum(event["type"] == "TASK_COMPLETED" for event in events) == 6


class TestLosses:
    async def test_a_station_that_is_killed_leaves_nothing(self, dask: DaskDispatcher) -> None:
        output = RecordedOutput()
        outcomes: list[AttemptOutcome] = []

        async def lose() -> None:
            outcomes.append(await run(dask, task_for("echo $$ $PPID; sleep 1000 & wait"), output))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose)
            await output.says(b"\n")
            os.kill(int(output.data.split()[1]), signal.SIGKILL)
        name = output.where.removeprefix("worker ")
        assert outcomes == [
            AttemptOutcome(OutcomeKind.LOST, f"what the Dask worker {name} had begun has ended with it")
        ]
        await become(lambda: group_is_empty(group_in(output)))
        assert await admitted(dask, task_for("true")) == SUCCESS  # and another is started

    async def test_a_scheduler_that_dies_is_waited_for_and_then_said_to_be_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "REACH_LIMIT", 1.0)
        scheduler = Node("scheduler", "0", str(tmp_path)).wait_ready()
        output = RecordedOutput()
        outcomes: list[AttemptOutcome] = []
        async with DaskDispatcher(scheduler.address, patience=0.2) as dask:
            with pytest.raises(ConcurrencyLimit, match=r"^the Dask cluster has no workers$"):
                await run(dask, task_for("true"), RecordedOutput())
            worker = Node("worker", scheduler.address, "lonely", str(tmp_path)).wait_ready()

            async def lose() -> None:
                outcomes.append(await run(dask, task_for("echo $$; exec sleep 1000"), output))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lose)
                await output.says(b"\n")
                scheduler.kill()
            assert outcomes[0].kind is OutcomeKind.LOST
            await become(lambda: group_is_empty(group_in(output)))
            silence = f"the Dask scheduler at {scheduler.address} cannot be reached"
            output = RecordedOutput()
            outcome = await admitted(dask, task_for("true"))
            assert (outcome.kind, outcome.is_final) == (OutcomeKind.FAILED, True)
            assert outcome.error.startswith(silence)
        worker.close()

    async def test_a_worker_that_dies_costs_its_tasks_an_attempt_and_nothing_else(
        self, dask: DaskDispatcher, cluster: DaskCluster, tmp_path: Path
    ) -> None:
        command = "echo $$ > $PLANDECK_TASK-$PLANDECK_ATTEMPT; until [ -e go ]; do sleep 0.01; done"
        plan = Plan(
            name="losses",
            max_parallel=6,
            directory=str(tmp_path),
            tasks=tuple(Task(name=f"t{n}", run=command, executor="dask") for n in range(6)),
        )
        async with open_run(plan, dispatchers={"dask": dask}, directory=tmp_path / "run") as going:
            await become(lambda: len(list(tmp_path.glob("t?-1"))) == 6)
            cluster.workers[0].kill()
            await become(lambda: len(list(tmp_path.glob("t?-2"))) == 3)
            lost = [Path(str(second).removesuffix("2") + "1") for second in tmp_path.glob("t?-2")]
            await become(lambda: all(group_is_empty(int(first.read_text() or 1)) for first in lost))
            (tmp_path / "go").touch()
            result = await going.wait()
            attempts = [task.attempts for task in going.snapshot().tasks]
            logs = [going.log_path(index, 1).read_text() for index in range(6) if len(attempts[index]) == 2]
        assert result.success == 6
        assert sorted(map(len, attempts)) == [1, 1, 1, 2, 2, 2]
        assert {each[1].where for each in attempts if len(each) == 2} == {"worker two"}
        assert {each[0].error for each in attempts if len(each) == 2} == {"interrupted"}
        assert logs == ["plandeck: the Dask worker one has gone\n"] * 3
