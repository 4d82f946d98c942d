"""A launched program for tests (tests/host/launched.py), and finding everything that belongs to it."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.terminal import WITHIN

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = ROOT / "tests" / "host" / "launched.py"
MARK: Final = "PLANDECK_TEST_MARK"

CRUEL: Final = "trap '' TERM HUP INT; echo up > $ANSWERS; while :; do sleep 600; done"
"""A task that only KILL ends."""

FAMILY: Final = (
    "sleep 600 & setsid sleep 600 & (trap '' TERM; setsid sh -c 'sleep 600 & sleep 600' & sleep 600) & "
    "(setsid setsid sleep 600 &); echo up > $ANSWERS; wait"
)
"""A task with grandchildren, some of which move to sessions of their own, or ignore TERM."""


def marked(mark: str) -> list[int]:
    """The living processes that have the mark in their environment."""
    sought = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # gone meanwhile; the dead have no environment
                if sought in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def wait_until_gone(mark: str) -> None:
    """Wait until no process with the mark is left."""
    deadline = time.monotonic() + WITHIN
    while pids := marked(mark):
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pids[0])
            try:
                assert select.select([pidfd], [], [], max(deadline - time.monotonic(), 0))[0], (
                    f"left: {[Path(f'/proc/{pid}/cmdline').read_bytes() for pid in marked(mark)]}"
                )
            finally:
                os.close(pidfd)


def end_all(mark: str) -> None:
    """Kill what a failed test has left."""
    while pids := marked(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_for_state(pid: int, states: str) -> None:
    """Wait until the kernel shows the process in one of the states (T stopped, S asleep, Z dead, ...)."""
    wait_until(lambda: state(pid) in states, f"process {pid} to be {states}")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """For what the kernel tells nobody of."""
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.001)  # and let it come


class Job:
    """A launched program with its pipes. Everything that it started is gone when the block ends.

    before: an argv that runs the command given after it.
    """

    def __init__(self, folder: Path, *, grace: float = 0.05) -> None:
        folder.mkdir(exist_ok=True)
        self.mark = uuid.uuid4().hex
        self.engine = self.guardian = 0
        orders, answers = folder / "orders", folder / "answers"
        os.mkfifo(orders)
        os.mkfifo(answers)
        self._orders = os.open(orders, os.O_RDWR)
        self._answers = os.open(answers, os.O_RDWR | os.O_NONBLOCK)
        self._heard = b""
        self.argv = [sys.executable, str(PROGRAM), str(grace), str(orders), str(answers)]
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), MARK: self.mark}
        self.process: subprocess.Popen[bytes] | None = None

    def launch(
        self, before: Sequence[str] = (), *, env: Mapping[str, str] | None = None, **streams: int
    ) -> Self:
        """Start it without a terminal, in a session of its own, and wait until it is there."""
        streams = {"stdin": subprocess.DEVNULL, **streams}
        self.process = subprocess.Popen(
            [*before, *self.argv],
            env={**self.env, **(env or {})},
            start_new_session=True,
            **streams,  # type: ignore[call-overload]
        )
        return self.begun()

    @property
    def launcher(self) -> int:
        assert self.process is not None
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_all(self.mark)
        if self.process is not None:
            self.process.wait()
        os.close(self._orders)
        os.close(self._answers)

    def begun(self) -> Self:
        """Wait until the engine is there."""
        found = re.fullmatch(r"engine (\d+) (\d+) can detach", answer := self.answer())
        assert found, answer
        self.engine, self.guardian = int(found[1]), int(found[2])
        return self

    def order(self, text: str) -> None:
        os.write(self._orders, f"{text}\n".encode())

    def start(self, *tasks: str) -> None:
        """Start tasks, each of which says "up" when it is."""
        for task in tasks:
            self.order(f"start {task}")
        assert [self.answer() for _ in tasks] == ["up"] * len(tasks)

    def answer(self) -> str:
        """The next line that the engine or a task says."""
        while b"\n" not in self._heard:
            assert select.select([self._answers], [], [], WITHIN)[0], "nobody answers"
            self._heard += os.read(self._answers, 4096)
        line, self._heard = self._heard.split(b"\n", 1)
        return line.decode()

    def wait(self) -> int:
        """The exit status of the launcher, as `subprocess` tells it; then nothing of the run is left."""
        assert self.process is not None
        code = self.process.wait(WITHIN)
        assert marked(self.mark) == []
        return code
