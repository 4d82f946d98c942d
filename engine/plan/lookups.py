"""Whether references stand where one can, and what they name is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from engine.ground.spelling import Speller, quoted
from engine.plan.compose import Path
from engine.plan.matrix import keys
from engine.plan.quoting import Unquotable, expand
from engine.plan.references import OPENING, Kind, MalformedReference, Reference, parse
from engine.plan.rules import Finding, members_of, written_needs

ANY: Final = frozenset(Kind)
OF_THE_PLAN: Final = frozenset((Kind.PARAMS, Kind.ENV))
OF_ITS_TASKS: Final = frozenset((Kind.PARAMS, Kind.ENV, Kind.TASKS))
NONE: Final[frozenset[Kind]] = frozenset()


def allowed(path: Path) -> frozenset[Kind]:
    """The kinds of references that can stand at a place of a plan file."""
    match path:
        case ("tasks", _, "run" | "working_dir") | ("tasks", _, "run", _) | ("tasks", _, "env", _):
            return ANY
        case ("tasks", _, "with", _, *_):
            return ANY
        case ("env", _) | ("defaults", "working_dir") | ("profiles", _, "working_dir"):
            return OF_THE_PLAN
        case ("outputs", _):
            return OF_ITS_TASKS
    return NONE


class Lookups:
    """Checks the references of one plan file.

    document: as composed, whether or not anything else is wrong with it. outputs: by the name of a task
    that stands for a subplan, what that declares.
    """

    def __init__(self, document: Mapping[str, Any], outputs: Mapping[str, Collection[str]]) -> None:
        self._document = document
        self._outputs = outputs
        self._tasks = _mapping(document.get("tasks"))
        self._params = _mapping(document.get("params"))
        self._param_speller = Speller(self._params)
        self._owners: dict[str, str] | None = None
        self._members: dict[str, list[str]] = {}

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong with them."""
        for path, text in _texts(self._document, ()):
            if path[2:3] not in (("needs",), ("depends_on",)):  # names, which are looked up elsewhere
                yield from (Finding(path, message) for message in self._messages(path, text))

    def _messages(self, path: Path, text: str) -> Iterator[str]:
        kinds = allowed(path)
        try:
            parts = parse(text)
            if len(path) == 3 and path[0] == "tasks" and path[2] == "run":
                expand(text)
        except (MalformedReference, Unquotable) as fault:
            yield str(fault)
            return
        for reference in dict.fromkeys(parts):
            if isinstance(reference, Reference):
                if reference.kind in kinds:
                    message = self._fault(reference, str(path[1]) if path[0] == "tasks" else None)
                elif kinds:
                    message = f"only {' and '.join(sorted(kinds))} can be referred to here, not {reference}"
                else:
                    message = "a reference cannot stand here: only in run, env, working_dir and with"
                if message is not None:
                    yield message

    def _fault(self, reference: Reference, task: str | None) -> str | None:
        """task: the name of the task in which the reference stands, if it does."""
        name = reference.name
        if reference.kind is Kind.PARAMS and name not in self._params:
            hint = self._param_speller.hint(name) or ("" if self._params else ": the plan has no params")
            return f"there is no param {quoted(name)}{hint}"
        if reference.kind is Kind.MATRIX and task is not None:
            axes = keys(_mapping(_mapping(self._tasks.get(task)).get("matrix")))
            if not axes:
                return f"task {quoted(task)} has no matrix"
            if name not in axes:
                return f"the matrix has no key {quoted(name)}{Speller(axes).hint(name)}"
        return self._task_fault(reference, task) if reference.kind is Kind.TASKS else None

    def _task_fault(self, reference: Reference, task: str | None) -> str | None:
        name, key = reference.name, reference.key
        owner = self._owner(name)
        if owner is None:
            return f"unknown task {quoted(name)}{Speller(self._tasks).hint(name)}"
        members = self._members_of(owner)
        if owner == name and members:
            return f"{quoted(name)} is a matrix: name one of its tasks, like {quoted(members[0])}"
        if task is not None and not self._is_needed(name, owner, task):
            return f"task {quoted(name)} is not among the needs of {quoted(task)}, so it may not have ended"
        declared = self._outputs.get(owner)
        if declared is not None and key not in declared:
            return f"the subplan {quoted(name)} has no output {quoted(key)}{Speller(declared).hint(key)}"
        return None

    def _owner(self, name: str) -> str | None:
        """The task of the file that a name belongs to: itself, or the one whose matrix makes it."""
        if name in self._tasks:
            return name
        if self._owners is None:
            self._owners = {
                member: str(owner) for owner in self._tasks for member in self._members_of(str(owner))
            }
        return self._owners.get(name)

    def _members_of(self, owner: str) -> list[str]:
        if owner not in self._members:
            self._members[owner] = members_of(owner, self._tasks.get(owner))
        return self._members[owner]

    def _is_needed(self, name: str, owner: str, task: str) -> bool:
        """Whether `task` cannot start before `name` has ended."""
        seen = {task}
        stack = [task]
        while stack:
            for needed, _ in written_needs(self._tasks.get(stack.pop())):
                if needed in (name, owner):
                    return True
                next_ = self._owner(needed)
                if next_ is not None and next_ not in seen:
                    seen.add(next_)
                    stack.append(next_)
        return False


def _texts(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text with a reference, and where it stands."""
    if isinstance(value, str):
        if OPENING in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
