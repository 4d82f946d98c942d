"""A console that measures itself: `python -m benchmarks.watched STATUS_FD PLAN STATE`, in a terminal.

It writes a line of JSON to the descriptor whenever it is sent SIGUSR1: the monotonic time; cpu, seconds;
rss, kB; and what came since the line before it: handled and painted, the keys and when they were taken and
the frames with what they changed were written; frames, how long each took from the tick to its last byte;
gap, the longest that the event loop was late.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any

import anyio
from textual import events

import tui.app
from engine import load_plan, open_run
from engine.session import Run
from tui.app import ConsoleApp

HEARTBEAT = 0.005


class Record:
    """What is told at the next signal."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._begin()

    def _begin(self) -> None:
        self.handled: list[tuple[str, float]] = []
        self.painted: list[tuple[str, float]] = []
        self.frames: list[float] = []
        self.gap = 0.0

    def tell(self) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        line = {
            "time": time.monotonic(),
            "cpu": usage.ru_utime + usage.ru_stime,
            "rss": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024,
            "handled": self.handled,
            "painted": self.painted,
            "frames": self.frames,
            "gap": self.gap,
        }
        self._begin()
        os.write(self._status, json.dumps(line).encode() + b"\n")


class WatchedConsole(ConsoleApp):
    """Notes when keys come and when frames go."""

    CSS_PATH = Path(tui.app.__file__).with_name("app.tcss")

    def __init__(self, run: Run, record: Record) -> None:
        super().__init__(run)
        self._record = record
        self._unpainted: list[str] = []
        self._seen: deque[events.Key] = deque(maxlen=16)
        self._ticked = 0.0
        screen: Any = self.run_screen
        tick, paint = screen.tick, screen._on_timer_update

        def timed_tick() -> None:
            began = time.perf_counter()
            tick()
            self._ticked = time.perf_counter() - began

        def timed_paint() -> None:
            began, shown = time.perf_counter(), self._shown
            paint()
            if self._shown != shown:
                record.frames.append(self._ticked + time.perf_counter() - began)
                self._ticked = 0.0

        self._shown = 0
        screen.tick, screen._on_timer_update = timed_tick, timed_paint

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not any(
            event is seen for seen in self._seen
        ):  # it bubbles up again
            self._seen.append(event)
            self._record.handled.append((event.key, time.monotonic()))
            self._unpainted.append(event.key)
        await super().on_event(event)

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        self._shown += 1
        if self._unpainted:
            self._record.painted += [(key, time.monotonic()) for key in self._unpainted]
            self._unpainted = []


async def main(status: int, path: Path, state: Path, *, headless: bool) -> None:
    record = Record(status)

    async def listen() -> None:
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            os.write(status, b"ready\n")
            async for _ in signals:
                record.tell()

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await anyio.sleep(HEARTBEAT)
            record.gap = max(record.gap, time.perf_counter() - before - HEARTBEAT)

    async with open_run(load_plan(path), directory=state) as run, anyio.create_task_group() as group:
        group.start_soon(listen)
        group.start_soon(beat)
        if headless:
            await run.wait()
        else:
            await WatchedConsole(run, record).run_async()
        group.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("status", type=int)
    parser.add_argument("plan", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("--headless", action="store_true")
    options = parser.parse_args()
    anyio.run(lambda: main(options.status, options.plan, options.state, headless=options.headless))
