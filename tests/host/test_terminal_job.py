"""Launched from a shell in a terminal: stopped and continued, given back, and taken away."""

from __future__ import annotations

import os
import shlex
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.host import launcher
from tests.support.job import CRUEL, FAMILY, Job, marked, state, wait_for_state, wait_until, wait_until_gone
from tests.support.terminal import Terminal


class Shell(Terminal):
    """An interactive shell in a terminal, and a job to launch in it."""

    def __init__(self, folder: Path) -> None:
        self.job = Job(folder)
        super().__init__(["sh", "-i"], env={**self.job.env, "PS1": "ready> ", "ENV": "", "HISTFILE": ""})

    def run(self, command: str) -> None:
        self.press(f"{command}\n")

    def launch(self) -> Job:
        self.wait_for("ready>")
        self.run(shlex.join(self.job.argv))
        return self.job.begun()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "j").mkdir()
    shell = Shell(tmp_path / "j")
    with shell.job, shell:
        yield shell


def launcher_of(job: Job) -> int:
    return int(Path(f"/proc/{job.guardian}/stat").read_text().rpartition(")")[2].split()[1])


# ── stopped and continued ───────────────────────────────────────────────────────────────────────


def test_ctrl_z_stops_and_fg_continues(shell: Shell) -> None:
    job = shell.launch()
    parent = launcher_of(job)
    for _ in range(2):
        shell.press(b"\x1a")
        wait_for_state(job.engine, "T")
        wait_for_state(parent, "T")
        assert state(job.guardian) != "T"
        shell.run("fg")
        assert job.answer() == "got SIGCONT"
        wait_for_state(parent, "S")
    shell.press(b"\x03")
    assert job.answer() == "got SIGINT"
    job.order("exit 5")
    shell.run("echo left with $?")
    shell.wait_for("left with 5")


def test_keyboard_reaches_the_engine_once(shell: Shell) -> None:
    job = shell.launch()
    shell.press(b"\x03")
    assert job.answer() == "got SIGINT"
    shell.press(b"\x1c")
    assert job.answer() == "got SIGQUIT"
    job.start("echo up > $ANSWERS")  # nothing is said in between
    job.order("exit 0")


def test_engine_that_stops_itself_gives_the_shell_back(shell: Shell) -> None:
    """As a console does once it has put the terminal in order."""
    job = shell.launch()
    os.kill(job.engine, signal.SIGSTOP)
    shell.wait_for("Stopped")
    shell.run("fg")
    assert job.answer() == "got SIGCONT"
    job.order("die 15")
    shell.wait_for("Terminated")


def test_job_killed_by_the_shell_leaves_nothing(shell: Shell) -> None:
    job = shell.launch()
    job.start(FAMILY, CRUEL)
    shell.press(b"\x1a")
    shell.wait_for("Stopped")
    guardian = job.guardian
    shell.run("kill -9 %1; clear")
    wait_until(lambda: guardian not in marked(job.mark), "the guardian to end")
    assert marked(job.mark) == [shell.process.pid]


def test_in_the_background_it_needs_no_terminal(shell: Shell) -> None:
    shell.wait_for("ready>")
    shell.run(shlex.join(shell.job.argv) + " &")
    job = shell.job.begun()
    shell.run("kill $!")
    assert job.answer() == "got SIGTERM"
    job.order("exit 0")
    shell.run("wait $!; echo left with $?")
    shell.wait_for("left with 0")


# ── left ────────────────────────────────────────────────────────────────────────────────────────


def test_detach_gives_the_shell_back_and_the_run_goes_on(shell: Shell, tmp_path: Path) -> None:
    job = shell.launch()
    job.start(FAMILY)
    parent = launcher_of(job)
    job.order(f"detach gone: attach with this > {tmp_path / 'output'}")
    shell.wait_for("gone: attach with this\nready>")
    assert job.answer() == "detached cannot detach"
    wait_until(lambda: parent not in marked(job.mark), "the launcher to end")
    shell.run("clear; echo left with $?")
    shell.wait_for("left with 0")

    terminal = os.getsid(shell.process.pid)
    assert terminal not in {os.getsid(job.engine), os.getsid(job.guardian)}
    job.order("print more")
    assert job.answer() == "printed"
    assert (tmp_path / "output").read_text() == "more\nmore\n"
    assert stat.S_IMODE((tmp_path / "output").stat().st_mode) == 0o600

    shell.hang_up()
    shell.process.wait()
    os.kill(job.engine, signal.SIGHUP)  # of no interest
    os.kill(job.guardian, signal.SIGHUP)
    os.kill(job.guardian, signal.SIGTERM)  # nobody else is there to pass it on
    assert job.answer() == "got SIGTERM"
    os.kill(job.engine, signal.SIGKILL)
    wait_until_gone(job.mark)


def test_detached_engine_may_end(shell: Shell) -> None:
    job = shell.launch()
    job.order("detach bye")
    shell.wait_for("bye\nready>")
    shell.run("exit")
    shell.wait_for_exit()
    assert job.answer() == "detached cannot detach"
    job.order("print into nothing")
    assert job.answer() == "printed"
    job.order("exit 0")
    wait_until_gone(job.mark)


def test_detached_engine_is_told_when_its_guardian_is_killed(shell: Shell) -> None:
    job = shell.launch()
    job.order("detach bye")
    assert job.answer() == "detached cannot detach"
    shell.wait_for("bye\nready>")
    os.kill(job.guardian, signal.SIGKILL)
    assert job.answer() == "got SIGTERM"
    job.order("exit 0")
    shell.run("exit")
    shell.wait_for_exit()
    wait_until_gone(job.mark)


def test_farewell_is_cut_rather_than_refused(shell: Shell) -> None:
    job = shell.launch()
    job.order("detach " + "é" * 5000)
    assert job.answer() == "detached cannot detach"
    shell.wait_for(lambda: shell.output.count("é".encode()) == launcher.FAREWELL // 2)
    job.order("exit 0")
    shell.run("exit")
    shell.wait_for_exit()
    wait_until_gone(job.mark)


# ── taken away ──────────────────────────────────────────────────────────────────────────────────


def test_engine_is_told_that_the_terminal_has_gone_and_can_leave(shell: Shell) -> None:
    job = shell.launch()
    job.start(FAMILY)
    shell.hang_up()
    while (answer := job.answer()) != "got SIGHUP":
        assert answer == "got SIGCONT"  # comes with it
    job.order("detach nobody reads this")
    while (answer := job.answer()) != "detached cannot detach":
        assert answer in {"got SIGHUP", "got SIGCONT"}  # once from the shell, once when that has ended
    wait_until(lambda: {job.engine, job.guardian} < set(marked(job.mark)), "nobody")
    job.order("break 0")
    wait_until_gone(job.mark)


def test_engine_in_a_terminal_of_its_own_is_told_that_it_has_gone(tmp_path: Path) -> None:
    """The launcher leads the session then, and is the only one whom the kernel tells."""
    (tmp_path / "j").mkdir()
    job = Job(tmp_path / "j")
    with job, Terminal(job.argv, env=job.env) as terminal:
        job.begun()
        terminal.press(b"\x03")
        assert job.answer() == "got SIGINT"
        terminal.press(b"\x1a")  # nobody is there who could continue it
        terminal.hang_up()
        assert job.answer() == "got SIGHUP"
        job.order("exit 0")
        terminal.wait_for_exit(reading=False)
        wait_until_gone(job.mark)
