"""Running a plan from the command line: what is printed where, how it ends, and what stops it.

What concerns signals and streams is tried on the real command in a process of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.support.job import MARK, end_all, wait_until_gone
from tui.cli.main import run_command_line

ROOT = Path(__file__).parents[3]
PLANDECK = [sys.executable, "-m", "tui"]

LONG = 'tasks: {wait: {run: "echo waiting; exec sleep 600"}, after: {run: "true", needs: [wait]}}'
STUBBORN = """\
tasks:
  wait:
    run: trap '' TERM; echo deaf > "$EAR"; while :; do sleep 600; done
    shutdown: {grace: 10m}
"""
PAUSES = """\
failure_mode: pause_on_failure
max_parallel: 1
tasks:
  bad: {run: exit 1, priority: 90}
  other: {run: 'true'}
  after: {run: 'true', needs: [other]}
"""
TALKATIVE = """\
tasks:
  wait: {run: exec sleep 600, priority: 90}
  talk:
    simulate: {duration: 1s, fail_rate: 1}
    retry: {limit: 100, delay: 0s}
"""
FIRST = [f"t{number}" for number in range(100)]


def hundred_and_one(command: str) -> str:
    """A hundred tasks that take no time, and one that runs after them all."""
    tasks = "".join(f"  {name}: {{simulate: {{duration: 0s}}}}\n" for name in FIRST)
    return f"max_parallel: 32\ntasks:\n{tasks}  last: {{run: {command}, needs: [{', '.join(FIRST)}]}}\n"


Write = Callable[[str], Path]


@pytest.fixture
def plan(tmp_path: Path) -> Write:
    """Writes a plan file."""

    def write(text: str) -> Path:
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """By which what goes on after its command is found; nothing of it is left afterwards."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield mark
    end_all(mark)


@contextmanager
def running(
    *arguments: str | Path, before: Sequence[str] = (), **streams: int
) -> Iterator[subprocess.Popen[str]]:
    """The real command in a process of its own, which must have ended when the block ends.

    before: an argv that runs the command given after it.
    """
    command = [*before, *PLANDECK, *map(str, arguments)]
    usual = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    pipes: dict[str, int] = {**usual, **streams}
    process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
    try:
        yield process
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def pid_of_task(lines: IO[str]) -> int:
    """Read on until a task has started, and return its process id."""
    for line in lines:
        if found := re.search(r"\bpid (\d+)", line):
            return int(found[1])
    raise AssertionError("no task has started")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# ── what is printed ─────────────────────────────────────────────────────────────────────────────


