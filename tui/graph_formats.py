"""A plan's graph for people (text) and for other programs (Mermaid, Graphviz dot, JSON)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from engine.plan.graph import Graph
from engine.plan.model import Condition, Need, Task
from engine.view.text import one_line
from engine.view.timing import short
from tui.marks import MODE_WORDS, counted

SCHEMA: Final = 1


def as_text(graph: Graph) -> str:
    """Wave by wave, each task with what it needs. A task waits only for its needs, never for a wave."""
    return "\n".join(_by_wave(graph, lambda task: ()))


def as_dry_run(graph: Graph) -> str:
    """The same, with what each task would run and under which limits."""
    home = graph.plan.directory
    return "\n".join(_by_wave(graph, lambda task: _work(task, home)))


def as_mermaid(graph: Graph) -> str:
    """A Mermaid flowchart; needs that ask for another end than success are dotted and say which."""
    lines = ["flowchart LR"]
    lines += [f'    t{index}["{_mermaid_text(task.name)}"]' for index, task in enumerate(graph.plan.tasks)]
    for index, needed, need in _needs(graph):
        arrow = "-->" if need.condition is Condition.SUCCESS else f"-. {need.condition} .->"
        lines.append(f"    t{needed} {arrow} t{index}")
    return "\n".join(lines)


def as_dot(graph: Graph) -> str:
    """A Graphviz digraph; needs that ask for another end than success are dashed and say which."""
    lines = [f"digraph {_dot_text(graph.plan.name)} {{", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    t{index} [label={_dot_text(task.name)}];" for index, task in enumerate(graph.plan.tasks)]
    for index, needed, need in _needs(graph):
        special = need.condition is not Condition.SUCCESS
        style = f' [style=dashed, label="{need.condition}"]' if special else ""
        lines.append(f"    t{needed} -> t{index}{style};")
    return "\n".join([*lines, "}"])


def as_json(graph: Graph) -> str:
    """One object: schema, name, tasks (name, index, type, needs, priority), waves and critical_path
    (each by task name)."""
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
        }
        for index, task in enumerate(plan.tasks)
    ]
    whole = {
        "schema": SCHEMA,
        "name": plan.name,
        "failure_mode": plan.failure_mode.value,
        "max_parallel": plan.max_parallel,
        "tasks": tasks,
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


def _by_wave(graph: Graph, detail: Callable[[Task], Iterable[str]]) -> Iterator[str]:
    plan = graph.plan
    extent = f"{counted(len(plan.tasks), 'task')} in {counted(len(graph.waves), 'wave')}"
    slots = counted(plan.max_parallel, "slot")
    yield f"{one_line(plan.name)}: {extent}, {slots}, {MODE_WORDS[plan.failure_mode]}"
    for number, wave in enumerate(graph.waves, 1):
        tasks = [plan.tasks[index] for index in wave]
        width = max(len(one_line(task.name)) for task in tasks)
        yield ""
        yield f"wave {number}"
        for task in tasks:
            needs = ", ".join(map(_need_text, task.needs))
            yield f"  {one_line(task.name).ljust(width)}  {f'needs {needs}' if needs else ''}".rstrip()
            for line in detail(task):
                yield f"      {one_line(line)}"


def _need_text(need: Need) -> str:
    condition = "" if need.condition is Condition.SUCCESS else f" ({need.condition})"
    return f"{one_line(need.task)}{condition}"


def _work(task: Task, home: str) -> Iterator[str]:
    """What the task would do, and its limits. home: the plan's own directory, which goes without saying."""
    if task.simulate is not None:
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
