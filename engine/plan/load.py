"""The way in: a file, a text or plain values become a `Plan`, or all that is wrong with them is said."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from engine.errors import Fault, PlanInvalid
from engine.ground.collector import collector_paused
from engine.ground.spelling import Speller, escaped, quoted
from engine.plan.flatten import UnknownNeed, flatten
from engine.plan.graph import Graph
from engine.plan.levels import Levels
from engine.plan.model import Plan
from engine.plan.reading import Document, Library, Origin
from engine.plan.source import decoded, read_source

NO_LEVELS: Final = Levels()


def load_plan(
    path: str | os.PathLike[str], *, params: Mapping[str, str] | None = None, levels: Levels = NO_LEVELS
) -> Plan:
    """The plan in a file: YAML, JSON, or a recorded workflow in WfFormat.

    params: by name, over those that the plan has itself. levels: what is set elsewhere. Raises
    `PlanInvalid` with every fault, each with file, line and column; the file is named as it was given.
    """
    name = os.fspath(path)
    file = escaped(name)
    with collector_paused():
        text = read_source(name, file)
        full = Path(name).absolute()
        origin = Origin(file, full.parent, full, Library(levels), ((os.path.realpath(name), file),))
        return _plan(origin, text, params or {})


def parse_plan(
    content: str | bytes | Mapping[str, Any],
    *,
    source: str = "plan",
    directory: str | os.PathLike[str] = ".",
    params: Mapping[str, str] | None = None,
    levels: Levels = NO_LEVELS,
) -> Plan:
    """As `load_plan`, of text or of values as they would stand in a file.

    source: the name in faults, and the plan's own if it gives itself none. directory: where its
    relative paths begin.
    """
    file = escaped(source)
    origin = Origin(file, Path(directory).absolute(), None, Library(levels), (("", file),))
    with collector_paused():
        text = decoded(content, file) if isinstance(content, bytes) else content
        return _plan(origin, text, params or {})


def _plan(origin: Origin, content: str | Mapping[str, Any], params: Mapping[str, str]) -> Plan:
    library = origin.library
    try:
        document = origin.read(content) if isinstance(content, str) else origin.document(content)
    except PlanInvalid as invalid:
        raise PlanInvalid([*invalid.faults, *library.faults]) from None
    faults = [*library.faults, *_misgiven(document, params)]
    if faults:
        raise PlanInvalid(faults)
    try:
        plan = flatten(document)
    except UnknownNeed:
        raise PlanInvalid(library.tangles()) from None
    Graph(plan, library.tangles)
    if document.params:
        values = {key: default for key, default in document.params.items() if default is not None}
        plan = replace(plan, params=values | dict(params))
    return plan


def _misgiven(document: Document, params: Mapping[str, str]) -> Iterator[Fault]:
    """What is wrong with the params given from outside."""
    speller = Speller(document.params)
    for key in params:
        if key not in document.params:
            hint = speller.hint(key) or ("" if document.params else ": the plan has no params")
            yield Fault(document.file, 0, 0, f"there is no param {quoted(key)}{hint}")
    for key, default in document.params.items():
        if default is None and key not in params:
            message = f"param {quoted(key)} needs a value: give it one with -p {key}=..."
            yield Fault(document.file, 0, 0, message)
