"""Killing: whatever a process does, and whatever it leaves behind, its group is empty afterwards."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch import group
from engine.dispatch.contract import RecordedOutput, attempt_at
from engine.dispatch.process import ProcessDispatcher
from engine.plan.model import Shutdown
from tests.support.commands import (
    BUSY,
    HASTY,
    PATIENT,
    SLEEPS,
    STUBBORN,
    printed,
    run,
    stop_when_up,
    task_for,
)
from tests.support.processes import adopting_orphans, become, end, group_is_empty, state

pytestmark = pytest.mark.anyio


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
