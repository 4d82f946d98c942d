"""Starting one process in a session of its own, its output in a pipe, and learning how it ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn, Protocol

from engine.dispatch.native import RESTORED, Block, native_spawn
from engine.ground.spelling import escaped, quoted

SHELL: Final = "/bin/sh"

_DEFAULT_PATH: Final = os.fsencode(os.defpath)

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


class Environment:
    """The variables that many processes share, made ready for the system once."""

    def __init__(self, shared: Mapping[bytes, bytes]) -> None:
        self._shared = dict(shared)
        self._block = Block(self._shared)

    @property
    def path(self) -> bytes:
        """Where programs are looked up."""
        return self._shared.get(b"PATH", _DEFAULT_PATH)

    def merged(self, own: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """With the variables of one process, which win."""
        return {**self._shared, **own}

    def block(self, own: Mapping[bytes, bytes]) -> Block:
        """The same for a call of the system."""
        if self._shared.keys().isdisjoint(own):
            return Block(own, self._block)
        return Block(self.merged(own))


class Child:
    """A process that leads a session and a group of its own: first ready to be started, then running.

    pid, exit: once `confirm` has returned. read_end: of the pipe in which its stdout and stderr come in
    order; never blocks. The write end stays open here as well. So there is no end-of-file: the exit
    tells the end, to which a grandchild that holds the pipe makes no difference, and each process wakes
    the loop once less.
    """

    __slots__ = (
        "_command",
        "_directory",
        "_error",
        "_source",
        "_start",
        "_write_end",
        "exit",
        "pid",
        "read_end",
    )

    exit: Exit

    def __init__(
        self,
        command: str | tuple[str, ...],
        environment: Environment,
        own: Mapping[bytes, bytes],
        directory: str | None,
        source: int | None = None,
    ) -> None:
        """Make all ready. command: a string for the shell, or a program and its arguments. own: variables
        besides those of the environment, and before them. directory: where; None for here. source: the
        descriptor that is its stdin, which may be closed once it has been started; None for nothing to read.

        Raises `SpawnFailed`.
        """
        self.pid = 0
        self._command = command
        self._directory = directory
        self._source = source
        self._error: BaseException | None = None
        try:
            self.read_end, self._write_end = os.pipe()  # neither is inherited
        except OSError as error:
            raise SpawnFailed(f"cannot start a process: {error.strerror}") from error
        try:
            os.set_blocking(self.read_end, False)
            self._start = self._prepared(environment, own)
        except BaseException as error:
            self._give_up(error)

    def start(self) -> None:
        """Start it, in any thread. Returns when the new process has become the program, which can take
        as long as the system leaves it without a processor. What goes wrong is kept for `confirm`."""
        try:
            self.pid = self._start()
        except BaseException as error:
            self._error = error

    def confirm(self) -> None:
        """To be called when `start` has returned. Raises `SpawnFailed`, and has then let go of everything."""
        try:
            if self._error is not None:
                raise self._error
            self.exit = _watch_exit(self.pid)
        except BaseException as error:
            self._give_up(error)

    def close(self) -> None:
        self._close_pipe()
        self.exit.close()

    def _prepared(self, environment: Environment, own: Mapping[bytes, bytes]) -> Callable[[], int]:
        command, directory = self._command, self._directory
        output, source = self._write_end, self._source
        argv = (SHELL, "-c", command) if isinstance(command, str) else command
        executable = _find(argv[0] if argv else "", own.get(b"PATH", environment.path), directory)
        native = native_spawn()
        if native is None:
            variables = environment.merged(own)
            return lambda: _start_portably(executable, argv, variables, directory, output, source)
        arguments = [os.fsencode(argument) for argument in argv]
        return native.prepare(executable, arguments, environment.block(own), directory, output, source)

    def _give_up(self, error: BaseException) -> NoReturn:
        self._close_pipe()
        if isinstance(error, OSError | ValueError):
            raise SpawnFailed(_reason(error, self._command, self._directory)) from error
        raise error

    def _close_pipe(self) -> None:
        os.close(self.read_end)
        os.close(self._write_end)


def _start_portably(
    executable: str,
    argv: tuple[str, ...],
    environment: Mapping[bytes, bytes],
    directory: str | None,
    output: int,
    source: int | None,
) -> int:
    """Python's own ways, which hold its lock all the while."""
    if directory is not None:
        # its posix_spawn cannot change the directory. Popen can, for half as much again, and as it is
        # told nothing that rules vfork out it copies no memory either
        process = subprocess.Popen(
            argv,
            executable=executable,
            stdin=subprocess.DEVNULL if source is None else source,
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
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
            if source is None
            else (os.POSIX_SPAWN_DUP2, source, 0),
        ),
        setsid=True,
        setsigdef=RESTORED,
    )


def _find(name: str, path: bytes, directory: str | None) -> str:
    """The program to run, by the PATH that the task has, as its shell would find it."""
    if "/" in name:
        return name
    for folder in os.fsdecode(path).split(os.pathsep) if name else ():
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
    if directory is not None:
        try:
            os.stat(os.path.join(directory, "."))  # noqa: PTH116, PTH118 -- Path drops the dot
        except OSError as closed:
            return f"cannot enter {quoted(directory)}: {closed.strerror}"
    said = error.strerror
    if error.errno == errno.ENOEXEC:
        said = "neither a program nor a script whose first line names an interpreter"
    elif error.errno == errno.ENOENT and _exists(error.filename, directory):
        said = "the interpreter that its first line names does not exist"
    return f"cannot run {quoted(program)}: {said}"


def _exists(program: str | None, directory: str | None) -> bool:
    """Whether what was looked for by its path is there; a bare name was looked for elsewhere."""
    return program is not None and "/" in program and Path(directory or ".", program).exists()
