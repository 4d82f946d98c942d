"""posix_spawn of the C library, called without Python's lock: one thread waits in it, the others go on."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Final

# What Python ignores for itself, and would hand on ignored.
RESTORED: Final = [number for name in ("SIGPIPE", "SIGXFSZ") if (number := getattr(signal, name, None))]

# Of glibc and of musl alike. The sizes are larger than either needs.
_SETSIGDEF: Final = 0x04
_SETSID: Final = 0x80
_ATTRIBUTES_SIZE: Final = 512
_ACTIONS_SIZE: Final = 256
_SIGNALS_SIZE: Final = 128

_ACTIONS_KEPT: Final = 64
"""They differ in the number of the pipe, and those come again and again."""

_DEV_NULL: Final = os.devnull.encode()
_NULL: Final = bytes(ctypes.sizeof(ctypes.c_void_p))


class Block:
    """Variables as the system wants them: pointers to texts, which live as long as this.

    rest: others besides, none of which is among the variables.
    """

    __slots__ = ("_own", "_rest", "terminated")

    def __init__(self, variables: Mapping[bytes, bytes], rest: Block | None = None) -> None:
        """Raises ValueError if there is a NUL in them."""
        texts = [name + b"=" + value for name, value in variables.items()]
        self._own = _pointers(texts)
        self._rest = rest
        self.terminated: bytes = bytes(self._own) + (_NULL if rest is None else rest.terminated)
        """An array of pointers with a null at its end."""


class Actions:
    """What a new process does first: output to `output`, nothing to read or what comes from `source`, another
    directory perhaps."""

    __slots__ = ("_destroy", "filled")

    def __init__(self, library: ctypes.PyDLL, output: int, directory: str | None, source: int | None) -> None:
        """Raises OSError."""
        self.filled = filled = ctypes.create_string_buffer(_ACTIONS_SIZE)
        self._destroy = library.posix_spawn_file_actions_destroy
        error = (
            library.posix_spawn_file_actions_init(filled)
            or library.posix_spawn_file_actions_adddup2(filled, output, 1)
            or library.posix_spawn_file_actions_adddup2(filled, output, 2)
            # after them: had stdin been closed here, it might be the pipe
            or (
                library.posix_spawn_file_actions_addopen(filled, 0, _DEV_NULL, os.O_RDONLY, 0)
                if source is None
                else library.posix_spawn_file_actions_adddup2(filled, source, 0)
            )
            or (
                directory is not None  # glibc 2.29, musl 1.1.24
                and library.posix_spawn_file_actions_addchdir_np(filled, os.fsencode(directory))
            )
        )
        if error:
            raise OSError(error, os.strerror(error))

    def __del__(self) -> None:
        self._destroy(self.filled)


class NativeSpawn:
    """Starts processes in sessions of their own.

    Raises AttributeError when it is made with a C library that lacks a part of this.
    """

    def __init__(self) -> None:
        # filling structures in takes less time than to let go of the lock and to take it again
        quick = ctypes.PyDLL(None)
        quick.posix_spawn_file_actions_addchdir_np  # noqa: B018 -- whether it is there
        self._actions = lru_cache(_ACTIONS_KEPT)(partial(Actions, quick))
        self._attributes = ctypes.create_string_buffer(_ATTRIBUTES_SIZE)
        signals = ctypes.create_string_buffer(_SIGNALS_SIZE)
        quick.sigemptyset(signals)
        for restored in RESTORED:
            quick.sigaddset(signals, restored)
        quick.posix_spawnattr_init(self._attributes)
        quick.posix_spawnattr_setflags(self._attributes, ctypes.c_short(_SETSIGDEF | _SETSID))
        quick.posix_spawnattr_setsigdefault(self._attributes, signals)
        self._spawn = ctypes.CDLL(None).posix_spawn
        self._spawn.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]

    def prepare(
        self,
        executable: str,
        argv: Sequence[bytes],
        environment: Block,
        directory: str | None,
        output: int,
        source: int | None = None,
    ) -> Callable[[], int]:
        """What starts the process when called, in any thread, and returns its pid or raises OSError.

        Raises ValueError if there is a NUL in an argument, and OSError.
        """
        program = os.fsencode(executable)
        arguments = _pointers([*argv, None])
        actions = self._actions(output, directory, source)

        def start() -> int:
            pid = ctypes.c_int()
            error = self._spawn(
                ctypes.byref(pid),
                program,
                actions.filled,
                self._attributes,
                arguments,
                environment.terminated,
            )
            if error:
                raise OSError(error, os.strerror(error), executable)
            return pid.value

        return start


def _pointers(texts: Sequence[bytes | None]) -> ctypes.Array[ctypes.c_char_p]:
    for text in texts:
        if text is not None and b"\0" in text:
            raise ValueError("embedded null byte")
    return (ctypes.c_char_p * len(texts))(*texts)


@cache
def native_spawn() -> NativeSpawn | None:
    """None where it cannot be used."""
    if sys.platform != "linux":
        return None
    try:
        return NativeSpawn()
    except AttributeError:
        return None
