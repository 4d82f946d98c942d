"""What is wrong with a document, in plain words: pydantic's findings, and the rules that span several keys.

Everything is found in one pass and nothing raises; each finding says where in the document it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic_core import ErrorDetails

from engine.ground.spelling import Speller, quoted
from engine.plan.compose import Path, Plain
from engine.plan.document import (
    BRANCH,
    KINDS,
    SECTIONS,
    DefaultsSection,
    ParamSection,
    PlanSection,
    ProfileSection,
    Section,
    TaskSection,
    keys_of,
)
from engine.plan.matrix import combinations, matrix_faults, member_name
from engine.plan.model import Condition, FailureMode, StallMeasure
from engine.plan.tangle import find_tangles
from engine.plan.values import task_name_fault

NOT_OF_A_SUBPLAN: Final = (
    *(key for key in keys_of(DefaultsSection) if key != "skip_on_failure"),
    "env",
)
"""Settings of a task that mean nothing for one that stands for a subplan: the tasks inside have them."""

CHOICES: Final[dict[str, list[str]]] = {
    "failure_mode": [*FailureMode],
    "stall_measure": [*StallMeasure],
    "needs": [*Condition],
    "depends_on": [*Condition],
}


class Finding(NamedTuple):
    """One mistake. path: the keys that lead to it. key: whether it is the key that is wrong."""

    path: Path
    message: str
    key: bool = False


# ── what pydantic found ─────────────────────────────────────────────────────────────────────────


def explained(error: ErrorDetails, root: type[Section] = PlanSection) -> Finding:
    """One of pydantic's errors, in words that name keys and values as they stand in the file. root: what
    the paths begin in."""
    path = [step for step in error["loc"] if not (isinstance(step, str) and step.startswith(BRANCH))]
    kind, value = error["type"], error["input"]
    if kind == "invalid_key" or (path and path[-1] == "[key]" and kind == "string_type"):
        return Finding(path, f"a key must be text, not {_shown(value)}", key=True)
    if path and path[-1] == "[key]":
        return Finding(path[:-1], f"{path[-3]} {error['msg']}", key=True)
    if kind == "extra_forbidden":
        return Finding(path, _unknown(path, root), key=True)
    if kind == "missing":
        return Finding(path, f"{quoted(str(path[-1]))} is missing", key=True)
    if kind == "enum":
        choices = next(CHOICES[str(step)] for step in reversed(path) if step in CHOICES)
        must = f"must be one of {', '.join(choices)}"
        hint = Speller(choices).hint(value) if isinstance(value, str) else ""
        return Finding(path, f"{_named(path)} {must}, not {_shown(value)}{hint}")
    if kind in _MUST:
        return Finding(path, f"{_named(path)} must {_MUST[kind](error.get('ctx', {}))}, not {_shown(value)}")
    return Finding(path, f"{_named(path)} {error['msg']}")


_MUST: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "string_type": lambda _: "be text",
    "string_unicode": lambda _: "be valid text",
    "string_pattern_mismatch": lambda _: "be without NUL characters",
    "int_type": lambda _: "be a whole number",
    "float_type": lambda _: "be a number",
    "finite_number": lambda _: "be a finite number",
    "bool_type": lambda _: "be true or false",
    "tuple_type": lambda _: "be a list",
    "list_type": lambda _: "be a list",
    "dict_type": lambda _: "be a mapping",
    "model_type": lambda _: "be a mapping",
    "greater_than_equal": lambda context: f"be at least {context['ge']:g}",
    "less_than_equal": lambda context: f"be at most {context['le']:g}",
}


def _named(path: Path) -> str:
    """The field that a finding is about: `priority`, `run[2]`, `task 'unit'`."""
    if len(path) == 2 and path[0] == "tasks":
        return f"task {quoted(str(path[1]))}"
    if isinstance(path[-1], int):
        return f"{path[-2]}[{path[-1]}]"
    if len(path) > 1 and path[-2] in ("env", "needs", "depends_on", "params", "outputs"):
        return f"{path[-2]} {quoted(str(path[-1]))}"
    return str(path[-1])


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not isinstance(value, Plain):
        return quoted(value)
    return str(value)


def _unknown(path: Path, root: type[Section]) -> str:
    section: type[Section]
    if len(path) == 1:
        section = root
    elif len(path) == 2:
        section = SECTIONS.get(str(path[0]), DefaultsSection)
    elif len(path) == 3 and path[0] in ("tasks", "profiles"):
        section = TaskSection if path[0] == "tasks" else ProfileSection
    elif path[0] == "params":
        section = ParamSection
    else:
        section = SECTIONS[str(path[-2])]
    key = str(path[-1])
    return f"unknown key {quoted(key)}{Speller(keys_of(section)).hint(key)}"


# ── rules that span several keys ────────────────────────────────────────────────────────────────


def broken_rules(document: Mapping[str, Any], *, retries: bool = False) -> Iterator[Finding]:
    """Findings that no single value shows. document: as composed, whether or not pydantic likes it.
    retries: whether a limit of retries is set outside the plan's file."""
    tasks = document.get("tasks")
    if not isinstance(tasks, Mapping):
        return
    sections = (document.get("defaults"), *_sections(document.get("profiles")))
    retries = retries or any(_retry_limit(section) is not None for section in sections)
    matrices = {name for name, task in tasks.items() if isinstance(task, Mapping) and "matrix" in task}
    for name, task in tasks.items():
        path = ("tasks", name)
        if isinstance(name, str) and (fault := task_name_fault(name)):
            yield Finding(path, f"the name of a task {fault}: {quoted(name)}", key=True)
        if not isinstance(task, Mapping):
            continue
        kinds = [kind for kind in KINDS if kind in task]
        if len(kinds) > 1:
            yield Finding((*path, kinds[1]), f"a task has only one of {' and '.join(kinds)}", key=True)
        elif not kinds and not _misspelt_kind(task):
            message = (
                f"task {quoted(str(name))} has nothing to do: give it `run`, `python`, `plan` or `simulate`"
            )
            yield Finding(path, message, key=True)
        if "needs" in task and "depends_on" in task:
            yield Finding(
                (*path, "depends_on"), "depends_on is another spelling of needs; give one of them", key=True
            )
        retry = task.get("retry")
        if isinstance(retry, Mapping) and "limit" not in retry and not retries:
            yield Finding((*path, "retry"), "retry without a limit would never retry; give it one", key=True)
        if "with" in task and kinds and not {"python", "plan"} & {*kinds}:
            yield Finding((*path, "with"), "only a task with `python` or `plan` takes a `with`", key=True)
        if kinds == ["plan"]:
            for key in NOT_OF_A_SUBPLAN:
                if key in task:
                    message = f"a subplan has no {key} of its own: give it to the tasks inside"
                    yield Finding((*path, key), message, key=True)
        if matrices:
            yield from _asked_of_groups(task, path, matrices)
        if "matrix" in task:
            for inner, message, is_key in matrix_faults(str(name), task["matrix"]):
                yield Finding((*path, "matrix", *inner), message, is_key)


