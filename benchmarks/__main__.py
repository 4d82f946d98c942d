"""`python -m benchmarks`: run the benchmarks and print their tables."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks import (
    frozen_terminal,
    journal,
    overhead,
    plan_load,
    schedule,
    screen,
    start,
    throughput,
    wire,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted runs of each contender (5)")
    parser.add_argument("--most", type=int, default=1_000_000, help="the largest number of tasks")
    parser.add_argument("--workflows", type=Path, help="a directory of recorded workflows, WfFormat JSON")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has the peers")
    sections = {
        "throughput": ("Process throughput", lambda: throughput.report(options.rounds)),
        "overhead": (
            "Engine overhead",
            lambda: overhead.report(options.rounds, options.peers, most=options.most),
        ),
        "plan-load": (
            "From a plan file to its graph",
            lambda: plan_load.report(options.rounds, most=options.most),
        ),
        "journal": ("The journal", lambda: journal.report(options.rounds)),
        "schedule": ("Schedule quality", lambda: schedule.report(options.workflows)),
        "start": ("Start and attach", lambda: start.report(options.rounds)),
        "wire": ("The wire", lambda: wire.report(options.rounds)),
        "screen": ("The screen and the log", lambda: screen.report(options.rounds)),
        "frozen-terminal": (
            "A terminal that stops reading",
            lambda: frozen_terminal.report(options.rounds, 15),
        ),
    }
    parser.add_argument("which", nargs="*", choices=[*sections, []], help="default: all of them")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors")
    for name in options.which or sections:
        title, report = sections[name]
        print(f"\n## {title}\n\n{report()}", flush=True)


if __name__ == "__main__":
    main()
