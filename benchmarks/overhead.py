"""Engine overhead: tasks that do nothing, in this process, in layers of 100 with two edges each."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Contender, Sample, command, interleave, median, table

if TYPE_CHECKING:
    from engine import Plan
    from engine.store.journal import Journal

WIDTH, SLOTS = 100, 8
RUN_ID = "3f2a9c14-0000-4000-8000-000000000000"


def needs_of(index: int) -> tuple[int, ...]:
    layer, place = divmod(index, WIDTH)
    if not layer:
        return ()
    before = (layer - 1) * WIDTH
    return (before + place, before + (place + 1) % WIDTH)


def plandeck(count: int) -> None:
    """The whole engine: graph, scheduler, runner, workers, logs, event stream, one dispatcher call a task."""
    _engine(count, nullcontext())


def plandeck_journal(count: int) -> None:
    """The same, and every event on disk before what depends on it starts."""
    from engine.store.journal import Journal

    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(count)
        _engine(count, Journal.create(Path(folder), RUN_ID, plan), plan)


def _plan(count: int) -> Plan:
    from engine import Need, Plan, Simulation, Task

    nothing = Simulation(0.0)
    return Plan(
        name="overhead",
        max_parallel=SLOTS,
        tasks=tuple(
            Task(
                name=f"t{index}", simulate=nothing, needs=tuple(Need(f"t{need}") for need in needs_of(index))
            )
            for index in range(count)
        ),
    )


def _engine(count: int, keeping: AbstractContextManager[Journal | None], plan: Plan | None = None) -> None:
    import anyio

    from engine import open_run
    from engine.core.inputs import AttemptOutcome, OutcomeKind
    from engine.dispatch.base import Attempt, Output

    done = AttemptOutcome(OutcomeKind.SUCCESS)

    class Nothing:
        async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
            output.started()
            return done

    memory = _memory()
    plan = plan or _plan(count)

    async def main() -> None:
        began, cpu = time.perf_counter(), time.process_time()
        async with open_run(
            plan,
            dispatchers={"local": Nothing()},
            directory=Path("nowhere"),
            run_id=RUN_ID,
            journal=journal.commit if journal else None,
        ) as run:
            result = await run.wait()
            spent, cpu = time.perf_counter() - began, time.process_time() - cpu
            grown = _memory() - memory
        assert result.success == count
        print(json.dumps({"us": spent / count * 1e6, "cpu_us": cpu / count * 1e6, "kb": grown / count}))

    with keeping as journal:
        anyio.run(main)
        assert journal is None or journal.missing == 0


def graphlib_asyncio(count: int) -> None:
    """The least that can be: no retries, no events, no cancelling."""
    import asyncio
    from graphlib import TopologicalSorter

    async def nothing() -> None:
        return None

    async def main() -> None:
        sorter = TopologicalSorter({index: needs_of(index) for index in range(count)})
        sorter.prepare()
        while sorter.is_active():
            ready = sorter.get_ready()
            await asyncio.gather(*(nothing() for _ in ready))
            sorter.done(*ready)

    _timed(count, lambda: asyncio.run(main()))


def dask_threaded(count: int) -> None:
    import dask.threaded

    graph: dict[object, object] = {index: (_nothing, *needs_of(index)) for index in range(count)}
    graph["end"] = (_nothing, *range(count - WIDTH, count))
    _timed(count, lambda: dask.threaded.get(graph, "end", num_workers=SLOTS))


def dask_distributed(count: int) -> None:
    from dask.distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=SLOTS, dashboard_address=None) as client:
        graph: dict[object, object] = {
            f"t{i}": (_nothing, *(f"t{n}" for n in needs_of(i))) for i in range(count)
        }
        graph["end"] = (_nothing, *(f"t{index}" for index in range(count - WIDTH, count)))
        _timed(count, lambda: client.get(graph, "end"))


def doit(count: int) -> None:
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    def task_all() -> object:
        for index in range(count):
            yield {
                "name": f"t{index}",
                "actions": [_nothing],
                "task_dep": [f"all:t{need}" for need in needs_of(index)],
                "verbosity": 0,
            }

    with tempfile.TemporaryDirectory() as folder:
        config = {"backend": "json", "dep_file": f"{folder}/doit.json"}
        main = DoitMain(ModuleTaskLoader({"task_all": task_all, "DOIT_CONFIG": config}))
        _timed(count, lambda: _must_be_zero(main.run(["run", "--reporter", "zero"])))


def luigi(count: int) -> None:
    import logging

    import luigi

    class Nothing(luigi.Task):
        index = luigi.IntParameter()
        over = False

        def requires(self) -> list[object]:
            return [Nothing(need) for need in needs_of(self.index)]

        def run(self) -> None:
            self.over = True

        def complete(self) -> bool:
            return self.over

    logging.disable()
    last = [Nothing(index) for index in range(count - WIDTH, count)]
    _timed(count, lambda: luigi.build(last, local_scheduler=True, workers=1, log_level="CRITICAL"))


def _must_be_zero(code: int) -> None:
    assert code == 0


def _nothing(*_: object) -> bool:
    return True


def _timed(count: int, work: Callable[[], object]) -> None:
    memory, began, cpu = _memory(), time.perf_counter(), time.process_time()
    work()
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    print()
    print(
        json.dumps(
            {"us": spent / count * 1e6, "cpu_us": cpu / count * 1e6, "kb": (_memory() - memory) / count}
        )
    )


def _memory() -> float:
    """The most that this process has held so far, in kB."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


WORK = {
    work.__name__: work
    for work in (plandeck, plandeck_journal, graphlib_asyncio, dask_threaded, dask_distributed, doit, luigi)
}
SIZES = {
    "plandeck": (1_000, 10_000, 100_000, 1_000_000),
    "plandeck_journal": (1_000, 10_000, 100_000),
    "graphlib_asyncio": (1_000, 10_000, 100_000),
    "dask_threaded": (1_000, 10_000),
    "dask_distributed": (1_000, 10_000),
    "doit": (1_000, 10_000),
    "luigi": (1_000,),
}
PEERS = {"dask_threaded": "dask", "dask_distributed": "distributed", "doit": "doit", "luigi": "luigi"}


def report(rounds: int, python: str, *, most: int) -> str:
    """Measure, and return the table. python: an interpreter with the peers. most: the largest size."""
    contenders = []
    for name, sizes in SIZES.items():
        if name in PEERS and not _has(python, PEERS[name]):
            print(f"  {name}: missing: {PEERS[name]} is not installed for {python}", file=sys.stderr)
            continue
        for count in sizes:
            if count <= most:
                interpreter = python if name in PEERS else sys.executable
                argv = [interpreter, "-m", "benchmarks.overhead", name, str(count)]
                contenders.append(Contender(f"{name} {count:,}", lambda argv=argv: _run(argv)))
    samples = interleave(contenders, rounds)
    rows = [
        [who, f"{median(taken, 'us'):,.1f}", f"{median(taken, 'cpu_us'):,.1f}", f"{median(taken, 'kb'):.2f}"]
        for who, taken in samples.items()
    ]
    return table(["", "µs a task", "CPU µs a task", "kB a task"], rows)


def _has(python: str, module: str) -> bool:
    found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return found.returncode == 0


def _run(argv: list[str]) -> Sample:
    return command(argv, reports=True)


if __name__ == "__main__":
    WORK[sys.argv[1]](int(sys.argv[2]))
