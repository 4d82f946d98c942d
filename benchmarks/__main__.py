"""`python -m benchmarks`: run the benchmarks and print their tables."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from benchmarks import overhead, throughput


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", choices=["throughput", "overhead"], help="default: all of them")
    parser.add_argument("--rounds", type=int, default=5, help="counted runs of each contender (5)")
    parser.add_argument("--most", type=int, default=1_000_000, help="the largest number of tasks")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has the peers")
    options = parser.parse_args()
    which = options.which or ["throughput", "overhead"]
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors")
    if "throughput" in which:
        print(f"\n## Process throughput\n\n{throughput.report(options.rounds)}")
    if "overhead" in which:
        print(f"\n## Engine overhead\n\n{overhead.report(options.rounds, options.python, most=options.most)}")


if __name__ == "__main__":
    main()
