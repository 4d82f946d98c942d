"""Python functions in workers: what comes of them, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt
from engine.dispatch.contract import DispatcherContract, RecordedOutput, Subject
from engine.dispatch.python import PythonDispatcher
from engine.plan.model import Plan, Shutdown, Task
from tests.support.processes import become, group_is_empty, state

pytestmark = pytest.mark.anyio

JOBS = """
import asyncio, os, signal, subprocess, sys, threading, time
state = []

def hello(name="world"):
    print("hello", name)

async def wait(seconds=0.0, **more):
    await asyncio.sleep(seconds)
    return {"waited": seconds, "note": "two\\nlines", "more": more}

def returns(value):
    return value

def unwritable():
    return object()

def fails(message):
    def inner():
        raise ValueError(message)
    inner()

def leaves(code):
    sys.exit(code)

def dies():
    os._exit(3)

def quits():
    os._exit(0)

def crashes():
    os.kill(os.getpid(), signal.SIGKILL)

def endless():
    print("up", flush=True)
    time.sleep(1000)

def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    endless()

def remembers():
    state.append(1)
    return len(state)

def environment(*names, **more):
    print(os.getcwd(), *map(os.environ.get, ("A", "PLANDECK_TASK", "PLANDECK_ATTEMPT")))
    os.environ["LEFT"] = "behind"

def left():
    return os.environ.get("LEFT", "nothing")

def thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()

def child():
    subprocess.Popen(["sleep", "1000"])

def late():
    def say():
        while not os.path.exists("go"):
            time.sleep(0.001)
        print("late", flush=True)
        open("gone", "w").close()
    threading.Thread(target=say, daemon=True).start()

def where():
    return sys.executable

def read():
    return sys.stdin.read()

class Group:
    @staticmethod
    def method(x):
        return x

number = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needy.py").write_text("import nothing_of_this\n")
    return tmp_path


@pytest.fixture
async def dispatcher() -> AsyncIterator[PythonDispatcher]:
    async with PythonDispatcher() as dispatcher:
        yield dispatcher


class Caller:
    """Calls functions of `jobs` with one dispatcher."""

    def __init__(self, dispatcher: PythonDispatcher, folder: Path) -> None:
        self.dispatcher = dispatcher
        self.folder = folder
        self.pids: list[int] = []

    def attempt(self, function: str, *, number: int = 1, **more: Any) -> Attempt:
        python = function if ":" in function else f"jobs:{function}"
        task = Task(name="call", python=python, shutdown=more.pop("shutdown", Shutdown(grace=1000)), **more)
        plan = Plan(name="plan", tasks=(task,), directory=str(self.folder))
        return Attempt(plan, task, 0, number, "run-1", str(self.folder / "outputs" / "0"))

    async def call(self, function: str, **more: Any) -> tuple[AttemptOutcome, str]:
        output = RecordedOutput()
        outcome = await self.dispatcher.run(self.attempt(function, **more), output)
        self.pids.append(output.pid)
        return outcome, output.data.decode()


@pytest.fixture
def caller(dispatcher: PythonDispatcher, folder: Path) -> Caller:
    return Caller(dispatcher, folder)


