"""Writing without ever waiting for whoever reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from tui.plain.printer import Printer

pytestmark = pytest.mark.anyio

MORE_THAN_A_PIPE_HOLDS = 1_000_000


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        for end in (read, write):
            try:
                os.close(end)
            except OSError:  # closed by the test itself
                continue


def read_all(descriptor: int, length: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        return stream.read(length)


async def test_writes_in_order() -> None:
    with pipe() as (read, write):
        printer = Printer(write)
        printer.write(b"one\n")
        printer.write(b"two\n")
        await printer.drained()
        printer.close()
        assert os.read(read, 100) == b"one\ntwo\n"


async def test_reader_who_does_not_read_holds_nobody_up() -> None:
    text = b"x" * MORE_THAN_A_PIPE_HOLDS
    with pipe() as (read, write):
        printer = Printer(write)
        printer.write(text)  # returns, though the pipe is full and nobody reads
        printer.write(b"end\n")
        received = await anyio.to_thread.run_sync(read_all, read, len(text) + 4)
        await printer.drained()
        printer.close()
    assert received == text + b"end\n"


async def test_stream_set_to_non_blocking_loses_nothing() -> None:
    text = b"x" * MORE_THAN_A_PIPE_HOLDS
    with pipe() as (read, write):
        os.set_blocking(write, False)
        printer = Printer(write)
        printer.write(text)
        assert await anyio.to_thread.run_sync(read_all, read, len(text)) == text
        await printer.drained()
        printer.close()


async def test_closed_stream_is_told_and_the_rest_goes_nowhere() -> None:
    with pipe() as (read, write):
        printer = Printer(write)
        os.close(read)
        printer.write(b"one\n")
        await printer.failed.wait()
        assert isinstance(printer.failure, BrokenPipeError)
        printer.write(b"two\n")
        await printer.drained()
        printer.close()
