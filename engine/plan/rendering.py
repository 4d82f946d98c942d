"""References replaced by values: what a dispatcher is given for one attempt.

Rendering happens at the hand-over of each attempt, so that a value is the one of now and stands nowhere
but in memory: what is kept of a plan has its references still.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from engine.ground.spelling import Speller, quoted
from engine.plan.graph import Graph
from engine.plan.model import Plan, Task
from engine.plan.quoting import VARIABLE, Unquotable, expand
from engine.plan.references import OPENING, Kind, MalformedReference, Reference, parse

Variables = Mapping[str, str]


class Unresolved(Exception):
    """A reference has no value now. The message says which, and why."""


class Rendering:
    """Renders the tasks of one run.

    outputs: by the index of a task and by key, as they are at any time. environment: the variables that
    this process has.
    """

    def __init__(
        self, graph: Graph, outputs: Mapping[int, Mapping[str, str]], environment: Variables
    ) -> None:
        self._plan = graph.plan
        self._index_of = graph.index_of
        self._outputs = outputs
        self._inherited = environment
        self._subplan_of = {subplan.task: n for n, subplan in enumerate(graph.plan.subplans, 1)}
        self._rendered_plan = None if _is_dynamic(graph.plan.env.values()) else graph.plan

    def plan(self) -> Plan:
        """The plan, with the values in its own `env`. Raises `Unresolved`."""
        if self._rendered_plan is None:
            try:
                self._rendered_plan = replace(self._plan, env=self._environment(0))
            except MalformedReference as fault:
                raise Unresolved(str(fault)) from None
        return self._rendered_plan

    def task(self, index: int) -> Task:
        """The task, with every reference replaced, and in its `env` all that its scopes add to the plan's.
        Raises `Unresolved`."""
        task = self._plan.tasks[index]
        if not task.scope and not has_references(task):
            return task
        try:
            return self._rendered(index, task)
        except (MalformedReference, Unquotable) as fault:  # a plan that was not read from a file
            raise Unresolved(str(fault)) from None

    def _rendered(self, index: int, task: Task) -> Task:
        scope = task.scope
        around = _Values(self, scope, index, self._environment(scope))
        env = {name: around.text(value, f"env {name}") for name, value in (task.env or {}).items()}
        values = _Values(self, scope, index, {**around.variables, **env})
        # the plan's own variables reach every task by themselves
        env = {**(around.variables if scope else {}), **env}
        run = task.run
        if isinstance(run, tuple):
            run = tuple(values.text(part, "run") for part in run)
        elif run is not None and OPENING in run:
            run, references = expand(run)
            for number, reference in enumerate(references, 1):
                env[VARIABLE.format(number)] = _without_nul(values.look_up(reference), "run")
        directory = task.working_dir
        if directory is not None and OPENING in directory:
            home = self._plan.subplans[scope - 1].directory if scope else self._plan.directory
            directory = os.path.join(home, values.text(directory, "working_dir"))  # noqa: PTH118 -- text
        arguments = task.arguments
        if arguments is not None:
            arguments = {key: values.inside(value) for key, value in arguments.items()}
        return replace(task, run=run, env=env or None, working_dir=directory, arguments=arguments)

    def _environment(self, scope: int) -> dict[str, str]:
        """What the plans around a task, and its own, add to the inherited variables."""
        if not scope:
            return _Values(self, 0, None, {}).all(self._plan.env)
        subplan = self._plan.subplans[scope - 1]
        outer = self._environment(subplan.parent)
        return outer | _Values(self, scope, None, outer).all(subplan.env)

    def look_up(self, reference: Reference, scope: int, index: int | None, variables: Variables) -> str:
        """index: of the task in which it stands, if it does. variables: over those inherited."""
        name = reference.name
        match reference.kind:
            case Kind.PARAMS:
                return self._param(name, scope)
            case Kind.ENV:
                value = variables.get(name)
                return value if value is not None else self._inherited[name]
            case Kind.TASKS:
                return self._output(name, reference.key, scope)
            case Kind.MATRIX:
                values = None if index is None else self._plan.tasks[index].matrix
                return (values or {})[name]

    def _param(self, name: str, scope: int) -> str:
        if not scope:
            return self._plan.params[name]
        subplan = self._plan.subplans[scope - 1]
        parent = subplan.parent
        values = _Values(self, parent, subplan.task, self._environment(parent))
        return values.text(subplan.params[name], f"param {name}")

    def _output(self, task: str, key: str, scope: int) -> str:
        prefix = f"{self._plan.subplans[scope - 1].name}/" if scope else ""
        index = self._index_of[prefix + task]
        inner = self._subplan_of.get(index)
        if inner is not None:
            declared = self._plan.subplans[inner - 1].outputs[key]
            return _Values(self, inner, None, self._environment(inner)).text(declared, f"output {key}")
        outputs = self._outputs.get(index, {})
        if key not in outputs:
            hint = Speller(outputs).hint(key)
            raise Unresolved(f"{quoted(prefix + task)} has left no output {quoted(key)}{hint}")
        return outputs[key]


class _Values:
    """The values that can be referred to at one place of the plan. variables: over those inherited."""

    def __init__(self, rendering: Rendering, scope: int, index: int | None, variables: Variables) -> None:
        self.variables = variables
        self._rendering = rendering
        self._scope = scope
        self._index = index

    def look_up(self, reference: Reference) -> str:
        try:
            return self._rendering.look_up(reference, self._scope, self._index, self.variables)
        except KeyError:
            what = (
                f"variable {quoted(reference.name)} is not set" if reference.kind is Kind.ENV else "no value"
            )
            raise Unresolved(f"{reference}: {what}") from None

    def text(self, text: str, place: str) -> str:
        """place: for people, where it stands."""
        if OPENING not in text:
            return text
        parts = [part if isinstance(part, str) else self.look_up(part) for part in parse(text)]
        return _without_nul("".join(parts), place)

    def all(self, texts: Variables) -> dict[str, str]:
        return {name: self.text(value, f"env {name}") for name, value in texts.items()}

    def inside(self, value: Any) -> Any:
        """The same of plain values, however nested."""
        if isinstance(value, str):
            return self.text(value, "with")
        if isinstance(value, dict):
            return {key: self.inside(inner) for key, inner in value.items()}
        return [self.inside(inner) for inner in value] if isinstance(value, list) else value


def has_references(task: Task) -> bool:
    """Whether anything in the task stands for something else, or is escaped so as not to."""
    run = task.run
    if run is not None and (OPENING in run if isinstance(run, str) else _is_dynamic(run)):
        return True
    if task.env is not None and _is_dynamic(task.env.values()):
        return True
    return task.arguments is not None or (task.working_dir is not None and OPENING in task.working_dir)


def _is_dynamic(texts: Any) -> bool:
    return any(OPENING in text for text in texts)


def _without_nul(value: str, place: str) -> str:
    if "\0" in value:
        raise Unresolved(f"a NUL character cannot stand in {place}")
    return value
