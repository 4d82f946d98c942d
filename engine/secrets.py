"""Secrets: values that must be neither shown nor kept, and the mask that takes their place."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar
from urllib.parse import quote, quote_plus

import msgspec
from msgspec.structs import replace

from engine.core.inputs import AttemptFinished, AttemptOutcome, AttemptStarted, Input
from engine.errors import Fault, PlanInvalid
from engine.ground.spelling import quoted
from engine.plan.model import Plan
from engine.plan.references import Kind, MalformedReference, Reference, parse

MASK: Final = "***"

SHORTEST: Final = 4
"""Characters a secret must have: to mask anything shorter would blot out half of every text, and by the
places of the blots tell what it was."""


LINE: Final = 8
"""Characters that one line of a longer secret must have to be masked by itself."""

_INNER: Final = frozenset({"tasks", "subplans"})
"""The fields of a plan in which every part may stand in a file of its own."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Mask:
    """Puts `MASK` where a secret stands, as it is or in one of the spellings that programs print.

    Of a value with several lines every line is masked as well, since it is often printed line by line. The
    other spellings: in JSON, in a URL, quoted for a shell, in base64. A program that changes a value in a
    way of its own (reverses it, prints it letter by letter) is not caught.
    """

    def __init__(self, values: Iterable[str]) -> None:
        spellings = {spelling for value in values for spelling in _spellings(value)}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._text = re.compile("|".join(map(re.escape, longest_first)))
        self._spelled = tuple(spelling.encode(errors="surrogateescape") for spelling in longest_first)
        self._bytes = re.compile(b"|".join(map(re.escape, self._spelled)))
        self._begins = re.compile(b"[" + re.escape(bytes({each[0] for each in self._spelled})) + b"]")
        self._longest = max(map(len, self._spelled))

    def text(self, text: str) -> str:
        """The text without secrets."""
        return self._text.sub(MASK, text)

    def hides(self, text: str) -> bool:
        """Whether a secret stands in the text."""
        return self._text.search(text) is not None

    def data(self, data: bytes) -> bytes:
        """The bytes without secrets."""
        if not any(spelled in data for spelled in self._spelled):  # many times faster than the expression
            return data
        return self._bytes.sub(MASK.encode(), data)

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Masked, as much as can be told already, and the rest: the beginning of what may be a secret."""
        partial = list(self._partial(data))
        if not partial:
            return self.data(data), b""
        done: list[bytes] = []
        position = 0
        while True:
            match = self._bytes.search(data, position)
            start = next((at for at in partial if at >= position), len(data))
            if match is None or start <= match.start():
                return b"".join([*done, data[position:start]]), data[start:]
            done += (data[position : match.start()], MASK.encode())
            position = match.end()

    def _outcome(self, outcome: AttemptOutcome) -> AttemptOutcome:
        """An output that holds a secret is not passed on: masked it would be worth nothing."""
        outputs, hidden = outcome.outputs or {}, self.hidden_in(outcome.outputs or {})
        left = {key: value for key, value in outputs.items() if key not in hidden}
        return _changed(outcome, error=self.text(outcome.error), outputs=left or None)

    def _partial(self, data: bytes) -> Iterator[int]:
        """Where a secret may begin that the data does not hold to its end."""
        for match in self._begins.finditer(data, max(0, len(data) - self._longest + 1)):
            rest = data[match.start() :]
            if any(len(spelled) > len(rest) and spelled.startswith(rest) for spelled in self._spelled):
                yield match.start()

    def hidden_in(self, outputs: Mapping[str, str]) -> list[str]:
        """The keys of the outputs that hold a secret."""
        return [key for key, value in outputs.items() if self.hides(value)]

    def input(self, given: Input) -> Input:
        """The same command or report with its texts masked: the core never hears of a secret."""
        if isinstance(given, AttemptFinished):
            return _changed(given, outcome=self._outcome(given.outcome))
        if isinstance(given, AttemptStarted):
            return _changed(given, where=self.text(given.where))
        reason = getattr(given, "reason", None)
        return _changed(given, reason=self.text(reason)) if isinstance(reason, str) else given


class MaskedStream:
    """Masks bytes that come in pieces, so that a secret is found also where it is cut."""

    __slots__ = ("_mask", "_rest")

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._rest = b""

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return len(self._rest)

    def feed(self, data: bytes) -> bytes:
        """What can be passed on. The end of what came is held back while it may become a secret."""
        done, self._rest = self._mask.split(self._rest + data)
        return done

    def finish(self) -> bytes:
        """What was held back; no more will come."""
        rest, self._rest = self._rest, b""
        return self._mask.data(rest)


def mask_for(plan: Plan, environment: Mapping[str, str]) -> Mask | None:
    """The mask for the plan's `secrets`: names of environment variables. None if none of them is set.

    A variable may have a value of its own in the plan or in a task, taken from another one of the
    environment. Raises `PlanInvalid` for a value that is too short to be masked, for one that comes from
    elsewhere than the environment, and for a plan in which the value of a secret stands: plans are kept and
    shown, so it would be no secret.
    """
    where = plan.source or plan.name
    faults: list[Fault] = []
    values = {(name, environment[name]) for name in plan.secrets if environment.get(name)}
    for file, line, name, text in _set_in(plan):
        value = _from_environment(text, environment)
        if value is None:
            message = f"the secret {name} must come from the environment, as in ${{{{ env.{name} }}}}"
            faults.append(Fault(file, line, int(line > 0), message))
        elif value:
            values.add((name, value))
    for name, value in sorted(values):
        if len(value) < SHORTEST:
            message = f"the value of the secret {name} is too short to be masked"
            faults.append(Fault(where, 0, 0, message))
    if faults:
        raise PlanInvalid(faults)
    if not values:
        return None
    mask = Mask(value for _, value in values)
    if mask.data(document := msgspec.json.encode(plan)) != document:
        raise PlanInvalid(list(_exposed(plan, values)))
    return mask


def _set_in(plan: Plan) -> Iterator[tuple[str, int, str, str]]:
    """Where the plan itself sets a variable that is to be secret: file, line, name, and the text it is set
    to."""
    where = plan.source or plan.name
    scopes = [(where, 0, plan.env), *((each.source or where, 0, each.env) for each in plan.subplans)]
    tasks = ((plan.file_of(task), task.line, task.env or {}) for task in plan.tasks)
    for file, line, variables in (*scopes, *tasks):
        for name in plan.secrets:
            if name in variables:
                yield file, line, name, variables[name]


def _from_environment(text: str, environment: Mapping[str, str]) -> str | None:
    """The value of a text that is made of variables of the environment; None if it is not."""
    try:
        parts = parse(text)
    except MalformedReference:
        return None
    value = ""
    for part in parts:
        if not isinstance(part, Reference) or part.kind is not Kind.ENV:
            return None
        value += environment.get(part.name, "")
    return value


def _exposed(plan: Plan, values: Iterable[tuple[str, str]]) -> Iterator[Fault]:
    masks = [(name, Mask([value])) for name, value in sorted(values)]
    for file, line, prefix, part in _parts(plan):
        for key, text in _texts(msgspec.to_builtins(part), ""):
            for name, mask in masks:
                if mask.hides(text):
                    message = f"{prefix}{key} holds the value of the secret {name}: use ${{{{ env.{name} }}}}"
                    yield Fault(file, line, int(line > 0), mask.text(message))


def _parts(plan: Plan) -> Iterator[tuple[str, int, str, object]]:
    """The file, the line, what to call it and the part itself, of every part of a plan."""
    where = plan.source or plan.name
    yield where, 0, "", {key: value for key, value in msgspec.to_builtins(plan).items() if key not in _INNER}
    for subplan in plan.subplans:
        prefix = f"subplan {quoted(subplan.name)}: "
        parent = plan.tasks[subplan.task]
        # what it is given stands where the subplan is called
        yield plan.file_of(parent), parent.line, prefix, {"params": subplan.params}
        yield subplan.source or where, 0, prefix, replace(subplan, params={})
    for task in plan.tasks:
        yield plan.file_of(task), task.line, f"task {quoted(task.name)}: ", task


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Every text in plain values, keys too, with the place where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield place, key
            yield from _texts(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, place)


def _changed(struct: _Struct, **fields: object) -> _Struct:
    """The same struct if nothing in it changes: most of them have nothing to hide."""
    if all(getattr(struct, name) == value for name, value in fields.items()):
        return struct
    return replace(struct, **fields)


def _spellings(value: str) -> Iterator[str]:
    lines = [line for line in value.splitlines() if len(line.strip()) >= LINE]
    for text in (value, *lines):
        yield text
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        raw = text.encode(errors="surrogateescape")
        yield quote(raw, safe="")
        yield quote(raw)
        yield quote_plus(raw)
        if "'" in text:
            yield shlex.quote(text)[1:-1]
            yield text.replace("'", "'\\''")
        yield base64.b64encode(raw).decode().rstrip("=")
        yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
