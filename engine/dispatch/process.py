"""The dispatcher for commands: processes of this machine, stopped with everything they have started."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio
import anyio.lowlevel
import msgspec

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, Output
from engine.dispatch.group import Member, ProcessGroup
from engine.dispatch.outputs import OutputsFile, OutputsInvalid
from engine.dispatch.readiness import Readiness, Signal
from engine.dispatch.spawn import Child, Environment, SpawnFailed
from engine.dispatch.spawner import Spawner
from engine.identity import task_id
from engine.plan.model import Plan
from engine.plan.spelling import quoted

_READ_SIZE: Final = 64 * 1024
"""Bytes taken from one process in a turn of the loop; the size of a pipe at first."""

_BULK_SIZE: Final = 256 * 1024
"""The same for a process that has filled its pipe."""

_BULK_PIPE: Final = 1024 * 1024
"""The size of the pipe of such a process, if the system grants it: fewer, longer turns."""

_SET_PIPE_SIZE: Final[int | None] = getattr(fcntl, "F_SETPIPE_SZ", None)

_FIRST_POLL: Final = 0.001
_LAST_POLL: Final = 0.05
"""Seconds between two looks whether a group is empty, of which nothing in the kernel tells."""

_FIRST_CENSUS: Final = 0.01
_LAST_CENSUS: Final = 0.5
"""Seconds between two looks at every process of the machine: dead members count as well until process 1
has reaped them, which in some containers takes it seconds, or for ever."""

_NAMED_MEMBERS: Final = 3

_OWN: Final = (b"PLANDECK_TASK", b"PLANDECK_TASK_ID", b"PLANDECK_ATTEMPT", b"PLANDECK_OUTPUT")
"""The variables that each attempt has for itself."""


class ProcessDispatcher:
    """Runs commands: a string in `sh -c`, a tuple as it is, each in a session and a group of its own.

    Stdin is empty; stdout and stderr arrive in the order in which they were written. What is left of
    the group when the command itself has ended is stopped as the task says, and is gone before `run`
    returns. The exception is a process that moves to a session of its own, as a daemon does: it is no
    longer of the group. Its environment is that of this process when the dispatcher was made, with the
    attempt's variables and PLANDECK_RUN_ID, _TASK, _TASK_ID, _ATTEMPT and _OUTPUT.
    """

    def __init__(self) -> None:
        self._readiness = Readiness()
        self._spawner = Spawner(self._readiness)
        self._inherited = dict(os.environb)
        self._common: tuple[Plan, str, Environment] | None = None
        self._outputs_folder: str | None = None

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            child = self._child(attempt)
        except SpawnFailed as failed:
            output.started()
            return AttemptOutcome(OutcomeKind.FAILED, str(failed))
        outputs = None if attempt.outputs is None else self._room_for(attempt.outputs)
        process = _Process(child, output, self._readiness)
        self._spawner.start(child, process.begin)
        try:
            await process.wait()
        except BaseException:  # above all the cancellation
            with anyio.CancelScope(shield=True):
                await process.stop(attempt)
            if outputs is not None:
                outputs.discard()
            raise
        else:
            if process.leaves_something_behind():
                with anyio.CancelScope(shield=True):
                    await process.stop(attempt)
        finally:
            process.close()
        return process.outcome() if outputs is None else _with_outputs(process.outcome(), outputs)

    def _room_for(self, path: str) -> OutputsFile:
        outputs, folder = OutputsFile(path), path.rpartition("/")[0]
        if folder != self._outputs_folder:
            self._outputs_folder = folder
            outputs.make_folder()
        outputs.discard()  # what an attempt has left whose engine died before it could tell of it
        return outputs

    def _child(self, attempt: Attempt) -> Child:
        """Raises `SpawnFailed`."""
        task = attempt.task
        if task.run is None:
            raise SpawnFailed(f"{quoted(task.name)} has no command")
        try:
            common = self._environment(attempt.plan, attempt.run_id)
            own = _encoded(task.env) if task.env else {}
            own[b"PLANDECK_TASK"] = os.fsencode(task.name)
        except ValueError as error:
            raise SpawnFailed(f"cannot run {quoted(task.name)}: {error}") from error
        own[b"PLANDECK_TASK_ID"] = task_id(attempt.run_id, task.type, attempt.index).encode()
        own[b"PLANDECK_ATTEMPT"] = b"%d" % attempt.number
        if attempt.outputs is not None:
            own[b"PLANDECK_OUTPUT"] = os.fsencode(attempt.outputs)
        if b"PLANDECK_RUN_ID" in own:
            own[b"PLANDECK_RUN_ID"] = attempt.run_id.encode()
        directory = task.working_dir or attempt.plan.directory
        return Child(task.run, common, own, None if directory == "." else directory)

    def _environment(self, plan: Plan, run_id: str) -> Environment:
        """What all tasks of a plan share."""
        common = self._common
        if common is None or common[0] is not plan or common[1] != run_id:
            shared = self._inherited | _encoded(plan.env) | {b"PLANDECK_RUN_ID": run_id.encode()}
            for name in _OWN:  # where a plan runs in a task of another
                shared.pop(name, None)
            self._common = common = (plan, run_id, Environment(shared))
        return common[2]


class _Process:
    """A process from its start on: hands its output over as it comes, and can be stopped with its group."""

    def __init__(self, child: Child, output: Output, readiness: Readiness) -> None:
        self._child = child
        self._output = output
        self._readiness = readiness
        self._group: ProcessGroup  # once it runs
        self._is_running = False  # has been started, and needs to be let go of
        self._begun = Signal()
        self._stirred = Signal()
        self._has_ended = False
        self._exit_code: int | None = None
        self._error: str | None = None
        self._fault: Exception | None = None
        self._read_size = _READ_SIZE
        self._pipe_size = _READ_SIZE
        self._last_byte = b"\n"

    def begin(self) -> None:
        """Its start has been tried. Raises nothing: whoever runs now may belong to another attempt."""
        child = self._child
        self._begun.set()
        try:
            child.confirm()
        except SpawnFailed as failed:
            self._error = str(failed)
            self._take_up("")
            self._stirred.set()
        except Exception as fault:
            self._fail(fault)
        else:
            self._is_running = True
            self._group = ProcessGroup(child.pid, child.exit.pidfd)
            self._readiness.add(child.read_end, self._read)
            self._readiness.add(child.exit.fd, self._end)
            self._take_up(f"pid {child.pid}")

    async def wait(self) -> None:
        """Return when the command itself has ended. Raises what its output raised, which is a defect."""
        await self._readiness.wait(self._stirred)
        if self._fault is not None:
            raise self._fault

    def outcome(self) -> AttemptOutcome:
        """How the command itself ended. Raises what its output raised meanwhile."""
        if self._fault is not None:
            raise self._fault
        if self._error is not None:
            return AttemptOutcome(OutcomeKind.FAILED, self._error)
        return _outcome(self._exit_code)

    def leaves_something_behind(self) -> bool:
        """Whether members of the group outlive the command; a line in its output tells which."""
        if not self._is_running or self._group.is_empty():
            return False
        members = self._group.members()
        if members == []:
            return False  # dead already, and only waiting to be reaped by whoever adopted them
        self._drain()
        self._note(f"still running when the command ended, now being stopped: {_listed(members)}")
        return True

    async def stop(self, attempt: Attempt) -> None:
        """Signal the group, kill what is left after the grace period or when hastened, and return when
        the group is empty. To be called in a shielded scope. A start that is under way is waited for."""
        await self._readiness.wait(self._begun)
        if not self._is_running:
            return
        shutdown = attempt.task.shutdown
        start = anyio.current_time()
        kill_at = start + shutdown.grace
        interval = _FIRST_CENSUS
        census_at = start + interval
        if not attempt.is_hastened:
            self._signal(shutdown.signal)
            self._signal(signal.SIGCONT)  # a stopped process would not see the signal
        pause = _FIRST_POLL
        while not self._is_over():
            now = anyio.current_time()
            if (attempt.is_hastened or now >= kill_at) and not self._signal(signal.SIGKILL):
                self._note(f"left running, for it may not be signalled: {_listed(self._group.members())}")
                return
            if self._has_ended and now >= census_at:
                interval = min(2 * interval, _LAST_CENSUS)
                census_at = now + interval
                if self._group.members() == []:
                    return
            self._stirred = Signal()
            with anyio.move_on_after(min(pause, max(kill_at - now, _FIRST_POLL))):
                await self._readiness.wait(self._stirred)
            pause = min(2 * pause, _LAST_POLL)

    def close(self) -> None:
        """Take what is still in the pipe, and let go of everything."""
        if not self._is_running:
            return
        self._drain()
        self._readiness.remove(self._child.read_end)
        self._readiness.remove(self._child.exit.fd)
        self._child.close()

    def _is_over(self) -> bool:
        return self._has_ended and self._group.is_empty()

    def _signal(self, number: int) -> bool:
        """Whether it may be sent: not to a process of another user, as sudo starts them."""
        try:
            self._group.send(number)
        except PermissionError:
            return False
        return True

    def _end(self) -> None:
        """The command itself has ended."""
        self._readiness.remove(self._child.exit.fd)
        self._exit_code = self._child.exit.reap()
        self._has_ended = True
        self._stirred.set()

    def _read(self) -> int:
        """Take what has come, but not more than is fair; how many bytes it was."""
        try:
            data = os.read(self._child.read_end, self._read_size)
        except BlockingIOError:
            return 0
        if len(data) == self._read_size == _READ_SIZE:
            self._widen()
        self._write(data)
        return len(data)

    def _take_up(self, where: str) -> None:
        try:
            self._output.started(where)
        except Exception as fault:
            self._fail(fault)

    def _fail(self, fault: Exception) -> None:
        self._fault = fault
        self._stirred.set()

    def _write(self, data: bytes) -> None:
        if self._fault is None:
            self._last_byte = data[-1:]
            try:
                self._output.write(data)
            except Exception as fault:  # as in `begin`
                self._fail(fault)

    def _widen(self) -> None:
        """This one writes in bulk."""
        self._read_size = _BULK_SIZE
        if _SET_PIPE_SIZE is not None:
            with suppress(OSError):  # the user's share of pipe memory may be used up
                self._pipe_size = fcntl.fcntl(self._child.read_end, _SET_PIPE_SIZE, _BULK_PIPE)

    def _drain(self) -> None:
        """Take what the pipe holds. No more than it can hold: a daemon may be writing to it for ever."""
        left = self._pipe_size
        while left > 0 and (taken := self._read()):
            left -= taken

    def _note(self, text: str) -> None:
        """Say something in the output, on a line of its own."""
        start = b"" if self._last_byte == b"\n" else b"\n"
        self._write(b"%splandeck: %s\n" % (start, text.encode()))


def _outcome(code: int | None) -> AttemptOutcome:
    if code is None:
        return AttemptOutcome(OutcomeKind.FAILED, "its exit status was taken by another part of this program")
    if code == 0:
        return AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)
    error = f"exit {code}" if code > 0 else f"killed by {_name(-code)}"
    return AttemptOutcome(OutcomeKind.FAILED, error, code)


def _with_outputs(outcome: AttemptOutcome, outputs: OutputsFile) -> AttemptOutcome:
    """A success with what it left; a failure if that cannot be understood."""
    if outcome.kind is not OutcomeKind.SUCCESS:
        outputs.discard()
        return outcome
    try:
        left = outputs.take()
    except OutputsInvalid as invalid:
        return AttemptOutcome(OutcomeKind.FAILED, str(invalid), outcome.exit_code)
    return msgspec.structs.replace(outcome, outputs=left) if left else outcome


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _listed(members: Sequence[Member] | None) -> str:
    if members is None:
        return "processes of its group"
    named = ", ".join(f"{quoted(member.name)} (pid {member.pid})" for member in members[:_NAMED_MEMBERS])
    more = len(members) - _NAMED_MEMBERS
    return f"{named} and {more} more" if more > 0 else named


def _encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """Raises ValueError for what cannot stand in an environment."""
    for name in variables:
        if not name or "=" in name:
            raise ValueError(f"{quoted(name)} is not a name for an environment variable")
    return {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}
