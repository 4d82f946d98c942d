"""The start: from the start of a process until its first frame, or its last word, is there.

Beside it a Textual application that shows one line. `attach` is a console on a run of 10,000 tasks, half of
them done, in another process; and the same without a screen, from the connection to the state of every task.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from benchmarks.measure import Contender, Sample, command, interleave, median, table
from benchmarks.sitting import ROOT, Sitting, cpu_of, plandeck
from engine.ground.folders import run_directory, socket_path
from engine.host.attached import attach
from engine.store.history import History
from engine.store.lock import holder_of

TASKS = 10_000
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("this is all")
Minimal().run()
"""


def write_plan(path: Path, count: int, *, done: int = 0) -> None:
    """Tasks of which the first `done` are over at once, and the others not before the measuring is."""
    tasks = {
        f"task-{index:05}": {"simulate": {"duration": "1ms" if index < done else "10m"}}
        for index in range(count)
    }
    path.write_text(json.dumps({"name": "start", "max_parallel": 32, "tasks": tasks}))


def first_sight(argv: list[str], text: str, env: dict[str, str]) -> Sample:
    with Sitting(argv, env=env) as sitting:
        seconds = sitting.wait_for(text)
        cpu = cpu_of(sitting.process.pid)
    return Sample(seconds, cpu, {})


def last_word(argv: list[str]) -> Sample:
    return command(argv, cwd=ROOT)


@contextmanager
def running(plan: Path, state: Path, env: dict[str, str], *, done: int) -> Iterator[Path]:
    """A run in a process of its own, and its socket."""
    subprocess.run(
        plandeck("run", str(plan), "--detach"),
        env={**os.environ, **env}, cwd=ROOT, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    directory = state / "plandeck"
    with History(directory) as history:
        while (run := history.find("last")).success < done:
            time.sleep(0.1)
    folder = run_directory(directory, run.run_id)
    try:
        yield folder
    finally:
        holder = holder_of(folder)
        assert holder is not None
        os.kill(run.pid, signal.SIGTERM)
        while holder_of(folder):
            time.sleep(0.1)


def attached(folder: Path) -> Sample:
    """In this process, whose imports are done: what is left is what grows with the plan."""

    async def meet() -> float:
        began = time.perf_counter()
        async with attach(socket_path(folder), read_only=True) as run:
            assert len(run.snapshot().tasks) == TASKS
            return time.perf_counter() - began

    cpu = time.process_time()
    return Sample(anyio.run(meet), time.process_time() - cpu, {})


def report(rounds: int) -> str:
    """Measure, and return the table."""
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        env = {"XDG_STATE_HOME": name, "XDG_CONFIG_HOME": name, "PYTHONPATH": str(ROOT)}
        one, many, half = (state / f"{what}.json" for what in ("one", "many", "half"))
        write_plan(one, 1)
        write_plan(many, TASKS)
        write_plan(half, TASKS, done=TASKS // 2)

        def sight(argv: list[str], text: str) -> Callable[[], Sample]:
            return lambda: first_sight(argv, text, env)

        with running(half, state, env, done=TASKS // 2) as folder:
            contenders = [
                Contender(
                    "a minimal Textual application", sight([sys.executable, "-c", MINIMAL], "this is all")
                ),
                Contender("console, 1 task", sight(plandeck("run", str(one)), "task-00000")),
                Contender("console, 10,000 tasks", sight(plandeck("run", str(many)), "task-00000")),
                Contender(
                    "attach to 10,000 tasks",
                    sight(plandeck("attach", folder.name, "--read-only"), "task-00000"),
                ),
                Contender("attach, connection to state alone", lambda: attached(folder)),
                Contender("plandeck --help", lambda: last_word(plandeck("--help"))),
                Contender("python -c pass", lambda: last_word([sys.executable, "-c", "pass"])),
            ]
            samples = interleave(contenders, rounds)
    floor = samples[contenders[0].name]
    rows = [
        [who, *(f"{median(taken, of) * 1000:,.0f}" for of in ("wall", "cpu")),
         *(f"{median(taken, of) / median(floor, of):.2f}" for of in ("wall", "cpu"))]
        for who, taken in samples.items()
    ]  # fmt: skip
    return table(["", "ms", "CPU ms", "of the minimal one", "CPU, of the minimal one"], rows)


if __name__ == "__main__":
    print(report(5))
