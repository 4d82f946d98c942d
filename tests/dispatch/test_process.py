"""Real processes: how they end, what they print, and where they find themselves."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, Now, OutcomeKind
from engine.dispatch import running
from engine.dispatch.base import PacedOutput
from engine.dispatch.contract import DispatcherContract, RecordedOutput, Subject, attempt_at
from engine.dispatch.process import ProcessDispatcher
from engine.ground.identity import task_id
from engine.logs.attempt import AttemptLog, attempt_log_path
from engine.plan.model import Plan, Task
from tests.support.commands import (
    STUBBORN,
    open_descriptors,
    printed,
    run,
    task_for,
    without_native_spawn,
    without_pidfds,
)
from tests.support.processes import become, group_is_empty, state

pytestmark = pytest.mark.anyio


class TestContract(DispatcherContract):
    @pytest.fixture(params=["pidfd", "portable", "elsewhere", "portable elsewhere"])
    def subject(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Subject:
        if "portable" in request.param:
            without_pidfds(monkeypatch)
        where = str(tmp_path) if "elsewhere" in request.param else None
        return Subject(
            ProcessDispatcher(),
            task_for("true", working_dir=where),
            task_for(("sh", "-c", "exit 3"), working_dir=where),
            task_for("exec sleep 1000", working_dir=where),
            task_for(STUBBORN, working_dir=where),
        )


class TestOutcome:
    async def test_an_exit_code_is_told(self) -> None:
        assert await run("exit 2") == AttemptOutcome(OutcomeKind.FAILED, "exit 2", 2)

    @pytest.mark.parametrize(
        ("number", "error"), [(signal.SIGSEGV, "killed by SIGSEGV"), (40, "killed by signal 40")]
    )
    async def test_a_signal_is_named(self, number: int, error: str) -> None:
        outcome = await run(f"ulimit -c 0; kill -{number:d} $$")
        assert outcome == AttemptOutcome(OutcomeKind.FAILED, error, -number)

    async def test_a_status_that_somebody_else_took_is_a_failure(self) -> None:
        class Thief(RecordedOutput):
            def started(self, where: str = "") -> None:
                super().started(where)
                os.waitpid(self.pid, 0)

        outcome = await run("true", Thief())
        assert outcome.kind is OutcomeKind.FAILED
        assert outcome.error == "its exit status was taken by another part of this program"


class TestOutput:
    async def test_both_streams_come_in_order(self) -> None:
        text = await printed("for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done")
        assert text.splitlines() == [f"{name} {i}" for i in range(1, 10) for name in ("out", "err")]

    async def test_bytes_come_as_they_are(self) -> None:
        output = RecordedOutput()
        await run(r"printf '\377\000\033[31m\r\n\n no end'", output)
        assert bytes(output.data) == b"\xff\x00\x1b[31m\r\n\n no end"

    async def test_more_than_a_pipe_holds(self, dispatcher: ProcessDispatcher) -> None:
        output = RecordedOutput()
        attempt = attempt_at(task_for("head -c 3000000 /dev/zero; echo end >&2"))
        outcome = await dispatcher.run(attempt, output)
        assert outcome.kind is OutcomeKind.SUCCESS
        assert len(output.data) == 3_000_004
        assert output.data.endswith(b"\0end\n")

    async def test_a_pipe_that_may_not_grow_is_no_obstacle(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object) -> int:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr("fcntl.fcntl", refuse)
        assert len(await printed("head -c 1000000 /dev/zero")) == 1_000_000

    async def test_a_system_whose_pipes_cannot_grow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "_SET_PIPE_SIZE", None)
        assert len(await printed("head -c 1000000 /dev/zero")) == 1_000_000

    async def test_a_line_of_64_megabytes_costs_bounded_memory(self, tmp_path: Path) -> None:
        size = 64 << 20
        log = AttemptLog(tmp_path, 0, 1, lambda: Now(0.0, 0.0), lambda where: None)
        tracemalloc.start()
        try:
            attempt = attempt_at(task_for(f"head -c {size} /dev/zero"))
            await ProcessDispatcher().run(attempt, log)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        log.close()
        assert attempt_log_path(tmp_path, 0, 1).stat().st_size == log.size == size
        assert peak < 4 << 20

    async def test_one_that_prints_for_ever_takes_nobody_elses_turn(self) -> None:
        dispatcher = ProcessDispatcher()
        loud = RecordedOutput()
        loud.write = lambda data: RecordedOutput.write(loud, data[:10])  # type: ignore[method-assign]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run, attempt_at(task_for("yes")), loud)
            await loud.says(b"y\n")
            for _ in range(5):
                assert (await dispatcher.run(attempt_at(task_for("true")), RecordedOutput())).exit_code == 0
            tasks.cancel_scope.cancel()
        assert group_is_empty(loud.pid)

    async def test_a_defect_of_one_output_does_not_hurt_another_attempt(self) -> None:
        class Defect(Exception):
            pass

        class Defective(RecordedOutput):
            def write(self, data: bytes) -> None:
                raise Defect

        dispatcher = ProcessDispatcher()
        well, ill = RecordedOutput(), Defective()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run, attempt_at(task_for("echo up; exec sleep 1000")), well)
            await well.says(b"up\n")
            # it goes on printing while it is being stopped, and must not be blocked by that
            noisy = "trap 'head -c 200000 /dev/zero; exit' TERM; while :; do echo; done"
            with pytest.raises(Defect):
                await dispatcher.run(attempt_at(task_for(noisy)), ill)
            assert group_is_empty(ill.pid)
            assert not group_is_empty(well.pid)
            tasks.cancel_scope.cancel()


class Paced(RecordedOutput, PacedOutput):
    """Full as soon as it has something, until it is emptied."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False
        self.calls_back: list[Callable[[], None]] = []

    @property
    def is_full(self) -> bool:
        return not self.is_open

    def when_room(self, call: Callable[[], None]) -> None:
        self.calls_back.append(call)


