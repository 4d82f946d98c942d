"""What an engine leaves behind when it is killed, and its end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.host.signals import GRACE, WAITED_FOR

_CHILDREN: Final = "/proc/self/task/{}/children"

_FIRST_PAUSE: Final = 0.001
_LAST_PAUSE: Final = 0.05
"""Seconds between two looks at what is left. A child that ends wakes us, but one that comes does not."""


class Remains:
    """All children of this process, and all that are going to be its children because it adopts orphans.

    spared: a process group that is not signalled as a whole, for it has other members too. grace: seconds.
    The process has one thread, and blocks `WAITED_FOR`.
    """

    def __init__(self, *, spared: int | None, grace: float = GRACE) -> None:
        self._spared = {spared, os.getpgrp()}
        self._grace = grace

    def end(self, hastened_by: Callable[[signal.struct_siginfo], bool], *, now: bool = False) -> None:
        """TERM to all, after the grace period or a signal that hastens KILL, until no child is left.
        now: KILL at once.

        Only our own children are signalled and the groups that they are in: their numbers cannot have gone to
        others, for nobody but us can reap them. The children of a child become ours when it ends. Gives up on
        those that may not be signalled, as programs of another user.
        """
        kill_at = time.monotonic() + (0 if now else self._grace)
        told: set[int] = set()
        pause = _FIRST_PAUSE
        while _bury_dead():
            targets = {target for child in _children() if (target := self._target(child)) is not None}
            if time.monotonic() < kill_at:
                for target in targets - told:
                    _signal(target, signal.SIGTERM)
                    _signal(target, signal.SIGCONT)  # a stopped process would not see it
                told |= targets
            else:
                killed = [target for target in targets if _signal(target, signal.SIGKILL)]
                if targets and not killed:
                    return
            received = signal.sigtimedwait(WAITED_FOR, pause)
            if received is not None and hastened_by(received):
                kill_at = time.monotonic()
            pause = min(2 * pause, _LAST_PAUSE)

    def _target(self, child: int) -> int | None:
        """What to signal for a child, as for `os.kill`: its whole group if that may be."""
        try:
            group = os.getpgid(child)
        except ProcessLookupError:  # where children are looked for among all, it may be that of another
            return None
        return child if group in self._spared else -group


def _signal(target: int, number: int) -> bool:
    """Whether it may be signalled, or has ended."""
    try:
        os.kill(target, number)
    except PermissionError:
        return False
    except ProcessLookupError:
        pass
    return True


def _bury_dead() -> bool:
    """Whether any child is left after those that have ended were reaped."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> Iterator[int]:
    """Some may be missing while others end."""
    try:
        listing = Path(_CHILDREN.format(threading.get_native_id())).read_bytes()
    except OSError:  # a kernel that does not list them
        yield from _children_among_all()
    else:
        yield from map(int, listing.split())


def _children_among_all() -> Iterator[int]:
    own = b"%d" % os.getpid()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # gone meanwhile
                # the name, in parentheses, may hold any character
                if (entry / "stat").read_bytes().rpartition(b")")[2].split()[1] == own:
                    yield int(entry.name)
