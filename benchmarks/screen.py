"""The screen: what the console takes of the processor while much happens, and how soon it answers.

A plan of 10,000 simulated tasks of which 500 end in a second, without and with a console on it; the
difference is the screen's. And a task that writes all it can, or 50,000 lines a second, with its log open.
Keys move the cursor, one every 70 ms; they are timed from the writing of the key into the terminal to the
console's handler, and to the last byte of the frame with what it changed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import Contender, Sample, command, interleave, median, table
from benchmarks.overhead import needs_of
from benchmarks.sitting import PATIENCE, Sitting, plandeck

TASKS = 10_000
SLOTS, SECONDS_EACH = 32, 0.064
"""32 slots of 64 ms: 500 ends a second."""

SETTLING, WINDOW, KEY_EVERY = 2.0, 5.0, 0.07
LINES = 50_000
WRITTEN = 1 << 30
"""Bytes of the task that writes all it can."""


class Subject:
    """A console that measures itself (`benchmarks.watched`), at a terminal of 140x40."""

    def __init__(self, sitting: Sitting, status: int) -> None:
        self.sitting = sitting
        self._status = status
        self._rest = b""

    def line(self) -> bytes:
        while b"\n" not in self._rest:
            if not select.select([self._status], [], [], PATIENCE)[0]:
                raise RuntimeError("the console says nothing")
            data = os.read(self._status, 1 << 16)
            if not data:
                raise RuntimeError("the console has ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def ask(self) -> dict[str, Any]:
        """What it has to tell of itself since the last time."""
        self.sitting.process.send_signal(signal.SIGUSR1)
        told: dict[str, Any] = json.loads(self.line())
        return told

    def open_log(self) -> dict[str, Any]:
        """Return what it has told when it has taken the key."""
        self.sitting.press("l")
        while not (told := self.ask())["handled"]:
            pass
        return told

    def press(self, keys: str, seconds: float) -> list[float]:
        """Press them in turn for so long; return when each was."""
        until, pressed = time.monotonic() + seconds, []
        while time.monotonic() < until:
            pressed.append(self.sitting.press(keys[len(pressed) % len(keys)]))
            time.sleep(KEY_EVERY)
        return pressed


@contextmanager
def subject(plan: Path, *options: str) -> Iterator[Subject]:
    status, theirs = os.pipe()
    with tempfile.TemporaryDirectory() as state:
        argv = [sys.executable, "-m", "benchmarks.watched", str(theirs), str(plan), state, *options]
        with Sitting(argv, columns=140, rows=40, inherit=[theirs]) as sitting:
            os.close(theirs)
            it = Subject(sitting, status)
            it.line()
            yield it
    os.close(status)


def p95(values: Sequence[float]) -> float:
    """In milliseconds."""
    return sorted(values)[int(len(values) * 0.95)] * 1e3


def _moves(keys: list[tuple[str, float]]) -> list[float]:
    """When the keys that move the cursor came, and not the one that opens the log."""
    return [moment for key, moment in keys if key in "jk"]


def latencies(pressed: list[float], told: dict[str, Any]) -> dict[str, float]:
    """Milliseconds. A key whose frame had not come when the console was asked is left out."""
    handled, painted = (
        [there - here for here, there in zip(pressed, _moves(told[when]), strict=False)]
        for when in ("handled", "painted")
    )
    return {"handler": p95(handled), "paint": p95(painted), "worst_key": max(handled) * 1e3}


# ── much happens ────────────────────────────────────────────────────────────────────────────────


def write_busy_plan(path: Path) -> None:
    tasks = {
        f"task-{index:05}": {
            "simulate": {"duration": f"{SECONDS_EACH * 1000:g}ms"},
            "needs": [f"task-{need:05}" for need in needs_of(index)],
        }
        for index in range(TASKS)
    }
    path.write_text(json.dumps({"name": "busy", "max_parallel": SLOTS, "tasks": tasks}))


def _share(it: Subject) -> tuple[float, dict[str, Any]]:
    """Of a processor, over the window."""
    time.sleep(SETTLING)
    before = it.ask()
    time.sleep(WINDOW)
    after = it.ask()
    return (after["cpu"] - before["cpu"]) / (after["time"] - before["time"]), after


def headless(plan: Path) -> Sample:
    with subject(plan, "--headless") as it:
        share, _ = _share(it)
    return Sample(0.0, 0.0, {"share": share * 100})


def console(plan: Path) -> Sample:
    with subject(plan) as it:
        it.sitting.wait_for("task-00001")
        share, told = _share(it)
        sent = it.sitting.bytes
        pressed = it.press("jk", WINDOW)
        keys = latencies(pressed, it.ask())
        sent = it.sitting.bytes - sent
    figures = {
        "share": share * 100,
        "frame": statistics.median(told["frames"]) * 1e3,
        "frame95": p95(told["frames"]),
        "rate": sent / WINDOW / 1000,
        **keys,
    }
    return Sample(0.0, 0.0, figures)


# ── much is written ─────────────────────────────────────────────────────────────────────────────

_BULK = f"""
import os
block = b"".join(b"line %05d " % number + b"x" * 2036 + b"\\n" for number in range(512))
for number in range({WRITTEN} // len(block)):
    left = memoryview(block)
    while left:
        left = left[os.write(1, left):]
"""

# fifty bursts a second, so that it writes at that pace and not faster
_LINES = f"""
import os, time
burst = b"one of very many lines, none like another\\n" * {LINES // 50}
began = time.monotonic()
for number in range(10**9):
    os.write(1, burst)
    time.sleep(max(0, began + (number + 1) / 50 - time.monotonic()))
"""


def write_log_plan(path: Path, command: list[str]) -> None:
    path.write_text(json.dumps({"name": "writer", "tasks": {"writer": {"run": command}}}))


def plain_file() -> Sample:
    """The writer without anybody: into a file."""
    with tempfile.TemporaryDirectory() as folder:
        taken = command(["sh", "-c", f'exec "$0" -c "$1" > {folder}/log', sys.executable, _BULK])
    return Sample(taken.wall, taken.cpu, {"mb": WRITTEN / taken.wall / 1e6})


def write_bulk_plan(folder: Path) -> Path:
    """Of a task that writes all it can, and says in two files when it did."""
    plan = folder / "bulk.json"
    stamp = "date +%s.%N >"
    stamped = f'{stamp} {folder}/began; "$0" -c "$1"; {stamp} {folder}/ended'
    write_log_plan(plan, ["sh", "-c", stamped, sys.executable, _BULK])
    (folder / "ended").unlink(missing_ok=True)
    return plan


def time_of_bulk(folder: Path) -> float:
    """Seconds that it took to write."""
    return float((folder / "ended").read_text()) - float((folder / "began").read_text())


def plain_lines(folder: Path) -> Sample:
    """The writer in a run without a console."""
    plan = write_bulk_plan(folder)
    with tempfile.TemporaryDirectory() as state:
        taken = command(["env", f"XDG_STATE_HOME={state}", *plandeck("run", str(plan), "--plain")])
    wall = time_of_bulk(folder)
    return Sample(wall, taken.cpu, {"mb": WRITTEN / wall / 1e6})


def bulk(folder: Path) -> Sample:
    plan = write_bulk_plan(folder)
    with subject(plan) as it:
        it.sitting.wait_for("writer")
        before = it.open_log()
        pressed: list[float] = []
        while not (folder / "ended").exists():
            pressed += it.press("jk", KEY_EVERY)
        told = it.ask()
    wall = time_of_bulk(folder)
    grown = (told["rss"] - before["rss"]) / 1024
    cpu = told["cpu"] - before["cpu"]
    return Sample(wall, cpu, {"mb": WRITTEN / wall / 1e6, "grown": grown, **latencies(pressed, told)})


def lines(folder: Path) -> Sample:
    plan = folder / "lines.json"
    write_log_plan(plan, [sys.executable, "-c", _LINES])
    with subject(plan) as it:
        it.sitting.wait_for("writer")
        it.open_log()
        share, before = _share(it)
        pressed = it.press("jk", WINDOW)
        told = it.ask()
    grown = (told["rss"] - before["rss"]) / 1024
    return Sample(0.0, 0.0, {"share": share * 100, "grown": grown, **latencies(pressed, told)})


def report(rounds: int) -> str:
    """Measure, and return the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = folder / "busy.json"
        write_busy_plan(plan)
        samples = interleave(
            [
                Contender("headless", lambda: headless(plan)),
                Contender("console", lambda: console(plan)),
                Contender("plain file", plain_file),
                Contender("plain lines", lambda: plain_lines(folder)),
                Contender("bulk", lambda: bulk(folder)),
                Contender("lines", lambda: lines(folder)),
            ],
            rounds,
        )

    def of(who: str, figure: str) -> float:
        return median(samples[who], figure)

    def keys(who: str) -> list[str]:
        return [f"{of(who, figure):.1f}" for figure in ("handler", "paint")]

    share = of("console", "share") - of("headless", "share")
    busy = [
        f"{share:.1f} % of a core", *keys("console"), f"{of('console', 'frame'):.1f}",
        f"{of('console', 'frame95'):.1f}", f"{of('console', 'rate'):.0f} kB/s",
    ]  # fmt: skip
    plain = of("plain file", "mb")

    def rate(who: str) -> list[str]:
        return [f"{of(who, 'mb'):,.0f}", f"{of(who, 'mb') / plain:.2f}x"]

    return "\n\n".join(
        [
            table(
                ["", "UI", "key to handler, p95 ms", "to paint", "frame, ms", "frame, p95", "with keys"],
                [["10,000 tasks, 500 ends a second", *busy]],
            ),
            table(
                [
                    "a task that writes",
                    "MB/s",
                    "of a plain file's",
                    "key to handler, p95 ms",
                    "to paint",
                    "memory, MB grown",
                ],
                [
                    ["all it can, no console", *rate("plain lines"), "-", "-", "-"],
                    ["all it can", *rate("bulk"), *keys("bulk"), f"{of('bulk', 'grown'):.1f}"],
                    [f"{LINES:,} lines/s", "-", "-", *keys("lines"), f"{of('lines', 'grown'):.1f}"],
                ],
            ),
        ]
    )


if __name__ == "__main__":
    print(report(3))
