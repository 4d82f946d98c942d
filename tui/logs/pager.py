"""`page`: a log in `$PAGER`, which has the terminal until it ends; the run goes on meanwhile."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

USUAL: Final = ("less -R", "more")
CHUNK: Final = 64 * 1024

SOON: Final = 0.5
"""Seconds: a pager that has ended within them has only printed (`cat`), or failed, and nobody has read it."""

_STDIN: Final = 0


def pager_command(environment: Mapping[str, str]) -> list[str] | None:
    """`$PAGER` in words, or the usual one if it is not set, makes no sense or is not there; None if there is
    none at all. No shell reads it: it is a program and its options."""
    for wish in (environment.get("PAGER", ""), *USUAL):
        try:
            words = shlex.split(wish)
        except ValueError:  # a quotation mark that is not closed
            continue
        if words and shutil.which(words[0], path=environment.get("PATH")):
            return words
    return None


async def page(command: list[str], pieces: Iterable[bytes]) -> str | None:
    """Show pieces of text with a pager, in the foreground of the terminal; what went wrong, if anything did.

    It is in a process group of its own, so that a ctrl+c in it is not one for the run; one that stops itself
    goes on at once, for there is no shell to bring it back. The caller has left the terminal to it.
    """
    environment = {**os.environ, "LESS": os.environ.get("LESS", "R")}
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, process_group=0)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    try:
        began = time.monotonic()
        with _foreground(pager.pid) as take_terminal:
            take_terminal()
            os.killpg(pager.pid, signal.SIGCONT)  # it may have asked for the terminal before it had it
            async with anyio.create_task_group() as group:
                group.start_soon(
                    partial(anyio.to_thread.run_sync, _feed, pager, pieces, abandon_on_cancel=True)
                )
                code = await anyio.to_thread.run_sync(_wait, pager, take_terminal, abandon_on_cancel=True)
        if time.monotonic() - began < SOON or code:
            await _await_enter()
    finally:
        if pager.returncode is None:
            with suppress(ProcessLookupError):
                pager.kill()
            pager.wait()
    return None


def _feed(pager: subprocess.Popen[bytes], pieces: Iterable[bytes]) -> None:
    """In a thread of its own: a pager takes what it shows, and no more until one reads on."""
    if pager.stdin is not None:
        with suppress(BrokenPipeError), pager.stdin:
            for piece in pieces:
                pager.stdin.write(piece)


def _wait(pager: subprocess.Popen[bytes], take_terminal: Callable[[], None]) -> int:
    """In another thread, until it has ended; its exit code."""
    while True:
        _, status = os.waitpid(pager.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            pager.returncode = os.waitstatus_to_exitcode(status)
            return pager.returncode
        take_terminal()
        os.killpg(pager.pid, signal.SIGCONT)


@contextmanager
def _foreground(group: int) -> Iterator[Callable[[], None]]:
    """Let a process group have the keyboard for as long as the block lasts."""
    ours = os.getpgrp()
    ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # which would stop us for asking

    def give(to: int) -> None:
        with suppress(OSError):  # there is no terminal, or it has gone
            os.tcsetpgrp(_STDIN, to)

    try:
        yield lambda: give(group)
    finally:
        give(ours)
        signal.signal(signal.SIGTTOU, ignored)


async def _await_enter() -> None:
    sys.stdout.write("\n(Enter goes back to the console) ")
    sys.stdout.flush()
    await anyio.wait_readable(_STDIN)
    os.read(_STDIN, CHUNK)
