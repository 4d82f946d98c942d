"""Looking back at runs that are kept: the list, the diagnosis, the logs, a second console, a replay."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import anyio
import msgspec
import pytest

from engine.core.inputs import AttemptOutcome, CancelPlan, Now, OutcomeKind
from engine.core.state import Outcome
from engine.dispatch.base import Attempt, Output
from engine.errors import CommandRefused
from engine.ground.folders import database_path, run_directory, socket_path, state_directory
from engine.handle import RunHandle
from engine.host.attached import RunUnreachable
from engine.host.kept import KeptRun, open_kept_run
from engine.host.server import serve
from engine.logs.attempt import attempt_log_path
from engine.logs.times import TimesWriter
from engine.plan.graph import Graph
from engine.plan.model import Need, Plan, Task
from engine.store.database import open_database
from engine.store.history import History
from engine.store.journal import Journal
from engine.store.lock import RunLock
from tests.support.events import EventFactory
from tests.support.inside import Cli
from tests.support.journals import DIAMOND, broken_diamond, diamond, write_run
from tests.support.run import FakeRun
from tests.support.terminal import Terminal
from tests.support.wire import served
from tui.cli.main import run_command_line
from tui.hosting.visit import visit_living
from tui.plain.history_view import SHOWN_FAILURES, SHOWN_TASKS, short_id
from tui.plain.report import Style
from tui.preferences import Preferences

ROOT = Path(__file__).parents[3]
PLANDECK = [sys.executable, "-m", "tui"]


@pytest.fixture
def state() -> Path:
    """The state directory, which is not there yet."""
    return state_directory()


def write_log(state: Path, run_id: str, index: int, data: bytes, attempt: int = 1) -> Path:
    path = attempt_log_path(run_directory(state, run_id), index, attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        log.write(data)
    return path


# ── which run is meant ──────────────────────────────────────────────────────────────────────────

COMMANDS = [("show",), ("logs", "A"), ("attach",), ("replay",)]
"""Every command that takes a run, with what else it must be told."""


def asking(command: tuple[str, ...], run: str) -> list[str]:
    name, *rest = command
    return [name, run, *rest]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_where_nothing_has_run_it_says_so(call: Cli, state: Path, command: tuple[str, ...]) -> None:
    code, out, err = call(*asking(command, "3f2a"))
    assert (code, out) == (2, "")
    assert err == "Error: no runs yet: `plandeck run PLAN` makes one\n"
    assert not state.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_unknown_run_and_an_ambiguous_one_are_2(call: Cli, state: Path, command: tuple[str, ...]) -> None:
    write_run(state, diamond("3f2a"))
    write_run(state, diamond("3f9b"))
    assert call(*asking(command, "x")) == (
        2, "", "Error: no run begins with 'x': `plandeck runs` lists them\n"
    )  # fmt: skip
    code, out, err = call(*asking(command, "3f"))
    assert (code, out) == (2, "")
    assert "'3f' may be any of these: 3f9b (diamond), 3f2a (diamond)" in err


@pytest.mark.parametrize("command", [("runs",), ("show", "last"), ("attach",)], ids=lambda c: c[0])
def test_a_damaged_database_is_2_and_told_in_a_line(call: Cli, state: Path, command: tuple[str, ...]) -> None:
    state.mkdir(parents=True)
    database_path(state).write_bytes(b"garbage " * 4096)
    code, out, err = call(*command)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"Error: .*plandeck.db is damaged .*: move it away.*\n", err)


# ── runs ────────────────────────────────────────────────────────────────────────────────────────


def test_no_runs_are_no_mistake(call: Cli) -> None:
    assert call("runs") == (0, "", "no runs yet: `plandeck run PLAN` makes one\n")
    assert call("runs", "--json") == (0, "", "")


def test_runs_stand_newest_first_with_how_they_stand(call: Cli, state: Path) -> None:
    write_run(state, diamond("aaaaaaaa-1"))
    write_run(state, broken_diamond("bbbbbbbb-1"))
    write_run(state, diamond("cccccccc-1")[:4])
    with Journal.create(state, "dddddddd-1", DIAMOND) as journal, RunLock(run_directory(state, "dddddddd-1")):
        journal.commit(diamond("dddddddd-1")[:4])
        code, out, err = call("runs")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["RUN", "STATE", "STARTED", "TOOK", "TASKS", "PLAN"]
    assert [row.split()[:3] for row in rows] == [
        ["◐", "dddddddd", "running"],
        ["■", "cccccccc", "interrupted"],
        ["✖", "bbbbbbbb", "failed"],
        ["✔", "aaaaaaaa", "success"],
    ]
    assert "4/4, 1 failed" in rows[2]
    assert len(call("runs", "--limit", "2")[1].splitlines()) == 3


def test_runs_as_json(call: Cli, state: Path) -> None:
    write_run(state, diamond("first"))
    write_run(state, broken_diamond("second"))
    code, out, _ = call("runs", "--json")
    assert code == 0
    second, first = map(json.loads, out.splitlines())
    assert (first["run_id"], first["outcome"], first["success"]) == ("first", "success", 4)
    assert (second["run_id"], second["state"], second["failed"], second["task_count"]) == (
        "second", "failed", 1, 4
    )  # fmt: skip
    assert second["schema"] == 1


def test_what_a_plan_is_called_drives_no_terminal(call: Cli, state: Path) -> None:
    hostile = msgspec.structs.replace(DIAMOND, name="\x1b[31mred\x1b]0;t\x07\nx", goal="\x1b[2J")
    write_run(state, broken_diamond("run"), hostile)
    for command in (("runs",), ("show", "last")):
        out = call(*command)[1]
        assert "red x" in out
        assert "\x1b" not in out


def test_short_ids_are_as_long_as_they_must_be() -> None:
    ids = ["3f2a91bc-0000", "3f2a91bc-0100", "77"]
    assert [short_id(run_id, ids) for run_id in ids] == ["3f2a91bc-00", "3f2a91bc-01", "77"]
    assert short_id("3f2a91bc-0000") == "3f2a91bc"


def test_pruning_deletes_with_the_logs_what_nobody_has(call: Cli, state: Path) -> None:
    for run_id in ("one", "two", "three"):
        write_run(state, diamond(run_id))
        write_log(state, run_id, 0, b"x")
    with RunLock(run_directory(state, "one")):
        assert call("runs", "--prune", "--keep", "1") == (0, "deleted 1 run\n", "kept one: it goes on\n")
    assert not run_directory(state, "two").exists()
    assert [json.loads(line)["run_id"] for line in call("runs", "--json")[1].splitlines()] == ["three", "one"]
    write_run(state, diamond("four")[:2])  # which began just now, and never ended
    assert call("runs", "--prune", "--older-than", "30d") == (0, "deleted 2 runs\n", "")
    assert call("runs", "--prune", "--older-than", "0s") == (0, "deleted 1 run\n", "")


def test_what_cannot_be_deleted_is_told(call: Cli, state: Path, tmp_path: Path) -> None:
    write_run(state, diamond("run"))
    run_directory(state, "run").parent.mkdir(exist_ok=True)
    run_directory(state, "run").symlink_to(tmp_path)
    code, out, err = call("runs", "--prune", "--keep", "0")
    assert (code, out) == (2, "deleted 0 runs\n")
    assert "could not delete run: " in err
    assert "symbolic link" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prune"], "--prune needs --keep N, --older-than AGE or both"),
        (["--keep", "1"], "--keep and --older-than go with --prune"),
        (["--older-than", "30d"], "--keep and --older-than go with --prune"),
        (["--prune", "--keep", "1", "--json"], "exclude each other"),
        (["--prune", "--older-than", "30"], "'30' must be a duration with its unit"),
        (["--limit", "0"], "0 is not in the range x>=1"),
    ],
)
def test_bad_usage_deletes_nothing(call: Cli, state: Path, arguments: list[str], said: str) -> None:
    write_run(state, diamond("run"))
    code, _, err = call("runs", *arguments)
    assert code == 2
    assert said in err
    assert len(call("runs", "--json")[1].splitlines()) == 1


# ── show ────────────────────────────────────────────────────────────────────────────────────────


def test_the_diagnosis_comes_first(call: Cli, state: Path) -> None:
    write_run(state, broken_diamond("run"))
    write_log(state, "run", 1, b"first try\n", attempt=1)
    log = write_log(state, "run", 1, b"before\n\x1b[31mit [red]broke\x1b[0m\n", attempt=2)
    code, out, err = call("show", "last")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("✖ diamond failed after ")
    assert lines[1] == "  run run"
    assert "  goal see it through" in lines
    at = lines.index("failed_task_index   1")
    assert lines[at + 1] == "failed_task_detail  B (run): exit 3; 1 of 1 retries used"
    at = lines.index("✖ B failed after 2 attempts: exit 3")
    assert lines[at + 1 : at + 6] == [
        "    attempt 1 at 0:03, took 2s: exit 2",
        "    attempt 2 at 0:07, took 1s: exit 3",
        "    │ before",
        "    │ it [red]broke",
        f"    whole log: {log}",
    ]
    at = lines.index("2 success, 1 failed, 1 skipped; 1 retried")
    assert [line.split()[:3] for line in lines[at + 1 : at + 5]] == [
        ["✔", "success", "A"],
        ["✖", "failed", "B"],
        ["✔", "success", "C"],
        ["⊘", "skipped", "D"],
    ]
    assert lines[-1] == "Next: plandeck retry run"
    assert "changed" not in out


def test_show_as_json(call: Cli, state: Path) -> None:
    write_run(state, broken_diamond("run"))
    code, out, _ = call("show", "run", "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["failed_task_index"] == 1
    assert shown["failed_task_detail"] == {
        "type": "run",
        "id": shown["tasks"][1]["id"],
        "name": "B",
        "error": "exit 3",
        "retry_count": 1,
        "max_retries": 1,
    }
    [failure] = shown["failures"]
    assert [(attempt["number"], attempt["exit_code"]) for attempt in failure["attempts"]] == [(1, 2), (2, 3)]
    assert failure["attempts"][1]["log"] == str(attempt_log_path(run_directory(state, "run"), 1, 2))
    assert {task["name"]: task["state"] for task in shown["tasks"]} == {
        "A": "success", "B": "failed", "C": "success", "D": "skipped"
    }  # fmt: skip
    assert (shown["counts"]["success"], shown["file_has_changed"], shown["gaps"]) == (2, False, [])


def test_that_the_plan_has_changed_since_is_told(call: Cli, state: Path, tmp_path: Path) -> None:
    source = tmp_path / "plan.yaml"
    source.write_text("one")
    write_run(state, diamond("run"), msgspec.structs.replace(DIAMOND, source=str(source)))
    assert "has changed" not in call("show", "run")[1]
    source.write_text("two")
    assert "! the plan's file has changed since" in call("show", "run")[1]
    assert json.loads(call("show", "run", "--json")[1])["file_has_changed"]


def test_that_events_are_missing_is_told(call: Cli, state: Path) -> None:
    events = diamond("run")
    write_run(state, events[:3] + events[5:])
    connection = open_database(state)
    connection.execute("INSERT INTO gaps SELECT number, 4, 5, 'the disk was full' FROM runs")
    connection.execute("INSERT INTO gaps SELECT number, 7, 7, 'again' FROM runs")
    connection.close()
    out = call("show", "run")[1]
    assert "! events 4 to 5 are missing, so this may not be all: the disk was full" in out
    assert "! event 7 is missing" in out


def test_a_run_whose_engine_is_gone_can_be_resumed(call: Cli, state: Path) -> None:
    write_run(state, diamond("run")[:4])  # A has ended, B runs
    code, out, _ = call("show", "run")
    assert code == 0
    assert out.startswith("■ diamond lost its engine after ")
    assert re.search(r"◐ running +B .*it ran when the engine ended\n", out)
    assert out.endswith("Next: plandeck resume run\n")


def test_a_run_that_goes_on_can_be_attached_to(call: Cli, state: Path) -> None:
    with (
        Journal.create(state, "run", DIAMOND, seed=7, speed=10.0) as journal,
        RunLock(run_directory(state, "run")),
    ):
        journal.commit(diamond("run")[:4])
        out = call("show", "run")[1]
    assert re.match(r"◐ diamond is running, \S+ so far\n", out)
    assert f"in the hands of process {os.getpid()} since " in out
    assert "  2 slots, fail-fast, seed 7, speed 10\n" in out
    assert out.endswith("Next: plandeck attach run\n")


def test_a_run_in_which_nothing_has_happened_is_shown(call: Cli, state: Path) -> None:
    Journal.create(state, "run", DIAMOND).close()
    code, out, _ = call("show", "run")
    assert code == 0
    assert "\n3 pending, 1 ready\n" in out


def test_an_engine_at_fault_says_why(call: Cli, state: Path) -> None:
    made = EventFactory(Graph(DIAMOND), run_id="run")
    made.plan_started()
    made.plan_completed(Outcome.FAILED, diagnosis="4 tasks could neither run nor end")
    write_run(state, made.events)
    assert "! the engine could not go on: 4 tasks could neither run nor end\n" in call("show", "run")[1]


def test_much_is_told_in_part(call: Cli, state: Path) -> None:
    wide = Plan(name="wide", tasks=tuple(Task(name=f"t{n}", run="x") for n in range(SHOWN_TASKS + 100)))
    made = EventFactory(Graph(wide), run_id="run")
    made.plan_started()
    for task in wide.tasks:
        made.started(task.name)
        made.failed(task.name)
    write_run(state, made.events, wide)
    out = call("show", "run")[1]
    assert out.count(" failed: exit 1\n") == SHOWN_FAILURES
    assert f"and {SHOWN_TASKS + 100 - SHOWN_FAILURES} more failures\n" in out
    assert "  and 100 more; --json lists them all\n" in out
    assert len(json.loads(call("show", "run", "--json")[1])["tasks"]) == SHOWN_TASKS + 100


# ── logs ────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_goes_to_programs_byte_for_byte(state: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_run(state, broken_diamond("run"))
    data = b"\x1b[31mred\x1b]0;t\x07\xff\x00\nno end"
    write_log(state, "run", 1, b"the first\n", attempt=1)
    write_log(state, "run", 1, data, attempt=2)
    assert run_command_line(["logs", "last", "B"]) == 0
    assert capfdbinary.readouterr() == (data, b"")
    assert run_command_line(["logs", "last", "B", "--attempt", "1"]) == 0
    assert capfdbinary.readouterr() == (b"the first\n", b"")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["b"], "Error: the run has no task 'b'; did you mean B?\n"),
        (["nothing of the kind"], "Error: the run has no task 'nothing of the kind'\n"),
        (["D"], "Error: D was never started: skipped: B failed\n"),
        (["A", "--attempt", "2"], "Error: A has had 1 attempt, and none of number 2\n"),
    ],
)
def test_a_log_that_there_is_not_is_2(call: Cli, state: Path, arguments: list[str], said: str) -> None:
    write_run(state, broken_diamond("run"))
    assert call("logs", "run", *arguments) == (2, "", said)


def test_a_task_that_said_nothing_is_told_apart(call: Cli, state: Path) -> None:
    write_run(state, diamond("run"))
    assert call("logs", "run", "A") == (0, "", "A has printed nothing\n")


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """All that the command writes where stdout is a terminal."""
    with Terminal(
        [*PLANDECK, *arguments],
        columns=200,
        env={"PYTHONPATH": str(ROOT), "PLANDECK_ASCII": "", **environment},
    ) as terminal:
        assert terminal.wait_for_exit() == 0
        terminal.read_rest()
        return terminal.output.decode()


def test_a_log_on_a_terminal_keeps_its_colours_and_nothing_else(state: Path) -> None:
    write_run(state, diamond("run"))
    log = (
        b"\x1b[31mred\x1b]0;title\x07\x1b[2J\nstill \x1b[0mplain\x1b[?1049h\n10 %\r20 %\r\n" + b"x" * 200_000
    )
    write_log(state, "run", 0, log)
    out = on_a_terminal("logs", "run", "A")
    assert out.startswith("\x1b[38;5;1mred\x1b[0m\r\n\x1b[38;5;1mstill \x1b[0mplain\r\n20 %\r\nxxx")
    assert "more bytes" in out
    colourless = on_a_terminal("logs", "run", "A", NO_COLOR="1")
    assert colourless.startswith("red\r\nstill plain\r\n20 %\r\n")
    assert "\x1b" not in colourless


def following(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PLANDECK, "logs", *arguments, "-f"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_following_goes_on_to_the_next_attempt_and_ends_with_the_run(state: Path) -> None:
    events = broken_diamond("run")
    first_ends = next(n for n, event in enumerate(events) if event.type == "RETRY_SCHEDULED")
    again = next(n for n, event in enumerate(events) if event.type == "TASK_RETRIED")
    with Journal.create(state, "run", DIAMOND) as journal, RunLock(run_directory(state, "run")):
        journal.commit(events[:first_ends])
        with following("run", "B") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            write_log(state, "run", 1, b"one\n")
            assert process.stdout.readline() == b"one\n"
            write_log(state, "run", 1, b"two\n")
            assert process.stdout.readline() == b"two\n"
            journal.commit(events[first_ends : again + 1])
            write_log(state, "run", 1, b"three\n", attempt=2)
            assert process.stdout.readline() == b"three\n"
            write_log(state, "run", 1, b"and the end", attempt=2)
            journal.commit(events[again + 1 :])
            assert process.communicate(timeout=30) == (b"and the end", b"attempt 2:\n")
            assert process.returncode == 0


def test_following_ends_with_the_engine(state: Path) -> None:
    lock = RunLock(run_directory(state, "run"))
    with Journal.create(state, "run", DIAMOND) as journal:
        journal.commit(diamond("run")[:2])
    lock.acquire()
    with following("run", "A") as process:
        assert process.stdout is not None
        write_log(state, "run", 0, b"one\n")
        assert process.stdout.readline() == b"one\n"
        write_log(state, "run", 0, b"last\n")
        lock.release()
        assert process.communicate(timeout=30) == (b"last\n", b"")


def test_following_an_attempt_ends_with_it(call: Cli, state: Path) -> None:
    with Journal.create(state, "run", DIAMOND) as journal, RunLock(run_directory(state, "run")):
        journal.commit(diamond("run")[:4])  # A has ended, and the run goes on
        write_log(state, "run", 0, b"all\n")
        assert call("logs", "run", "A", "--attempt", "1", "-f") == (0, "all\n", "")


def test_lines_are_told_with_their_times(call: Cli, state: Path) -> None:
    write_run(state, diamond("run"))
    path = attempt_log_path(run_directory(state, "run"), 0, 1)
    times = TimesWriter()
    write_log(state, "run", 0, b"\x1b[2Jone\ntwo\nend")
    times.mark(path, 0, Now(1.0, 1_000_000.25))
    times.mark(path, 8, Now(2.0, 1_000_060.5))
    out = call("logs", "run", "A", "--times")[1]
    said = [line.split(" ", 1) for line in out.splitlines()]
    assert [words for _, words in said] == ["one", "two", "end"]
    assert [datetime.fromisoformat(time).timestamp() for time, _ in said] == [
        1_000_000.25,
        1_000_060.5,
        1_000_060.5,
    ]


def test_a_log_that_nobody_reads_ends_quietly(state: Path) -> None:
    write_run(state, diamond("run"))
    write_log(state, "run", 0, b"x" * 1_000_000)
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [*PLANDECK, "logs", "run", "A"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (141, b"")


# ── attach ──────────────────────────────────────────────────────────────────────────────────────


class Gate:
    """A dispatcher whose attempts end with `outcome` once the gate is open."""

    def __init__(self) -> None:
        self.open = anyio.Event()
        self.outcome = AttemptOutcome(OutcomeKind.SUCCESS)
        self.count = 0

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        self.count += 1
        output.started("gate")
        await self.open.wait()
        return self.outcome


SMALL = Plan(name="small", tasks=(Task(name="one", run="x"), Task(name="two", run="y", needs=(Need("one"),))))


@asynccontextmanager
async def kept(state: Path, gate: Gate) -> AsyncIterator[KeptRun]:
    """A run in this process that is kept and served, until its block has ended."""
    async with anyio.create_task_group() as group, open_kept_run(SMALL, dispatchers={"local": gate}) as kept:
        folder = run_directory(state, kept.run.run_id)
        await group.start(partial(serve, kept.run, socket_path(folder), directory=folder))
        started = kept.run.subscribe()
        while kept.run.snapshot().tasks[0].state != "running":
            await started.wait()
            started.take()
        yield kept


async def visit(state: Path, *, read_only: bool = False, console: bool = False) -> int:
    with History(state) as history:
        [record] = history.runs()
    wanted = Preferences() if console else None
    return await visit_living(state, record, read_only, wanted, Style(), Style())


class Reader:
    """Reads what is written to stdout, while it is being written."""

    def __init__(self, end: int) -> None:
        self._end = end
        self.text = ""

    async def until(self, word: str) -> None:
        while word not in self.text:
            await anyio.wait_readable(self._end)
            self.read()

    def read(self) -> None:
        self.text += os.read(self._end, 65536).decode()


@contextmanager
def reading() -> Iterator[Reader]:
    """At the other end of stdout for the length of a block; not of a fixture, which pytest's own capturing
    would undo."""
    end, written = os.pipe()
    before = os.dup(1)
    os.dup2(written, 1)
    try:
        yield Reader(end)
    finally:
        os.dup2(before, 1)
        for descriptor in (end, written, before):
            os.close(descriptor)


@pytest.mark.anyio
async def test_attached_lines_show_the_state_and_then_the_rest(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = Gate()
    codes: list[int] = []

    async def watch() -> None:
        codes.append(await visit(state))

    with reading() as reader:
        async with kept(state, gate) as other, anyio.create_task_group() as group:
            group.start_soon(watch)
            await reader.until("gate\n")
            gate.open.set()
        await reader.until("✔ small succeeded after ")
    assert codes == [0]
    lines = [line[9:].split() for line in reader.text.splitlines()]
    assert lines[0] == f"plan small: running, 1 pending, 1 running, run {other.run.run_id}".split()
    assert lines[1] == ["◐", "running", "one", "1/1", "gate"]
    assert [line[:3] for line in lines[2:7]] == [
        ["✔", "success", "one"],
        ["◐", "running", "two"],
        ["✔", "success", "two"],
        ["plan", "success", "after"],
        [],
    ]
    assert not capfd.readouterr().err


@pytest.mark.anyio
async def test_attaching_ends_with_the_exit_code_of_the_run(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = Gate()
    gate.outcome = AttemptOutcome(OutcomeKind.FAILED, error="exit 3", exit_code=3)
    gate.open.set()
    async with kept_until_complete(state, gate) as other:
        assert await visit(state) == 1  # it is complete, and its console is still open
        name = short_id(other.run.run_id)
    out = capfd.readouterr().out
    assert "✖ one failed: exit 3\n" in out
    assert out.endswith(f"To run what failed again: plandeck retry {name}\n")


@asynccontextmanager
async def kept_until_complete(state: Path, gate: Gate) -> AsyncIterator[KeptRun]:
    async with anyio.create_task_group() as group, open_kept_run(SMALL, dispatchers={"local": gate}) as kept:
        await kept.run.wait()
        folder = run_directory(state, kept.run.run_id)
        await group.start(partial(serve, kept.run, socket_path(folder), directory=folder))
        yield kept


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_sends_the_visitor_away_and_the_run_goes_on(
    state: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    gate = Gate()

    async def send_away(reader: Reader) -> None:
        await reader.until("gate\n")
        os.kill(os.getpid(), number)

    async with kept(state, gate) as other:
        with reading() as reader:
            async with anyio.create_task_group() as group:
                group.start_soon(send_away, reader)
                assert await visit(state) == 128 + number
        name = short_id(other.run.run_id)
        assert capfd.readouterr().err == (
            f"plandeck: run {name} goes on; come back with: plandeck attach {name}\n"
        )
        gate.open.set()
        assert (await other.run.wait()).outcome is Outcome.SUCCESS


@pytest.mark.anyio
async def test_a_run_that_is_left_by_its_engine_is_told(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The connection is lost, and nobody has the run any more."""
    write_run(state, diamond("run")[:4])
    run = FakeRun(DIAMOND)
    run.start("A")
    codes: list[int] = []

    async def watch() -> None:
        codes.append(await visit(state))

    with reading() as reader:
        async with anyio.create_task_group() as group, served(run, socket_path(run_directory(state, "run"))):
            group.start_soon(watch)
            await reader.until(" A ")
    assert codes == [1]
    err = capfd.readouterr().err
    assert err == "plandeck: the run is no longer served; see what has become of it: plandeck show run\n"


