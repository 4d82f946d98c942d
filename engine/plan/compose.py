"""YAML text to plain values that remember where they stood, built straight from libyaml's events.

The safe loaders of PyYAML take four times as long, forget the places, let a second key win over the first
and follow aliases without bound. Here, on purpose:

- Keys are text, always. Quoted values are text. Plain values that look like a number or a truth value
  (YAML 1.2: `true` and `false`, not `yes`, `no`, `on` and `off`) become `Plain` text: whoever reads the
  field decides, so `env: {VERSION: 1.10}` keeps its nought and `run: true` runs `true`.
- A merge key (`<<`) gives way to the keys beside it.
- Nothing at all (`timeout:`, `~`, `null`) is a fault: it is a line that somebody forgot to finish.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import yaml
from yaml import events

from engine.errors import Fault, PlanInvalid
from engine.ground.spelling import quoted

DEPTH: Final = 64
VALUES: Final = 5_000_000
ALIASED: Final = 1_000_000

Path = Sequence[str | int]
Mark = int
"""A place in the text in one small object, since every key and value has one: line and column, from 0."""

_Loader: Final[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TRUTHS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER: Final = re.compile(r"[-+]?(?:0o[0-7]+|0x[0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)")
_NUMBER_BEGINS: Final = frozenset("+-.0123456789")
_LONGEST_NUMBER: Final = 100
_COLUMN_BITS: Final = 32
_TEXT_TAGS: Final = ("!", "tag:yaml.org,2002:str")
_SURROGATES: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)")
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Stand where a key would, told from every real key by identity.
_REFUSED: Final = "\0refused"
_MERGE: Final = "\0merge"


def _mark(event: Any) -> Mark:
    start = event.start_mark
    return int(start.line << _COLUMN_BITS | start.column)


def line_and_column(mark: Mark) -> tuple[int, int]:
    """Both from 1, as people count."""
    return (mark >> _COLUMN_BITS) + 1, (mark & (1 << _COLUMN_BITS) - 1) + 1


class Plain(str):
    """Text without quotes that looks like a number or a truth value. value: what it looks like."""

    __slots__ = ()

    @property
    def value(self) -> bool | int | float:
        if self in _TRUTHS:
            return _TRUTHS[self]
        try:
            return int(self, 10 if self.lstrip("+-").isdecimal() else 0)
        except ValueError:
            return float(self)


class Mapping(dict[str, Any]):
    """A mapping. marks: where each key and each value begins."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: dict[str, tuple[Mark, Mark]] = {}


class Listing(list[Any]):
    """A list. marks: where each item begins."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: list[Mark] = []


class Tree(NamedTuple):
    """A composed document. root: `Mapping`, `Listing` or text. faults: what was wrong on the way."""

    root: Any
    mark: Mark
    faults: list[Fault]

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path`, or of its key.

        A path that leads nowhere gives the key of the last mapping on the way.
        """
        node, key_mark, value_mark = self.root, self.mark, self.mark
        for step in path:
            if isinstance(node, Mapping) and isinstance(step, str) and step in node.marks:
                key_mark, value_mark = node.marks[step]
                node = node[step]
            elif isinstance(node, Listing) and isinstance(step, int) and step < len(node):
                key_mark = value_mark = node.marks[step]
                node = node[step]
            else:
                key = True
                break
        return line_and_column(key_mark if key else value_mark)


class _Frame(NamedTuple):
    """What waits while an inner collection is filled. anchor, start: of the inner one: its name, and how many
    values came before it."""

    node: Mapping | Listing | None
    key: str | None
    key_mark: Mark
    merges: list[tuple[Any, Mark]]
    anchor: str | None
    start: int


def compose(text: str, file: str) -> Tree:
    """The one document in `text`. file: its name in faults.

    Duplicate keys and the like are collected in the tree's faults, so that the rest can be checked as
    well. Raises `PlanInvalid` where reading cannot go on: a syntax error, or more nesting, values or
    aliases than a sane plan has.
    """
    if text.lstrip()[:1] == "{" and "\\u" in text:
        text = _SURROGATES.sub(_joined, text)  # JSON writes large characters as pairs, YAML does not
    composer = _Composer(file)
    try:
        return composer.read(_Loader(text))
    except (yaml.reader.ReaderError, UnicodeEncodeError):
        raise composer.refusal(*_forbidden(text)) from None
    except yaml.MarkedYAMLError as error:
        raise composer.refusal(*_syntax(error, text)) from None


