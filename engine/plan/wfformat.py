"""Recorded production workflows (WfFormat 1.4 and 1.5, JSON) as plans of simulated tasks.

Version 1.4 keeps everything about a task in `workflow.tasks`; 1.5 keeps what it is in
`workflow.specification.tasks` and how it went in `workflow.execution.tasks`, joined by id. An edge may be
given by the parent, by the child, or by both, and by the other's id or, where that is no id, by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec

from engine.ground.spelling import Speller, escaped, quoted
from engine.plan.compose import Path
from engine.plan.model import Need, Simulation, Task
from engine.plan.rules import Finding
from engine.plan.tangle import find_tangles
from engine.plan.values import NAME_LENGTH, name_fault

LONGEST_RUNTIME: Final = 1_000_000_000

_SPECIFIED: Final = ("workflow", "specification", "tasks")
_EXECUTED: Final = ("workflow", "execution", "tasks")
_FLAT: Final = ("workflow", "tasks")
_NO_TASKS: Final = "no tasks: WfFormat 1.4 keeps them in workflow.tasks, 1.5 in workflow.specification.tasks"


class _Record(msgspec.Struct, rename={"runtime_in_seconds": "runtimeInSeconds"}):
    """What is of use in a task's record; its values are checked one by one, so that all faults are found."""

    id: Any = None
    name: Any = None
    parents: Any = None
    children: Any = None
    runtime_in_seconds: Any = None
    runtime: Any = None


class _Part(msgspec.Struct):
    tasks: list[_Record] | None = None


class _Workflow(msgspec.Struct):
    tasks: list[_Record] | None = None
    specification: _Part | None = None
    execution: _Part | None = None


class _File(msgspec.Struct):
    workflow: _Workflow
    name: Any = None


class Recording(NamedTuple):
    """A workflow that was read. name: its own, "" if it has none fit to show. base: where its tasks stand.
    findings: everything wrong with it but the tangles in its graph."""

    name: str
    tasks: list[Task]
    base: Path
    findings: list[Finding]

    def tangles(self) -> Iterator[Finding]:
        """What is wrong with the graph; found only when it is known to be wrong."""
        needs = [[need.task for need in task.needs] for task in self.tasks]
        for tangle in find_tangles([task.name for task in self.tasks], needs):
            yield Finding((*self.base, tangle.task), tangle.message)


def read_workflow(text: str) -> Recording | None:
    """The workflow in a JSON text; None if it does not hold one, or is not JSON."""
    try:
        keys = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        if "workflow" not in keys or "tasks" in keys:
            return None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        return Recording("", [], (), [_misshapen(str(error))])
    workflow = file.workflow
    specification, execution = workflow.specification or _Part(), workflow.execution or _Part()
    base: Path = _FLAT if specification.tasks is None else _SPECIFIED
    records = workflow.tasks if specification.tasks is None else specification.tasks
    if records is None:
        return Recording("", [], (), [Finding(("workflow",), _NO_TASKS, key=True)])
    reading = _Reading(records, base)
    runtimes = reading.runtimes(execution.tasks or [])
    needs = reading.needs()
    tasks = [
        Task(
            name=name,
            description=str(record.name) if isinstance(record.name, str) and record.name != name else "",
            simulate=Simulation(duration=runtime),
            needs=tuple([Need(reading.names[parent]) for parent in sorted(parents)]),
            stall_after=None,  # a recorded task prints nothing: silence says nothing about it
        )
        for record, name, runtime, parents in zip(records, reading.names, runtimes, needs, strict=True)
    ]
    name = file.name if isinstance(file.name, str) and not name_fault(file.name) else ""
    return Recording(name, tasks, base, reading.findings)


class _Reading:
    """One workflow while it is read. Tasks are numbered by their place in it, from 0."""

    def __init__(self, records: list[_Record], base: Path) -> None:
        self.records = records
        self.base = base
        self.findings: list[Finding] = []
        self.by_id: dict[str, int] = {}
        self.by_name: dict[str, list[int]] = {}
        ids = []
        for index, record in enumerate(records):
            given = _as_id(record.name if record.id is None else record.id)
            if given is None:
                self.find(index, "a task must have an id or a name, as text")
                given = f"\0{index}"  # nothing refers to it, but the others can be checked
            elif self.by_id.setdefault(given, index) != index:
                self.find(index, f"two tasks have the id {quoted(given)}")
            ids.append(given)
            if isinstance(record.name, str):
                self.by_name.setdefault(record.name, []).append(index)
        self.names = _task_names(ids)

    def find(self, index: int, message: str, *path: str | int) -> None:
        self.findings.append(Finding((*self.base, index, *path), message))

    def runtimes(self, executed: list[_Record]) -> list[float]:
        """Seconds a task; 0 where nothing is recorded."""
        runtimes = [self.runtime(record, (*self.base, index)) for index, record in enumerate(self.records)]
        for place, record in enumerate(executed):
            index = self.by_id.get(str(record.id))
            if index is not None:
                runtimes[index] = self.runtime(record, (*_EXECUTED, place))
        return runtimes

    def runtime(self, record: _Record, path: Path) -> float:
        key = "runtime" if record.runtime_in_seconds is None else "runtimeInSeconds"
        value = record.runtime if record.runtime_in_seconds is None else record.runtime_in_seconds
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_RUNTIME:
            self.findings.append(
                Finding((*path, key), f"{key} must be a number of seconds, 0 to {LONGEST_RUNTIME}")
            )
            return 0.0
        return float(value)

    def needs(self) -> list[set[int]]:
        """The parents of each task, whichever side tells of them."""
        needs: list[set[int]] = [set() for _ in self.records]
        speller = Speller(self.by_id)
        for index, record in enumerate(self.records):
            for parent in self.others(index, "parents", record.parents, speller):
                needs[index].add(parent)
            for child in self.others(index, "children", record.children, speller):
                needs[child].add(index)
        return needs

    def others(self, index: int, key: str, given: object, speller: Speller) -> Iterator[int]:
        if given is None:
            return
        if not isinstance(given, list):
            self.find(index, f"{key} must be a list of ids", key)
            return
        for place, other in enumerate(given):
            reference = _as_id(other)
            if reference is None:
                self.find(index, f"{key} must be a list of ids", key, place)
                continue
            named = self.by_name.get(reference, [])
            if reference in self.by_id:
                yield self.by_id[reference]
            elif len(named) == 1:
                yield named[0]
            elif named:
                self.find(index, f"{len(named)} tasks are named {quoted(reference)}; use an id", key, place)
            else:
                self.find(index, f"unknown task {quoted(reference)}{speller.hint(reference)}", key, place)


def _as_id(value: object) -> str | None:
    """The value as an id; None if it cannot be one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _task_names(ids: list[str]) -> list[str]:
    """The ids as names of tasks: what a name may not hold is written otherwise, and no two are equal."""
    names: dict[str, None] = {}
    for given in ids:
        wanted = name = escaped(given).strip().replace("/", ":")[:NAME_LENGTH] or "task"
        numbers = count(2)
        while name in names:
            suffix = f"~{next(numbers)}"
            name = wanted[: NAME_LENGTH - len(suffix)] + suffix
        names[name] = None
    return list(names)


def _misshapen(message: str) -> Finding:
    """The decoder's message ends in "- at `$.workflow.tasks[0]`"."""
    what, _, place = message.partition(" - at `$")
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", place)
    path = [key or int(index) for key, index in steps]
    return Finding(path, f"not WfFormat: {what[:1].lower()}{what[1:]}")