def _asked_of_groups(
    task: Mapping[str, Any], path: tuple[str, str], matrices: Collection[str]
) -> Iterator[Finding]:
    """What needs ask of a matrix: that its tasks fail one and all is hardly ever what is meant."""
    key = "needs" if "needs" in task else "depends_on"
    needs = task.get(key)
    for name, condition in needs.items() if isinstance(needs, Mapping) else ():
        if name in matrices and condition in (Condition.FAILED, Condition.SKIPPED):
            message = (
                f"{quoted(name)} is a matrix, of which only success and finished can be asked;"
                " a subplan with a matrix in it fails as one"
            )
            yield Finding((*path, key, name), message)


def _sections(profiles: object) -> Iterable[object]:
    return profiles.values() if isinstance(profiles, Mapping) else ()


def _retry_limit(defaults: object) -> object:
    """What the defaults say about the number of retries; None if nothing."""
    retry = defaults.get("retry") if isinstance(defaults, Mapping) else None
    return retry.get("limit") if isinstance(retry, Mapping) else retry


def _misspelt_kind(task: Mapping[str, Any]) -> bool:
    """Whether an unknown key looks like the one that is missing; it is a finding of its own."""
    speller = Speller(KINDS)
    return any(key not in keys_of(TaskSection) and speller.hint(str(key)) for key in task)


def tangled_needs(document: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the graph, as far as its needs can be read; each at the need concerned."""
    tasks = document.get("tasks")
    if not isinstance(tasks, Mapping):
        return
    names = [str(name) for name in tasks]
    rows = [list(written_needs(task)) for task in tasks.values()]
    needs = [[needed for needed, _ in row] for row in rows]
    # a member of a matrix hangs on the task it comes from, so that cycles go through it
    members = [(member, name) for name, task in tasks.items() for member in members_of(str(name), task)]
    nodes = names + [member for member, _ in members]
    for tangle in find_tangles(nodes, needs + [[name] for _, name in members]):
        if tangle.task < len(names):
            _, path = rows[tangle.task][tangle.need]
            yield Finding(("tasks", names[tangle.task], *path), tangle.message, key=True)
        else:
            name = members[tangle.task - len(names)][1]
            yield Finding(("tasks", name, "matrix"), tangle.message, key=True)


def members_of(name: str, task: object) -> list[str]:
    """The names of the tasks that a task with a matrix stands for, if its matrix is sound."""
    matrix = task.get("matrix") if isinstance(task, Mapping) else None
    if not isinstance(matrix, Mapping) or any(matrix_faults(name, matrix)):
        return []
    return [member_name(name, values) for values in combinations(matrix)]


def written_needs(task: object) -> Iterator[tuple[str, Path]]:
    """The names of the tasks needed, and where in the task each stands."""
    key = "needs" if isinstance(task, Mapping) and "needs" in task else "depends_on"
    needs = task.get(key) if isinstance(task, Mapping) else None
    if isinstance(needs, Mapping):
        yield from ((name, (key, name)) for name in needs if isinstance(name, str))
    elif isinstance(needs, list):
        yield from ((name, (key, index)) for index, name in enumerate(needs) if isinstance(name, str))
