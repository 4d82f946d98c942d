"""From a plan file to a graph that is ready to run, beside PyYAML, which only reads the same file.

`python -m benchmarks.plan_load` measures alone; each reading is a process of its own, imports not counted.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Contender, Sample, command, interleave, median, table
from benchmarks.overhead import needs_of

SIZES = (1_000, 10_000, 100_000)


def write_plan(path: Path, count: int) -> None:
    """A plan of layers of 100 tasks with two needs each, every task with the settings of a real one."""
    lines = ["name: layers\nfailure_mode: continue_on_error\ndefaults: {timeout: 10m, retry: 1}\ntasks:\n"]
    for index in range(count):
        lines.append(f"  task-{index:06d}:\n")
        if needs := ", ".join(f"task-{need:06d}" for need in needs_of(index)):
            lines.append(f"    needs: [{needs}]\n")
        lines.append(
            f"    run: echo building part {index} && sleep 0\n    retry: {{limit: 2, delay: 500ms}}\n"
            f"    timeout: 5m\n    priority: {index % 100}\n"
        )
    path.write_text("".join(lines), encoding="utf-8")


def plandeck(path: Path) -> Callable[[], object]:
    from engine.plan.graph import Graph
    from engine.plan.load import load_plan

    return lambda: Graph(load_plan(path))


def csafe_loader(path: Path) -> Callable[[], object]:
    import yaml

    return lambda: yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)


def csafe_loader_collector_paused(path: Path) -> Callable[[], object]:
    gc.disable()
    return csafe_loader(path)


WORK = {work.__name__: work for work in (plandeck, csafe_loader, csafe_loader_collector_paused)}


def report(rounds: int, *, most: int) -> str:
    """Measure, and return the table. most: the largest number of tasks."""
    sizes = [count for count in SIZES if count <= most]
    with tempfile.TemporaryDirectory() as folder:
        paths = {count: Path(folder) / f"{count}.yaml" for count in sizes}
        for count, path in paths.items():
            write_plan(path, count)
        contenders = [
            Contender(f"{name} {count:,}", lambda name=name, path=path: _run(name, path))
            for count, path in paths.items()
            for name in WORK
        ]
        samples = interleave(contenders, rounds)
    rows = []
    for count in sizes:
        alone = median(samples[f"csafe_loader {count:,}"], "seconds")
        for name in WORK:
            taken = samples[f"{name} {count:,}"]
            seconds, megabytes = median(taken, "seconds"), median(taken, "mb")
            rows.append([f"{name} {count:,}", f"{seconds:.3f}", f"{seconds / alone:.2f}", f"{megabytes:.0f}"])
    return table(["", "seconds", "of CSafeLoader's", "MB grown"], rows)


def _run(name: str, path: Path) -> Sample:
    return command([sys.executable, "-m", "benchmarks.plan_load", name, str(path)], reports=True)


def _measure(name: str, path: Path) -> None:
    work = WORK[name](path)
    memory, began = _memory(), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    assert result is not None
    print(json.dumps({"seconds": seconds, "mb": _memory() - memory}))


def _memory() -> float:
    """The most that this process has held so far, in MB."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _measure(sys.argv[1], Path(sys.argv[2]))
    else:
        print(report(5, most=10_000))
