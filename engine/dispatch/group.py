"""A process group: signalling all of it, and knowing when nothing of it is left."""

from __future__ import annotations

import os
import signal
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

_TO_GROUP: Final = 4
"""PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9."""

_PROC: Final = Path("/proc")


class Member(NamedTuple):
    """A process of a group. name: as the kernel has it, at most 15 bytes."""

    pid: int
    name: str


class ProcessGroup:
    """The group that a process of ours leads.

    The number of a group is not given to another while a member is left, its leader unreaped
    included. Where the kernel can, signals go by the leader's pidfd, which no other group ever has;
    elsewhere by that number, at once after it was seen to be taken.
    """

    __slots__ = ("_number", "_pidfd")

    def __init__(self, leader: int, pidfd: int | None) -> None:
        self._number = leader
        self._pidfd = pidfd if pidfd is not None and _pidfd_reaches_groups() else None

    def send(self, number: int) -> bool:
        """Signal every member; whether there is any, dead and unreaped ones included.

        Raises PermissionError if there are members and none may be signalled.
        """
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number, None, _TO_GROUP)
            else:
                os.killpg(self._number, number)
        except ProcessLookupError:
            return False
        return True

    def is_empty(self) -> bool:
        """Whether no member is left, an unreaped leader included. A mere look-up in the kernel."""
        try:
            return not self.send(0)
        except PermissionError:
            return False

    def members(self) -> list[Member] | None:
        """Who of the group is alive; None where the system does not tell. Looks at every process of
        the machine. Not to be called before the leader is reaped: orphans that have become children of
        ours, as they do if this is process 1, are reaped once dead."""
        found = self._census() if (_PROC / "self" / "stat").exists() else None
        self._reap_adopted()
        return found

    def _census(self) -> list[Member]:
        found: list[Member] = []
        for entry in _PROC.iterdir():
            if entry.name.isdecimal():
                try:
                    status = (entry / "stat").read_bytes()
                except OSError:  # gone meanwhile
                    continue
                # the name may hold any character, a parenthesis too
                head, _, rest = status.rpartition(b")")
                state, _, group, _ = rest.split(maxsplit=3)
                if int(group) == self._number and state not in (b"Z", b"X"):
                    name = head.partition(b"(")[2].decode("utf-8", "replace")
                    found.append(Member(int(entry.name), name))
        return found

    def _reap_adopted(self) -> None:
        try:
            while os.waitid(os.P_PGID, self._number, os.WEXITED | os.WNOHANG) is not None:
                pass
        except (ChildProcessError, AttributeError):  # no child of ours; no waitid on this system
            pass


@cache
def _pidfd_reaches_groups() -> bool:
    try:
        own = os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return False
    try:
        signal.pidfd_send_signal(own, 0, None, _TO_GROUP)
    except ProcessLookupError:  # understood: this process leads no group
        return True
    except OSError:
        return False
    finally:
        os.close(own)
    return True
