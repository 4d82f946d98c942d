"""Going on with a run whose engine was killed: as soon as nothing of it is left, and not before."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from trio.testing import MockClock

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.core.state import Outcome
from engine.dispatch.base import Attempt, Output
from engine.ground.folders import make_folder, run_directory, state_directory
from engine.host.kept import reopen_run
from engine.store.lock import LOCK_NAME, Holder, RunHeld
from tests.support.journals import diamond, write_run

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})]),
]


class Quick:
    """A dispatcher whose attempts succeed at once."""

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        output.started()
        return AttemptOutcome(OutcomeKind.SUCCESS)


@pytest.fixture
def lock() -> Iterator[int]:
    """The lock of an interrupted run, in other hands."""
    write_run(state_directory(), diamond("run")[:4])
    folder = run_directory(state_directory(), "run")
    make_folder(folder)
    fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    os.close(fd)


def had_by(lock: int, pid: int) -> None:
    os.pwrite(lock, msgspec.json.encode(Holder(pid, 1.0)), 0)


def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


async def test_what_a_killed_engine_has_left_is_waited_for(lock: int) -> None:
    had_by(lock, dead())
    told: list[str] = []

    def end(reason: str) -> None:
        told.append(reason)
        fcntl.flock(lock, fcntl.LOCK_UN)

    async with reopen_run("run", dispatchers={"local": Quick()}, on_wait=end) as kept:
        assert (await kept.run.wait()).outcome is Outcome.SUCCESS
    assert told == ["the engine of this run was killed; waiting until what it had started has ended"]


@pytest.mark.parametrize("pid", [os.getpid(), 1, 0], ids=["own", "first", "unknown"])
async def test_an_engine_that_lives_is_not_waited_for(lock: int, pid: int) -> None:
    """Nor one of which nothing is known."""
    had_by(lock, pid)
    with pytest.raises(RunHeld):
        async with reopen_run("run"):
            pass


async def test_an_engine_of_somebody_else_lives(lock: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    had_by(lock, 1)
    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(RunHeld):
        async with reopen_run("run"):
            pass


async def test_a_killed_engine_may_have_left_nothing(lock: int, tmp_path: Path) -> None:
    had_by(lock, dead())
    fcntl.flock(lock, fcntl.LOCK_UN)
    async with reopen_run("run", dispatchers={"local": Quick()}, on_wait=pytest.fail) as kept:
        assert (await kept.run.wait()).outcome is Outcome.SUCCESS
