"""What is wrong with the needs of a plan: the slow and thorough look, taken only when something is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from engine.ground.spelling import Speller, quoted, shown

CYCLES: Final = 25
CYCLE_LENGTH: Final = 20


class Tangle(NamedTuple):
    """One mistake. task: index of the task that needs; need: which of its needs, from 0, or -1 for the
    task as a whole."""

    task: int
    need: int
    message: str


def find_tangles(names: Sequence[str], needs: Sequence[Sequence[str]]) -> list[Tangle]:
    """Every name given twice, unknown need, need given twice, self-dependency and cycle.

    needs[i]: the names that task i needs. Of more than `CYCLES` cycles (there can be exponentially
    many) the first are given, and a last word that there are more.
    """
    tangles: list[Tangle] = []
    index_of: dict[str, int] = {}
    for index, name in enumerate(names):
        if index_of.setdefault(name, index) != index:
            tangles.append(Tangle(index, -1, f"task {quoted(name)} is defined twice"))
    speller = Speller(index_of)
    edges: dict[tuple[int, int], int] = {}
    for index, row in enumerate(needs):
        for position, name in enumerate(row):
            needed = index_of.get(name)
            message = None
            if needed is None:
                message = f"unknown task {quoted(name)}{speller.hint(name)}"
            elif needed == index:
                message = f"task {quoted(name)} needs itself"
            elif edges.setdefault((index, needed), position) != position:
                message = f"task {quoted(name)} is needed twice"
            if message is not None:
                tangles.append(Tangle(index, position, message))
    for count, cycle in enumerate(islice(_cycles(edges), CYCLES + 1)):
        if count < CYCLES:
            path = _path([names[index] for index in [*cycle, cycle[0]]])
            message = f"cycle: {path} (each needs the next)"
        else:
            message = f"there are more cycles than the {CYCLES} shown"
        tangles.append(Tangle(cycle[0], edges[cycle[0], cycle[1]], message))
    return tangles


def _cycles(edges: dict[tuple[int, int], int]) -> Iterator[list[int]]:
    """Every simple cycle, each starting from its first task in plan order."""
    import networkx  # costs 100 ms, and a healthy plan never comes here

    graph: networkx.DiGraph[int] = networkx.DiGraph(edges.keys())
    for cycle in networkx.simple_cycles(graph):
        first = cycle.index(min(cycle))
        yield cycle[first:] + cycle[:first]


def _path(names: list[str]) -> str:
    if len(names) > CYCLE_LENGTH:
        left_out = len(names) - CYCLE_LENGTH
        half = CYCLE_LENGTH // 2
        parts = [shown(name) for name in names[:half] + names[-half:]]
        parts.insert(half, f"({left_out:,} more)")
    else:
        parts = [shown(name) for name in names]
    return " -> ".join(parts)
