"""Process throughput: 2,000 times `sh -c true` as 20 layers of 100, eight at a time, against make's kin."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import anyio

from benchmarks.measure import Contender, Sample, command, interleave, median, table

LAYERS, WIDTH, SLOTS = 20, 100, 8
TASKS = LAYERS * WIDTH


def needs_of(index: int) -> list[int]:
    """Two tasks of the layer before."""
    layer, place = divmod(index, WIDTH)
    if not layer:
        return []
    before = (layer - 1) * WIDTH
    return [before + place, before + (place + 1) % WIDTH]


def write_plan(path: Path) -> None:
    tasks = {
        f"t{index}": {"run": "true", "needs": [f"t{need}" for need in needs_of(index)]}
        for index in range(TASKS)
    }
    path.write_text(json.dumps({"name": "throughput", "max_parallel": SLOTS, "tasks": tasks}))


def write_ninja(path: Path) -> None:
    lines = ["rule r", "  command = true"]
    lines.extend(
        f"build t{index}: r {' '.join(f't{need}' for need in needs_of(index))}" for index in range(TASKS)
    )
    path.write_text("\n".join([*lines, ""]))


def write_makefile(path: Path) -> None:
    names = " ".join(f"t{index}" for index in range(TASKS))
    lines = [f".PHONY: all {names}", f"all: {names}"]
    for index in range(TASKS):
        lines += [f"t{index}: {' '.join(f't{need}' for need in needs_of(index))}", "\t@sh -c true"]
    path.write_text("\n".join([*lines, ""]))


def contenders(folder: Path) -> list[Contender]:
    write_plan(folder / "plan.json")
    write_ninja(folder / "build.ninja")
    write_makefile(folder / "Makefile")
    numbers = "".join(f"{number}\n" for number in range(TASKS)).encode()
    child = [sys.executable, "-m", "benchmarks.throughput", str(folder / "plan.json")]

    def peer(name: str, argv: list[str], stdin: bytes = b"") -> Contender:
        return Contender(name, lambda: command(argv, cwd=folder, stdin=stdin))

    def ours(name: str, *flags: str) -> Contender:
        return Contender(name, lambda: command([*child, *flags], reports=True))

    found = [
        ours("plandeck, headless"),
        ours("plandeck, console open", "--console"),
        peer("ninja", ["ninja", "-j", str(SLOTS)]),
        peer("make -j", ["make", "-j", str(SLOTS), "all"]),
        peer("xargs -P", ["xargs", "-P", str(SLOTS), "-n", "1", "sh", "-c", "true"], numbers),
        peer("GNU parallel", ["parallel", "-j", str(SLOTS), "-N", "1", "true"], numbers),
    ]
    tools = {"ninja": "ninja", "make -j": "make", "xargs -P": "xargs", "GNU parallel": "parallel"}
    for name, tool in tools.items():
        if shutil.which(tool) is None:
            print(f"  {name}: missing on this machine", file=sys.stderr)
    return [each for each in found if each.name not in tools or shutil.which(tools[each.name])]


def report(rounds: int) -> str:
    """Measure, and return the table. Rates are tasks a second; plandeck's is from the first event of
    its run to the last, the others' over the whole command, which starts in milliseconds."""
    with tempfile.TemporaryDirectory() as name:
        samples = interleave(contenders(Path(name)), rounds)
    rates = {who: TASKS / _median(who, taken, "run", "wall") for who, taken in samples.items()}
    cpus = {who: _median(who, taken, "cpu_run", "cpu") / TASKS * 1e6 for who, taken in samples.items()}
    rate, cpu = rates.get("ninja"), cpus.get("ninja")
    rows = [
        [
            who,
            f"{rates[who]:,.0f}",
            f"{rates[who] / rate:.2f}x" if rate else "-",
            f"{cpus[who]:,.0f}",
            f"{cpus[who] / cpu:.2f}x" if cpu else "-",
        ]
        for who in samples
    ]
    return table(["", "tasks/s", "of ninja's", "CPU µs a task", "of ninja's"], rows)


def _median(who: str, taken: list[Sample], ours: str, theirs: str) -> float:
    return median(taken, ours if "plandeck" in who else theirs)


# ── the child: one run, measured from within ────────────────────────────────────────────────────


async def run_once(plan: Path, *, console: bool) -> None:
    import pty
    import threading

    from engine import load_plan, open_run

    os.chdir(plan.parent)  # where its peers run too
    loaded = load_plan(plan)
    with tempfile.TemporaryDirectory() as folder:
        if console:
            master, slave = pty.openpty()
            threading.Thread(target=_drain, args=(master,), daemon=True).start()
            stdout = os.dup(1)
            for descriptor in (0, 1, 2):
                os.dup2(slave, descriptor)
        before = os.times()
        async with open_run(loaded, directory=Path(folder)) as run:
            if console:
                from tui.app import ConsoleApp

                app = ConsoleApp(run)
                async with anyio.create_task_group() as group:

                    async def leave_at_the_end() -> None:
                        await run.wait()
                        app.exit()

                    group.start_soon(leave_at_the_end)
                    await app.run_async()
            result = await run.wait()
        after = os.times()
        if console:
            os.dup2(stdout, 1)
    assert result.success == TASKS, result
    spent = sum(after[:4]) - sum(before[:4])
    print(json.dumps({"run": result.duration, "cpu_run": spent}))


def _drain(master: int) -> None:
    """Read what the console writes, as a terminal would."""
    while os.read(master, 65536):
        pass


if __name__ == "__main__":
    anyio.run(lambda: run_once(Path(sys.argv[1]), console="--console" in sys.argv))