class TestContract(DispatcherContract):
    @pytest.fixture
    def subject(self, dispatcher: PythonDispatcher, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
        monkeypatch.chdir(folder)  # the folder of the plans that the suite makes

        def task(function: str, **more: Any) -> Task:
            return Task(name=function, python=f"jobs:{function}", **more)

        return Subject(
            dispatcher,
            task("hello"),
            task("fails", arguments={"message": "no"}),
            task("endless"),
            task("stubborn", shutdown=Shutdown(grace=1000)),
        )


class TestOutcome:
    async def test_what_it_prints_is_its_output(self, caller: Caller) -> None:
        outcome, said = await caller.call("hello", arguments={"name": "Ada"})
        assert outcome == AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)
        assert said == "hello Ada\n"

    async def test_a_coroutine_function_and_a_mapping(self, caller: Caller) -> None:
        outcome, _ = await caller.call("wait", arguments={"seconds": 0.5, "x": [1]})
        assert outcome.outputs == {"waited": "0.5", "note": "two\nlines", "more": '{"x": [1]}'}

    @pytest.mark.parametrize(
        ("value", "outputs"),
        [
            ("text", {"result": "text"}),
            ("a=b\n<<", {"result": "a=b\n<<"}),
            (5, {"result": "5"}),
            (True, {"result": "true"}),
            ([1, "x"], {"result": '[1, "x"]'}),
            (None, None),
            ({}, None),
        ],
    )
    async def test_what_it_returns_are_its_outputs(
        self, caller: Caller, value: object, outputs: dict[str, str] | None
    ) -> None:
        outcome, _ = await caller.call("returns", arguments={"value": value})
        assert outcome.outputs == outputs

    async def test_what_cannot_be_an_output_is_a_failure(self, caller: Caller) -> None:
        outcome, _ = await caller.call("unwritable")
        assert outcome.error == "what it returned cannot be an output: object"
        outcome, _ = await caller.call("returns", arguments={"value": {"no key!": 1}})
        assert outcome.kind is OutcomeKind.FAILED
        assert "outputs, line 1" in outcome.error

    async def test_an_exception_is_the_error_and_its_traceback_is_in_the_output(self, caller: Caller) -> None:
        outcome, said = await caller.call("fails", arguments={"message": "no\nway"})
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.error.startswith("ValueError: no")
        assert "\n" not in outcome.error
        assert outcome.exit_code == 1
        assert "in fails\n    inner()" in said
        assert "python_worker" not in said

    @pytest.mark.parametrize(
        ("code", "error", "exit_code"),
        [(None, "", 0), (0, "", 0), (7, "exit 7", 7), (-1, "exit 255", 255), ("stop", "stop", 1)],
    )
    async def test_it_may_leave_as_a_program_does(
        self, caller: Caller, code: object, error: str, exit_code: int
    ) -> None:
        outcome, _ = await caller.call("leaves", arguments={"code": code})
        assert (outcome.error, outcome.exit_code) == (error, exit_code)
        assert (outcome.kind is OutcomeKind.SUCCESS) == (exit_code == 0)

    @pytest.mark.parametrize(
        ("function", "error"),
        [
            ("dies", "exit 3"),
            ("quits", "its process left before the function returned"),
            ("crashes", "killed by SIGKILL"),
        ],
    )
    async def test_a_worker_that_ends_is_a_failure_and_is_replaced(
        self, caller: Caller, function: str, error: str
    ) -> None:
        outcome, _ = await caller.call(function)
        assert (outcome.kind, outcome.error) == (OutcomeKind.FAILED, error)
        assert (await caller.call("hello"))[1] == "hello world\n"

    @pytest.mark.parametrize(
        ("function", "error"),
        [
            ("jobs:nothing", "module 'jobs' has no 'nothing'"),
            ("nowhere:x", f"there is no module 'nowhere' for {sys.executable}"),
            ("jobs:number", "'jobs:number' is no function but int"),
            ("broken:x", "ZeroDivisionError: division by zero"),
        ],
    )
    async def test_what_cannot_be_called(self, caller: Caller, function: str, error: str) -> None:
        assert (await caller.call(function))[0].error == error

    async def test_there_is_nothing_to_read(self, caller: Caller) -> None:
        outcome, _ = await caller.call("read")
        assert outcome.outputs == {"result": ""}

    async def test_large_arguments_arrive(self, caller: Caller) -> None:
        outcome, _ = await caller.call(
            "returns", arguments={"value": {"size": "x" * 60_000, "y": ["y" * 3_000_000]}}
        )
        assert outcome.error == "outputs: more than 1,024 KiB"


class TestSurroundings:
    async def test_environment_and_folder_are_the_attempts_own(self, caller: Caller, folder: Path) -> None:
        (folder / "sub").mkdir()
        more = {"env": {"A": "ä b"}, "working_dir": str(folder / "sub"), "number": 3}
        assert (await caller.call("environment", **more))[1] == f"{folder}/sub ä b call 3\n"
        assert (await caller.call("environment"))[1] == f"{folder} None call 1\n"
        assert (await caller.call("left"))[0].outputs == {"result": "nothing"}
        assert len(set(caller.pids)) == 1

    async def test_the_interpreter_is_the_users_choice(self, caller: Caller, folder: Path) -> None:
        other = folder / "python"
        other.write_text(f'#!/bin/sh\nCHOSEN=yes exec {sys.executable} "$@"\n')
        other.chmod(0o700)
        await caller.call("where", interpreter=str(other))
        await caller.call("where")
        assert len(set(caller.pids)) == 2

    async def test_an_interpreter_that_there_is_not(self, caller: Caller) -> None:
        output = RecordedOutput()
        outcome = await caller.dispatcher.run(caller.attempt("hello", interpreter="/no/python"), output)
        assert outcome.kind is OutcomeKind.FAILED
        assert "/no/python" in outcome.error

    async def test_a_folder_that_there_is_not(self, caller: Caller) -> None:
        outcome, _ = await caller.call("hello", working_dir="/no/such/folder")
        assert outcome.error == "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/folder'"