@pytest.mark.anyio
async def test_what_was_missed_is_told(state: Path) -> None:
    """More has happened at once than the run keeps for one console."""
    write_run(state, diamond("run")[:4])
    run = FakeRun(DIAMOND)
    run.start("A")
    with reading() as reader:
        async with (
            anyio.create_task_group() as group,
            served(run, socket_path(run_directory(state, "run")), backlog=3),
        ):
            group.start_soon(visit, state)
            await reader.until(" A ")
            for _ in range(20):
                run.make.held("D")
                run.make.released("D")
            run.push(*run.make.events[-40:])
            await reader.until("events were missed here\n")
            run.finish()
            await reader.until("diamond succeeded after")


@pytest.mark.anyio
async def test_where_nobody_listens_the_visitor_is_told(state: Path) -> None:
    write_run(state, diamond("run")[:4])
    with RunLock(run_directory(state, "run")), pytest.raises(RunUnreachable, match="no run listens"):
        await visit(state)


class Console:
    """Stands in for the console app: `during` is what happens while it is open."""

    during: Callable[[Console], Awaitable[None]]

    return_code: int | None = None

    def __init__(self, run: RunHandle, *, can_detach: bool, preferences: Preferences | None) -> None:
        assert can_detach
        self.run = run
        self.left = anyio.Event()

    async def show(self) -> str | None:
        return await type(self).during(self)

    def exit(self) -> None:
        self.left.set()


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> type[Console]:
    kind = type("Console", (Console,), {})
    monkeypatch.setitem(sys.modules, "tui.app", SimpleNamespace(ConsoleApp=kind))
    return kind


