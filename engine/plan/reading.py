"""Plan files as they stand: each read and checked by itself, with the subplans that it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from engine.errors import Fault, PlanInvalid
from engine.ground.spelling import Speller, escaped, quoted
from engine.plan.compose import Tree, compose, line_and_column
from engine.plan.document import ParamSection, PlanSection, ProfileSection
from engine.plan.levels import Levels, UnknownProfile, flat, layered, levels_of, plan_fields
from engine.plan.lookups import Lookups
from engine.plan.matrix import Values, combinations
from engine.plan.model import FailureMode, Plan
from engine.plan.references import OPENING, parse
from engine.plan.resolve import MAX_PARALLEL, resolve
from engine.plan.rules import Finding, broken_rules, explained, tangled_needs
from engine.plan.source import read_source
from engine.plan.values import name_fault
from engine.plan.wfformat import Recording, read_workflow

MOST: Final = 1_000
"""Faults that are told of one file."""

DEEPEST: Final = 32
"""Plans within one another."""


class Document:
    """One plan file that is sound by itself.

    plan: as the file has it: a task with a matrix, or one that stands for a subplan, is one task. params:
    by name, the default, None where a value must be given. outputs: by key, with references. matrices:
    by the name of a task, its combinations. subplans: by the name of the task that stands for one. given:
    by the name of that task, the params it gives, with references.
    """

    def __init__(self, plan: Plan, file: str) -> None:
        self.plan = plan
        self.file = file
        self.params: dict[str, str | None] = {}
        self.outputs: dict[str, str] = {}
        self.matrices: dict[str, list[Values]] = {}
        self.subplans: dict[str, Document] = {}
        self.given: dict[str, dict[str, str]] = {}


class Library:
    """The files that a plan is made of. Each is read once, however often it is named.

    levels: what is set outside of them. faults: all that is wrong with the files of subplans.
    """

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self.faults: list[Fault] = []
        self.explanations: list[Callable[[], list[Fault]]] = []
        self._read: dict[str, Document | None] = {}

    def tangles(self) -> list[Fault]:
        """What is wrong with the graphs of the files: a long look, to be taken when something is."""
        return [fault for explanation in self.explanations for fault in explanation()]

    def subplan(self, written: str, around: Origin) -> Document | str | None:
        """The file that a plan names, or what is wrong with naming it; None if the file has faults of its
        own, which are told in its own place."""
        path = Path(os.path.normpath(around.directory / written))
        file = os.path.normpath(os.path.join(os.path.dirname(around.file), escaped(written)))  # noqa: PTH118, PTH120
        chain = (*around.chain, (os.path.realpath(path), file))
        real = [file for file, _ in chain]
        if real[-1] in real[:-1]:
            names = " -> ".join(name for _, name in chain[real.index(real[-1]) :])
            return f"a plan cannot be part of itself: {names}"
        if len(chain) > DEEPEST:
            return f"plans stand more than {DEEPEST} deep within one another"
        if str(path) not in self._read:
            origin = Origin(file, path.parent, path, self, chain)
            self._read[str(path)] = None
            try:
                self._read[str(path)] = origin.read(read_source(str(path), file))
            except PlanInvalid as invalid:
                first = invalid.faults[0]
                if len(invalid.faults) == 1 and not first.line:
                    return f"{quoted(written)}: {first.message}"
                self.faults += invalid.faults
        return self._read[str(path)]


class Origin(NamedTuple):
    """Where a plan comes from. file: its name in faults. directory, path: absolute. chain: the files around
    it and itself, each by what it really is and as it was named."""

    file: str
    directory: Path
    path: Path | None
    library: Library
    chain: tuple[tuple[str, str], ...]

    def read(self, text: str) -> Document:
        """The plan that stands in the text of a file. Raises `PlanInvalid` with the faults of this file."""
        if text.lstrip()[:1] == "{" and (recording := read_workflow(text)) is not None:
            return Document(self.recorded(recording, text), self.file)
        tree = compose(text, self.file)
        if not isinstance(tree.root, Mapping):
            fault = Fault(self.file, *tree.place(()), "a plan must be a mapping, with the key 'tasks'")
            raise PlanInvalid([*tree.faults, fault])
        return self.document(tree.root, tree, has_references=OPENING in text)

    def document(
        self, document: Mapping[str, Any], tree: Tree | None = None, *, has_references: bool = True
    ) -> Document:
        """The plan that the document describes, or everything that is wrong with it.

        tree: where everything stands, if it comes from text.
        """

        def tangles() -> list[Fault]:
            return self.faults(tangled_needs(document), tree)

        self.library.explanations.append(lambda: self.told(tangles()))
        findings = [*broken_rules(document, retries="retry.limit" in flat(self._levels.defaults))]
        section, settings, hidden = None, None, 0
        try:
            section = PlanSection.model_validate(document)
        except ValidationError as error:
            # Composing has said already where nothing stands.
            details = error.errors(include_url=False)
            details = [one for one in details if tree is None or one["input"] is not None]
            findings += map(explained, details[:MOST])
            hidden = len(details[MOST:])
        else:
            try:
                settings = layered(levels_of(section, self._levels))
            except UnknownProfile as unknown:
                findings.append(Finding(("profile",), str(unknown)))
        subplans = dict(self._subplans(document, findings))
        if has_references:
            findings += Lookups(
                document, {name: inner.outputs for name, inner in subplans.items()}
            ).findings()
        if section is None or settings is None or findings or (tree is not None and tree.faults):
            faults = [*(tree.faults if tree else ()), *self.faults(findings, tree)]
            raise PlanInvalid(self.told([*faults, *tangles()], hidden))
        lines = tree.root["tasks"].marks if tree is not None else {}
        plan = resolve(
            section,
            settings,
            self._levels,
            name=self.stem,
            directory=str(self.directory),
            source=None if self.path is None else str(self.path),
            lines={name: line_and_column(key)[0] for name, (key, _) in lines.items()},
        )
        sound = Document(plan, self.file)
        sound.subplans = subplans
        sound.outputs = section.outputs or {}
        sound.params = {name: default_of(param) for name, param in (section.params or {}).items()}
        for name, task in section.tasks.items():
            if task.matrix is not None:
                sound.matrices[name] = combinations(task.matrix)
            if task.plan is not None:
                sound.given[name] = {key: str(value) for key, value in (task.arguments or {}).items()}
        return sound

    def _subplans(
        self, document: Mapping[str, Any], findings: list[Finding]
    ) -> Iterator[tuple[str, Document]]:
        """The subplans that are sound, by the names of their tasks. findings: is added to."""
        tasks = document.get("tasks")
        for name, task in tasks.items() if isinstance(tasks, Mapping) else ():
            written = task.get("plan") if isinstance(task, Mapping) else None
            if not isinstance(written, str) or not written.strip() or "\0" in written or OPENING in written:
                continue  # none, or told already
            inner = self.library.subplan(written, self)
            if isinstance(inner, str):
                findings.append(Finding(("tasks", name, "plan"), inner))
            elif inner is not None:
                findings += _misgiven(name, task, inner)
                yield name, inner

    @property
    def _levels(self) -> Levels:
        """What is set outside. What the command line says of a plan as a whole, it says of the outermost."""
        levels = self.library.levels
        if len(self.chain) == 1:
            return levels
        line = levels.command_line
        kept = {name: getattr(line, name) for name in line.model_fields_set if name not in plan_fields()}
        return levels._replace(command_line=ProfileSection.model_construct(**kept))

    def recorded(self, recording: Recording, text: str) -> Plan:
        """The plan of a recorded workflow."""

        def faults(findings: Iterable[Finding]) -> list[Fault]:
            try:
                return self.faults(findings, compose(text, self.file))
            except PlanInvalid:  # good JSON, but more of it than YAML is read here: without places, then
                return self.faults(findings, None)

        if recording.findings:
            raise PlanInvalid(self.told(faults(recording.findings)))
        self.library.explanations.append(lambda: self.told(faults(recording.tangles())))
        settings, origins = layered(levels_of(None, self._levels))
        return Plan(
            name=recording.name or self.stem,
            tasks=tuple(recording.tasks),
            failure_mode=settings.failure_mode or FailureMode.FAIL_FAST,
            max_parallel=settings.max_parallel or MAX_PARALLEL,
            origins={field: name for field, name in origins.items() if field in plan_fields()},
            directory=str(self.directory),
            source=None if self.path is None else str(self.path),
        )

    def faults(self, findings: Iterable[Finding], tree: Tree | None) -> list[Fault]:
        places = (
            (finding, tree.place(finding.path, key=finding.key) if tree else (0, 0)) for finding in findings
        )
        return [Fault(self.file, line, column, finding.message) for finding, (line, column) in places]

    def told(self, faults: list[Fault], hidden: int = 0) -> list[Fault]:
        """What is told of the faults, since nobody reads on for ever. hidden: how many more there are."""
        if not hidden and len(faults) <= MOST:
            return faults
        first = sorted(faults)[:MOST]
        message = f"{len(faults) + hidden:,} mistakes; these are {len(first):,} of them"
        return [Fault(self.file, 0, 0, message), *first]

    @property
    def stem(self) -> str:
        """What a plan is called that does not say so itself."""
        stem = Path(self.file).stem
        return "plan" if name_fault(stem) else stem


def default_of(param: ParamSection | str) -> str | None:
    """The value that a param has by itself, if it has one. References in it are refused elsewhere."""
    written = param.default if isinstance(param, ParamSection) else param
    return None if written is None else "".join(map(str, parse(written)))


def _misgiven(name: str, task: Mapping[str, Any], inner: Document) -> Iterator[Finding]:
    """What is wrong with the params that a task gives to its subplan."""
    given = task.get("with", {})
    if not isinstance(given, Mapping):
        return
    speller = Speller(inner.params)
    for key, value in given.items():
        path = ("tasks", name, "with", key)
        if key not in inner.params:
            hint = speller.hint(str(key))
            yield Finding(path, f"{quoted(inner.file)} has no param {quoted(str(key))}{hint}", key=True)
        elif not isinstance(value, str):
            yield Finding(path, f"with {quoted(str(key))} must be text")
    for key, default in inner.params.items():
        if default is None and key not in given:
            message = f"param {quoted(key)} of {quoted(inner.file)} needs a value: give it one in with"
            yield Finding(("tasks", name, "plan"), message)
