"""The C library's posix_spawn: what it is given, what it refuses, and where it is left alone."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator

import pytest

from engine.dispatch import native
from engine.dispatch.native import Block, NativeSpawn, native_spawn


def started(argv: list[bytes], environment: Block, output: int) -> int:
    """The pid of a process started natively. argv: with an absolute path."""
    return NativeSpawn().prepare(os.fsdecode(argv[0]), argv, environment, None, output)()


def test_a_block_can_go_on_in_another() -> None:
    environment = Block({b"OWN": b"1", b"EMPTY": b""}, Block({b"SHARED": b"2 = 3"}))
    read_end, write_end = os.pipe()
    try:
        os.waitpid(started([b"/usr/bin/env"], environment, write_end), 0)
        assert os.read(read_end, 1000) == b"OWN=1\nEMPTY=\nSHARED=2 = 3\n"
    finally:
        os.close(read_end)
        os.close(write_end)


def test_an_output_that_is_none_is_refused() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        started([b"/bin/true"], Block({}), -1)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        started([b"/no/such"], Block({}), 1)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "/no/such")


@pytest.fixture
def not_yet_looked_for() -> Iterator[None]:
    native_spawn.cache_clear()
    yield
    native_spawn.cache_clear()


@pytest.mark.usefixtures("not_yet_looked_for")
class TestWhereItIsLeftAlone:
    def test_another_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")
        assert native_spawn() is None

    def test_a_c_library_that_cannot_change_the_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Old:
            def __init__(self, name: None) -> None:
                pass

        monkeypatch.setattr(ctypes, "PyDLL", Old)
        assert native_spawn() is None

    def test_nowhere_else(self) -> None:
        assert isinstance(native_spawn(), native.NativeSpawn)
