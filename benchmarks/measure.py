"""Interleaved measuring: every contender once a round, so that a noisy machine is noisy to all."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """One run. wall, cpu: seconds; cpu is user and system time of the process and all its descendants.
    figures: whatever the contender measured of itself, by name."""

    wall: float
    cpu: float
    figures: Mapping[str, float]


class Contender(NamedTuple):
    """Something to be measured. run: does the work once; raises if it did not succeed."""

    name: str
    run: Callable[[], Sample]


def command(
    argv: Sequence[str], *, cwd: Path | None = None, stdin: bytes = b"", reports: bool = False
) -> Sample:
    """Run a command to its end and measure it from outside.

    reports: its last line on stdout is a JSON object with figures of its own. Raises RuntimeError with
    the end of its output if it fails.
    """
    began = time.perf_counter()
    with subprocess.Popen(
        argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(stdin)
        child.stdin.close()
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(
            f"{argv[0]} ended with {child.returncode}: {output[-500:].decode(errors='replace')}"
        )
    figures = json.loads(output.splitlines()[-1]) if reports else {}
    return Sample(wall, usage.ru_utime + usage.ru_stime, figures)


def interleave(contenders: Sequence[Contender], rounds: int) -> dict[str, list[Sample]]:
    """Every contender once a round, after one uncounted round. One that fails is left out, and said so."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    failed: set[str] = set()
    for number in range(rounds + 1):
        for name, run in contenders:
            if name in failed:
                continue
            try:
                sample = run()
            except (RuntimeError, OSError) as error:
                print(f"  {name}: left out: {error}", file=sys.stderr)
                failed.add(name)
                continue
            if number:
                samples[name].append(sample)
    return {name: taken for name, taken in samples.items() if taken}


def median(samples: Sequence[Sample], figure: str) -> float:
    """The median of "wall", "cpu", or of a figure that the contender measured of itself."""
    if figure in ("wall", "cpu"):
        return statistics.median(getattr(sample, figure) for sample in samples)
    return statistics.median(sample.figures[figure] for sample in samples)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines.extend("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(lines)