class TestRoomForOutput:
    async def test_a_process_waits_while_its_output_is_full(self, dispatcher: ProcessDispatcher) -> None:
        output = Paced()
        async with anyio.create_task_group() as tasks:
            attempt = attempt_at(task_for("exec head -c 9000000 /dev/zero"))
            tasks.start_soon(dispatcher.run, attempt, output)
            await output.until(lambda: output.data != b"")
            await become(lambda: state(output.pid) == "S")  # it waits for its pipe
            assert len(output.data) < 9_000_000
            output.is_open = True
            (go_on,) = output.calls_back
            go_on()
            go_on()  # once is enough, and twice no harm
        assert len(output.data) == 9_000_000

    async def test_it_can_be_stopped_meanwhile(self, dispatcher: ProcessDispatcher) -> None:
        output = Paced()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run, attempt_at(task_for("exec yes")), output)
            await output.until(lambda: output.data != b"")
            tasks.cancel_scope.cancel()
        assert group_is_empty(output.pid)
        output.calls_back[0]()  # too late, and no harm


class BulkLog(AttemptLog):
    """Tells when a thread is about to write to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 0, 1, lambda: Now(0.0, 0.0), lambda where: None)
        self.in_bulk = anyio.Event()

    def outlet(self) -> Callable[[bytes], None]:
        self.in_bulk.set()
        return super().outlet()


class TestBulk:
    """What a process writes in bulk is taken by a thread."""

    async def test_it_is_kept_whole_and_in_order(self, tmp_path: Path) -> None:
        log = BulkLog(tmp_path)
        # how soon it is taken for bulk depends on who is faster, the writer or the reader
        more = f"until [ -e {tmp_path / 'go'} ]; do head -c 10000000 /dev/zero; done"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, f"echo begin; {more}; head -c 10000000 /dev/zero; echo; echo end", log)
            await log.in_bulk.wait()
            (tmp_path / "go").touch()
        log.close()
        zeros = log.path.read_bytes().removeprefix(b"begin\n").removesuffix(b"\nend\n")
        assert zeros == bytes(len(zeros))
        assert len(zeros) + len(b"begin\n\nend\n") == log.size
        assert len(zeros) % 10_000_000 == 0
        assert log.last_line == "end"

    async def test_it_can_be_stopped(self, tmp_path: Path) -> None:
        log = BulkLog(tmp_path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, "exec yes", log)
            await log.in_bulk.wait()
            tasks.cancel_scope.cancel()
        log.close()
        kept = log.path.read_bytes()
        assert kept.replace(b"y\n", b"") in (b"", b"y")
        assert len(kept) == log.size

    async def test_what_is_said_of_it_comes_after_it(self, tmp_path: Path) -> None:
        log = BulkLog(tmp_path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, f"yes & until [ -e {tmp_path / 'go'} ]; do :; done", log)
            await log.in_bulk.wait()
            (tmp_path / "go").touch()
        log.close()
        said = log.path.read_bytes().lstrip(b"y\n")
        assert said.startswith(
            b"plandeck: still running when the command ended, now being stopped: 'yes' (pid "
        )

    async def test_a_defect_of_its_output_is_raised(self, tmp_path: Path) -> None:
        class Defect(Exception):
            pass

        class Defective(BulkLog):
            def outlet(self) -> Callable[[bytes], None]:
                def write(data: bytes) -> None:
                    raise Defect

                return write

        with pytest.raises(Defect):
            await run("exec yes", Defective(tmp_path))


class TestSurroundings:
    async def test_stdin_is_empty(self) -> None:
        assert await printed("cat; wc -c") == "0\n"

    async def test_it_has_a_session_and_a_group_of_its_own(self) -> None:
        text = await printed(
            (sys.executable, "-Sc", "import os; print(os.getpid(), os.getsid(0), os.getpgid(0))")
        )
        pid, session, group_number = map(int, text.split())
        assert pid == session == group_number != os.getsid(0)

    @pytest.mark.parametrize("where", [None, "/"])
    @pytest.mark.parametrize("is_native", [True, False])
    async def test_it_inherits_nothing_of_the_engine(
        self, monkeypatch: pytest.MonkeyPatch, where: str | None, is_native: bool
    ) -> None:
        if not is_native:
            without_native_spawn(monkeypatch)
        dispatcher, other, output = ProcessDispatcher(), RecordedOutput(), RecordedOutput()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run, attempt_at(task_for("echo up; exec sleep 1000")), other)
            await other.says(b"up\n")
            kept = {fd for fd in open_descriptors() if not os.get_inheritable(fd)}
            attempt = attempt_at(task_for("echo /proc/self/fd/*; cat /proc/self/status", working_dir=where))
            await dispatcher.run(attempt, output)
            tasks.cancel_scope.cancel()
        listing, *status = output.data.decode().splitlines()
        shown = {int(name.rpartition("/")[2]) for name in listing.split()}
        assert len(kept) >= 5  # the pipe and the pidfd of the other, for instance
        assert shown & kept <= {0, 1, 2, 3}  # 3 is the listing itself
        (ignored,) = (int(line.split()[1], 16) for line in status if line.startswith("SigIgn"))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            assert not ignored & 1 << number - 1

    async def test_it_runs_where_the_task_says(self, tmp_path: Path) -> None:
        assert await printed("pwd -P", working_dir=str(tmp_path)) == f"{tmp_path.resolve()}\n"
        assert await printed("pwd -P") == f"{Path.cwd().resolve()}\n"

    async def test_without_a_word_it_runs_where_the_plan_stands(self, tmp_path: Path) -> None:
        task = task_for("pwd -P")
        output = RecordedOutput()
        plan = Plan(name="plan", tasks=(task,), directory=str(tmp_path))
        await ProcessDispatcher().run(attempt_at(task, plan), output)
        assert output.data.decode() == f"{tmp_path.resolve()}\n"

    async def test_its_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("INHERITED", "1")
        monkeypatch.setenv("CHANGED", "1")
        names = (
            "INHERITED",
            "CHANGED",
            "OF_PLAN",
            "OF_TASK",
            *(f"PLANDECK_{name}" for name in ("RUN_ID", "TASK", "TASK_ID", "ATTEMPT")),
        )
        command = "; ".join(f"echo ${name}" for name in names)
        first = Task(name="first", run=command, env={"OF_TASK": "4", "CHANGED": "3", "PLANDECK_RUN_ID": "x"})
        second = Task(name="zw\u00f6lf", run=command)
        plan = Plan(name="plan", tasks=(first, second), env={"CHANGED": "2", "OF_PLAN": "3"})
        dispatcher = ProcessDispatcher()

        async def environment(index: int, number: int) -> list[str]:
            output = RecordedOutput()
            await dispatcher.run(attempt_at(plan.tasks[index], plan, index=index, number=number), output)
            return output.data.decode().splitlines()

        own = task_id("run-1", "run", 0)
        assert await environment(0, 2) == ["1", "3", "3", "4", "run-1", "first", own, "2"]
        own = task_id("run-1", "run", 1)
        assert await environment(1, 1) == ["1", "2", "3", "", "run-1", "zw\u00f6lf", own, "1"]

    async def test_a_plan_in_a_task_of_another_has_variables_of_its_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("RUN_ID", "TASK", "TASK_ID", "ATTEMPT"):
            monkeypatch.setenv(f"PLANDECK_{name}", "of the outer plan")
        lines = (await printed("env | grep ^PLANDECK_ | sort")).splitlines()
        own = task_id("run-1", "run", 0)
        values = {"ATTEMPT": "1", "RUN_ID": "run-1", "TASK": "task", "TASK_ID": own}
        assert lines == [f"PLANDECK_{name}={value}" for name, value in values.items()]

    async def test_programs_are_looked_up_in_the_path_of_the_task(self, tmp_path: Path) -> None:
        (tmp_path / "bin" / "greet").mkdir(parents=True)  # a directory is no program
        program = tmp_path / "more" / "greet"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho hello $1\n")
        program.chmod(0o700)
        task = Task(
            name="task", run=("greet", "a b"), env={"PATH": f"{tmp_path}/bin:{tmp_path}/more:/bin:/usr/bin"}
        )
        output = RecordedOutput()
        await ProcessDispatcher().run(attempt_at(task), output)
        assert output.data == b"hello a b\n"

    async def test_without_a_path_the_usual_one_serves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PATH")
        assert await printed(("true",)) == ""

    async def test_an_argv_sees_no_shell(self) -> None:
        assert await printed(("echo", "$HOME", ";", "ls *")) == "$HOME ; ls *\n"