@pytest.mark.anyio
async def test_a_console_steers_the_run_and_the_summary_follows(
    state: Path, console: type[Console], capfd: pytest.CaptureFixture[str]
) -> None:
    async def cancel(app: Console) -> None:
        await app.run.send(CancelPlan(kill=True))
        await app.run.wait()

    console.during = cancel
    async with kept(state, Gate()) as other:
        assert await visit(state, console=True) == 130
        name = short_id(other.run.run_id)
    out = capfd.readouterr().out
    assert "small was cancelled after" in out
    assert out.endswith(f"To go on with it: plandeck resume {name}\n")


@pytest.mark.anyio
async def test_a_read_only_console_that_is_left_leaves_the_run_as_it_is(
    state: Path, console: type[Console], capfd: pytest.CaptureFixture[str]
) -> None:
    async def try_to_steer(app: Console) -> None:
        assert app.run.read_only
        with pytest.raises(CommandRefused):
            await app.run.send(CancelPlan())

    console.during = try_to_steer
    gate = Gate()
    async with kept(state, gate) as other:
        assert await visit(state, console=True, read_only=True) == 0
        assert "goes on; come back with: plandeck attach" in capfd.readouterr().err
        gate.open.set()
        await other.run.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("times", [1, 2])
async def test_a_signal_ends_the_console_first_and_then_the_command(
    state: Path, console: type[Console], times: int
) -> None:
    async def be_signalled(app: Console) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await app.left.wait()
        if times == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep_forever()

    console.during = be_signalled
    async with kept(state, Gate()):
        assert await visit(state, console=True) == 143


