"""The pager: which one, what it is given, and that the terminal comes back from it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.terminal import ALTERNATE_SCREEN, Terminal
from tui.logs.cleaned import cleaned
from tui.logs.pager import pager_command

ROOT = Path(__file__).parents[3]

PLAN = r"""
name: talk
tasks:
  only:
    run: 'printf "\033[31mred\033[0m \033]0;pwned\007 words\n"; while ! test -e done; do sleep 0.05; done'
"""

PAGER = """
import signal
import sys

signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
print("given", repr(sys.stdin.read()), flush=True)
print("typed", open("/dev/tty").readline(), flush=True)
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name in ("less", "more", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    return tmp_path


@pytest.mark.parametrize(
    ("wish", "command"),
    [
        ("mine --with 'two words'", ["mine", "--with", "two words"]),
        ("", ["less", "-R"]),
        ("   ", ["less", "-R"]),
        ("nowhere -x", ["less", "-R"]),
        ("mine 'not closed", ["less", "-R"]),
        ("mine; rm -rf /", ["less", "-R"]),
    ],
)
def test_what_makes_no_sense_is_replaced(programs: Path, wish: str, command: list[str]) -> None:
    assert pager_command({"PAGER": wish, "PATH": str(programs)}) == command


def test_where_there_is_no_less_it_is_more_and_then_nothing(programs: Path) -> None:
    (programs / "less").unlink()
    assert pager_command({"PATH": str(programs)}) == ["more"]
    (programs / "more").unlink()
    assert pager_command({"PATH": str(programs)}) is None


def test_colours_go_there_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[2J\x1b[31mred\nstill\x1b[0m\x1b]0;t\x07 plain\nno end\nnot shown")
    size = log.read_bytes().index(b"\nnot")
    assert b"".join(cleaned(log, size, colour=True)) == (
        b"\x1b[38;5;1mred\x1b[0m\n\x1b[38;5;1mstill\x1b[0m plain\nno end\n"
    )
    assert b"".join(cleaned(log, size, colour=False)) == b"red\nstill plain\nno end\n"


def test_it_has_the_terminal_until_it_ends_and_the_run_goes_on(tmp_path: Path) -> None:
    """An interrupt and a stop typed into it are for it alone."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "pager.py").write_text(PAGER)
    env = {"PYTHONPATH": str(ROOT), "PAGER": f"{sys.executable} pager.py"}
    argv = [sys.executable, "-m", "tui", "run", "plan.yaml"]
    with Terminal(argv, env=env, cwd=tmp_path) as console:
        console.wait_for("red")
        console.press("3")
        console.wait_for("[3 Log: only, attempt 1]")
        console.press("o")
        console.wait_for(r"given '\x1b[38;5;1mred\x1b[0m  words\n'")
        assert not console.has_mode(ALTERNATE_SCREEN)
        console.press("\x03")
        console.wait_for("interrupted")
        console.press("\x1a")
        console.press("enough\r")
        console.wait_for("typed enough")
        console.press("\r")
        console.wait_for("[3 Log: only, attempt 1]")
        assert "RUNNING" in console.text
        (tmp_path / "done").touch()
        console.wait_for("SUCCESS")
        console.press("q")
        assert console.wait_for_exit() == 0
    assert b"\x1b]0;pwned" not in console.output
