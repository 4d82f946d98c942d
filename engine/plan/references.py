"""References: `${{ params.version }}` and the like, which stand in a plan for values that are known later.

Plain look-ups, no expressions. `$${{` is a `${{` that is meant as it is.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from engine.ground.spelling import Speller, quoted

OPENING: Final = "${{"
CLOSING: Final = "}}"

KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
"""What a param, a key of a matrix and an output may be called."""

_OPENING: Final = re.compile(r"\$?\$\{\{")
_OUTPUT: Final = re.compile(r"(?P<task>.+)\.outputs\.(?P<key>[^.]+)")


class Kind(StrEnum):
    """Where a value is looked up."""

    PARAMS = "params"
    ENV = "env"
    MATRIX = "matrix"
    TASKS = "tasks"


_FORMS: Final = {
    Kind.PARAMS: "params.NAME",
    Kind.ENV: "env.NAME",
    Kind.MATRIX: "matrix.KEY",
    Kind.TASKS: "tasks.TASK.outputs.KEY",
}


class Reference(NamedTuple):
    """One look-up. name: of the param, the variable, the matrix's key or the task. key: of the output."""

    kind: Kind
    name: str
    key: str = ""

    def __str__(self) -> str:
        path = f"{self.kind}.{self.name}.outputs.{self.key}" if self.key else f"{self.kind}.{self.name}"
        return f"{OPENING} {path} {CLOSING}"


class MalformedReference(ValueError):
    """A `${{` that is no reference. The message says what is wrong with it."""


@lru_cache(2048)
def parse(text: str) -> tuple[str | Reference, ...]:
    """The text in parts: what is meant as it is, and references. Raises `MalformedReference`."""
    parts: list[str | Reference] = []
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        is_escape = len(opening[0]) > len(OPENING)
        parts.append(text[position : opening.start()] + (OPENING if is_escape else ""))
        position = opening.end()
        if not is_escape:
            end = text.find(CLOSING, position)
            if end < 0:
                raise MalformedReference("'${{' is never closed with '}}'; '$${{' writes it as it is")
            parts.append(_reference(text[position:end].strip()))
            position = end + len(CLOSING)
    parts.append(text[position:])
    return tuple(part for part in parts if part)


def escape(text: str) -> str:
    """The text so that `parse` gives it back in one part."""
    return text.replace(OPENING, f"${OPENING}")


def _reference(inner: str) -> Reference:
    word, _, rest = inner.partition(".")
    if word not in _FORMS:
        forms = ", ".join(_FORMS.values())
        hint = Speller(_FORMS).hint(word)
        raise MalformedReference(f"{quoted(inner)} refers to nothing{hint or f'; there are {forms}'}")
    kind = Kind(word)
    if kind is Kind.TASKS:
        if (output := _OUTPUT.fullmatch(rest)) and KEY.fullmatch(output["key"]):
            return Reference(kind, output["task"], output["key"])
    elif KEY.fullmatch(rest):
        return Reference(kind, rest)
    raise MalformedReference(f"{quoted(inner)} must have the form {_FORMS[kind]}")
