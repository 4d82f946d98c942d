"""The wire: what the console sends to the terminal, and what it takes of the processor when nothing happens.

The real command in a pseudo-terminal: four tasks that say nothing, at 80x24; 500 ends of tasks a second and a
task whose log is open and gets 1,000 lines a second, at
140x40; and a run that is over and still on the screen.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import Contender, Sample, interleave, median, table
from benchmarks.screen import SECONDS_EACH, SLOTS
from benchmarks.sitting import Sitting, cpu_of, plandeck

SETTLING, WINDOW = 3.0, 10.0


def quiet() -> dict[str, object]:
    return {f"quiet-{number}": {"run": "sleep 600"} for number in range(4)}


def busy() -> dict[str, object]:
    tasks: dict[str, object] = {"chatter": {"simulate": {"duration": "10m", "output": "1000/s"}}}
    for index in range(12_000):
        tasks[f"task-{index:05}"] = {"simulate": {"duration": f"{SECONDS_EACH * 1000:g}ms"}}
    return tasks


def over() -> dict[str, object]:
    return {f"done-{number}": {"run": "true"} for number in range(4)}


CASES = {
    "4 quiet tasks, 80x24": (quiet, "quiet-0", 80, 24),
    "500 ends/s and a busy log, 140x40": (busy, "chatter", 140, 40),
    "a run that is over, 80x24": (over, "done-0", 80, 24),
}


def sit(name: str) -> Sample:
    make, shown, columns, rows = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        plan.write_text(json.dumps({"name": "wire", "max_parallel": SLOTS, "tasks": make()}))
        env = {"XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}
        with Sitting(plandeck("run", str(plan)), columns=columns, rows=rows, env=env) as sitting:
            sitting.wait_for(shown)
            time.sleep(SETTLING)
            opening, cpu, began = sitting.bytes, cpu_of(sitting.process.pid), time.monotonic()
            time.sleep(WINDOW)
            seconds = time.monotonic() - began
            sent, cpu = sitting.bytes - opening, cpu_of(sitting.process.pid) - cpu
    return Sample(
        seconds, cpu, {"rate": sent / seconds, "share": cpu / seconds * 100, "opening": opening / 1000}
    )


def report(rounds: int) -> str:
    """Measure, and return the table."""
    samples = interleave([Contender(name, partial(sit, name)) for name in CASES], rounds)
    rows = [
        [
            name,
            f"{median(taken, 'rate'):,.0f}",
            f"{median(taken, 'share'):.1f} %",
            f"{median(taken, 'opening'):.1f}",
        ]
        for name, taken in samples.items()
    ]
    return table(["", "bytes/s", "of a core, engine included", f"first {SETTLING:g} s, kB"], rows)


if __name__ == "__main__":
    print(report(3))
