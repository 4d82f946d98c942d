"""Starting one process in a session of its own, its output in a pipe, and learning how it ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from engine.plan.spelling import escaped, quoted

SHELL: Final = "/bin/sh"

# What Python ignores for itself, and would hand on ignored.
_RESTORED: Final = [number for name in ("SIGPIPE", "SIGXFSZ") if (number := getattr(signal, name, None))]

_NO_PIDFD: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL})
"""How a kernel or a sandbox says that it has no pidfds."""


class SpawnFailed(Exception):
    """Nothing was started. The message names the command or the directory, and says why."""


class Exit(Protocol):
    """The end of a process. fd: readable once it has come. pidfd: the same if it is one."""

    @property
    def fd(self) -> int: ...

    @property
    def pidfd(self) -> int | None: ...

    def reap(self) -> int | None:
        """The exit code, negative for a signal; None if another part of this program took it. Only
        once `fd` is readable: then it does not block."""

    def close(self) -> None: ...


class Child:
    """A running process and the leader of its session and its group. read_end: of the pipe in which its
    stdout and stderr come in order; never blocks.

    The write end stays open here as well. So there is no end-of-file: the exit tells the end, to which
    a grandchild that holds the pipe makes no difference, and each process wakes the loop once less.
    """

    __slots__ = ("_write_end", "exit", "pid", "read_end")

    def __init__(self, pid: int, exit: Exit, read_end: int, write_end: int) -> None:
        self.pid = pid
        self.exit = exit
        self.read_end = read_end
        self._write_end = write_end

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self._write_end)
        self.exit.close()


def spawn(command: str | tuple[str, ...], environment: Mapping[bytes, bytes], directory: str | None) -> Child:
    """Start a command: a string by the shell, a tuple as it is. directory: where; None for here.

    Raises `SpawnFailed`. Blocks until the new process is under way, which takes some 0.2 ms.
    """
    argv = (SHELL, "-c", command) if isinstance(command, str) else command
    try:
        read_end, write_end = os.pipe()  # neither is inherited
    except OSError as error:
        raise SpawnFailed(f"cannot start a process: {error.strerror}") from error
    try:
        os.set_blocking(read_end, False)
        pid = _start(argv, environment, directory, write_end)
        return Child(pid, _watch_exit(pid), read_end, write_end)
    except BaseException as error:
        os.close(read_end)
        os.close(write_end)
        if isinstance(error, OSError | ValueError):
            raise SpawnFailed(_reason(error, command, directory)) from error
        raise


def _start(
    argv: tuple[str, ...], environment: Mapping[bytes, bytes], directory: str | None, output: int
) -> int:
    executable = _find(argv[0] if argv else "", environment, directory)
    if directory is not None:
        # posix_spawn cannot change the directory. Popen can, for half as much again, and as it is told
        # nothing that rules vfork out it copies no memory either
        process = subprocess.Popen(
            argv,
            executable=executable,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=environment,
            close_fds=False,  # all that Python opens is closed on exec
            start_new_session=True,
        )
        process.returncode = 0  # reaped here: Popen shall neither wait for it nor miss it
        return process.pid
    return os.posix_spawn(
        executable,
        argv,
        environment,
        # stdin last: had it been closed here, it might be the pipe
        file_actions=(
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        ),
        setsid=True,
        setsigdef=_RESTORED,
    )


def _find(name: str, environment: Mapping[bytes, bytes], directory: str | None) -> str:
    """The program to run, by the PATH that the task has, as its shell would find it."""
    if "/" in name:
        return name
    path = os.fsdecode(environment.get(b"PATH", os.fsencode(os.defpath)))
    for folder in path.split(os.pathsep) if name else ():
        program = os.path.join(directory or ".", folder, name)  # noqa: PTH118 -- on the way of every task
        if os.access(program, os.X_OK) and not os.path.isdir(program):  # noqa: PTH112
            return program
    raise FileNotFoundError(errno.ENOENT, "command not found", name)


def _watch_exit(pid: int) -> Exit:
    try:
        return _PidfdExit(pid)
    except (AttributeError, OSError) as error:
        try:
            if isinstance(error, OSError) and error.errno not in _NO_PIDFD:
                raise
            return _ThreadExit(pid)
        except BaseException:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise


class _PidfdExit:
    __slots__ = ("_pid", "fd")

    def __init__(self, pid: int) -> None:
        self.fd = os.pidfd_open(pid)
        self._pid = pid

    @property
    def pidfd(self) -> int:
        return self.fd

    def reap(self) -> int | None:
        return _wait(self._pid)

    def close(self) -> None:
        os.close(self.fd)


class _ThreadExit:
    """Where there is no pidfd: a thread waits, and closes its end of a pipe when the process has ended."""

    pidfd = None

    def __init__(self, pid: int) -> None:
        self._code: int | None = None
        self.fd, told = os.pipe()
        self._thread = threading.Thread(
            target=self._watch, args=(pid, told), name=f"exit of {pid}", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:
            os.close(self.fd)
            os.close(told)
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    def _watch(self, pid: int, told: int) -> None:
        self._code = _wait(pid)
        os.close(told)

    def reap(self) -> int | None:
        self._thread.join()
        return self._code

    def close(self) -> None:
        os.close(self.fd)


def _wait(pid: int) -> int | None:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _reason(error: OSError | ValueError, command: str | tuple[str, ...], directory: str | None) -> str:
    """One line that names what is at fault."""
    program = command if isinstance(command, str) else (command[0] if command else "")
    if not isinstance(error, OSError):
        return f"cannot run {quoted(program)}: {escaped(str(error))}"
    if directory is not None and error.filename == directory:
        return f"cannot enter {quoted(directory)}: {error.strerror}"
    said = error.strerror
    if error.errno == errno.ENOEXEC:
        said = "neither a program nor a script whose first line names an interpreter"
    elif error.errno == errno.ENOENT and _exists(error.filename, directory):
        said = "the interpreter that its first line names does not exist"
    return f"cannot run {quoted(program)}: {said}"


def _exists(program: str | None, directory: str | None) -> bool:
    """Whether what was looked for by its path is there; a bare name was looked for elsewhere."""
    return program is not None and "/" in program and Path(directory or ".", program).exists()
