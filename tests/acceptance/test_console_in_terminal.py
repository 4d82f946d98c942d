"""The real command in a real terminal of 80x24, with real processes: watched, steered, left, ill-treated.

The tasks tell on a named pipe what they do, so that a test can wait for them without looking at the screen.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.terminal import ALTERNATE_SCREEN, CURSOR, WITHIN, Terminal

ROOT = Path(__file__).parents[2]
PLANDECK = [sys.executable, "-m", "tui"]

HARBOUR = """
name: harbour
failure_mode: continue_on_error
max_parallel: 2
tasks:
  build: {run: echo keel laid}
  mend:
    needs: [build]
    run: test -e mended || { echo the sail is torn; exit 3; }
  watch:
    needs: [build]
    run: echo "watch $$" > said; sleep 600 & wait
  sail:
    needs: [mend]
    run: echo "sail $$" > said; sleep 600 & wait
"""

STAGES = [f"stage{number:02d}" for number in range(20)]

STATES = "pending|ready|running|retrying|stopping|success|failed|skipped|cancelled"


def sea(seconds: float) -> str:
    """A plan with a chain of tasks, as long as that in all, and one that talks without end."""
    lines = [
        "name: sea",
        "max_parallel: 2",
        "tasks:",
        """  surf: {run: 'echo "surf $$" > said; while ! test -e calm; do echo a wave; sleep 0.01; done'}""",
        "  tide: {run: 'while ! test -e go; do sleep 0.01; done'}",
    ]
    for before, stage in pairwise(["tide", *STAGES]):
        lines.append(
            f"  {stage}: {{needs: [{before}], run: sleep {seconds / len(STAGES)}; echo {stage} > said}}"
        )
    return "\n".join(lines)


class Console(Terminal):
    """`plandeck run` on a plan in a folder of its own, in a terminal."""

    def __init__(self, folder: Path, plan: str) -> None:
        self.folder = folder
        (folder / "plan.yaml").write_text(plan)
        os.mkfifo(folder / "said")
        self._said = os.open(folder / "said", os.O_RDWR | os.O_NONBLOCK)
        self._heard = b""
        self.groups: dict[str, int] = {}
        """The process group of every task that told its number."""
        self.pidfds: dict[str, int] = {}
        """And its leader."""
        super().__init__([*PLANDECK, "run", "plan.yaml"], env={"PYTHONPATH": str(ROOT)}, cwd=folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        for fd in (self._said, *self.pidfds.values()):
            os.close(fd)

    def said(self) -> str:
        """The next line that a task says, without reading the screen."""
        while b"\n" not in self._heard:
            assert select.select([self._said], [], [], WITHIN)[0], f"no task says anything\n{self.text}"
            self._heard += os.read(self._said, 4096)
        line, self._heard = self._heard.split(b"\n", 1)
        return line.decode()

    def begun(self, *names: str) -> None:
        """Wait until the tasks, in whatever order, have told their process groups."""
        for _ in names:
            name, _, number = self.said().partition(" ")
            self.groups[name] = int(number)
            self.pidfds[name] = os.pidfd_open(int(number))
        assert self.groups.keys() >= set(names)

    def state(self, task: str) -> str:
        """The state of the task in the table, "" if it is not there."""
        row = re.search(rf"\b{task} +({STATES})\b", self.text)
        return row[1] if row else ""

    def wait_for_state(self, task: str, state: str) -> None:
        self.wait_for(lambda: self.state(task) == state)

    def wait_for_end_of(self, name: str) -> None:
        """Wait until nothing of the task runs, without reading the screen."""
        leader = self.pidfds[name]
        assert select.select([leader], [], [], WITHIN)[0], f"{name} does not end"

    def signal_until_exit(self, number: signal.Signals) -> int:
        """Signal again and again until the program ends, without reading the screen; as a shell tells it."""
        while self.process.poll() is None:
            self.signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.2)
        code = self.process.returncode
        return code if code >= 0 else 128 - code

    def cancel_elsewhere(self) -> None:
        """Cancel a run that has left the terminal, and wait until it has ended."""
        subprocess.run([*PLANDECK, "cancel", "last"], check=True, cwd=ROOT, capture_output=True)
        for name in self.groups:
            self.wait_for_end_of(name)

    def assert_nothing_runs(self) -> None:
        assert [name for name, group in self.groups.items() if _is_there(group)] == []

    def assert_left(self, last_words: str) -> None:
        """The terminal is as it was, and the last words are on its normal screen."""
        assert not self.has_mode(ALTERNATE_SCREEN)
        assert self.has_mode(CURSOR)
        assert self.line_settings() == self.settings
        assert last_words in self.text, self.text


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Console]:
    """As far as it goes by itself: `mend` has failed, `sail` waits for nothing any more, `watch` runs."""
    with Console(tmp_path, HARBOUR) as console:
        console.begun("watch")
        console.wait_for_state("mend", "failed")
        console.wait_for_state("sail", "skipped")
        console.wait_for_state("watch", "running")
        yield console


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Console]:
    """Nothing has failed; `watch` and `sail` run."""
    (tmp_path / "mended").touch()
    with Console(tmp_path, HARBOUR) as console:
        console.begun("watch", "sail")
        console.wait_for_state("watch", "running")
        console.wait_for_state("sail", "running")
        yield console


def test_a_run_is_watched_and_steered(harbour: Console) -> None:
    for sight in ("harbour", "RUNNING", "continue", "1/2 slots", "build", "exit 3", "health"):
        harbour.wait_for(sight)
    harbour.wait_for("the sail is torn")  # the cursor goes to the failure by itself
    harbour.press("g")
    harbour.wait_for("keel laid")
    (harbour.folder / "mended").touch()
    harbour.press("e")  # to the failure
    harbour.press("r")
    harbour.begun("sail")  # all that was only blocked by it goes on by itself
    harbour.wait_for_state("mend", "success")
    harbour.wait_for_state("sail", "running")
    harbour.press("+")
    harbour.wait_for("2/3 slots")
    harbour.press("-")
    harbour.wait_for("2/2 slots")
    harbour.press("gjj")
    harbour.press("x")
    harbour.wait_for("Cancel watch?")
    harbour.press("y")
    harbour.wait_for_state("watch", "cancelled")
    harbour.wait_for_state("sail", "running")
    harbour.press("q")
    harbour.wait_for("The run is not over. Quit?")
    harbour.press("\r")  # the safe answer is lit
    harbour.wait_for(lambda: "Quit?" not in harbour.text)
    assert harbour.state("sail") == "running"
    harbour.press("q")
    harbour.wait_for("The run is not over. Quit?")
    harbour.press("c")
    assert harbour.wait_for_exit() == 130
    harbour.read_rest()
    harbour.assert_left("harbour was cancelled after")
    harbour.assert_nothing_runs()


def test_a_run_that_is_over_is_left_at_once(tmp_path: Path) -> None:
    with Console(tmp_path, "name: well\ntasks: {only: {run: echo fine}}\n") as console:
        console.wait_for("SUCCESS")
        console.press("q")
        assert console.wait_for_exit() == 0
        console.read_rest()
        console.assert_left("well succeeded after")


def test_a_failed_plan_says_why_and_fails(tmp_path: Path) -> None:
    with Console(tmp_path, "name: ill\ntasks: {only: {run: echo no rope; exit 7}}\n") as console:
        console.wait_for("FAILED")
        console.press("q")
        assert console.wait_for_exit() == 1
        console.read_rest()
        console.assert_left("ill failed after")
        assert "no rope" in console.text
        assert "plandeck run plan.yaml" in console.text


def test_plain_lines_and_back(harbour: Console) -> None:
    harbour.press("s")
    harbour.wait_for("any key brings the console back")
    harbour.wait_for("harbour: running")
    assert not harbour.has_mode(ALTERNATE_SCREEN)
    os.killpg(harbour.groups["watch"], signal.SIGKILL)
    harbour.wait_for("killed by SIGKILL")
    harbour.wait_for("the run is over")
    harbour.press("\x1b[A")
    harbour.wait_for_state("watch", "failed")
    assert harbour.has_mode(ALTERNATE_SCREEN)
    harbour.press("q")
    assert harbour.wait_for_exit() == 1
    harbour.read_rest()
    harbour.assert_left("harbour failed after")


@pytest.mark.parametrize("aside", [False, True], ids=["console", "plain lines"])
def test_ctrl_z_stops_it_and_fg_brings_it_back(busy: Console, aside: bool) -> None:
    if aside:
        busy.press("s")
        busy.wait_for("any key brings the console back")
    busy.press("\x1a")
    busy.wait_for_stop()
    busy.read_rest()
    assert not busy.has_mode(ALTERNATE_SCREEN)
    os.killpg(busy.process.pid, signal.SIGCONT)
    if aside:
        busy.press(" ")
    busy.wait_for(lambda: busy.has_mode(ALTERNATE_SCREEN))
    busy.wait_for_state("watch", "running")
    busy.press("q")
    busy.wait_for("Quit?")
    busy.press("c")
    assert busy.wait_for_exit() == 130


def test_ctrl_c_cancels_the_run_from_the_plain_lines(busy: Console) -> None:
    busy.press("s")
    busy.wait_for("any key brings the console back")
    busy.press("\x03")
    assert busy.wait_for_exit() == 130
    busy.read_rest()
    busy.assert_left("harbour was cancelled after")
    busy.assert_nothing_runs()


@pytest.mark.parametrize(
    ("number", "code", "last_words"),
    [
        (signal.SIGINT, 130, "harbour was cancelled after"),
        (signal.SIGTERM, 143, "harbour was interrupted after"),
    ],
)
def test_a_signal_ends_the_run_in_good_order(
    busy: Console, number: signal.Signals, code: int, last_words: str
) -> None:
    busy.signal(number)
    assert busy.wait_for_exit() == code
    busy.read_rest()
    busy.assert_left(last_words)
    busy.assert_nothing_runs()


def test_a_run_goes_on_when_its_terminal_goes_away(busy: Console) -> None:
    busy.hang_up()
    assert busy.wait_for_exit(reading=False) == 129
    assert busy.groups.keys() == {name for name, group in busy.groups.items() if _is_there(group)}
    busy.cancel_elsewhere()
    busy.assert_nothing_runs()


def test_a_run_that_is_sent_a_hangup_leaves_its_terminal_in_order(busy: Console) -> None:
    busy.signal(signal.SIGHUP)
    assert busy.wait_for_exit() == 129
    busy.read_rest()
    busy.assert_left("plandeck: the terminal has gone; run ")
    busy.cancel_elsewhere()
    busy.assert_nothing_runs()


@pytest.mark.parametrize("seconds", [3, pytest.param(15, marks=pytest.mark.soak)])
def test_a_terminal_that_stops_reading_delays_no_task(tmp_path: Path, seconds: int) -> None:
    """A chain of tasks comes to its end beside one that fills the log; then the screen shows the present."""
    with Console(tmp_path, sea(seconds)) as console:
        console.begun("surf")
        console.wait_for_state("surf", "running")
        console.stop_output()
        (tmp_path / "go").touch()
        assert [console.said() for _ in STAGES] == STAGES
        console.start_output()
        console.press("G")
        console.wait_for_state(STAGES[-1], "success")
        console.wait_for("21/22")
        (tmp_path / "calm").touch()
        console.wait_for("SUCCESS")
        console.press("q")
        assert console.wait_for_exit() == 0


def test_a_terminal_that_does_not_read_keeps_no_task_alive(busy: Console) -> None:
    """What is said last waits for a reader, like anything that prints; a second signal gives it up."""
    busy.stop_output()
    busy.signal(signal.SIGTERM)
    busy.wait_for_end_of("watch")
    busy.wait_for_end_of("sail")
    assert busy.signal_until_exit(signal.SIGTERM) == 143
    busy.assert_nothing_runs()


def test_a_plan_is_run_from_the_list_and_left_to_it(tmp_path: Path) -> None:
    """`plandeck` alone: a plan is run elsewhere, watched, left, and there to come back to."""
    (tmp_path / "mine.yaml").write_text("name: mine\ntasks: {only: {run: echo fine}}\n")
    argv = [sys.executable, "-m", "tui"]
    with Terminal(argv, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path) as terminal:
        terminal.wait_for("mine.yaml")
        terminal.press("\r")
        terminal.wait_for("Run mine.yaml?")
        terminal.press("y")
        terminal.wait_for("SUCCESS")
        terminal.press("q")
        terminal.wait_for("1 run")
        terminal.wait_for("success")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0


def test_a_terminal_that_can_show_nothing_gets_the_help() -> None:
    with Terminal([sys.executable, "-m", "tui"], env={"PYTHONPATH": str(ROOT), "TERM": "dumb"}) as terminal:
        assert terminal.wait_for_exit() == 2
        terminal.read_rest()
        assert b"TERM=dumb" in terminal.output
        assert b"Commands:" in terminal.output


class Multiplexer:
    """A tmux of our own with one pane of 80x24 and a shell in it."""

    def __init__(self, folder: Path, name: str = "tmux") -> None:
        self._tmux = ["tmux", "-S", str(folder / name), "-f", "/dev/null"]
        self._folder = folder
        self._pipe = folder / f"{name}.output"

    def __enter__(self) -> Self:
        self._do("new-session", "-d", "-x", "80", "-y", "24", "-c", str(self._folder), "env PS1='$ ' sh")
        # what the pane puts out also comes here: the sign that there is something new to look at
        os.mkfifo(self._pipe)
        self._output = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
        self._do("pipe-pane", f"cat > {shlex.quote(str(self._pipe))}")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(subprocess.CalledProcessError):  # it was killed already
            self.kill()
        os.close(self._output)

    def kill(self) -> None:
        self._do("kill-server")

    def plandeck(self, arguments: str) -> None:
        """Give the command in the shell, and have it say how that ended."""
        command = f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.join(PLANDECK)} {arguments}"
        self.run(f"{command}; echo left with $?")

    def run(self, command: str) -> None:
        self._do("send-keys", "-l", command)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        self._do("send-keys", *keys)

    def wait_for(self, pattern: str) -> None:
        while not re.search(pattern, text := self._do("capture-pane", "-p")):
            assert select.select([self._output], [], [], WITHIN)[0], f"waited for {pattern!r} in vain\n{text}"
            os.read(self._output, 65536)

    def _do(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True)
        return done.stdout


@pytest.mark.integration
def test_the_same_in_tmux(tmp_path: Path) -> None:
    with Multiplexer(tmp_path) as tmux:
        (tmp_path / "plan.yaml").write_text(HARBOUR.replace("> said", "> /dev/null"))
        tmux.plandeck("run plan.yaml")
        tmux.wait_for("mend +failed")
        tmux.press("e", "r")
        tmux.wait_for("mend +failed +2/")
        tmux.press("q")
        tmux.wait_for("Quit?")
        tmux.press("c")
        tmux.wait_for("(?s)harbour failed after.*left with 1")


@pytest.mark.integration
def test_a_run_goes_on_when_the_tmux_server_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    (tmp_path / "plan.yaml").write_text(
        "name: gate\ntasks: {wait: {run: cat gate}, after: {run: 'true', needs: [wait]}}"
    )
    with Multiplexer(tmp_path, "first") as first:
        first.plandeck("run plan.yaml")
        first.wait_for("wait +running")
        first.kill()
    with Multiplexer(tmp_path, "second") as second:
        second.plandeck("attach")
        second.wait_for("wait +running")
        (tmp_path / "gate").write_text("go\n")
        second.wait_for("after +success")
        second.press("q")
        second.wait_for("(?s)gate succeeded after.*left with 0")


@pytest.mark.integration
def test_a_run_is_left_attached_to_twice_and_cancelled_from_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("name: long\ntasks: {wait: {run: sleep 600}}\n")
    with Multiplexer(tmp_path, "first") as first, Multiplexer(tmp_path, "second") as second:
        first.plandeck("run plan.yaml")
        first.wait_for("wait +running")
        first.press("D")
        first.wait_for("(?s)goes on; to see it: plandeck attach.*left with 0")
        for console in (first, second):
            console.run("clear")
            console.plandeck("attach")
            console.wait_for("wait +running")
        first.press("C-x")
        first.wait_for("Cancel")
        first.press("y")
        for console in (first, second):
            console.wait_for("wait +cancelled")
            console.press("q")
            console.wait_for("(?s)long was cancelled after.*left with 130")


def _is_there(group: int) -> bool:
    """Whether anything of the process group still runs; the dead whom nobody has buried yet do not count."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, _, its_group = status.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False
