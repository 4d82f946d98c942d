"""The lock of a run: one engine has it, whoever asks is told which, and death gives it back."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.store import lock as lock_module
from engine.store.lock import Holder, RunHeld, RunLock, holder_of
from tests.support.journals import child

HOLD = """
import sys
from pathlib import Path
from engine.store.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run"


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    process = child(HOLD, folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_has_it_is_told(folder: Path) -> None:
    assert holder_of(folder) is None
    before = time.time()
    with RunLock(folder) as lock:
        held = holder_of(folder)
        assert held is not None
        assert held.pid == os.getpid()
        assert before <= held.since <= time.time()
        assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert lock.stale is None
    assert holder_of(folder) is None
    lock.release()  # once more does no harm


def test_a_second_engine_is_refused_and_told_by_whom(folder: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(RunHeld, match=rf"run run is in the hands of process {holder.pid} since \d") as held:
        RunLock(folder).acquire()
    assert held.value.holder == holder_of(folder)


def test_one_process_cannot_have_it_twice(folder: Path) -> None:
    with RunLock(folder), pytest.raises(RunHeld):
        RunLock(folder).acquire()


def test_it_can_be_had_after_it_was_let_go(folder: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    with RunLock(folder) as lock:
        assert lock.stale is None


def test_one_whose_holder_was_killed_is_stale(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert holder_of(folder) is None
    with RunLock(folder) as lock:
        assert lock.stale is not None
        assert lock.stale.pid == holder.pid
    with RunLock(folder) as lock:
        assert lock.stale is None


def test_a_child_that_is_executed_does_not_share_it(folder: Path) -> None:
    with RunLock(folder):
        process = child("import sys; sys.stdin.readline()")
    try:
        assert holder_of(folder) is None
    finally:
        process.communicate("go\n")


def test_who_only_asks_is_in_nobodys_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunLock(folder):
        pass
    asking = os.open(folder / lock_module.LOCK_NAME, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr(lock_module.time, "sleep", lambda _: os.close(asking))
    with RunLock(folder):
        assert holder_of(folder) is not None


@pytest.mark.parametrize("is_back", [True, False])
def test_a_file_that_was_taken_away_meanwhile_is_no_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    """As when the run was pruned between opening the file and locking it."""
    lock_for_real = lock_module._lock

    def lock_late(fd: int, kind: int) -> bool:
        monkeypatch.setattr(lock_module, "_lock", lock_for_real)
        (folder / lock_module.LOCK_NAME).unlink()
        if is_back:
            (folder / lock_module.LOCK_NAME).touch()
        return lock_for_real(fd, kind)

    monkeypatch.setattr(lock_module, "_lock", lock_late)
    with RunLock(folder) as lock:
        assert lock.path.exists()
        with pytest.raises(RunHeld):
            RunLock(folder).acquire()


def test_a_full_disk_does_not_keep_anybody_from_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock_module.os, "pwrite", refuse)
    with RunLock(folder):
        assert holder_of(folder) == Holder()
        with pytest.raises(RunHeld, match="another process"):
            RunLock(folder).acquire()


def test_a_link_in_its_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (folder / lock_module.LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot lock"):
        RunLock(folder).acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    folder.parent.parent.joinpath("runs").touch()
    with pytest.raises(StoreError, match=f"cannot lock {folder}"):
        RunLock(folder).acquire()


def test_release_counts_for_those_who_share_it(folder: Path) -> None:
    """A guardian shares it, to have it for a while longer than an engine that is killed."""
    with RunLock(folder) as lock:
        shared = os.dup(lock.fileno())
    with RunLock(folder):
        os.close(shared)
    with pytest.raises(ValueError, match="not held"):
        lock.fileno()