@pytest.mark.anyio
async def test_a_console_whose_run_is_gone_gives_the_shell_back(
    state: Path, console: type[Console], capfd: pytest.CaptureFixture[str]
) -> None:
    async def look(app: Console) -> None:
        opened.set()
        await app.left.wait()

    console.during = look
    opened = anyio.Event()
    write_run(state, diamond("run")[:4])
    run = FakeRun(DIAMOND)
    run.start("A")
    codes: list[int] = []

    async def watch() -> None:
        codes.append(await visit(state, console=True))

    async with anyio.create_task_group() as group, served(run, socket_path(run_directory(state, "run"))):
        group.start_soon(watch)
        await opened.wait()
    assert codes == [1]
    assert "plandeck show run" in capfd.readouterr().err


def test_attaching_to_what_has_ended_names_what_can_be_done(call: Cli, state: Path) -> None:
    write_run(state, diamond("ended"))
    write_run(state, diamond("dead")[:4])
    assert call("attach", "ended") == (
        2, "", "Error: run ended has ended (success): plandeck show ended tells how\n"
    )  # fmt: skip
    code, _, err = call("attach", "dead")
    assert code == 2
    assert "the engine of run dead is gone" in err
    assert "plandeck resume dead goes on with it" in err
    assert call("attach") == (
        2, "", "Error: no run goes on now: `plandeck runs` lists those that are kept\n"
    )  # fmt: skip


