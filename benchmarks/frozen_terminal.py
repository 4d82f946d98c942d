"""`python -m benchmarks.frozen_terminal`: a console in a terminal that stops reading, or reads slowly.

The console of `tests.support.ticker` paints ten frames a second (fifty on the slow link) in a real
pseudo-terminal, while a task beside it in the same event loop, as the engine is, looks every 5 ms at how late
it is. Textual's own driver is the peer.

gap: the longest that the loop stood still. behind: how old the picture on the screen is; after a stop, the
time from the first byte read until the present is on the screen. memory: what the process grew by.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.terminal import Terminal

ROOT = Path(__file__).parents[1]
PERIOD = 0.1
LINK = 20_000
"""Bytes a second of the slow link."""


class Figures(NamedTuple):
    """gap, behind: seconds. memory: kilobytes."""

    gap: float
    behind: float
    memory: float


class Console:
    """The counting console in a terminal, and what it has told of itself."""

    def __init__(self, terminal: Terminal, status: int) -> None:
        self.terminal = terminal
        self.news: dict[str, Any] = {}
        self.told_at: dict[int, float] = {}
        self.gap = 0.0
        self._status = status
        self._rest = b""

    @property
    def shown(self) -> int:
        word, _, rest = self.terminal.text.partition(" ")
        return int(rest.split()[0]) if word == "tick" else 0

    def listen(self, seconds: float) -> None:
        """Take what the console tells for so long, without reading the screen."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._status], [], [], left)[0]:
                return
            *lines, self._rest = (self._rest + os.read(self._status, 65536)).split(b"\n")
            for line in lines:
                self.news = json.loads(line)
                self.gap = max(self.gap, self.news["gap"])
                self.told_at[self.news["tick"]] = time.monotonic()


@contextmanager
def console(*options: str, columns: int, rows: int) -> Iterator[Console]:
    status, theirs = os.pipe()
    argv = [sys.executable, "-m", "tests.support.ticker", str(theirs), f"--period={PERIOD}", *options]
    env = {"PYTHONPATH": str(ROOT)}
    with Terminal(argv, env=env, inherit=[theirs], columns=columns, rows=rows) as terminal:
        os.close(theirs)
        console = Console(terminal, status)
        terminal.wait_for(lambda: console.shown >= 5)
        console.listen(0.01)
        console.gap = 0.0  # what starting takes is another matter
        yield console
    os.close(status)


def frozen(seconds: float, *options: str, columns: int, rows: int) -> Figures:
    """Read nothing for so long, then until the screen shows the present."""
    with console(*options, columns=columns, rows=rows) as it:
        memory = it.news["memory"]
        it.listen(seconds)
        begun = time.monotonic()
        it.terminal.read(timeout=1)
        it.listen(0.02)  # a loop that stood still goes on now, and its gap is known after a beat
        present = it.news["tick"]
        it.terminal.wait_for(lambda: it.shown >= present)
        behind = time.monotonic() - begun
        it.listen(2 * PERIOD)
        return Figures(it.gap, behind, it.news["memory"] - memory)


def slow(seconds: float, *options: str, columns: int, rows: int) -> Figures:
    """Read as much as a slow link carries; how far behind the worst picture was."""
    turn = 0.02
    with console(*options, "--period=0.02", columns=columns, rows=rows) as it:
        memory = it.news["memory"]
        behind = 0.0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            it.terminal.read(timeout=0, size=int(LINK * turn))
            it.listen(turn)
            behind = max(behind, time.monotonic() - it.told_at.get(it.shown, time.monotonic()))
        return Figures(it.gap, behind, it.news["memory"] - memory)


def report(rounds: int, seconds: float) -> str:
    """A table in Markdown: medians of so many rounds, the contenders taking turns."""
    lines = ["| the terminal | size | driver | gap | behind | memory |", "|---|---|---|---:|---:|---:|"]
    cases: list[tuple[str, Callable[..., Figures]]] = [
        (f"reads nothing for {seconds:g} s", frozen),
        (f"reads {LINK // 1000} kB/s", slow),
    ]
    for what, measure in cases:
        for columns, rows in ((80, 24), (140, 40)):
            contenders: dict[str, list[str]] = {"Textual's own": ["--stock"], "plandeck's": []}
            figures: dict[str, list[Figures]] = {name: [] for name in contenders}
            for _ in range(rounds):
                for name, options in contenders.items():
                    figures[name].append(measure(seconds, *options, columns=columns, rows=rows))
            for name, runs in figures.items():
                gap, behind, memory = (statistics.median(column) for column in zip(*runs, strict=True))
                lines.append(
                    f"| {what} | {columns}x{rows} | {name} "
                    f"| {gap * 1000:,.0f} ms | {behind * 1000:,.0f} ms | {memory:,.0f} kB |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frozen_terminal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted runs of each contender (3)")
    parser.add_argument("--seconds", type=float, default=15, help="how long the terminal does not read (15)")
    options = parser.parse_args()
    print(report(options.rounds, options.seconds))


if __name__ == "__main__":
    main()
