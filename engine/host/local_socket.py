"""Unix sockets that are private: made, found, and asked who is at the other end."""

from __future__ import annotations

import os
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import ByteReceiveStream

from engine.errors import PlandeckError
from engine.ground.folders import make_folder

ADDRESS_LIMIT: Final = 100
"""Bytes of a path that every system takes as the address of a socket; Linux takes 107, others 103."""

QUEUE: Final = 32
"""Connections that may wait to be accepted."""

_CONNECT_PAUSE: Final = 0.05
"""Seconds until another try where the queue is full: no system tells when it is not any more."""

_LINUX_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred: pid, uid, gid
_BSD_CREDENTIALS: Final = struct.Struct("II")  # struct xucred: version, uid, and the groups
_BSD_SIZE: Final = 76
_SOL_LOCAL: Final = 0


class SocketUnusable(PlandeckError):
    """The run cannot be reached from other processes; the message says why."""


def listen(path: Path) -> socket.socket:
    """A socket (0600) that listens at `path`, in a folder of its owner alone, made (0700) if need be.

    A socket left behind by a process that has ended is replaced. Raises `SocketUnusable` when another
    process listens there, when something else stands there, or when others may enter the folder.
    """
    try:
        _make_private(path.parent)
        with _short(path) as address:
            _clear(path, address)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(address)
                path.chmod(0o600)
                listener.listen(QUEUE)
                listener.setblocking(False)
            except BaseException:
                listener.close()
                raise
    except OSError as error:
        raise SocketUnusable(f"cannot listen at {path}: {error.strerror or error}") from error
    return listener


async def accept(listener: socket.socket) -> LocalStream:
    """The next connection. Raises `OSError`."""
    while True:
        await anyio.wait_readable(listener)
        with suppress(BlockingIOError, ConnectionAbortedError):  # it has left already
            connected, _ = listener.accept()
            return LocalStream(connected)


async def connect(path: Path) -> LocalStream:
    """A connection to who listens at `path`. Raises `OSError`."""
    with _short(path) as address:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            while True:
                try:
                    connected.connect(address)
                    return LocalStream(connected)
                except BlockingIOError:  # too many wait to be accepted
                    await anyio.sleep(_CONNECT_PAUSE)
        except BaseException:
            connected.close()
            raise


class LocalStream(ByteReceiveStream):
    """One end of a connection. One task may receive while another sends; it is closed by who does neither.

    Not anyio's own stream for these sockets: a reading that is cancelled just when something comes makes
    that one's asyncio half complain (InvalidStateError), and a server is mostly stopped like that.
    """

    def __init__(self, connected: socket.socket) -> None:
        """connected: belongs to the stream from now on."""
        connected.setblocking(False)
        self._socket = connected

    @property
    def is_of_this_user(self) -> bool:
        """Whether the process at the other end is its user's, who is ours; False if nobody can say."""
        return peer_uid(self._socket) == os.geteuid()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, data: bytes) -> None:
        """Return when the system has taken it all, at once if it can. Raises `BrokenResourceError`."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        self._socket.close()


def peer_uid(connected: socket.socket) -> int | None:
    """Whose process had the other end when the connection was made; None if the system does not tell."""
    if (option := getattr(socket, "SO_PEERCRED", None)) is not None:
        data = connected.getsockopt(socket.SOL_SOCKET, option, _LINUX_CREDENTIALS.size)
        _, uid, _ = _LINUX_CREDENTIALS.unpack(data)
        return int(uid)
    if (option := getattr(socket, "LOCAL_PEERCRED", None)) is not None:
        data = connected.getsockopt(_SOL_LOCAL, option, _BSD_SIZE)
        _, uid = _BSD_CREDENTIALS.unpack_from(data)
        return int(uid)
    return None


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address for `path` that is short enough, by way of a link to its folder where it is too long."""
    if len(os.fsencode(path)) <= ADDRESS_LIMIT:
        yield str(path)
        return
    nearby = tempfile.gettempdir()
    if len(os.fsencode(nearby)) > ADDRESS_LIMIT // 2:
        nearby = "/tmp"  # noqa: S108 -- the folder made there is private
    with tempfile.TemporaryDirectory(prefix="plandeck-", dir=nearby) as private:
        link = Path(private) / "d"
        link.symlink_to(path.parent.absolute())
        yield str(link / path.name)


def _make_private(folder: Path) -> None:
    make_folder(folder)
    status = folder.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise SocketUnusable(f"{folder} is open to others: a run's socket must be in a folder of 0700")


def _clear(path: Path, address: str) -> None:
    """Remove what a process that was killed has left behind."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise SocketUnusable(f"{path} is in the way: it is no socket")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except BlockingIOError:
            pass  # its queue is full, so it is there
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise SocketUnusable(f"another process listens at {path} already")