def test_plain_lines_and_then_the_summary(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan("name: small\ntasks: {one: {run: 'true'}, two: {run: 'true', needs: [one]}}")
    assert run_command_line(["run", str(path)]) == 0
    out, err = capfd.readouterr()
    words = [line[11:].split()[:2] for line in out.splitlines() if re.match(r"\d\d:", line)]
    assert words == [
        ["plan", "small:"],
        ["running", "one"],
        ["success", "one"],
        ["running", "two"],
        ["success", "two"],
        ["plan", "success"],
    ]
    assert re.search(r"\n\n✔ small succeeded after 0\.\ds\n  2 success; run [0-9a-f-]{36}\n$", out)
    assert not err


def test_failure_is_1_and_the_last_thing_said(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan("tasks: {one: {run: 'echo before; echo \"it [red]broke\" >&2; exit 3'}}")
    assert run_command_line(["run", str(path), "--max-parallel", "2"]) == 1
    end = capfd.readouterr().out.splitlines()[-7:]
    assert end[0] == "✖ one failed: exit 3"
    assert end[1:3] == ["    │ before", "    │ it [red]broke"]
    assert Path(end[3].removeprefix("    whole log: ")).read_bytes() == b"before\nit [red]broke\n"
    assert end[-2].startswith("To run what failed again: plandeck retry ")
    assert end[-1] == f"To run it again: plandeck run {path} --max-parallel 2"


def test_params_reach_the_tasks_and_the_hint(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan(
        "params: {word: x, n: '1'}\ntasks: {one: {run: 'echo ${{ params.word }}${{ params.n }}; exit 3'}}"
    )
    assert run_command_line(["run", str(path), "-p", "word=it's = $(x)", "--param", "n=2"]) == 1
    end = capfd.readouterr().out.splitlines()
    assert "    │ it's = $(x)2" in end
    assert end[-1].startswith(f"To run it again: plandeck run {path} ")
    assert shlex.split(end[-1])[-2:] == ["--param=word=it's = $(x)", "--param=n=2"]


def test_a_matrix_is_retried_as_one(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan("tasks: {unit: {run: 'exit 3', matrix: {n: [1, 2]}, skip_on_failure: true}, other: {run: x}}")
    assert run_command_line(["run", str(path)]) == 1
    capfd.readouterr()
    assert run_command_line(["retry", "last", "unit", "--json"]) == 1
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [event["task"] for event in events if event["type"] == "TASK_RESET"] == ["unit[1]", "unit[2]"]
    assert run_command_line(["retry", "last", "nobody"]) == 2
    assert "there is no task 'nobody'" in capfd.readouterr().err


def test_missing_command_is_a_failed_task(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan("tasks: {one: {run: [/no/such/program]}}")
    assert run_command_line(["run", str(path)]) == 1
    out, err = capfd.readouterr()
    assert "✖ one failed: " in out
    assert "Traceback" not in out + err


def test_json_is_all_there_is_on_stdout(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan("name: small\ntasks: {one: {run: echo noise}, two: {run: 'exit 1', needs: [one]}}")
    assert run_command_line(["run", str(path), "--json"]) == 1
    out, err = capfd.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {event["schema"] for event in events} == {1}
    assert events[0]["type"] == "PLAN_STARTED"
    assert [task["needs"] for task in events[0]["tasks"]] == [{}, {"one": "success"}]
    assert events[-1]["type"] == "PLAN_COMPLETED"
    assert events[-1]["outcome"] == "failed"
    assert "✖ two failed: exit 1\n" in err


def test_options_reach_the_engine(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    path = plan("tasks: {one: {simulate: {duration: 1h, fail_rate: 0.5}, retry: {limit: 9, delay: 0s}}}")
    options = [
        "--seed",
        "3",
        "--speed",
        "1000000",
        "--max-parallel",
        "9",
        "--failure-mode",
        "continue-on-error",
    ]
    runs = []
    for _ in range(2):
        run_command_line(["run", str(path), "--json", *options])
        events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert (events[0]["max_parallel"], events[0]["failure_mode"]) == (9, "continue_on_error")
        runs.append([(event["type"], event.get("attempt")) for event in events])
    assert runs[0] == runs[1]


def test_pause_with_nobody_to_steer_ends_the_run(plan: Write, capfd: pytest.CaptureFixture[str]) -> None:
    """Else a CI job would wait for its time-out."""
    path = plan(PAUSES)
    assert run_command_line(["run", str(path)]) == 1
    out, err = capfd.readouterr()
    assert "nobody is here to steer it" in err
    assert "1 failed, 2 cancelled" in out


def test_pause_with_a_person_at_the_terminal_waits_for_him(plan: Write) -> None:
    ours, theirs = os.openpty()
    with running("run", plan(PAUSES), "--plain", stdin=theirs) as plandeck:
        os.close(theirs)
        told = plandeck.stderr.readline()
        assert told.startswith("plandeck: the plan is paused; to steer it: plandeck attach ")
        plandeck.send_signal(signal.SIGINT)
        out, _ = plandeck.communicate(timeout=30)
        os.close(ours)
    assert plandeck.returncode == 1
    assert "1 failed, 2 cancelled" in out


def test_pause_of_a_run_that_was_left_waits_for_who_comes_back(plan: Write, mark: str) -> None:
    subprocess.run([*PLANDECK, "run", plan(PAUSES), "--detach"], cwd=ROOT, check=True, capture_output=True)
    with running("attach") as visitor:
        for line in visitor.stdout:
            if "paused" in line:
                break
        subprocess.run([*PLANDECK, "cancel", "last"], cwd=ROOT, check=True, capture_output=True)
        assert "1 failed, 2 cancelled" in visitor.communicate(timeout=30)[0]
    wait_until_gone(mark)
    assert visitor.returncode == 1


# ── colour ──────────────────────────────────────────────────────────────────────────────────────


def on_a_terminal(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `run --plain` writes to a terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    ours, theirs = os.openpty()
    with running("run", path, "--plain", stdout=theirs):
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # EIO: the other side has gone
            pass
        os.close(ours)
    return text.decode()


def test_colour_on_a_terminal(plan: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m✔ success" in on_a_terminal(plan("tasks: {one: {run: 'true'}}"), monkeypatch)


def test_no_color_is_obeyed(plan: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = on_a_terminal(plan("tasks: {one: {run: 'true'}}"), monkeypatch)
    assert "✔ success" in text
    assert "\x1b" not in text


# ── what stops it ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "was cancelled"),
        (signal.SIGTERM, 143, "was interrupted"),
    ],
)
def test_signal_stops_what_runs(plan: Write, number: signal.Signals, code: int, word: str) -> None:
    with running("run", plan(LONG)) as plandeck:
        pid = pid_of_task(plandeck.stdout)
        plandeck.send_signal(number)
        rest, err = plandeck.communicate(timeout=30)
    assert plandeck.returncode == code
    assert f"■ plan {word} after" in rest
    assert "2 cancelled" in rest
    assert "once more to kill it" in err
    assert "Traceback" not in err
    assert is_gone(pid)


def test_signal_that_nohup_ignores_stays_ignored(plan: Write) -> None:
    with running("run", plan(LONG), before=["sh", "-c", 'trap "" HUP; exec "$@"', "-"]) as plandeck:
        pid_of_task(plandeck.stdout)
        plandeck.send_signal(signal.SIGHUP)
        plandeck.send_signal(signal.SIGTERM)
        plandeck.communicate(timeout=30)
    assert plandeck.returncode == 143


def assert_goes_on(pid: int, mark: str) -> None:
    """The run of this task can be reached, and is cancelled."""
    assert not is_gone(pid)
    cancelled = subprocess.run(
        [*PLANDECK, "cancel", "last"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert "is being cancelled" in cancelled.stdout
    wait_until_gone(mark)


def test_hangup_leaves_the_run_alone(plan: Write, mark: str) -> None:
    """The command ends, but not with success: nobody has asked for less than the whole run."""
    with running("run", plan(LONG)) as plandeck:
        pid = pid_of_task(plandeck.stdout)
        plandeck.send_signal(signal.SIGHUP)
        rest, err = plandeck.communicate(timeout=30)
    assert plandeck.returncode == 129
    assert not rest
    assert re.fullmatch(
        r"plandeck: the terminal has gone; run \S+ goes on; to see it: plandeck attach \w+\n", err
    )
    assert_goes_on(pid, mark)


def test_file_that_the_output_goes_to_is_written_after_a_hangup(
    plan: Write, mark: str, tmp_path: Path
) -> None:
    gate, started = tmp_path / "gate", tmp_path / "started"
    os.mkfifo(gate)
    os.mkfifo(started)
    path = plan(f"tasks: {{wait: {{run: 'echo up > {started}; cat {gate}'}}}}")
    output = tmp_path / "events"
    with output.open("w") as file, running("run", path, "--json", stdout=file.fileno()) as plandeck:
        assert started.read_text() == "up\n"
        plandeck.send_signal(signal.SIGHUP)
        plandeck.communicate(timeout=30)
    gate.write_text("go\n")
    wait_until_gone(mark)
    events = [json.loads(line) for line in output.read_text().splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["outcome"] == "success"


def test_lost_terminal_leaves_the_run_alone(plan: Write, mark: str) -> None:
    """Also where no SIGHUP tells of it: the first line that cannot be written does."""
    ours, theirs = os.openpty()
    with running("run", plan(TALKATIVE), "--plain", "--speed", "100", stdout=theirs) as plandeck:
        os.close(theirs)
        text = b""
        while not (found := re.search(rb"pid (\d+)", text)):
            text += os.read(ours, 65536)
        os.close(ours)
        err = plandeck.stderr.read()
    assert plandeck.wait() == 129
    assert "goes on; to see it" in err
    assert_goes_on(int(found[1]), mark)


def test_lost_terminal_is_nothing_to_a_run_under_nohup(plan: Write, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    path = plan(f"tasks: {{wait: {{run: cat {gate}}}, after: {{run: 'true', needs: [wait]}}}}")
    ours, theirs = os.openpty()
    before = ["sh", "-c", 'trap "" HUP; exec "$@"', "-"]
    with running("run", path, "--plain", before=before, stdout=theirs) as plandeck:
        os.close(theirs)
        while b"pid " not in os.read(ours, 65536):
            continue
        os.close(ours)
        gate.write_text("go\n")
        assert not plandeck.stderr.read()
    assert plandeck.wait() == 0


def test_second_interrupt_kills(plan: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = tmp_path / "ear"
    os.mkfifo(ear)
    monkeypatch.setenv("EAR", str(ear))
    with running("run", plan(STUBBORN)) as plandeck:
        pid = pid_of_task(plandeck.stdout)
        assert ear.read_text() == "deaf\n"
        plandeck.send_signal(signal.SIGINT)
        assert "once more to kill it" in plandeck.stderr.readline()
        plandeck.send_signal(signal.SIGINT)
        _, err = plandeck.communicate(timeout=30)
    assert plandeck.returncode == 130
    assert "killing what still runs" in err
    assert is_gone(pid)


def test_closed_output_stops_the_run(plan: Write) -> None:
    """`plandeck run PLAN | head`: quietly, and with nothing left running."""
    with running("run", plan(TALKATIVE), "--speed", "100") as plandeck:
        pid = pid_of_task(plandeck.stdout)
        plandeck.stdout.close()
        err = plandeck.stderr.read()
    assert plandeck.wait() == 141
    assert not err
    assert is_gone(pid)


def test_full_disk_is_told(plan: Write) -> None:
    with Path("/dev/full").open("w") as full, running("run", plan(LONG), stdout=full.fileno()) as plandeck:
        err = plandeck.stderr.read()
    assert plandeck.wait() == 1
    assert "cannot write the output: [Errno 28]" in err
    assert "Traceback" not in err


def test_reader_who_does_not_read_delays_no_task(plan: Write, tmp_path: Path) -> None:
    """The last task runs, though far more has been said by then than the pipe holds."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    path = plan(hundred_and_one(f"echo done > {fifo}"))
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with running("run", path, "--json", stdout=write) as plandeck:
        os.close(write)
        assert fifo.read_text() == "done\n"
        with os.fdopen(read) as late:
            events = [json.loads(line) for line in late]
        plandeck.stderr.read()
    assert plandeck.returncode == 0
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_interrupt_after_the_run_does_not_wait_for_the_reader(plan: Write, tmp_path: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with running("run", plan(hundred_and_one("'true'")), "--json", stdout=write) as plandeck:
        os.close(write)
        assert "succeeded" in plandeck.stderr.readline() + plandeck.stderr.readline()  # all has run by now
        plandeck.send_signal(signal.SIGINT)
        plandeck.wait(30)
        os.close(read)
    assert plandeck.returncode == 0


# ── hooks ───────────────────────────────────────────────────────────────────────────────────────


def test_a_hook_that_fails_is_in_the_summary_and_not_in_the_exit_code(
    plan: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    path = plan("hooks: {success: exit 3}\ntasks: {a: {run: 'true'}}")
    assert run_command_line(["run", str(path), "--plain"]) == 0
    out = capfd.readouterr().out
    assert "  ! the success hook failed: exit 3\n" in out


def test_a_signal_ends_the_wait_for_hooks_and_not_the_summary(plan: Write) -> None:
    path = plan("hooks: {success: exec sleep 600}\ntasks: {a: {run: 'true'}}")
    with subprocess.Popen(
        [*PLANDECK, "run", str(path), "--plain"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "plandeck: waiting for the hooks of this run; ctrl+c stops them\n"
        process.send_signal(signal.SIGHUP)  # which is nothing to hooks
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 0
    assert "succeeded after" in out
    assert "! the success hook failed: stopped at the end of the run\n" in out


def test_no_hook_outlives_an_engine_that_is_killed(plan: Write, tmp_path: Path) -> None:
    said, mark = tmp_path / "said", uuid.uuid4().hex
    os.mkfifo(said)
    path = plan(
        "hooks: {success: 'setsid sleep 600 & echo $PPID > said; exec sleep 600'}\ntasks: {a: {run: 'true'}}"
    )
    with subprocess.Popen(
        [*PLANDECK, "run", str(path), "--plain"],
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        try:
            os.kill(int(said.read_text()), signal.SIGKILL)
            wait_until_gone(mark)
        finally:
            end_all(mark)
