"""The launcher and the guardian with real processes: who is killed, who is told, and what is left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from engine.host import launcher
from tests.support.job import CRUEL, FAMILY, Job, marked, wait_for_state, wait_until_gone
from tests.support.terminal import WITHIN

DEAF = "trap 'echo asked > $ANSWERS' TERM; echo up > $ANSWERS; while :; do sleep 600 & wait; done"
"""A task that says that it was asked to end, and does not."""


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    with Job(tmp_path) as job:
        yield job.launch()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Job]:
    """One that would wait for ever for tasks to heed TERM."""
    with Job(tmp_path, grace=10_000) as job:
        yield job.launch()


# ── how it ends ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [0, 1, 2, 130, 143, 255])
def test_exit_code_is_that_of_the_engine(job: Job, code: int) -> None:
    job.order(f"exit {code}")
    assert job.wait() == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGPIPE])
def test_signal_that_ended_the_engine_ends_the_launcher(job: Job, number: signal.Signals) -> None:
    job.order(f"die {number:d}")
    assert job.wait() == -number


def test_exit_code_is_known_to_who_was_started_ignoring_the_end_of_children(tmp_path: Path) -> None:
    with Job(tmp_path) as job:
        job.launch(["sh", "-c", 'trap "" CHLD; exec "$@"', "-"])
        job.order("exit 3")
        assert job.wait() == 3


def test_standard_streams_may_be_closed(tmp_path: Path) -> None:
    with Job(tmp_path) as job:
        job.launch(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "-"])
        job.order("exit 3")
        assert job.wait() == 3


def test_guardian_keeps_no_stream_of_the_program_open(tmp_path: Path) -> None:
    with Job(tmp_path) as job:
        job.launch(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_state(job.guardian, "S")
        assert {str(Path(f"/proc/{job.guardian}/fd/{fd}").readlink()) for fd in range(3)} == {os.devnull}
        job.order("exit 0")
        assert job.process is not None
        assert job.process.communicate(timeout=WITHIN) == (b"", b"")
        assert job.wait() == 0


# ── signals to the launcher ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    ],
)
def test_signal_to_the_launcher_reaches_the_engine_once(job: Job, number: signal.Signals) -> None:
    for _ in range(2):
        os.kill(job.launcher, number)
        assert job.answer() == f"got {number.name}"
    job.start("echo up > $ANSWERS")  # nothing is said in between
    job.order("exit 0")
    assert job.wait() == 0


def test_engine_has_the_signals_that_the_program_was_started_with(tmp_path: Path) -> None:
    with Job(tmp_path) as job:
        job.launch(["sh", "-c", 'trap "" HUP; exec "$@"', "-"])
        job.order("mask")
        assert job.answer() == "blocked []"
        os.kill(job.launcher, signal.SIGHUP)  # ignored, as nohup wants it
        os.kill(job.launcher, signal.SIGTERM)
        assert job.answer() == "got SIGTERM"
        job.order("exit 0")
        assert job.wait() == 0


def test_signal_to_the_guardian_of_an_attached_engine_is_not_passed_on(job: Job) -> None:
    """What ends all that looks like plandeck reaches the engine without it."""
    os.kill(job.guardian, signal.SIGTERM)
    os.kill(job.launcher, signal.SIGUSR1)
    assert job.answer() == "got SIGUSR1"
    job.order("exit 0")
    assert job.wait() == 0


def test_launcher_stops_and_continues_with_the_engine(job: Job) -> None:
    os.kill(job.engine, signal.SIGSTOP)
    wait_for_state(job.launcher, "T")
    os.kill(job.launcher, signal.SIGCONT)
    assert job.answer() == "got SIGCONT"
    wait_for_state(job.launcher, "S")
    os.kill(job.engine, signal.SIGSTOP)
    wait_for_state(job.launcher, "T")
    os.kill(job.engine, signal.SIGCONT)
    assert job.answer() == "got SIGCONT"
    wait_for_state(job.launcher, "S")
    job.order("exit 0")
    assert job.wait() == 0


# ── who is killed ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batches", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_nothing_is_left_of_engines_killed_at_random(tmp_path: Path, batches: int) -> None:
    random = Random(7)
    tasks = [FAMILY, CRUEL, "echo up > $ANSWERS; exec sleep 600", "echo up > $ANSWERS; kill -STOP $$"]
    for batch in range(batches):
        with ExitStack() as stack:
            jobs = [stack.enter_context(Job(tmp_path / f"{batch}-{number}")) for number in range(6)]
            for job in jobs:
                job.launch()
            for job in jobs:
                for _ in range(3):
                    job.order(f"start {random.choice(tasks)}")
                job.order("start while :; do sh -c 'sleep 600 &' & setsid sleep 0 ; done")
                for _ in range(random.randrange(4)):
                    job.answer()
                os.kill(job.engine, signal.SIGKILL)
            for job in jobs:
                assert job.wait() == -signal.SIGKILL


def test_the_whole_job_killed_leaves_nothing(job: Job) -> None:
    """As `kill -9 %1` does it."""
    job.start(FAMILY, CRUEL)
    os.killpg(job.launcher, signal.SIGKILL)
    wait_until_gone(job.mark)


def test_stopped_engine_killed_leaves_nothing(job: Job) -> None:
    job.start(FAMILY)
    os.kill(job.engine, signal.SIGSTOP)
    wait_for_state(job.launcher, "T")
    os.kill(job.engine, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL


def test_tasks_are_asked_before_they_are_killed(patient: Job) -> None:
    patient.start(
        "trap 'echo asked > $ANSWERS; exit' TERM; mkfifo $ANSWERS-; echo up > $ANSWERS; read x < $ANSWERS-"
    )
    os.kill(patient.engine, signal.SIGKILL)
    assert patient.answer() == "asked"
    assert patient.wait() == -signal.SIGKILL


def test_another_signal_does_not_wait_for_those_who_were_asked(patient: Job) -> None:
    patient.start(DEAF)
    os.kill(patient.engine, signal.SIGKILL)
    assert patient.answer() == "asked"
    os.kill(patient.launcher, signal.SIGINT)
    assert patient.wait() == -signal.SIGKILL


def test_engine_of_a_killed_launcher_is_told(job: Job) -> None:
    job.start(CRUEL)
    os.kill(job.launcher, signal.SIGKILL)
    assert job.answer() == "got SIGTERM"
    job.order("break 0")
    wait_until_gone(job.mark)


def test_stopped_engine_of_a_killed_launcher_is_told(job: Job) -> None:
    os.kill(job.engine, signal.SIGSTOP)
    wait_for_state(job.launcher, "T")
    os.kill(job.launcher, signal.SIGKILL)
    assert {job.answer(), job.answer()} == {"got SIGTERM", "got SIGCONT"}
    job.order("exit 0")
    wait_until_gone(job.mark)


def test_engine_of_a_killed_guardian_is_told_and_ends_as_it_likes(job: Job) -> None:
    os.kill(job.guardian, signal.SIGKILL)
    assert job.answer() == "got SIGTERM"
    os.kill(job.launcher, signal.SIGINT)
    assert job.answer() == "got SIGINT"
    job.order("exit 143")
    assert job.wait() == 143


def test_launcher_takes_the_place_of_a_killed_guardian(job: Job) -> None:
    os.kill(job.guardian, signal.SIGKILL)
    assert job.answer() == "got SIGTERM"
    job.start(FAMILY, CRUEL)
    os.kill(job.engine, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL


def test_guardian_killed_at_its_work_is_replaced(patient: Job) -> None:
    patient.start(DEAF)
    os.kill(patient.engine, signal.SIGKILL)
    assert patient.answer() == "asked"
    os.kill(patient.guardian, signal.SIGKILL)
    assert patient.answer() == "asked"  # by the launcher
    os.kill(patient.launcher, signal.SIGTERM)
    assert patient.wait() == -signal.SIGKILL


def test_lock_is_held_until_nothing_is_left(patient: Job, tmp_path: Path) -> None:
    """Else the run could be resumed while its tasks have not ended yet."""
    patient.order(f"lock {tmp_path / 'lock'}")
    assert patient.answer() == "locked"
    patient.start(DEAF)
    os.kill(patient.engine, signal.SIGKILL)
    assert patient.answer() == "asked"
    with (tmp_path / "lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(patient.launcher, signal.SIGINT)
        assert patient.wait() == -signal.SIGKILL
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ── what may stay ───────────────────────────────────────────────────────────────────────────────


def test_daemon_outlives_an_engine_that_has_signed_off(job: Job) -> None:
    job.start("setsid sh -c 'echo up > $ANSWERS; exec sleep 600' &")
    job.order("exit 0")
    assert job.process is not None
    assert job.process.wait(WITHIN) == 0
    [daemon] = marked(job.mark)
    assert os.getpgid(daemon) not in {job.launcher, job.guardian, job.engine}


def test_nothing_outlives_an_engine_that_ended_in_disorder(job: Job) -> None:
    job.start("setsid sleep 600 & echo up > $ANSWERS", FAMILY)
    job.order("break 1")
    assert job.wait() == 1


# ── without a launcher ──────────────────────────────────────────────────────────────────────────


def test_program_that_was_not_launched_cannot_detach() -> None:
    assert not launcher.can_detach()
    with pytest.raises(RuntimeError, match="no launcher"):
        launcher.detach("")
    launcher.sign_off()
