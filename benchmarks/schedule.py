"""Schedule quality: how much longer than it must take a workflow takes, in virtual time.

Recorded workflows in WfFormat, from a directory that is given; else workflows in the shapes that recorded
ones have, with runtimes drawn from a log-normal distribution. The bound is the longer of the critical path
and of the work divided among the slots: no order can beat it, and often none can reach it. Orders: that of
the scheduler which runs plans, with the durations of an earlier run that took just as long, and without;
and for comparison first come, first served, and a barrier after every wave.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from benchmarks.measure import table
from engine.core.effects import StartAttempt
from engine.core.inputs import AttemptFinished, AttemptOutcome, AttemptStarted, Now, OutcomeKind, Start
from engine.core.scheduler import Scheduler
from engine.core.state import RunPhase
from engine.plan.graph import Graph
from engine.plan.load import load_plan
from engine.plan.model import Need, Plan, Simulation, Task

SLOTS = (4, 8, 32)
_DONE = AttemptOutcome(OutcomeKind.SUCCESS)


def takes(graph: Graph) -> list[float]:
    """Seconds that each task takes."""
    return [task.simulate.duration if task.simulate else 0.0 for task in graph.plan.tasks]


def bound(graph: Graph, slots: int) -> float:
    durations = takes(graph)
    path = sum(durations[index] for index in graph.critical_path(durations))
    return max(path, sum(durations) / slots)


def plandeck(graph: Graph, slots: int, durations: Sequence[float] | None) -> float:
    """The makespan. durations: what the scheduler is told that tasks take."""
    scheduler = Scheduler(graph, "run", random=Random(0), max_parallel=slots, durations=durations)
    actual = takes(graph)
    ends: list[tuple[float, int, int]] = []
    now, begun = 0.0, 0

    def hand_out(effects: Sequence[object]) -> None:
        nonlocal begun
        for effect in effects:
            assert isinstance(effect, StartAttempt)
            begun += 1
            heapq.heappush(ends, (now + actual[effect.index], begun, effect.index))
            more = scheduler.handle(
                AttemptStarted(index=effect.index, attempt=1, where=""), Now(now, now)
            ).effects
            assert not more

    hand_out(scheduler.handle(Start(), Now(now, now)).effects)
    while ends:
        now, _, index = heapq.heappop(ends)
        report = AttemptFinished(index=index, attempt=1, outcome=_DONE)
        hand_out(scheduler.handle(report, Now(now, now)).effects)
    assert scheduler.phase is RunPhase.COMPLETE
    return now


def first_come(graph: Graph, slots: int) -> float:
    """The makespan if what has been ready longest starts first."""
    unmet = [len(needs) for needs in graph.needs]
    queue = [index for index, count in enumerate(unmet) if not count]
    return _list_schedule(graph, slots, queue, unmet)


def waves(graph: Graph, slots: int) -> float:
    """The makespan if nothing of a wave starts before all of the one before it has ended."""
    return sum(_list_schedule(graph, slots, wave, None) for wave in graph.waves)


def _list_schedule(graph: Graph, slots: int, queue: list[int], unmet: list[int] | None) -> float:
    """unmet: how many needs each task waits for; None if what is in the queue is all."""
    actual = takes(graph)
    running: list[tuple[float, int]] = []
    now, taken = 0.0, 0
    while taken < len(queue) or running:
        while taken < len(queue) and len(running) < slots:
            heapq.heappush(running, (now + actual[queue[taken]], queue[taken]))
            taken += 1
        now, index = heapq.heappop(running)
        for dependent in graph.dependents[index] if unmet is not None else ():
            unmet[dependent] -= 1
            if not unmet[dependent]:
                queue.append(dependent)
    return now


ORDERS: dict[str, Callable[[Graph, int], float]] = {
    "plandeck, with history": lambda graph, slots: plandeck(graph, slots, takes(graph)),
    "plandeck, without": lambda graph, slots: plandeck(graph, slots, None),
    "first come, first served": first_come,
    "wave barrier": waves,
}


# ── workflows ───────────────────────────────────────────────────────────────────────────────────


def recorded(directory: Path) -> list[Graph]:
    return [Graph(load_plan(path)) for path in sorted(directory.glob("*.json"))]


def generated() -> list[Graph]:
    """Chains side by side, fans with a reduction, two-dimensional sweeps, ragged layers."""
    random = Random(7)
    chains = [
        (f"{step}-{chain}", [f"{step - 1}-{chain}"] if step else [])
        for chain in range(22)
        for step in range(3)
    ]
    parts = [f"part-{number}" for number in range(100)]
    fan = [("split", []), *((part, ["split"]) for part in parts), ("merge", parts)]
    sweep = [
        (f"{row}-{column}", [f"{r}-{c}" for r, c in ((row - 1, column), (row, column - 1)) if r >= 0 <= c])
        for row in range(12)
        for column in range(12)
    ]
    ragged = [_layers(random, depth, width) for depth, width in ((4, 25), (10, 12), (20, 30))]
    shapes: list[list[tuple[str, list[str]]]] = [chains, fan, sweep, *ragged]
    return [
        Graph(
            Plan(
                name="generated",
                tasks=tuple(
                    Task(
                        name=name,
                        simulate=Simulation(random.lognormvariate(3.0, 1.0)),
                        needs=tuple(Need(need) for need in needs),
                    )
                    for name, needs in shape
                ),
            )
        )
        for shape in shapes
    ]


def _layers(random: Random, depth: int, width: int) -> list[tuple[str, list[str]]]:
    made: list[tuple[str, list[str]]] = []
    before: list[str] = []
    for layer in range(depth):
        names = [f"{layer}-{number}" for number in range(random.randint(1, width))]
        made += [(name, random.sample(before, min(len(before), random.randint(1, 3)))) for name in names]
        before = names
    return made


def report(directory: Path | None = None) -> str:
    """Return the table: means over the bound. directory: of the recorded workflows."""
    graphs = generated() if directory is None else recorded(directory)
    rows = []
    for name, order in ORDERS.items():
        ratios = [[order(graph, slots) / bound(graph, slots) for graph in graphs] for slots in SLOTS]
        rows.append([name, *(f"{statistics.mean(column):.3f}" for column in ratios)])
    what = "generated" if directory is None else "recorded"
    header = [f"over the bound, mean of {len(graphs)} {what}", *(f"{slots} slots" for slots in SLOTS)]
    return table(header, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule")
    parser.add_argument("directory", nargs="?", type=Path, help="recorded workflows, WfFormat JSON")
    print(report(parser.parse_args().directory))