class _Composer:
    """Puts one document together, event by event."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.root: Any = None
        self.root_mark: Any = None
        self.stack: list[_Frame] = []
        self.node: Any = None  # the collection being filled
        self.key: str | None = None  # its key that waits for a value
        self.key_mark: Any = None
        self.merges: list[tuple[Any, Mark]] = []  # what is to be merged into it
        self.anchors: dict[str, tuple[Any, int | None]] = {}  # value, and its size once it is complete
        self.values = 0
        self.aliased = 0

    def read(self, parser: Any) -> Tree:
        for event in iter(parser.get_event, None):
            kind = type(event)
            if kind is events.ScalarEvent:
                self.scalar(event)
            elif kind is events.MappingStartEvent:
                self.begin(Mapping(), event)
            elif kind is events.SequenceStartEvent:
                self.begin(Listing(), event)
            elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
                self.end()
            elif kind is events.AliasEvent:
                self.alias(event)
            elif kind is events.DocumentStartEvent and self.root_mark is not None:
                raise self.stop(_mark(event), "a second document begins here, but a file holds one plan")
        if self.root is None:
            raise self.refusal(0, 0, "holds no plan: it is empty")
        return Tree(self.root, self.root_mark, self.faults)

    # ── events ──────────────────────────────────────────────────────────────────────────────────

    def scalar(self, event: Any) -> None:
        value: str | None = event.value
        mark = _mark(event)
        is_key = self.key is None and type(self.node) is Mapping
        if event.tag is not None:
            if event.tag not in _TEXT_TAGS:
                self.fault(mark, f"tag {quoted(event.tag)} means nothing here; values need no tags")
        elif not event.style and not is_key:
            value = _resolved(event.value)
            if value is None and self.node is not None:
                self.fault(mark, "nothing stands here; give it a value or take the line out")
        if event.anchor is not None:
            self.anchors[event.anchor] = value, 1
        if is_key and value == "<<" and not event.style:
            self.key, self.key_mark = _MERGE, mark
            if self.merges:
                self.fault(mark, "duplicate key '<<'; it takes a list of mappings, too")
        else:
            self.put(value, mark)

    def begin(self, node: Mapping | Listing, event: Any) -> None:
        mark = _mark(event)
        if event.tag is not None:
            self.fault(mark, f"tag {quoted(event.tag)} means nothing here; values need no tags")
        if len(self.stack) == DEPTH:
            raise self.stop(mark, f"nested more than {DEPTH} deep")
        if event.anchor is not None:
            self.anchors[event.anchor] = node, None
        self.put(node, mark)
        self.stack.append(_Frame(self.node, self.key, self.key_mark, self.merges, event.anchor, self.values))
        self.node, self.key, self.merges = node, None, []

    def end(self) -> None:
        node = self.node
        if self.merges:
            self.merge(node)
        self.node, self.key, self.key_mark, self.merges, anchor, start = self.stack.pop()
        if anchor is not None:
            self.anchors[anchor] = node, 1 + self.values - start

    def alias(self, event: Any) -> None:
        mark, name = _mark(event), event.anchor
        if name not in self.anchors:
            raise self.stop(mark, f"alias {quoted('*' + name)} names no anchor above it")
        value, size = self.anchors[name]
        if size is None:
            raise self.stop(mark, f"alias {quoted('*' + name)} stands inside what it names")
        # The value is shared, not copied, but whatever walks over the plan sees it every time.
        self.values += size - 1
        self.aliased += size
        if self.aliased > ALIASED:
            raise self.stop(mark, f"aliases stand for more than {ALIASED:,} values")
        self.put(value, mark)

    # ── values ──────────────────────────────────────────────────────────────────────────────────

    def put(self, value: Any, mark: Mark) -> None:
        """Give the value its place in the collection that is being filled."""
        node, key = self.node, self.key
        if type(node) is Mapping:
            if key is None:
                self.key, self.key_mark = self.checked_key(value, mark), mark
                return
            self.key = None
            if key is _MERGE:
                self.merges.append((value, mark))
            elif key is not _REFUSED:
                node[key] = value
                node.marks[key] = self.key_mark, mark
        elif type(node) is Listing:
            node.append(value)
            node.marks.append(mark)
        else:
            self.root, self.root_mark = value, mark
        self.values += 1
        if self.values > VALUES:
            raise self.stop(mark, f"more than {VALUES:,} values in one plan")

    def checked_key(self, key: Any, mark: Mark) -> str:
        if not isinstance(key, str):
            self.fault(mark, "a key must be text")
            return _REFUSED
        if key in self.node:
            first, _ = line_and_column(self.node.marks[key][0])
            self.fault(mark, f"duplicate key {quoted(key)}, first on line {first}")
            return _REFUSED
        return key

    def merge(self, node: Mapping) -> None:
        for value, mark in self.merges:
            for source in value if isinstance(value, Listing) else [value]:
                if not isinstance(source, Mapping):
                    self.fault(mark, "'<<' takes a mapping, or a list of mappings")
                    break
                for key, inherited in source.items():
                    if key not in node:
                        node[key] = inherited
                        node.marks[key] = source.marks[key]

    # ── faults ──────────────────────────────────────────────────────────────────────────────────

    def fault(self, mark: Mark, message: str) -> None:
        self.faults.append(Fault(self.file, *line_and_column(mark), message))

    def stop(self, mark: Mark, message: str) -> PlanInvalid:
        return self.refusal(*line_and_column(mark), message)

    def refusal(self, line: int, column: int, message: str) -> PlanInvalid:
        """What is raised where reading cannot go on; the faults so far come with it."""
        return PlanInvalid([*self.faults, Fault(self.file, line, column, message)])


def _resolved(text: str) -> str | None:
    if text in _NULLS:
        return None
    if text[0] in _NUMBER_BEGINS:
        if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
            return Plain(text)
    elif text in _TRUTHS:
        return Plain(text)
    return text


def _joined(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00:08x}"


def _forbidden(text: str) -> tuple[int, int, str]:
    """Where the first character stands that YAML allows nowhere."""
    start = next(found.start() for found in _FORBIDDEN.finditer(text))
    line = text.count("\n", 0, start) + 1
    column = start - text.rfind("\n", 0, start)
    return (
        line,
        column,
        f"character {quoted(text[start])} cannot stand here; in double quotes it can be escaped",
    )


def _syntax(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int, str]:
    mark: Any = error.problem_mark  # there always is one
    if text[mark.index : mark.index + 1] == "\t":
        message = "a tab cannot indent YAML; use spaces"
    elif error.problem == "mapping values are not allowed in this context":
        message = "a ':' cannot stand here; text that holds one needs quotes"
    elif error.problem == "did not find expected <document start>":
        message = "the plan has ended, but the text goes on"
    else:
        message = f"not YAML: {error.problem}"
        if error.context and error.context_mark:
            message += f" {error.context} that begins on line {error.context_mark.line + 1}"
    return mark.line + 1, mark.column + 1, message
