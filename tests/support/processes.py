"""Looking at processes from outside."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio


async def become(condition: Callable[[], bool]) -> None:
    """Return once something outside of this process is so, of which nothing tells."""
    while not condition():
        await anyio.sleep(0.001)


def state(pid: int) -> str:
    """The letter of a process: R, S, T, Z, ...; "" if there is none."""
    try:
        return _status(pid)[0]
    except OSError:
        return ""


def group_of(number: int) -> set[int]:
    """The processes of a group that are alive."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                letter, _, group = _status(int(entry.name))[:3]
                if int(group) == number and letter not in "ZX":
                    found.add(int(entry.name))
    return found


def group_is_empty(number: int) -> bool:
    """Whether no process of the group is alive, by /proc: not as the engine finds out."""
    return not group_of(number)


def _status(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    return text.rpartition(")")[2].split()


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Make this process the parent of every orphan below it, as process 1 of a container is."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    set_subreaper = 36
    assert prctl(set_subreaper, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(set_subreaper, 0, 0, 0, 0)


def end(pid: int) -> None:
    """Kill a process that a test has left on purpose, and reap it if it is a child of ours."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
