"""The lock of a run: at most one engine has it, and who that is can be told."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from engine.errors import StoreError
from engine.ground.folders import make_folder

LOCK_NAME: Final = "lock"
_MOST: Final = 4096


class Holder(msgspec.Struct, frozen=True):
    """Who has, or had, a run. pid: 0 if that is not known. since: seconds since the epoch."""

    pid: int = 0
    since: float = 0.0

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended. What it had started is then being ended, and has the lock."""
        try:
            os.kill(self.pid or os.getpid(), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"process {self.pid} since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.since))}"


SHORT_ID: Final = 8
"""Characters of a run id that are told where a person is to type them."""


class RunHeld(StoreError):
    """Another engine has the run. holder: which."""

    def __init__(self, run_id: str, holder: Holder) -> None:
        way = f"plandeck attach {run_id[:SHORT_ID]}"
        super().__init__(f"run {run_id} is in the hands of {holder}; to see it: {way}")
        self.holder = holder


class RunLock:
    """An flock on a file in the run's folder. The system takes it away from a process that ends in
    whatever way, so one that is left behind holds nobody up.

    A child that is forked and not exec'ed shares it: take it after the last fork.
    """

    def __init__(self, run_directory: Path) -> None:
        self.path = run_directory / LOCK_NAME
        self.stale: Holder | None = None
        """Who had the run before and ended without letting go of it."""
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise `RunHeld` at once. Makes the folder (0700) if it is not there. Raises
        `StoreError` if the file cannot be made."""
        try:
            make_folder(self.path.parent)
            fd = _take(self.path)
        except OSError as error:
            raise StoreError(f"cannot lock {self.path}: {error.strerror}") from error
        if fd is None:
            raise RunHeld(self.path.parent.name, holder_of(self.path.parent) or Holder())
        self._fd = fd
        self.stale = _read(fd)
        with suppress(OSError):  # a full disk: the lock holds, only who has it cannot be told
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(Holder(os.getpid(), time.time())), 0)

    def fileno(self) -> int:
        """For who shall share it. Raises ValueError if it is not held."""
        if self._fd is None:
            raise ValueError("the lock is not held")
        return self._fd

    def release(self) -> None:
        """Let go of it, also for those who share it. The file stays: whoever waits for it must find the
        same one."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder_of(run_directory: Path) -> Holder | None:
    """Who has the run now; None if nobody has, whatever the file says."""
    try:
        fd = os.open(run_directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return None if _lock(fd, fcntl.LOCK_SH) else _read(fd) or Holder()
    finally:
        os.close(fd)


def _take(path: Path) -> int | None:
    """The file, open and locked; None if another process has it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if _lock(fd, fcntl.LOCK_EX):
            if _is_at(path, fd):
                return fd
            is_held = False  # it was taken away with its folder just now
        else:
            is_held = not _lock(fd, fcntl.LOCK_SH)  # else somebody was only asking who has it
        os.close(fd)
        if is_held:
            return None
        time.sleep(0.001)


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _read(fd: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(fd, _MOST, 0), type=Holder)
    except msgspec.DecodeError:
        return None  # empty: it was let go of
