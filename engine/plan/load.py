"""The way in: a file, a text or plain values become a `Plan`, or all that is wrong with them is said."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from engine.errors import Fault, PlanInvalid
from engine.plan.compose import Tree, compose, line_and_column
from engine.plan.document import PlanSection
from engine.plan.graph import Graph
from engine.plan.levels import Levels, UnknownProfile, flat, layered, levels_of, plan_fields
from engine.plan.model import FailureMode, Plan
from engine.plan.resolve import MAX_PARALLEL, resolve
from engine.plan.rules import Finding, broken_rules, explained, references, tangled_needs
from engine.plan.source import decoded, read_source
from engine.plan.spelling import escaped
from engine.plan.values import name_fault
from engine.plan.wfformat import Recording, read_workflow

NO_LEVELS: Final = Levels()


def load_plan(path: str | os.PathLike[str], *, levels: Levels = NO_LEVELS) -> Plan:
    """The plan in a file: YAML, JSON, or a recorded workflow in WfFormat.

    levels: what is set elsewhere. Raises `PlanInvalid` with every fault, each with file, line and column;
    the file is named as it was given.
    """
    name = os.fspath(path)
    file = escaped(name)
    with _collector_paused():
        text = read_source(name, file)
        full = Path(name).absolute()
        return _Origin(file, full.parent, full, levels).plan(text)


def parse_plan(
    content: str | bytes | Mapping[str, Any],
    *,
    source: str = "plan",
    directory: str | os.PathLike[str] = ".",
    levels: Levels = NO_LEVELS,
) -> Plan:
    """As `load_plan`, of text or of values as they would stand in a file.

    source: the name in faults, and the plan's own if it gives itself none. directory: where its
    relative paths begin.
    """
    origin = _Origin(escaped(source), Path(directory).absolute(), None, levels)
    with _collector_paused():
        if isinstance(content, Mapping):
            findings = [*origin.broken_rules(content), *references(content)]
            return origin.document(content, findings, None)
        return origin.plan(decoded(content, origin.file) if isinstance(content, bytes) else content)


MOST: Final = 1_000
"""Faults that are told of one plan."""


class _Origin(NamedTuple):
    """Where a plan comes from. file: its name in faults. directory, path: absolute. levels: what is set
    outside it."""

    file: str
    directory: Path
    path: Path | None
    levels: Levels

    def plan(self, text: str) -> Plan:
        """The plan that stands in the text of a file."""
        if text.lstrip()[:1] == "{" and (recording := read_workflow(text)) is not None:
            return self.recorded(recording, text)
        tree = compose(text, self.file)
        if not isinstance(tree.root, Mapping):
            fault = Fault(self.file, *tree.place(()), "a plan must be a mapping, with the key 'tasks'")
            raise PlanInvalid([*tree.faults, fault])
        findings = [*self.broken_rules(tree.root)]
        if "${{" in text:
            findings += references(tree.root)
        return self.document(tree.root, findings, tree)

    def broken_rules(self, document: Mapping[str, Any]) -> Iterator[Finding]:
        return broken_rules(document, retries="retry.limit" in flat(self.levels.defaults))

    def document(self, document: Mapping[str, Any], findings: list[Finding], tree: Tree | None) -> Plan:
        """The plan that the document describes, or everything that is wrong with it.

        findings: what is known already. tree: where everything stands, if it comes from text.
        """
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
                settings = layered(levels_of(section, self.levels))
            except UnknownProfile as unknown:
                findings.append(Finding(("profile",), str(unknown)))

        def tangles() -> list[Fault]:
            return self.faults(tangled_needs(document), tree)

        if section is None or settings is None or findings or (tree is not None and tree.faults):
            faults = [*(tree.faults if tree else ()), *self.faults(findings, tree), *tangles()]
            raise PlanInvalid(self.told(faults, hidden))
        lines = tree.root["tasks"].marks if tree is not None else {}
        plan = resolve(
            section,
            settings,
            self.levels.command_line,
            name=self.stem,
            directory=str(self.directory),
            source=None if self.path is None else str(self.path),
            lines={name: line_and_column(key)[0] for name, (key, _) in lines.items()},
        )
        Graph(plan, lambda: self.told(tangles()))
        return plan

    def recorded(self, recording: Recording, text: str) -> Plan:
        """The plan of a recorded workflow."""

        def faults(findings: Iterable[Finding]) -> list[Fault]:
            try:
                return self.faults(findings, compose(text, self.file))
            except PlanInvalid:  # good JSON, but more of it than YAML is read here: without places, then
                return self.faults(findings, None)

        if recording.findings:
            raise PlanInvalid(self.told(faults(recording.findings)))
        settings, origins = layered(levels_of(None, self.levels))
        plan = Plan(
            name=recording.name or self.stem,
            tasks=tuple(recording.tasks),
            failure_mode=settings.failure_mode or FailureMode.FAIL_FAST,
            max_parallel=settings.max_parallel or MAX_PARALLEL,
            origins={field: name for field, name in origins.items() if field in plan_fields()},
            directory=str(self.directory),
            source=None if self.path is None else str(self.path),
        )
        Graph(plan, lambda: self.told(faults(recording.tangles())))
        return plan

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


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Loading makes nothing but objects that stay; looking for garbage among them doubles the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
