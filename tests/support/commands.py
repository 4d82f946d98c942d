"""Commands to run with the process dispatcher, and ways of running and stopping them."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch import group, readiness, spawn
from engine.dispatch.base import Attempt, Output
from engine.dispatch.contract import RecordedOutput, attempt_at
from engine.dispatch.process import ProcessDispatcher
from engine.dispatch.readiness import PortablePoller
from engine.plan.model import Shutdown, Task
from tests.support.processes import group_is_empty

PATIENT = Shutdown(grace=1000)
HASTY = Shutdown(grace=0.02)
BUSY = "while :; do :; done"
"""For a shell that catches a signal: one that starts a process at that moment may lose the signal there."""

STUBBORN = "trap '' TERM; echo up; while :; do sleep 1000; done"

SLEEPS = 'until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done'
"""Until the last child of a shell has become the program that it is to run."""

Command = str | tuple[str, ...]


def without_native_spawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a C library that is old or unknown: Python starts the processes."""
    monkeypatch.setattr(spawn, "native_spawn", lambda: None)


def without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: neither pidfds nor epoll, and Python starts the processes."""
    without_native_spawn(monkeypatch)
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(readiness, "new_poller", PortablePoller)
    monkeypatch.setattr(group, "_pidfd_reaches_groups", lambda: False)


def task_for(command: Command, shutdown: Shutdown = PATIENT, working_dir: str | None = None) -> Task:
    return Task(name="task", run=command, shutdown=shutdown, working_dir=working_dir)


async def run(command: Command, output: Output | None = None, **more: str) -> AttemptOutcome:
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
