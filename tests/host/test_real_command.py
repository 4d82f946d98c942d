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

from tests.support.job import MARK, ROOT, end_all, marked, wait_for_state, wait_until
from tests.support.terminal import WITHIN, Terminal

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
RUN = [sys.executable, "-m", "tui", "run", "--plain", "plan.yaml"]


class House:
    """The command in a folder of its own, once its three tasks are up."""

    def __init__(self, folder: Path) -> None:
        (folder / "plan.yaml").write_text(PLAN)
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


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def test_nothing_is_left_of_a_killed_engine(house: House) -> None:
    with house.running() as plandeck:
        os.kill(house.engine(), signal.SIGKILL)
        assert plandeck.wait(WITHIN) == -signal.SIGKILL
        assert marked(house.mark) == []


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
    env = {**house.env, "PS1": "ready> ", "ENV": "", "HISTFILE": ""}
    with Terminal(["sh", "-i"], env=env, cwd=house.folder) as terminal:
        terminal.wait_for("ready>")
        terminal.press(shlex.join([*RUN[:-2], "plan.yaml"]) + "\n")
        house.up()
        terminal.wait_for(lambda: bool(re.search(r"deaf +running", terminal.text)))
        engine = house.engine()
        # there is no key for it: Ctrl-Z comes to the console as any other
        os.kill(parent(parent(engine)), signal.SIGTSTP)
        wait_for_state(engine, "T")
        terminal.wait_for("Stopped")
        terminal.press("fg\n")
        terminal.wait_for(lambda: bool(re.search(r"deaf +running", terminal.text)))
        os.kill(engine, signal.SIGKILL)
        terminal.wait_for("Killed")
        terminal.press("echo left with $?\n")
        terminal.wait_for("left with 137")
        assert marked(house.mark) == [terminal.process.pid]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_engine(pid: int) -> bool:
    """Whether it is in the session of its grandparent, the launcher, while its parent leads one."""
    try:
        guardian = parent(pid)
        return os.getsid(guardian) == guardian and os.getsid(pid) == os.getsid(parent(guardian))
    except OSError:  # ended meanwhile
        return False