class TestWorkers:
    async def test_one_serves_again(self, caller: Caller) -> None:
        for number in (1, 2, 3):
            assert (await caller.call("remembers"))[0].outputs == {"result": str(number)}
        await caller.call("fails", arguments={"message": "no"})
        assert (await caller.call("remembers"))[0].outputs == {"result": "4"}
        assert len(set(caller.pids)) == 1

    async def test_there_are_no_more_than_calls_at_once(self, caller: Caller) -> None:
        async def call() -> None:
            await caller.call("wait", arguments={"seconds": 0.01})

        for _ in range(3):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(call)
        assert len(set(caller.pids)) <= 4

    async def test_one_that_died_while_it_was_idle_is_replaced(self, caller: Caller) -> None:
        await caller.call("hello")
        os.kill(caller.pids[0], signal.SIGKILL)
        await become(lambda: state(caller.pids[0]) in ("Z", ""))
        assert (await caller.call("hello"))[1] == "hello world\n"

    @pytest.mark.parametrize("function", ["thread", "child"])
    async def test_what_a_call_leaves_behind_ends_with_it(self, caller: Caller, function: str) -> None:
        outcome, said = await caller.call(function)
        assert outcome.kind is OutcomeKind.SUCCESS
        assert said == "plandeck: it has left threads or processes behind, which are now stopped\n"
        assert group_is_empty(caller.pids[0])
        await caller.call("hello")
        assert caller.pids[1] != caller.pids[0]

    async def test_what_is_said_between_calls_belongs_to_none(self, caller: Caller, folder: Path) -> None:
        assert (await caller.call("late"))[1] == ""
        (folder / "go").touch()
        await become((folder / "gone").exists)
        assert (await caller.call("hello"))[1] == "hello world\n"

    async def test_a_cancelled_call_ends_at_once_with_all_it_started(self, caller: Caller) -> None:
        output = RecordedOutput()
        async with anyio.create_task_group() as group:
            group.start_soon(caller.dispatcher.run, caller.attempt("endless"), output)
            await output.says(b"up\n")
            group.cancel_scope.cancel()
        assert group_is_empty(output.pid)

    async def test_none_outlives_the_run(self, folder: Path) -> None:
        async with PythonDispatcher() as dispatcher:
            caller = Caller(dispatcher, folder)
            await caller.call("hello")
            assert not group_is_empty(caller.pids[0])
        assert group_is_empty(caller.pids[0])


class TestCheck:
    def plan(self, folder: Path, *calls: tuple[str, dict[str, Any] | None]) -> Plan:
        tasks = tuple(
            Task(name=f"t{number}", python=python, arguments=arguments, line=number)
            for number, (python, arguments) in enumerate(calls)
        )
        return Plan(name="plan", tasks=tasks, directory=str(folder))

    async def check(self, dispatcher: PythonDispatcher, plan: Plan) -> list[str]:
        return [str(fault) for fault in await dispatcher.check(plan, plan.tasks)]

    async def test_good_calls(self, dispatcher: PythonDispatcher, folder: Path) -> None:
        plan = self.plan(
            folder,
            ("jobs:hello", None),
            ("jobs:hello", {"name": "${{ params.name }}"}),
            ("jobs:wait", {"anything": 1}),
            ("jobs:Group.method", {"x": 1}),
            ("builtins:print", {"sep": ""}),
        )
        assert await self.check(dispatcher, plan) == []

    async def test_bad_calls_are_told_with_their_place(
        self, dispatcher: PythonDispatcher, folder: Path
    ) -> None:
        plan = self.plan(
            folder,
            ("jobs:hello", {"nmae": "x"}),
            ("jobs:fails", None),
            ("nowhere:x", None),
            ("broken:x", None),
            ("needy:x", None),
        )
        assert await self.check(dispatcher, plan) == [
            "plan: task 't0': jobs:hello(name='world'): got an unexpected keyword argument 'nmae'",
            "plan:1:1: task 't1': jobs:fails(message): missing a required argument: 'message'",
            f"plan:2:1: task 't2': there is no module 'nowhere' for {sys.executable}",
            "plan:3:1: task 't3': cannot import it: ZeroDivisionError: division by zero",
            "plan:4:1: task 't4': cannot import it: ModuleNotFoundError: No module named 'nothing_of_this'",
        ]

    async def test_a_module_that_ends_its_process(self, dispatcher: PythonDispatcher, folder: Path) -> None:
        (folder / "fatal.py").write_text("import os\nprint('no licence', flush=True)\nos._exit(9)\n")
        plan = self.plan(folder, ("fatal:x", None))
        assert await self.check(dispatcher, plan) == ["plan: task 't0': cannot import it: exit 9: no licence"]

    async def test_a_module_that_takes_for_ever(
        self, dispatcher: PythonDispatcher, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engine.dispatch.python.CHECK_LIMIT", 0.3)
        (folder / "slow.py").write_text("import time\ntime.sleep(1000)\n")
        plan = self.plan(folder, ("slow:x", None))
        assert await self.check(dispatcher, plan) == [
            "plan: task 't0': its module took more than 0.3s to import"
        ]

    async def test_an_interpreter_that_there_is_not(self, dispatcher: PythonDispatcher, folder: Path) -> None:
        plan = Plan(
            name="plan",
            tasks=(Task(name="a", python="jobs:hello", interpreter="/no/python"),),
            directory=str(folder),
        )
        (fault,) = await self.check(dispatcher, plan)
        assert "/no/python" in fault
