"""A plan's graph for people (text) and for other programs (Mermaid, Graphviz dot, JSON)."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from engine.ground.text import one_line
from engine.plan.graph import Graph
from engine.plan.model import Condition, Need, Plan, Task
from engine.view.timing import short
from tui.plain.marks import MODE_WORDS, counted

SCHEMA: Final = 1


def as_text(graph: Graph) -> str:
    """Wave by wave, each task with what it needs. A task waits only for its needs, never for a wave."""
    return "\n".join(_by_wave(graph, lambda task: ()))


def as_dry_run(graph: Graph) -> str:
    """The same, with what each task would run and under which limits."""
    return "\n".join(_by_wave(graph, lambda task: _work(task, graph.plan)))


def as_mermaid(graph: Graph) -> str:
    """A Mermaid flowchart with subplans as subgraphs. Needs that ask for another end than success are dotted
    and say which."""
    lines = ["flowchart LR"]
    for depth, index, task in _nested(graph):
        indent = "    " * (depth + 1)
        if task is None:
            lines.append(f"{indent}end")
        else:
            word = "" if task.plan is None else "subgraph "
            lines.append(f'{indent}{word}t{index}["{_mermaid_text(task.name)}"]')
    for index, needed, need in _needs(graph):
        arrow = "-->" if need.condition is Condition.SUCCESS else f"-. {need.condition} .->"
        lines.append(f"    t{needed} {arrow} t{index}")
    return "\n".join(lines)


def as_dot(graph: Graph) -> str:
    """A Graphviz digraph with subplans as clusters. Needs that ask for another end than success are dashed
    and say which."""
    lines = [f"digraph {_dot_text(graph.plan.name)} {{", "    rankdir=LR;", "    node [shape=box];"]
    for depth, index, task in _nested(graph):
        indent = "    " * (depth + 1)
        if task is None:
            lines.append(f"{indent}}}")
            continue
        if task.plan is not None:
            lines.append(f"{indent}subgraph cluster_{index} {{")
            indent += "    "
        folder = "" if task.plan is None else ", shape=folder"
        lines.append(f"{indent}t{index} [label={_dot_text(task.name)}{folder}];")
    for index, needed, need in _needs(graph):
        special = need.condition is not Condition.SUCCESS
        style = f' [style=dashed, label="{need.condition}"]' if special else ""
        lines.append(f"    t{needed} -> t{index}{style};")
    return "\n".join([*lines, "}"])


def as_json(graph: Graph) -> str:
    """One object: schema, name, params, tasks (name, index, type, needs, priority, group and matrix, the
    subplan that each belongs to), subplans, waves and critical_path (each by task name)."""
    plan = graph.plan
    names = [task.name for task in plan.tasks]
    tasks: list[dict[str, Any]] = [
        {
            "name": task.name,
            "index": index,
            "type": task.type,
            "needs": {need.task: need.condition.value for need in task.needs},
            "priority": task.priority,
            "description": task.description,
            "group": task.group,
            "matrix": task.matrix or {},
            "subplan": plan.subplans[task.scope - 1].name if task.scope else None,
        }
        for index, task in enumerate(plan.tasks)
    ]
    whole = {
        "schema": SCHEMA,
        "name": plan.name,
        "failure_mode": plan.failure_mode.value,
        "max_parallel": plan.max_parallel,
        "params": plan.params,
        "tasks": tasks,
        "subplans": [
            {
                "name": subplan.name,
                "source": subplan.source,
                "failure_mode": subplan.failure_mode.value,
                "max_parallel": subplan.max_parallel,
            }
            for subplan in plan.subplans
        ],
        "waves": [[names[index] for index in wave] for wave in graph.waves],
        "critical_path": [names[index] for index in graph.critical_path()],
    }
    return msgspec.json.format(msgspec.json.encode(whole)).decode()


FORMATS: Final[dict[str, Callable[[Graph], str]]] = {
    "text": as_text,
    "mermaid": as_mermaid,
    "dot": as_dot,
    "json": as_json,
}


def _needs(graph: Graph) -> Iterator[tuple[int, int, Need]]:
    """Every need as (dependent, needed, need)."""
    for index, task in enumerate(graph.plan.tasks):
        for need in task.needs:
            yield index, graph.index_of[need.task], need


def _nested(graph: Graph) -> Iterator[tuple[int, int, Task | None]]:
    """The tasks as (depth, index, task) in plan order, and where a subplan ends the task that stands for it
    once more, as None."""
    plan = graph.plan
    around: list[tuple[int, int]] = []  # the subplans that are open: number of the scope, index of the task
    numbers = {subplan.task: number for number, subplan in enumerate(plan.subplans, 1)}
    for index, task in enumerate(plan.tasks):
        while around and around[-1][0] != task.scope:
            yield len(around) - 1, around.pop()[1], None
        yield len(around), index, task
        if index in numbers:
            around.append((numbers[index], index))
    while around:
        yield len(around) - 1, around.pop()[1], None


def _by_wave(graph: Graph, detail: Callable[[Task], Iterable[str]]) -> Iterator[str]:
    plan = graph.plan
    extent = f"{counted(plan.total, 'task')} in {counted(len(graph.waves), 'wave')}"
    if plan.subplans:
        extent += f" and {counted(len(plan.subplans), 'subplan')}"
    sizes = Counter(task.group for task in plan.tasks)
    slots = counted(plan.max_parallel, "slot")
    yield f"{one_line(plan.name)}: {extent}, {slots}, {MODE_WORDS[plan.failure_mode]}"
    for number, wave in enumerate(graph.waves, 1):
        tasks = [plan.tasks[index] for index in wave]
        width = max(len(one_line(task.name)) for task in tasks)
        yield ""
        yield f"wave {number}"
        for task in tasks:
            needs = ", ".join(_needs_texts(graph, task, sizes))
            yield f"  {one_line(task.name).ljust(width)}  {f'needs {needs}' if needs else ''}".rstrip()
            for line in detail(task):
                yield f"      {one_line(line)}"


def _needs_texts(graph: Graph, task: Task, sizes: Mapping[str | None, int]) -> Iterator[str]:
    """Each need in a few words; one for a matrix that is needed as a whole. sizes: by the name of a group."""
    asked = Counter(
        (graph.plan.tasks[graph.index_of[need.task]].group, need.condition) for need in task.needs
    )
    told: set[str] = set()
    for need in task.needs:
        condition = "" if need.condition is Condition.SUCCESS else f" ({need.condition})"
        group = graph.plan.tasks[graph.index_of[need.task]].group
        if group is None or asked[group, need.condition] < sizes[group]:
            yield f"{one_line(need.task)}{condition}"
        elif group not in told:
            told.add(group)
            yield f"all {sizes[group]} of {one_line(group)}{condition}"


def _work(task: Task, plan: Plan) -> Iterator[str]:
    """What the task would do, and its limits. The directory of its own plan goes without saying."""
    home = plan.scope_of(task).directory
    if task.plan is not None:
        yield f"plan {task.plan}"
    elif task.python is not None:
        yield f"python {task.python}"
    elif task.simulate is not None:
        yield f"simulate {short(task.simulate.duration)}"
    elif isinstance(task.run, str):
        yield from (f"$ {line}" for line in task.run.splitlines() if line.strip())
    elif task.run is not None:
        yield f"$ {shlex.join(task.run)}"
    limits = []
    if task.working_dir and task.working_dir != home:
        limits.append(f"in {task.working_dir}")
    if task.timeout is not None:
        limits.append(f"time-out {short(task.timeout)}")
    if task.retry.limit:
        limits.append(f"retried up to {counted(task.retry.limit, 'time')}")
    if task.skip_on_failure:
        limits.append("failure tolerated")
    if limits:
        yield f"({', '.join(limits)})"


def _mermaid_text(text: str) -> str:
    """Mermaid reads Markdown and HTML in labels: all but letters, digits and the tamest signs is coded."""
    return "".join(c if c.isalnum() or c in " ._-/" else f"#{ord(c)};" for c in one_line(text))


def _dot_text(text: str) -> str:
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
