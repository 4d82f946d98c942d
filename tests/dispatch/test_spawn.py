"""Commands that cannot run, and a machine that has no more to give: a message, and nothing left."""

from __future__ import annotations

import errno
import gc
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch import spawn
from engine.dispatch.contract import RecordedOutput, attempt_at
from engine.dispatch.native import native_spawn
from engine.dispatch.process import ProcessDispatcher
from engine.ground.spelling import quoted
from engine.plan.model import Plan, Simulation, Task
from tests.support.commands import (
    Command,
    open_descriptors,
    run,
    task_for,
    without_native_spawn,
    without_pidfds,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["native", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who starts the processes."""
    if request.param == "python":
        without_native_spawn(monkeypatch)
    return str(request.param)


@pytest.mark.usefixtures("way")
class TestBadInput:
    @pytest.mark.parametrize(
        ("command", "error"),
        [
            (("no-such-command", "x"), "cannot run 'no-such-command': command not found"),
            (("./no/such", "x"), "cannot run './no/such': No such file or directory"),
            (("/etc",), "cannot run '/etc': Permission denied"),
            (("",), "cannot run '': command not found"),
            ((), "cannot run '': command not found"),
            (("echo", "a\0b"), "cannot run 'echo': embedded null byte"),
            (("echo", "x" * 200_000), "cannot run 'echo': Argument list too long"),
            ("\x1b[2J" + ":" * 200_000, "cannot run '\\x1b[2J:::::"),
            (("echo", "\ud800"), "cannot run 'echo': 'utf-8' codec can't encode"),
        ],
        ids=lambda value: str(value)[:60],
    )
    @pytest.mark.parametrize("elsewhere", [False, True])
    async def test_a_command_that_cannot_run(self, command: Command, error: str, elsewhere: bool) -> None:
        output = RecordedOutput()
        where = {"working_dir": "/"} if elsewhere and "./" not in str(command) else {}
        outcome = await run(command, output, **where)
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.exit_code is None
        assert outcome.error.startswith(error)
        assert outcome.error.isprintable()
        assert len(outcome.error) < 300
        assert output.log == [("started", "")]

    async def test_a_file_that_may_not_be_run(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("#!/bin/sh\n")
        outcome = await run(("./data",), working_dir=str(tmp_path))
        assert outcome.error == "cannot run './data': Permission denied"

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("#!/no/such/interpreter\n", "the interpreter that its first line names does not exist"),
            ("true\n", "neither a program nor a script whose first line names an interpreter"),
        ],
    )
    @pytest.mark.parametrize("command", ["./script", "script"])
    async def test_a_script_without_its_interpreter(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str, command: str
    ) -> None:
        (tmp_path / "script").write_text(text)
        (tmp_path / "script").chmod(0o700)
        monkeypatch.setenv("PATH", str(tmp_path))
        outcome = await run((command,), working_dir=str(tmp_path))
        assert outcome.error == f"cannot run '{command}': {error}"

    async def test_a_command_of_the_same_name_in_the_directory_is_not_meant(self, tmp_path: Path) -> None:
        (tmp_path / "no-such-command").touch(0o600)
        outcome = await run(("no-such-command",), working_dir=str(tmp_path))
        assert outcome.error == "cannot run 'no-such-command': command not found"

    @pytest.mark.parametrize(("name", "error"), [("missing", "No such file"), ("file", "Not a directory")])
    async def test_a_directory_that_cannot_be_entered(self, tmp_path: Path, name: str, error: str) -> None:
        (tmp_path / "file").touch()
        outcome = await run("true", working_dir=str(tmp_path / name))
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.error.startswith(f"cannot enter {quoted(str(tmp_path / name))}: {error}")

    async def test_the_current_directory_may_be_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        outcome = await run("true", working_dir=str(gone))
        assert outcome.error.startswith(f"cannot enter '{gone}'")

    @pytest.mark.parametrize("name", ["", "A=B"])
    async def test_a_variable_that_cannot_be_set(self, name: str) -> None:
        task = Task(name="task", run="true", env={name: "x"})
        outcome = await ProcessDispatcher().run(attempt_at(task), RecordedOutput())
        assert outcome.error == f"cannot run 'task': '{name}' is not a name for an environment variable"

    @pytest.mark.parametrize("of_plan", [False, True])
    async def test_a_value_with_a_nul(self, of_plan: bool) -> None:
        env = {"NAME": "a\0b"}
        task = Task(name="task", run="true", env={} if of_plan else env)
        plan = Plan(name="plan", tasks=(task,), env=env if of_plan else {})
        outcome = await ProcessDispatcher().run(attempt_at(task, plan), RecordedOutput())
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.error.endswith(": embedded null byte")

    async def test_another_kind_of_task_is_refused(self) -> None:
        task = Task(name="task", simulate=Simulation())
        outcome = await ProcessDispatcher().run(attempt_at(task), RecordedOutput())
        assert outcome == AttemptOutcome(OutcomeKind.FAILED, "'task' has no command")


class TestExhaustion:
    """The machine has no more to give: a failed task, and nothing left open or running."""

    @pytest.fixture(autouse=True)
    def nothing_left_open(self) -> Iterator[None]:
        gc.collect()
        before = open_descriptors()
        yield
        gc.collect()  # an exception and its frames hold each other, and the dispatcher
        assert open_descriptors() == before

    async def test_no_more_descriptors(self) -> None:
        dispatcher = ProcessDispatcher()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
        try:
            outcome = await dispatcher.run(attempt_at(task_for("true")), RecordedOutput())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        assert outcome.error == "cannot start a process: Too many open files"
        del dispatcher

    async def test_no_more_processes(self, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
        def refuse_python(*args: object, **named: object) -> int:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), "/bin/sh")

        def refuse_native(*args: object) -> int:
            return errno.EAGAIN

        if way == "python":
            monkeypatch.setattr(os, "posix_spawn", refuse_python)
        else:
            monkeypatch.setattr(native_spawn(), "_spawn", refuse_native)
        outcome = await run("make all")
        assert outcome.error == "cannot run 'make all': Resource temporarily unavailable"

    async def test_no_more_descriptors_once_it_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(pid: int) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(os, "pidfd_open", refuse)
        outcome = await run("sleep 1000 & sleep 1000")
        assert outcome.error == "cannot run 'sleep 1000 & sleep 1000': Too many open files"

    async def test_no_more_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        without_pidfds(monkeypatch)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        outcome = await run("sleep 1000")
        assert outcome.error == "cannot run 'sleep 1000': Resource temporarily unavailable"

    async def test_a_sandbox_without_pidfds_is_no_obstacle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(pid: int) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(os, "pidfd_open", refuse)
        assert (await run("exit 4")).exit_code == 4

    @pytest.mark.parametrize("where", ["_find", "_start_portably"])
    async def test_a_defect_is_not_taken_for_bad_input(
        self, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        def broken(*args: object) -> None:
            raise LookupError

        without_native_spawn(monkeypatch)
        monkeypatch.setattr(spawn, where, broken)
        with pytest.raises(LookupError):
            await run("true")