def test_the_command_attaches_to_the_newest_run_that_goes_on(tmp_path: Path) -> None:
    """The real thing: a run that was detached from, in a process of its own."""
    plan = tmp_path / "plan.yaml"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    plan.write_text(f"name: small\ntasks: {{one: {{run: 'echo hey; read line < {gate}'}}}}\n")

    def plandeck(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PLANDECK, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    assert plandeck("run", "--detach", str(plan)).returncode == 0
    with subprocess.Popen(
        [*PLANDECK, "attach"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as attached:
        assert attached.stdout is not None
        assert "small: running, 1 running, run " in attached.stdout.readline()
        assert "◐ running    one" in attached.stdout.readline()
        gate.write_text("\n")
        rest, _ = attached.communicate(timeout=30)
    assert attached.returncode == 0
    assert "small succeeded after" in rest


# ── replay ──────────────────────────────────────────────────────────────────────────────────────


def test_a_replay_says_the_same_lines_again(call: Cli, state: Path) -> None:
    write_run(state, broken_diamond("run"))
    code, out, err = call("replay", "last", "--speed", "10000")
    assert (code, err) == (0, "")
    lines = [line[9:].split()[:3] for line in out.splitlines()]
    assert lines[:4] == [
        ["plan", "diamond:", "4"],
        ["◐", "running", "A"],
        ["✔", "success", "A"],
        ["◐", "running", "B"],
    ]
    assert "✖ B failed after 2 attempts: exit 3" in out
    assert out.endswith("To run what failed again: plandeck retry run\n")


def test_a_recording_that_ends_early_says_so(call: Cli, state: Path) -> None:
    write_run(state, diamond("run")[:4])
    code, out, err = call("replay", "run", "--speed", "10000")
    assert code == 0
    assert out.splitlines()[-1].split()[1:4] == ["◐", "running", "B"]
    assert err == "plandeck: the recording ends here, before the run was complete\n"


def test_where_nothing_was_recorded_nothing_is_replayed(call: Cli, state: Path) -> None:
    Journal.create(state, "run", DIAMOND).close()
    assert call("replay", "run") == (
        2, "", "Error: nothing has happened in run run, or nothing of it was kept\n"
    )  # fmt: skip


@pytest.mark.parametrize("speed", ["0", "-1", "inf", "nan"])
def test_a_speed_must_be_one(call: Cli, state: Path, speed: str) -> None:
    write_run(state, diamond("run"))
    code, out, err = call("replay", "run", "--speed", speed)
    assert (code, out) == (2, "")
    assert "--speed" in err


def test_a_replay_that_nobody_reads_ends_quietly(state: Path) -> None:
    write_run(state, diamond("run", takes=1000.0))
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [*PLANDECK, "replay", "run"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert result.returncode == 141
    assert b"Traceback" not in result.stderr


def test_a_replay_in_a_real_terminal_opens_the_console(state: Path) -> None:
    write_run(state, diamond("run", takes=1000.0))
    with Terminal([*PLANDECK, "replay", "run"], env={"PYTHONPATH": str(ROOT)}) as terminal:
        terminal.wait_for("diamond")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0


def test_output_that_cannot_be_written_is_told(state: Path) -> None:
    write_run(state, diamond("run", takes=1000.0))
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [*PLANDECK, "replay", "run"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == 1
    assert result.stderr == b"plandeck: cannot write the output: [Errno 28] No space left on device\n"
