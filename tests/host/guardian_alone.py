"""The parts of launcher and guardian, played by the test process itself."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from engine.host import launcher, prctl, remains
from engine.host.guardian import Guardian
from engine.host.launcher import Launcher, leave_as
from engine.host.remains import Remains
from engine.host.signals import WAITED_FOR
from engine.host.words import ENDED, ENGINE, HOLD, LAST_WORDS, LEFT, LONGEST, OVER, Ear, Mouth, word_link
from tests.support.job import state, wait_for_state


@pytest.fixture(autouse=True)
def role() -> Iterator[None]:
    """The test process adopts orphans, and has the signals blocked; afterwards no longer."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    assert prctl.adopt_orphans()
    yield
    assert prctl._prctl(prctl._PR_SET_CHILD_SUBREAPER, 0)
    assert prctl._prctl(prctl._PR_SET_PDEATHSIG, 0)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    while signal.sigtimedwait(WAITED_FOR, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture
def start() -> Callable[[str], int]:
    """Starts a shell script in a session of its own; whoever is tested reaps it."""

    def start(script: str) -> int:
        return os.posix_spawn(
            "/bin/sh", ["sh", "-c", script], os.environ, setsid=True, setsigmask=(), setsigdef=WAITED_FOR
        )

    return start


@pytest.fixture
def link() -> Iterator[tuple[Ear, Mouth]]:
    ear, mouth = word_link()
    yield ear, mouth
    ear.close()
    mouth.close()


# ── words ───────────────────────────────────────────────────────────────────────────────────────


def test_words_arrive_whole_and_in_order(link: tuple[Ear, Mouth]) -> None:
    ear, mouth = link
    assert ear.take() == []
    assert mouth.say(b"one\ntwo")
    assert mouth.say(b"")
    assert mouth.say(b"x" * LONGEST)
    assert ear.take() == [b"one\ntwo", b"", b"x" * LONGEST]
    mouth.close()
    assert ear.take() == []


def test_word_is_not_heard_when_nobody_is_there(link: tuple[Ear, Mouth]) -> None:
    ear, mouth = link
    ear.close()
    assert not mouth.say(b"hello")
    assert ear.take() == []


@pytest.mark.parametrize("word", [b"x" * (LONGEST + 1), b"a\0b"])
def test_word_that_cannot_be_said(link: tuple[Ear, Mouth], word: bytes) -> None:
    with pytest.raises(ValueError, match="at most"):
        link[1].say(word)


def test_words_wake_who_waits(link: tuple[Ear, Mouth]) -> None:
    ear, mouth = link
    ear.wake()
    mouth.say(b"up")
    received = signal.sigtimedwait({signal.SIGIO}, 30)
    assert received is not None
    assert ear.take() == [b"up"]


def test_file_comes_with_its_word(link: tuple[Ear, Mouth]) -> None:
    ear, mouth = link
    read, write = os.pipe()
    mouth.say(HOLD, write)
    os.close(write)
    assert ear.take() == [HOLD]
    [held] = ear._held
    os.write(held, b"still open")
    assert os.read(read, 100) == b"still open"
    os.close(read)
    os.close(held)


# ── what is left ────────────────────────────────────────────────────────────────────────────────


def test_nothing_to_end() -> None:
    Remains(spared=None).end(hastened_by=lambda info: False)


@pytest.mark.parametrize("listed", [True, False])
def test_all_that_is_left_is_ended(
    start: Callable[[str], int], monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    if not listed:
        monkeypatch.setattr(remains, "_CHILDREN", "/proc/self/no/such/{}")
    pids = [start("sleep 600 & setsid sleep 600 & wait"), start("trap '' TERM; sleep 600 & wait")]
    Remains(spared=None, grace=0.05).end(hastened_by=lambda info: False)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_signal_hastens(start: Callable[[str], int]) -> None:
    start("trap '' TERM; while :; do sleep 600; done")
    os.kill(os.getpid(), signal.SIGINT)
    Remains(spared=None, grace=10_000).end(hastened_by=lambda info: info.si_signo == signal.SIGINT)


def test_spared_group_is_not_signalled_as_a_whole(start: Callable[[str], int]) -> None:
    """Its other members may be a script that has started us. Here it has a child, which becomes ours."""
    pid = start("trap '' TERM; sleep 600 & wait")
    Remains(spared=pid, grace=0.0).end(hastened_by=lambda info: False)


def test_what_may_not_be_signalled_is_given_up(
    start: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, number: int) -> NoReturn:
        raise PermissionError

    pid = start("exec sleep 600")
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        Remains(spared=None, grace=0.0).end(hastened_by=lambda info: False)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# ── the guardian ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3 << 8), ("kill -9 $$", signal.SIGKILL), ("kill $$", signal.SIGTERM)]
)
def test_wait_status_of_the_engine_is_returned(start: Callable[[str], int], script: str, status: int) -> None:
    assert Guardian(start(script), None, None).guard() == status


def test_there_must_be_an_engine() -> None:
    with pytest.raises(ProcessLookupError):
        Guardian(2**22 + 1, None, None)


def test_signals_reach_the_engine_without_a_launcher(start: Callable[[str], int], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "up")
    engine = start(f"trap 'exit 7' TERM; echo up > {tmp_path / 'up'}; while :; do sleep 600 & wait; done")
    (tmp_path / "up").read_text()
    os.kill(os.getpid(), signal.SIGTERM)
    assert Guardian(engine, None, None, grace=0.0).guard() == 7 << 8


def test_signal_that_comes_too_late_for_the_engine_is_one_for_what_it_left(
    start: Callable[[str], int],
) -> None:
    engine = start("(trap '' TERM; while :; do sleep 600; done) & kill -9 $$")
    wait_for_state(engine, "Z")
    assert Guardian(engine, None, None, grace=10_000).guard(signal.SIGINT) == signal.SIGKILL


def test_engine_that_has_signed_off_leaves_its_daemons(
    start: Callable[[str], int], link: tuple[Ear, Mouth], tmp_path: Path
) -> None:
    engine = start(f"setsid sleep 600 & echo $! > {tmp_path / 'daemon'}")
    wait_for_state(engine, "Z")
    link[1].say(OVER)
    assert Guardian(engine, link[0], None).guard() == 0
    daemon = int((tmp_path / "daemon").read_text())
    assert state(daemon) != "Z"
    os.kill(daemon, signal.SIGKILL)
    os.waitpid(daemon, 0)


class Parent:
    """A process that plays the launcher of a guardian: the test process takes it for its parent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.process = subprocess.Popen(["sleep", "600"])
        self.pid: int = self.process.pid
        self.hears, self.mouth = word_link()
        monkeypatch.setattr(os, "getppid", lambda: self.pid)


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    parent = Parent(monkeypatch)
    yield parent
    with suppress(ProcessLookupError):
        os.kill(parent.process.pid, signal.SIGKILL)
    parent.process.wait()
    parent.hears.close()
    parent.mouth.close()


def test_launcher_is_stopped_and_continued_and_told(start: Callable[[str], int], parent: Parent) -> None:
    engine = start("kill -STOP $$; exit 4")
    helper = start(
        f"while ! grep -q ' (sleep) T' /proc/{parent.pid}/stat; do :; done; kill -CONT {engine};"
        f"while grep -q ' (sleep) T' /proc/{parent.pid}/stat; do :; done; kill {parent.pid}"
    )
    wait_for_state(engine, "T")
    assert Guardian(engine, None, (parent.pid, parent.mouth), grace=0.0).guard() == 4 << 8
    assert parent.hears.take() == [ENDED + b"1024"]
    with pytest.raises(ProcessLookupError):
        os.kill(helper, 0)


def test_launcher_of_an_engine_that_has_left_is_told_and_forgotten(
    start: Callable[[str], int], link: tuple[Ear, Mouth], parent: Parent
) -> None:
    link[1].say(LEFT + b"bye")
    os.kill(parent.pid, signal.SIGKILL)
    assert Guardian(start("exit 0"), link[0], (parent.pid, parent.mouth), grace=0.0).guard() == 0
    assert parent.hears.take() == [LEFT + b"bye"]


def test_what_is_to_be_said_of_a_killed_engine_is_passed_on(
    start: Callable[[str], int], link: tuple[Ear, Mouth], parent: Parent
) -> None:
    link[1].say(LAST_WORDS + b"alas")
    Guardian(start("exit 0"), link[0], (parent.pid, parent.mouth), grace=0.0).guard()
    assert parent.hears.take() == [LAST_WORDS + b"alas", ENDED + b"0"]


def test_lost_launcher_ends_the_engine(start: Callable[[str], int], parent: Parent) -> None:
    launcher, parent.pid = parent.pid, 1
    engine = start("kill -STOP $$; exit 0")
    wait_for_state(engine, "T")
    assert Guardian(engine, None, (launcher, parent.mouth), grace=0.0).guard() == signal.SIGTERM
    assert parent.hears.take() == []


# ── the launcher ────────────────────────────────────────────────────────────────────────────────


def test_launcher_ends_as_the_engine_did(start: Callable[[str], int], link: tuple[Ear, Mouth]) -> None:
    ear, mouth = link
    mouth.say(ENGINE + b"1")
    mouth.say(LAST_WORDS + b"alas")
    mouth.say(ENDED + b"512")
    waiting = Launcher(start("sleep 0"), ear)
    assert waiting.wait() == 512
    assert waiting.last_words == b"alas"


@pytest.mark.parametrize("code", [0, 129])
def test_launcher_says_goodbye(
    start: Callable[[str], int], link: tuple[Ear, Mouth], capfd: pytest.CaptureFixture[str], code: int
) -> None:
    ear, mouth = link
    mouth.say(LEFT + b"%d goodbye to you\n" % code)
    guardian = start("exec sleep 600")
    assert Launcher(guardian, ear).wait() == code << 8
    said = capfd.readouterr()
    assert (said.err if code else said.out) == "goodbye to you\n"
    os.killpg(guardian, signal.SIGKILL)
    os.waitpid(guardian, 0)


def test_launcher_passes_signals_on(
    start: Callable[[str], int], link: tuple[Ear, Mouth], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "up")
    guardian = start(f"trap 'exit 0' USR1; echo up > {tmp_path / 'up'}; while :; do sleep 600 & wait; done")
    (tmp_path / "up").read_text()
    os.kill(os.getpid(), signal.SIGCONT)  # nobody is stopped
    os.kill(os.getpid(), signal.SIGUSR1)
    assert Launcher(guardian, link[0], grace=0.0).wait() == signal.SIGKILL  # it ended without a word


def test_launcher_stands_in_for_a_guardian_that_was_killed(
    start: Callable[[str], int], link: tuple[Ear, Mouth]
) -> None:
    ear, mouth = link
    mouth.say(b"%s%d" % (ENGINE, start("sleep 600 & exit 5")))
    assert Launcher(start("kill -9 $$"), ear, grace=0.0).wait() == 5 << 8


def test_launcher_continues_only_an_engine_that_is_stopped(
    start: Callable[[str], int], link: tuple[Ear, Mouth], tmp_path: Path
) -> None:
    ear, mouth = link
    engine = start("kill -STOP $$; exit 5")
    wait_for_state(engine, "T")
    os.mkfifo(tmp_path / "up")
    guardian = start(
        f"trap 'kill -CONT {engine}; exit 0' CONT; echo up > {tmp_path / 'up'};"
        "while :; do sleep 600 & wait; done"
    )
    (tmp_path / "up").read_text()
    mouth.say(b"%s%d" % (ENGINE, engine))
    os.kill(os.getpid(), signal.SIGCONT)
    assert Launcher(guardian, ear, grace=0.0).wait() == 5 << 8


def test_last_words_wait_for_no_reader() -> None:
    read, write = os.pipe()
    launcher._write_at_once(write, b"alas")
    assert os.read(read, 100) == b"alas"
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while os.write(write, bytes(4096)):
            pass
    os.set_blocking(write, True)
    launcher._write_at_once(write, b"alas")
    os.close(read)
    os.close(write)
    launcher._write_at_once(write, b"alas")


class Left(Exception):
    """Stands in for the end of the process."""


@pytest.mark.parametrize(
    ("status", "code"), [(0, 0), (130 << 8, 130), (signal.SIGTERM, 143), (signal.SIGKILL, 137)]
)
def test_process_is_left_as_the_engine_left_it(
    monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    """Played by process 1, which no signal ends, and so by its exit code at last."""

    def leave(code: int) -> NoReturn:
        left.append(code)
        raise Left

    left: list[int] = []
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setattr("resource.setrlimit", lambda *limits: None)
    with pytest.raises(Left):
        leave_as(status)
    assert left == [code]
    assert killed == ([(os.getpid(), status)] if os.WIFSIGNALED(status) else [])


# ── in the engine ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hung_up", [False, True])
def test_engine_detaches_once(
    link: tuple[Ear, Mouth], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hung_up: bool
) -> None:
    streams: list[tuple[int, int]] = []
    monkeypatch.setattr(launcher, "_guardian", link[1])
    monkeypatch.setattr(launcher, "_can_detach", True)
    monkeypatch.setattr(os, "setsid", lambda: None)
    monkeypatch.setattr(os, "dup2", lambda fd, target: streams.append((os.fstat(fd).st_ino, target)))
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(FileNotFoundError):
        launcher.detach("bye", output=tmp_path / "none" / "output")
    assert launcher.can_detach()
    try:
        launcher.detach("gone\0 " + "é" * LONGEST, output=tmp_path / "output", hung_up=hung_up)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not launcher.can_detach()
    [word] = link[0].take()
    assert word.startswith(LEFT + f"{129 if hung_up else 0} gone ééé".encode())
    assert LONGEST - 2 <= len(word) <= LONGEST
    output = (tmp_path / "output").stat()
    assert stat.S_IMODE(output.st_mode) == 0o600
    nothing = (Path(os.devnull).stat().st_ino, 0)
    # what pytest captures with is a file
    assert streams == ([nothing] if hung_up else [nothing, (output.st_ino, 1), (output.st_ino, 2)])
    launcher.sign_off()
    launcher.hold(0)
    launcher.bequeath("alas\0, " + "é" * LONGEST)
    over, hold, last = link[0].take()
    assert (over, hold) == (OVER, HOLD)
    assert last.startswith(LAST_WORDS + "alas, ééé".encode())
    assert len(last) <= LONGEST
    with pytest.raises(RuntimeError, match="no launcher"):
        launcher.detach("again")


def test_elsewhere_nothing_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("sys.platform", "darwin")
        patch.setattr(os, "fork", None)
        launcher.launch()
    assert not launcher.can_detach()
