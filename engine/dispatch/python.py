"""The dispatcher for Python functions: each is called in a worker process, kept warm for the next."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import anyio
import anyio.lowlevel

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch import python_worker
from engine.dispatch.base import Attempt, Output
from engine.dispatch.environment import AttemptEnvironment
from engine.dispatch.outputs import OutputsFolder
from engine.dispatch.readiness import Readiness
from engine.dispatch.running import PATIENT, Haste, RunningProcess
from engine.dispatch.spawn import Child, Environment, SpawnFailed
from engine.dispatch.spawner import Spawner
from engine.errors import Fault
from engine.ground.spelling import quoted
from engine.ground.text import one_line, plain
from engine.plan.model import Plan, Shutdown, Task

CHECK_LIMIT: Final = 60.0
"""Seconds that importing the modules of a plan may take, to check its calls."""

_PARTING: Final = Shutdown(signal=signal.SIGTERM, grace=0.5)
"""How an idle worker is stopped: it has nothing to clean up."""

_READ_SIZE: Final = 64 * 1024


class _Kind(NamedTuple):
    """Which calls a worker can make. folder: from which modules are imported."""

    interpreter: str
    folder: str


class PythonDispatcher:
    """Calls functions in worker processes, one call at a time in each.

    A worker is a process in a session and a group of its own, run by the interpreter that the task names, and
    modules are imported from the plan's folder. It serves again as long as its calls succeed or fail in the
    usual way and leave neither thread nor process behind; what they change in modules stays. What a
    function prints is its output, what it returns its outputs: a mapping by its keys, anything else as
    `result`.

    For a whole run: enter it as an async context manager, or workers stay that nobody stops.
    """

    def __init__(self) -> None:
        self._readiness = Readiness()
        self._spawner = Spawner(self._readiness)
        self._environment = AttemptEnvironment()
        self._outputs = OutputsFolder()
        self._idle: defaultdict[_Kind, list[_Worker]] = defaultdict(list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                for workers in self._idle.values():
                    for worker in workers:
                        group.start_soon(worker.end)
        self._idle.clear()

    async def check(self, plan: Plan, tasks: Iterable[Task]) -> list[Fault]:
        """What is wrong with the calls of these tasks, as far as can be told without making them: modules and
        functions that there are not, arguments that do not fit. Imports the modules."""
        calls: defaultdict[_Kind, list[Task]] = defaultdict(list)
        for task in tasks:
            calls[_kind(plan, task)].append(task)
        faults: list[Fault] = []
        for kind, alike in calls.items():
            faults += await self._check(plan, kind, alike)
        return faults

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            environment, own = self._environment.of(attempt)
            worker = await self._worker(_kind(attempt.plan, attempt.task), environment, output)
        except SpawnFailed as failed:
            output.started()
            return AttemptOutcome(OutcomeKind.FAILED, str(failed))
        outputs = self._outputs.file(attempt)
        try:
            answer = await worker.ask(_call(attempt, own))
        except BaseException:  # above all the cancellation
            with anyio.CancelScope(shield=True):
                await worker.end(attempt.task.shutdown, attempt)
            if outputs is not None:
                outputs.discard()
            raise
        if answer is not None and answer["is_clean"]:
            self._idle[worker.kind].append(worker.rested())
        else:
            with anyio.CancelScope(shield=True):
                await worker.clear_up(attempt.task.shutdown, attempt)
        outcome = worker.outcome() if answer is None else _outcome(answer)
        return outcome if outputs is None else outputs.completed(outcome)

    async def _worker(self, kind: _Kind, environment: Environment, output: Output) -> _Worker:
        """One that is warm, or a new one. Raises `SpawnFailed`."""
        idle = self._idle[kind]
        while idle:
            worker = idle.pop()
            if worker.take_up(output):
                return worker
            with anyio.CancelScope(shield=True):
                await worker.end()
        return _Worker(kind, environment, output, self._readiness, self._spawner)

    async def _check(self, plan: Plan, kind: _Kind, tasks: Sequence[Task]) -> list[Fault]:
        said = _Kept()
        try:
            worker = _Worker(kind, self._environment.shared(plan), said, self._readiness, self._spawner)
        except SpawnFailed as failed:
            return [_fault(plan, task, str(failed)) for task in tasks]
        calls = [(task.python, list(task.arguments or ())) for task in tasks]
        answer = None
        with anyio.move_on_after(CHECK_LIMIT):
            answer = await worker.ask({"check": calls})
        if answer is not None:
            self._idle[kind].append(worker.rested())
            return [_fault(plan, task, why) for task, why in zip(tasks, answer["faults"], strict=True) if why]
        why = f"its module took more than {CHECK_LIMIT:g}s to import"
        if worker.process.has_ended:
            why = f"cannot import it: {worker.outcome().error}{said.last_line()}"
        with anyio.CancelScope(shield=True):
            await worker.end(_PARTING)
        return [_fault(plan, task, why) for task in tasks]


class _Worker:
    """A process that makes calls, from before it has begun."""

    def __init__(
        self, kind: _Kind, environment: Environment, output: Output, readiness: Readiness, spawner: Spawner
    ) -> None:
        """Raises `SpawnFailed`."""
        self.kind = kind
        self._readiness = readiness
        self._control, self._theirs = socket.socketpair()
        self._control.setblocking(False)
        self._received = b""
        self._answer: dict[str, Any] | None = None
        program = str(Path(python_worker.__file__))
        command = (kind.interpreter, "-u", program, kind.folder)
        try:
            self._child = Child(command, environment, {}, kind.folder, self._theirs.fileno())
        except BaseException:
            self._control.close()
            self._theirs.close()
            raise
        self.process = RunningProcess(self._child, output, readiness)
        spawner.start(self._child, self._begin)

    def _begin(self) -> None:
        self._theirs.close()
        self.process.begin()
        if not self.process.has_ended:
            self._readiness.add(self._control.fileno(), self._receive)

    def take_up(self, output: Output) -> bool:
        """Serve again, if it still can."""
        self.process.drain()  # what was said after the last call belongs to nobody
        try:
            is_alive = bool(self._control.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            is_alive = True
        except OSError:
            is_alive = False
        if is_alive:
            self.process.output = output
            output.started(f"pid {self._child.pid}")
        return is_alive

    def rested(self) -> _Worker:
        """It has answered: what it has printed by then belongs to the call, what comes after to nobody."""
        self.process.drain()
        self.process.output = _NOBODY
        return self

    async def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None if it ends without one."""
        self._answer = None
        await self._send(json.dumps(request).encode() + b"\n")
        while self._unanswered() and not self.process.has_ended:
            await self.process.wait()
        if self._unanswered():
            self._receive()  # its end may have been noticed before its last word
        return self._answer

    def _unanswered(self) -> bool:
        return self._answer is None

    def outcome(self) -> AttemptOutcome:
        """Of a call that it has not answered."""
        outcome = self.process.outcome()
        if outcome.kind is OutcomeKind.SUCCESS:
            return AttemptOutcome(OutcomeKind.FAILED, "its process left before the function returned", 0)
        return outcome

    async def clear_up(self, shutdown: Shutdown, attempt: Attempt) -> None:
        """End it, as something of its call goes on, or it has ended itself."""
        if not self.process.has_ended:
            self.process.drain()
            self.process.note("it has left threads or processes behind, which are now stopped")
            await self.end(shutdown, attempt)
        elif self.process.leaves_something_behind():
            await self.end(shutdown, attempt)
        else:
            self.close()

    async def end(self, shutdown: Shutdown = _PARTING, haste: Haste = PATIENT) -> None:
        """Stop it, with all that it has started. To be called in a shielded scope."""
        await self.process.stop(shutdown, haste)
        self.close()

    def close(self) -> None:
        self.process.close()
        self._readiness.remove(self._control.fileno())
        self._control.close()

    async def _send(self, data: bytes) -> None:
        try:
            while data:
                try:
                    data = data[self._control.send(data) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._control)
        except OSError:  # it has ended, which is noticed elsewhere
            return

    def _receive(self) -> None:
        try:
            data = self._control.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._readiness.remove(self._control.fileno())
            return
        self._received += data
        line, newline, rest = self._received.partition(b"\n")
        if newline:
            self._answer, self._received = json.loads(line), rest
            self.process.rouse()


