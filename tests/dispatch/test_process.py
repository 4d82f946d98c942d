"""Real processes: what they print, how they end, and that nothing of them is left."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch import group, process, readiness, spawn
from engine.dispatch.base import Attempt
from engine.dispatch.process import ProcessDispatcher
from engine.dispatch.readiness import PortablePoller
from engine.identity import task_id
from engine.logs import AttemptLog, attempt_log_path
from engine.plan.model import Plan, Shutdown, Simulation, Task
from tests.dispatch.contract import DispatcherContract, Subject
from tests.support.processes import (
    RecordedOutput,
    adopting_orphans,
    attempt_at,
    become,
    end,
    group_is_empty,
    state,
)

pytestmark = pytest.mark.anyio

PATIENT = Shutdown(grace=1000)
HASTY = Shutdown(grace=0.02)
BUSY = "while :; do :; done"
"""For a shell that catches a signal: one that starts a process at that moment may lose the signal there."""

STUBBORN = "trap '' TERM; echo up; while :; do sleep 1000; done"

SLEEPS = 'until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done'
"""Until the last child of a shell has become the program that it is to run."""

Command = str | tuple[str, ...]


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: neither pidfds nor epoll."""
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(readiness, "new_poller", PortablePoller)
    monkeypatch.setattr(group, "_pidfd_reaches_groups", lambda: False)


@pytest.fixture(params=["pidfd", "portable"])
def dispatcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ProcessDispatcher:
    if request.param == "portable":
        without_pidfds(monkeypatch)
    return ProcessDispatcher()


def task_for(command: Command, shutdown: Shutdown = PATIENT, working_dir: str | None = None) -> Task:
    return Task(name="task", run=command, shutdown=shutdown, working_dir=working_dir)


async def run(command: Command, output: RecordedOutput | None = None, **more: str) -> AttemptOutcome:
    """Run a command to its end with a dispatcher of its own."""
    return await ProcessDispatcher().run(attempt_at(task_for(command, **more)), output or RecordedOutput())  # type: ignore[arg-type]


def open_descriptors() -> set[int]:
    """Those of this process, but for the one by which they are found."""
    found = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}
    return {fd for fd in found if Path(f"/proc/self/fd/{fd}").exists()}


async def printed(command: Command, **more: str) -> str:
    output = RecordedOutput()
    outcome = await run(command, output, **more)
    assert outcome == AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0), output.data
    return output.data.decode()


