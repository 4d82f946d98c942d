"""`plandeck run` itself, killed, stopped and left behind: nothing of the run outlives it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.job import MARK, ROOT, end_all, marked, wait_for_state, wait_until, wait_until_gone
from tests.support.terminal import ALTERNATE_SCREEN, BRACKETED_PASTE, CURSOR, MOUSE, WITHIN, WRAP, Terminal

PLAN = """
name: house
max_parallel: 3
tasks:
  family: {run: 'sleep 600 & setsid sleep 600 & echo up > said; wait'}
  wanderer: {run: 'setsid setsid sh -c "sleep 600 & sleep 600" & echo up > said; wait'}
  deaf:
    run: |
      trap 'echo asked > said; asked=yes' TERM
      echo up > said
      until test "$asked" && test -e enough; do sleep 0.01; done
    shutdown: {grace: 10m}
"""
FAMILIES = """
name: street
max_parallel: 3
tasks:
  family: {run: 'sleep 600 & (trap "" TERM; sleep 600) & echo up > said; wait', shutdown: {grace: 50ms}}
  deaf: {run: 'trap "" TERM; echo up > said; while :; do sleep 600; done', shutdown: {grace: 50ms}}
  other: {run: 'echo up > said; exec sleep 600'}
"""
"""All that these start stays in their groups."""

PLANDECK = [sys.executable, "-m", "tui"]
BROKEN = [sys.executable, "-m", "tests.host.broken"]
RUN = [*PLANDECK, "run", "--plain", "plan.yaml"]


class House:
    """The command in a folder of its own, once its three tasks are up."""

    def __init__(self, folder: Path, plan: str = PLAN) -> None:
        (folder / "plan.yaml").write_text(plan)
        os.mkfifo(folder / "said")
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), MARK: self.mark}
        self._said = os.open(folder / "said", os.O_RDWR)

    def close(self) -> None:
        end_all(self.mark)
        os.close(self._said)

    def up(self) -> None:
        heard = b""
        while heard.count(b"up\n") < 3:
            heard += os.read(self._said, 4096)

    def engine(self) -> int:
        [engine] = [pid for pid in marked(self.mark) if is_engine(pid)]
        return engine

    def asked(self) -> None:
        """Wait until the deaf task has been told to end."""
        heard = b""
        while b"asked" not in heard:
            heard += os.read(self._said, 4096)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        output = os.open(self.folder / "output", os.O_WRONLY | os.O_CREAT)
        process = subprocess.Popen(
            RUN,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        os.close(output)
        try:
            self.up()
            yield process
        finally:
            end_all(self.mark)
            process.wait()

    def terminal(self, *argv: str) -> Terminal:
        """A terminal in the folder, in which a program runs."""
        return Terminal(argv, env={**self.env, "PS1": "ready> ", "ENV": "", "HISTFILE": ""}, cwd=self.folder)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def street(tmp_path: Path) -> Iterator[House]:
    street = House(tmp_path, FAMILIES)
    yield street
    street.close()


def test_nothing_is_left_of_a_killed_engine(house: House) -> None:
    with house.running() as plandeck:
        os.kill(house.engine(), signal.SIGKILL)
        assert plandeck.wait(WITHIN) == -signal.SIGKILL
        assert marked(house.mark) == []
    output = (house.folder / "output").read_text()
    assert re.search(r"plandeck: the engine was killed; to go on: plandeck resume \w{8}\n\Z", output)
    assert "\x1b" not in output


def test_killed_guardian_interrupts_the_run(house: House) -> None:
    with house.running() as plandeck:
        os.kill(parent(house.engine()), signal.SIGKILL)
        house.asked()
        plandeck.send_signal(signal.SIGINT)  # kills what does not heed it
        assert plandeck.wait(WITHIN) == 143


def test_killed_launcher_interrupts_the_run(house: House) -> None:
    with house.running() as plandeck:
        engine = house.engine()
        plandeck.kill()
        house.asked()
        os.kill(engine, signal.SIGINT)  # kills what does not heed it
        wait_until(lambda: engine not in marked(house.mark), "the engine to end")


def test_signal_to_the_whole_group_is_heeded_once(house: House) -> None:
    """As `kill %1` and timeout(1) send it: the engine has it from them and from its launcher."""
    (house.folder / "enough").touch()
    with house.running() as plandeck:
        os.killpg(plandeck.pid, signal.SIGTERM)
        assert plandeck.wait(WITHIN) == 143
    output = (house.folder / "output").read_text()
    assert "once more to kill it" in output
    assert "killing what still runs" not in output
    assert "house was interrupted after" in output


def test_console_stopped_in_a_shell_is_continued(house: House) -> None:
    with house.terminal("sh", "-i") as terminal:
        terminal.wait_for("ready>")
        terminal.press(shlex.join([*RUN[:-2], "plan.yaml"]) + "\n")
        house.up()
        terminal.wait_for(lambda: bool(re.search(r"deaf +running", terminal.text)))
        engine = house.engine()
        os.kill(parent(parent(engine)), signal.SIGTSTP)
        wait_for_state(engine, "T")
        terminal.wait_for("Stopped")
        terminal.press("fg\n")
        terminal.wait_for(lambda: bool(re.search(r"deaf +running", terminal.text)))
        assert terminal.has_mode(ALTERNATE_SCREEN)
        os.kill(engine, signal.SIGKILL)
        terminal.wait_for("to go on: plandeck resume")
        terminal.wait_for("Killed")
        for mode in (ALTERNATE_SCREEN, BRACKETED_PASTE, *MOUSE):
            assert not terminal.has_mode(mode)
        for mode in (CURSOR, WRAP):
            assert terminal.has_mode(mode)
        terminal.press("echo left with $?\n")
        terminal.wait_for("left with 137")
        assert marked(house.mark) == [terminal.process.pid]


def test_end_of_a_killed_engine_waits_for_no_terminal(street: House) -> None:
    with street.terminal(*PLANDECK, "run", "plan.yaml") as terminal:
        street.up()
        terminal.wait_for(lambda: bool(re.search(r"other +running", terminal.text)))
        terminal.stop_output()
        os.kill(street.engine(), signal.SIGKILL)
        assert terminal.wait_for_exit(reading=False) == -signal.SIGKILL
        assert marked(street.mark) == []


def test_nothing_is_left_when_the_engine_fails(street: House) -> None:
    with street.terminal(*BROKEN, "engine", "run", "plan.yaml") as terminal:
        street.up()
        terminal.wait_for(lambda: bool(re.search(r"other +running", terminal.text)))
        (street.folder / "defect").touch()
        terminal.press("p")
        assert terminal.wait_for_exit() == 1
        terminal.read_rest()
        assert "RuntimeError: the engine failed" in terminal.text
        assert not terminal.has_mode(ALTERNATE_SCREEN)
        assert terminal.line_settings() == terminal.settings
        assert marked(street.mark) == []


def test_a_run_outlives_the_failure_of_its_console_and_leaves_nothing(street: House) -> None:
    with street.terminal(*BROKEN, "widget", "run", "plan.yaml") as terminal:
        street.up()
        terminal.wait_for(lambda: bool(re.search(r"other +running", terminal.text)))
        (street.folder / "defect").touch()
        terminal.press("j")
        terminal.wait_for("the console has failed, and the run goes on; ctrl+c cancels it")
        assert "ZeroDivisionError: a defect" in terminal.text
        assert not terminal.has_mode(ALTERNATE_SCREEN)
        assert terminal.line_settings() == terminal.settings
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 130
        terminal.read_rest()
        assert "street was cancelled after" in terminal.text
        assert marked(street.mark) == []
    [log] = street.folder.glob("*/**/plandeck.log")
    assert "the console failed" in log.read_text()
    with street.terminal(*BROKEN, "widget", "replay", "last") as terminal:  # where there is no run to go on
        assert terminal.wait_for_exit() == 1
        terminal.read_rest()
        assert "ZeroDivisionError: a defect" in terminal.text


@pytest.mark.parametrize("shown", ["console", "plain lines"])
def test_a_run_that_is_stopped_when_its_terminal_closes_goes_on_and_leaves_nothing(
    street: House, shown: str
) -> None:
    """The kernel continues what is stopped, and tells it that the terminal has gone."""
    run = [*PLANDECK, "run", "plan.yaml", *(["--plain"] if shown == "plain lines" else [])]
    with street.terminal("sh", "-i") as terminal:
        terminal.wait_for("ready>")
        terminal.press(shlex.join(run) + "\n")
        street.up()
        terminal.wait_for(lambda: bool(re.search("other +running|running +other", terminal.text)))
        engine = street.engine()
        terminal.press("\x1a")
        wait_for_state(engine, "T")
        terminal.wait_for("Stopped")
        terminal.hang_up()
        wait_until(lambda: os.getsid(engine) == engine, "the engine to leave the terminal")
        subprocess.run([*PLANDECK, "cancel", "last"], check=True, cwd=ROOT, capture_output=True)
    wait_until_gone(street.mark)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_engine(pid: int) -> bool:
    """Whether it is in the session of its grandparent, the launcher, while its parent leads one."""
    try:
        guardian = parent(pid)
        return os.getsid(guardian) == guardian and os.getsid(pid) == os.getsid(parent(guardian))
    except OSError:  # ended meanwhile
        return False
