"""Looking at processes from outside, and an `Output` that can be waited for."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio

from engine.dispatch.base import Attempt
from engine.plan.model import Plan, Task


def attempt_at(task: Task, plan: Plan | None = None, *, index: int = 0, number: int = 1) -> Attempt:
    return Attempt(plan or Plan(name="plan", tasks=(task,)), task, index, number, "run-1")


class RecordedOutput:
    """Keeps what an attempt tells, in `log` also in which order: ("started", where), ("write", data), ..."""

    def __init__(self) -> None:
        self.log: list[tuple[str, bytes | str]] = []
        self.data = bytearray()
        self.where = ""
        self._changed = anyio.Event()

    def started(self, where: str = "") -> None:
        self.where = where
        self._note("started", where)

    def write(self, data: bytes) -> None:
        self.data += data
        self._note("write", data)

    def heartbeat(self) -> None:
        self._note("heartbeat", "")

    @property
    def pid(self) -> int:
        return int(self.where.removeprefix("pid "))

    @property
    def calls(self) -> list[str]:
        return [name for name, _ in self.log]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at whenever something is told."""
        while not condition():
            self._changed = anyio.Event()
            await self._changed.wait()

    async def says(self, text: bytes) -> None:
        await self.until(lambda: text in self.data)

    def _note(self, name: str, detail: bytes | str) -> None:
        self.log.append((name, detail))
        self._changed.set()


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