async def stop_when_up(dispatcher: ProcessDispatcher, attempt: Attempt, output: RecordedOutput) -> None:
    """Run until it has printed "up", then cancel and wait for the end."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatcher.run, attempt, output)
        await output.says(b"up\n")
        tasks.cancel_scope.cancel()
    assert group_is_empty(output.pid)


class TestContract(DispatcherContract):
    @pytest.fixture(params=["pidfd", "portable", "elsewhere"])
    def subject(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Subject:
        if request.param == "portable":
            without_pidfds(monkeypatch)
        where = str(tmp_path) if request.param == "elsewhere" else None
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
        ids=str,
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
        assert outcome.error.startswith(f"cannot enter '{tmp_path / name}': {error}")

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

    async def test_no_more_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **named: object) -> int:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), "/bin/sh")

        monkeypatch.setattr(os, "posix_spawn", refuse)
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

    async def test_a_defect_is_not_taken_for_bad_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*args: object) -> None:
            raise LookupError

        monkeypatch.setattr(spawn, "_find", broken)
        with pytest.raises(LookupError):
            await run("true")


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
        monkeypatch.setattr(process, "_SET_PIPE_SIZE", None)
        assert len(await printed("head -c 1000000 /dev/zero")) == 1_000_000

    async def test_a_line_of_64_megabytes_costs_bounded_memory(self, tmp_path: Path) -> None:
        size = 64 << 20
        log = AttemptLog(tmp_path, 0, 1, lambda: 0.0, lambda where: None)
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
    async def test_it_inherits_nothing_of_the_engine(self, where: str | None) -> None:
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


class TestStopping:
    """After each of these the group is empty: `stop_when_up` and `no_process_left` see to it."""

    async def test_one_that_obeys(self, dispatcher: ProcessDispatcher) -> None:
        attempt = attempt_at(task_for("echo up; sleep 1000; echo over"))
        await stop_when_up(dispatcher, attempt, output := RecordedOutput())
        assert output.data == b"up\n"

    async def test_one_that_ignores_it_is_killed_after_the_grace_period(
        self, dispatcher: ProcessDispatcher
    ) -> None:
        await stop_when_up(dispatcher, attempt_at(task_for(STUBBORN, HASTY)), RecordedOutput())

    async def test_a_person_may_cut_the_grace_period_short(self, dispatcher: ProcessDispatcher) -> None:
        attempt = attempt_at(task_for(f"trap 'echo not yet' TERM; echo up; {BUSY}"))
        output = RecordedOutput()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run, attempt, output)
            await output.says(b"up\n")
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await output.says(b"not yet\n")
            attempt.hasten()
        assert group_is_empty(output.pid)

    async def test_the_signal_is_the_one_that_the_task_names(self) -> None:
        command = f"trap '' TERM; trap 'echo interrupted; exit' INT; echo up; {BUSY}"
        attempt = attempt_at(task_for(command, Shutdown(signal=signal.SIGINT, grace=1000)))
        await stop_when_up(ProcessDispatcher(), attempt, output := RecordedOutput())
        assert output.data == b"up\ninterrupted\n"

    async def test_one_that_prints_much_on_its_way_out_is_read(self, dispatcher: ProcessDispatcher) -> None:
        command = f"trap 'head -c 500000 /dev/zero; exit 0' TERM; echo up; {BUSY}"
        await stop_when_up(dispatcher, attempt_at(task_for(command)), output := RecordedOutput())
        assert len(output.data) == 500_003

    async def test_one_that_prints_for_ever(self, dispatcher: ProcessDispatcher) -> None:
        await stop_when_up(dispatcher, attempt_at(task_for("yes up")), RecordedOutput())

    async def test_one_that_is_suspended(self, dispatcher: ProcessDispatcher) -> None:
        attempt, output = attempt_at(task_for("echo up; kill -STOP $$")), RecordedOutput()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatcher.run, attempt, output)
            await output.says(b"up\n")
            await become(lambda: state(output.pid) == "T")
            tasks.cancel_scope.cancel()
        assert group_is_empty(output.pid)

    @pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
    async def test_one_that_has_started_many(self, dispatcher: ProcessDispatcher, trap: str) -> None:
        command = f"{trap}for i in $(seq 50); do sleep 1000 & done; echo up; wait"
        attempt = attempt_at(task_for(command, HASTY if trap else PATIENT))
        await stop_when_up(dispatcher, attempt, RecordedOutput())

    async def test_one_that_goes_on_starting_more(self, dispatcher: ProcessDispatcher) -> None:
        command = "trap '' TERM; echo up; for i in $(seq 500); do sleep 1000 & done; wait"
        await stop_when_up(dispatcher, attempt_at(task_for(command, Shutdown(grace=0))), RecordedOutput())

    async def test_the_leader_goes_and_a_child_stays(self, dispatcher: ProcessDispatcher) -> None:
        command = "(trap '' TERM; echo up; while :; do sleep 1000; done) & wait"
        await stop_when_up(dispatcher, attempt_at(task_for(command, HASTY)), RecordedOutput())

    async def test_a_member_that_is_dead_but_never_reaped_keeps_nobody_waiting(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # as in a container whose process 1 reaps nobody
        monkeypatch.setattr(group.ProcessGroup, "is_empty", lambda self: False)
        await stop_when_up(
            ProcessDispatcher(), attempt_at(task_for("echo up; exec sleep 1000")), RecordedOutput()
        )

    async def test_orphans_that_this_process_adopts_are_reaped(self) -> None:
        with adopting_orphans():
            command = "(echo up; exec sleep 1000) & wait"
            await stop_when_up(ProcessDispatcher(), attempt_at(task_for(command)), RecordedOutput())

    async def test_one_that_may_not_be_signalled_is_named_and_left(
        self, dispatcher: ProcessDispatcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(group: object, number: int) -> bool:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(group.ProcessGroup, "send", refuse)
        output = RecordedOutput()
        async with anyio.create_task_group() as tasks:
            attempt = attempt_at(task_for("echo -n up; read _ < /dev/tty || exec sleep 1000", HASTY))
            tasks.start_soon(dispatcher.run, attempt, output)
            await output.says(b"up")
            await become(lambda: Path(f"/proc/{output.pid}/comm").read_text() == "sleep\n")
            tasks.cancel_scope.cancel()
        note = f"plandeck: left running, for it may not be signalled: 'sleep' (pid {output.pid})\n"
        assert output.data.decode().endswith(f"\n{note}")
        end(output.pid)


class TestLeftBehind:
    """The command itself has ended, others of its group have not."""

    @pytest.mark.parametrize("to", ["", " > /dev/null 2>&1"], ids=["with the pipe", "without it"])
    async def test_a_grandchild_is_stopped(self, dispatcher: ProcessDispatcher, to: str) -> None:
        output = RecordedOutput()
        outcome = await dispatcher.run(
            attempt_at(task_for(f"sleep 1000{to} & {SLEEPS}; echo $!; exit 3")), output
        )
        assert outcome == AttemptOutcome(OutcomeKind.FAILED, "exit 3", 3)
        pid, note = output.data.decode().splitlines()
        assert note == (
            f"plandeck: still running when the command ended, now being stopped: 'sleep' (pid {pid})"
        )
        assert group_is_empty(output.pid)

    async def test_a_stubborn_grandchild_is_killed(self, dispatcher: ProcessDispatcher) -> None:
        command = "trap '' TERM; (while :; do sleep 1000; done) & exit 0"
        output = RecordedOutput()
        outcome = await dispatcher.run(attempt_at(task_for(command, HASTY)), output)
        assert outcome.kind is OutcomeKind.SUCCESS
        assert group_is_empty(output.pid)

    async def test_a_person_need_not_wait_for_it(self, dispatcher: ProcessDispatcher) -> None:
        outcomes: list[AttemptOutcome] = []
        attempt, output = attempt_at(task_for("trap '' TERM; sleep 1000 & exit 0")), RecordedOutput()

        async def fly() -> None:
            outcomes.append(await dispatcher.run(attempt, output))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fly)
            await output.says(b"now being stopped")
            tasks.cancel_scope.cancel()
            attempt.hasten()
        assert outcomes == [AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)]
        assert group_is_empty(output.pid)

    async def test_what_it_prints_on_its_way_out_is_kept(self, tmp_path: Path) -> None:
        left = f"(trap 'echo bye; exit' TERM; : > ready; {BUSY})"
        output = RecordedOutput()
        await run(f"{left} & while ! [ -e ready ]; do :; done", output, working_dir=str(tmp_path))
        note, last = output.data.decode().splitlines()
        assert note.startswith("plandeck: still running")
        assert last == "bye"

    async def test_what_may_not_be_signalled_is_named_and_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(group: object, number: int) -> bool:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(group.ProcessGroup, "send", refuse)
        output = RecordedOutput()
        attempt = attempt_at(task_for(f"sleep 1000 & {SLEEPS}; echo $!", HASTY))
        outcome = await ProcessDispatcher().run(attempt, output)
        pid, *notes = output.data.decode().splitlines()
        assert outcome.kind is OutcomeKind.SUCCESS
        assert notes == [
            f"plandeck: still running when the command ended, now being stopped: 'sleep' (pid {pid})",
            f"plandeck: left running, for it may not be signalled: 'sleep' (pid {pid})",
        ]
        end(int(pid))

    async def test_an_output_that_fails_then_still_has_them_stopped(self) -> None:
        class Defect(Exception):
            pass

        class Defective(RecordedOutput):
            def write(self, data: bytes) -> None:
                raise Defect

        output = Defective()
        with pytest.raises(Defect):
            await run("sleep 1000 &", output)
        assert group_is_empty(output.pid)

    async def test_many_are_counted_and_three_named(self) -> None:
        output = RecordedOutput()
        await run("for i in 1 2 3 4 5; do sleep 1000 & done; printf 'no newline'", output)
        start, note = output.data.decode().splitlines()
        assert start == "no newline"
        assert note.count("(pid ") == 3
        assert note.endswith(" and 2 more")

    async def test_where_the_system_tells_nothing_of_processes(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(group, "_PROC", tmp_path)
        output = RecordedOutput()
        with adopting_orphans():  # who else adopts them may take long to reap them
            await run("sleep 1000 &", output)
        assert output.data.endswith(b"now being stopped: processes of its group\n")
        assert group_is_empty(output.pid)

    async def test_the_dead_are_not_taken_for_the_living(self) -> None:
        # a child that has ended, is in the group still, and is reaped by whoever adopts it: by this process
        program = (
            "import os, time\n"
            "pid = os.fork()\n"
            "if not pid: os._exit(0)\n"
            "while open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0] != 'Z': pass\n"
            "print('done')\n"
        )
        with adopting_orphans():
            assert await printed((sys.executable, "-Sc", program)) == "done\n"

    async def test_a_daemon_is_the_exception(self, dispatcher: ProcessDispatcher) -> None:
        # it has left the group for a session of its own, still holds the pipe, and still prints
        program = (
            "import os, time\n"
            "reader, writer = os.pipe()\n"
            "if os.fork(): os.read(reader, 1); os._exit(0)\n"
            "os.setsid()\n"
            "print(os.getpid(), flush=True)\n"
            "os.write(writer, b'x')\n"
            "time.sleep(1000)\n"
        )
        output = RecordedOutput()
        outcome = await dispatcher.run(attempt_at(task_for((sys.executable, "-Sc", program))), output)
        daemon = int(output.data)
        try:
            assert outcome.kind is OutcomeKind.SUCCESS
            assert state(daemon) not in ("", "Z")
        finally:
            end(daemon)


class TestGroup:
    @pytest.fixture(autouse=True)
    def probed_anew(self) -> Iterator[None]:
        group._pidfd_reaches_groups.cache_clear()
        yield
        group._pidfd_reaches_groups.cache_clear()

    @pytest.mark.parametrize(
        ("error", "reaches"),
        [(None, True), (ProcessLookupError(), True), (OSError(errno.EINVAL, "not known"), False)],
    )
    def test_the_kernel_is_asked_once(
        self, monkeypatch: pytest.MonkeyPatch, error: OSError | None, reaches: bool
    ) -> None:
        asked = []

        def answer(*args: object) -> None:
            asked.append(args)
            if error is not None:
                raise error

        monkeypatch.setattr(signal, "pidfd_send_signal", answer)
        assert group._pidfd_reaches_groups() is reaches
        assert group._pidfd_reaches_groups() is reaches
        assert len(asked) == 1

    def test_without_pidfds_it_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "pidfd_open")
        assert not group._pidfd_reaches_groups()

    def test_a_process_that_goes_while_it_is_looked_at_is_passed_over(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "self").mkdir()
        (tmp_path / "self" / "stat").touch()
        (tmp_path / "17").mkdir()  # its stat is gone
        (tmp_path / "18").mkdir()
        (tmp_path / "18" / "stat").write_text("18 (a) b) S 1 4194303 17 0")
        monkeypatch.setattr(group, "_PROC", tmp_path)
        members = group.ProcessGroup(4194303, None).members()
        assert members == [group.Member(18, "a) b")]