class _Nobody:
    """An `Output` that nothing is kept of."""

    def started(self, where: str = "") -> None: ...

    def write(self, data: bytes) -> None: ...

    def heartbeat(self) -> None: ...


_NOBODY: Final = _Nobody()


class _Kept(_Nobody):
    """An `Output` of which the end is kept."""

    def __init__(self) -> None:
        self._end = b""

    def write(self, data: bytes) -> None:
        self._end = (self._end + data)[-_READ_SIZE:]

    def last_line(self) -> str:
        """To be added to a sentence; "" if nothing was said."""
        lines = plain(self._end).splitlines()
        return f": {lines[-1]}" if lines else ""


def _kind(plan: Plan, task: Task) -> _Kind:
    folder = plan.scope_of(task).directory
    interpreter = task.interpreter or sys.executable
    return _Kind(interpreter, folder)


def _call(attempt: Attempt, own: dict[bytes, bytes]) -> dict[str, Any]:
    task = attempt.task
    return {
        "call": task.python,
        "arguments": task.arguments or {},
        "environment": {os.fsdecode(name): os.fsdecode(value) for name, value in own.items()},
        "directory": task.working_dir or attempt.plan.scope_of(task).directory,
    }


def _outcome(answer: dict[str, Any]) -> AttemptOutcome:
    code, error = answer["exit_code"], answer["error"]
    if code == 0:
        return AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)
    return AttemptOutcome(OutcomeKind.FAILED, one_line(error), code)


def _fault(plan: Plan, task: Task, why: str) -> Fault:
    message = f"task {quoted(task.name)}: {one_line(why)}"
    return Fault(plan.file_of(task), task.line, int(task.line > 0), message)
