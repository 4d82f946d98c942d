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

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, Output
from engine.dispatch.group import Member, ProcessGroup
from engine.dispatch.readiness import Readiness, Signal
from engine.dispatch.spawn import Child, SpawnFailed, spawn
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


class ProcessDispatcher:
    """Runs commands: a string in `sh -c`, a tuple as it is, each in a session and a group of its own.

    Stdin is empty; stdout and stderr arrive in the order in which they were written. What is left of
    the group when the command itself has ended is stopped as the task says, and is gone before `run`
    returns. The exception is a process that moves to a session of its own, as a daemon does: it is no
    longer of the group. Its environment is that of this process when the dispatcher was made, with the
    attempt's variables and PLANDECK_RUN_ID, _TASK, _TASK_ID and _ATTEMPT.
    """

    def __init__(self) -> None:
        self._readiness = Readiness()
        self._inherited = dict(os.environb)
        self._common: tuple[Plan, str, dict[bytes, bytes]] | None = None

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            child = self._spawn(attempt)
        except SpawnFailed as failed:
            output.started()
            return AttemptOutcome(OutcomeKind.FAILED, str(failed))
        process = _Process(child, output, self._readiness)
        try:
            output.started(f"pid {child.pid}")
            await process.wait()
        except BaseException:  # above all the cancellation
            with anyio.CancelScope(shield=True):
                await process.stop(attempt)
            raise
        else:
            if process.leaves_something_behind():
                with anyio.CancelScope(shield=True):
                    await process.stop(attempt)
        finally:
            process.close()
        return process.outcome()

    def _spawn(self, attempt: Attempt) -> Child:
        """Raises `SpawnFailed`."""
        task = attempt.task
        if task.run is None:
            raise SpawnFailed(f"{quoted(task.name)} has no command")
        try:
            environment = self._environment(attempt)
        except ValueError as error:
            raise SpawnFailed(f"cannot run {quoted(task.name)}: {error}") from error
        return spawn(task.run, environment, _elsewhere(task.working_dir or attempt.plan.directory))

    def _environment(self, attempt: Attempt) -> dict[bytes, bytes]:
        """What all tasks of a plan share is encoded once."""
        plan, task, run_id = attempt.plan, attempt.task, attempt.run_id
        common = self._common
        if common is None or common[0] is not plan or common[1] != run_id:
            shared = self._inherited | _encoded(plan.env) | {b"PLANDECK_RUN_ID": run_id.encode()}
            self._common = common = (plan, run_id, shared)
        return {
            **common[2],
            **_encoded(task.env or {}),
            b"PLANDECK_RUN_ID": common[2][b"PLANDECK_RUN_ID"],
            b"PLANDECK_TASK": os.fsencode(task.name),
            b"PLANDECK_TASK_ID": task_id(run_id, task.type, attempt.index).encode(),
            b"PLANDECK_ATTEMPT": b"%d" % attempt.number,
        }


class _Process:
    """A process under way: hands its output over as it comes, and can be stopped with its group."""

    def __init__(self, child: Child, output: Output, readiness: Readiness) -> None:
        self._child = child
        self._group = ProcessGroup(child.pid, child.exit.pidfd)
        self._output = output
        self._readiness = readiness
        self._has_ended = False
        self._exit_code: int | None = None
        self._stirred = Signal()
        self._fault: Exception | None = None
        self._read_size = _READ_SIZE
        self._pipe_size = _READ_SIZE
        self._last_byte = b"\n"
        readiness.add(child.read_end, self._read)
        readiness.add(child.exit.fd, self._end)

    async def wait(self) -> None:
        """Return when the command itself has ended. Raises what its output raised, which is a defect."""
        await self._readiness.wait(self._stirred)
        if self._fault is not None:
            raise self._fault

    def outcome(self) -> AttemptOutcome:
        """How the command itself ended. Raises what its output raised meanwhile."""
        if self._fault is not None:
            raise self._fault
        return _outcome(self._exit_code)

    def leaves_something_behind(self) -> bool:
        """Whether members of the group outlive the command; a line in its output tells which."""
        if self._group.is_empty():
            return False
        members = self._group.members()
        if members == []:
            return False  # dead already, and only waiting to be reaped by whoever adopted them
        self._drain()
        self._note(f"still running when the command ended, now being stopped: {_listed(members)}")
        return True

    async def stop(self, attempt: Attempt) -> None:
        """Signal the group, kill what is left after the grace period or when hastened, and return when
        the group is empty. To be called in a shielded scope."""
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

    def _write(self, data: bytes) -> None:
        if self._fault is None:
            self._last_byte = data[-1:]
            try:
                self._output.write(data)
            except Exception as fault:  # the task that is running may be that of another attempt
                self._fault = fault
                self._stirred.set()

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


def _elsewhere(directory: str) -> str | None:
    """The directory, or None if it is the one that this process is in."""
    try:
        return None if directory in (".", os.getcwd()) else directory  # noqa: PTH109 -- on the way of every task
    except OSError:  # the current directory is gone
        return directory


def _encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    """Raises ValueError for what cannot stand in an environment."""
    for name in variables:
        if not name or "=" in name:
            raise ValueError(f"{quoted(name)} is not a name for an environment variable")
    return {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}
