"""A process that runs: its output handed over, its end noticed, and its whole group stopped."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import anyio
from anyio import to_thread

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import BulkOutput, Output, PacedOutput
from engine.dispatch.bulk import PIPE_SIZE, carry
from engine.dispatch.group import Member, ProcessGroup
from engine.dispatch.readiness import Readiness, Signal
from engine.dispatch.spawn import Child, SpawnFailed
from engine.ground.spelling import quoted
from engine.plan.model import Shutdown

_READ_SIZE: Final = 64 * 1024
"""Bytes taken from one process in a turn of the loop; the size of a pipe at first."""

_BULK_SIZE: Final = 256 * 1024
"""The same for a process that has filled its pipe."""

_SET_PIPE_SIZE: Final[int | None] = getattr(fcntl, "F_SETPIPE_SZ", None)

_FIRST_POLL: Final = 0.001
_LAST_POLL: Final = 0.05
"""Seconds between two looks whether a group is empty, of which nothing in the kernel tells."""

_FIRST_CENSUS: Final = 0.01
_LAST_CENSUS: Final = 0.5
"""Seconds between two looks at every process of the machine: dead members count as well until process 1
has reaped them, which in some containers takes it seconds, or for ever."""

_NAMED_MEMBERS: Final = 3


class Haste(Protocol):
    """Who may want a stop to be made without the grace period, as an `Attempt` does."""

    @property
    def is_hastened(self) -> bool: ...


class _Patient:
    is_hastened = False


PATIENT: Final = _Patient()


class RunningProcess:
    """A process from its start on: hands its output over as it comes, and can be stopped with its group.

    output: whom to tell; it may change while the process runs.
    """

    def __init__(self, child: Child, output: Output, readiness: Readiness) -> None:
        self._child = child
        self.output = output
        self._readiness = readiness
        self._group: ProcessGroup  # once it runs
        self._is_running = False  # has been started, and needs to be let go of
        self._begun = Signal()
        self._is_roused = False
        self._stirred = Signal()
        self._has_ended = False
        self._exit_code: int | None = None
        self._error: str | None = None
        self._fault: Exception | None = None
        self._read_size = _READ_SIZE
        self._pipe_size = _READ_SIZE
        self._last_byte = b"\n"
        self._is_held = False  # nothing is read from it here: its output is full, or a thread reads
        self._is_awaited = False
        self._bulk: BulkOutput | None = None  # where a thread is to put what is written in bulk

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
            self._readiness.add(child.read_end, self._receive)
            self._readiness.add(child.exit.fd, self._end)
            self._take_up(f"pid {child.pid}")

    @property
    def has_ended(self) -> bool:
        """Whether the command itself has ended, or never began."""
        return self._has_ended or self._error is not None

    async def wait(self) -> None:
        """Return when the command itself has ended, or was roused. Raises what its output raised, which is
        a defect."""
        self._is_awaited = True
        try:
            while not self._is_wanted:
                if self._bulk is not None:
                    await self._carry(self._bulk)
                else:
                    if self._stirred.is_set:
                        self._stirred = Signal()
                    await self._readiness.wait(self._stirred)
        finally:
            self._is_awaited = False
            self._end_bulk()
        self._is_roused = False
        if self._fault is not None:
            raise self._fault

    @property
    def _is_wanted(self) -> bool:
        """Whether there is something that whoever waits for it must see to."""
        return self.has_ended or self._is_roused or self._fault is not None

    async def _carry(self, output: BulkOutput) -> None:
        """Let a thread take what it writes, turn by turn, for as long as that is in bulk."""
        limiter = anyio.CapacityLimiter(1)  # of its own: the functions of tasks may have taken all others
        try:
            flows = True
            while flows and not self._is_wanted:
                write = partial(self._hand_on, output.outlet())
                flows = await to_thread.run_sync(carry, self._child.read_end, write, limiter=limiter)
                self._readiness.look()
        except Exception as fault:  # as in `begin`
            self._fail(fault)
        self._end_bulk()

    def _hand_on(self, write: Callable[[bytes], None], data: bytes) -> None:
        self._last_byte = data[-1:]
        write(data)

    def _end_bulk(self) -> None:
        if self._bulk is not None:
            self._bulk = None
            self._go_on()

    def rouse(self) -> None:
        """Let `wait` return though the command goes on."""
        self._is_roused = True
        self._stirred.set()

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
        self.drain()
        self.note(f"still running when the command ended, now being stopped: {_listed(members)}")
        return True

    async def stop(self, shutdown: Shutdown, haste: Haste = PATIENT) -> None:
        """Signal the group, kill what is left after the grace period or when hastened, and return when
        the group is empty. To be called in a shielded scope. A start that is under way is waited for."""
        await self._readiness.wait(self._begun)
        if not self._is_running:
            return
        start = anyio.current_time()
        kill_at = start + shutdown.grace
        interval = _FIRST_CENSUS
        census_at = start + interval
        if not haste.is_hastened:
            self._signal(shutdown.signal)
            self._signal(signal.SIGCONT)  # a stopped process would not see the signal
        pause = _FIRST_POLL
        while not self._is_over():
            now = anyio.current_time()
            if (haste.is_hastened or now >= kill_at) and not self._signal(signal.SIGKILL):
                self.note(f"left running, for it may not be signalled: {_listed(self._group.members())}")
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
        self.drain()
        self._is_held = False
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

    def _receive(self) -> None:
        """Something has come."""
        output = self.output
        if self._read() == _BULK_SIZE and self._is_awaited and isinstance(output, BulkOutput):
            self._bulk = output
            self._hold()
            self._stirred.set()
        elif isinstance(output, PacedOutput) and output.is_full and not self._is_held:
            self._hold()  # it will wait for its pipe
            output.when_room(self._go_on)

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

    def _hold(self) -> None:
        """Read nothing, until told to go on."""
        self._is_held = True
        self._readiness.remove(self._child.read_end)

    def _go_on(self) -> None:
        if self._is_held:
            self._is_held = False
            self._readiness.add(self._child.read_end, self._receive)

    def _take_up(self, where: str) -> None:
        try:
            self.output.started(where)
        except Exception as fault:
            self._fail(fault)

    def _fail(self, fault: Exception) -> None:
        self._fault = fault
        self._stirred.set()

    def _write(self, data: bytes) -> None:
        if self._fault is None:
            self._last_byte = data[-1:]
            try:
                self.output.write(data)
            except Exception as fault:  # as in `begin`
                self._fail(fault)

    def _widen(self) -> None:
        """This one writes in bulk."""
        self._read_size = _BULK_SIZE
        if _SET_PIPE_SIZE is not None:
            with suppress(OSError):  # the user's share of pipe memory may be used up
                self._pipe_size = fcntl.fcntl(self._child.read_end, _SET_PIPE_SIZE, PIPE_SIZE)

    def drain(self) -> None:
        """Take what the pipe holds. No more than it can hold: a daemon may be writing to it for ever."""
        left = self._pipe_size
        while left > 0 and (taken := self._read()):
            left -= taken

    def note(self, text: str) -> None:
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
