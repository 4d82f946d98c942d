"""A matrix: one task of a plan file that stands for many, one for each combination of values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from engine.ground.spelling import Speller, quoted
from engine.plan.references import KEY
from engine.plan.values import NAME_LENGTH

MEMBERS: Final = 10_000
"""Combinations of one matrix."""

INCLUDE: Final = "include"
EXCLUDE: Final = "exclude"

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        INCLUDE: {"type": "array", "items": {"type": "object"}},
        EXCLUDE: {"type": "array", "items": {"type": "object"}},
    },
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "items": {"type": ["string", "number", "boolean"]},
    },
}

Values = dict[str, str]


class MatrixFault(NamedTuple):
    """One mistake. path: from the matrix on. key: whether it is the key that is wrong."""

    path: tuple[str | int, ...]
    message: str
    key: bool = False


def combinations(matrix: Mapping[str, Any]) -> list[Values]:
    """Every combination, the last key the quickest; then those that `include` adds. matrix: sound."""
    axes = keys(matrix)
    rows = [dict(zip(axes, row, strict=True)) for row in product(*(map(str, matrix[key]) for key in axes))]
    left_out = [{key: str(value) for key, value in row.items()} for row in matrix.get(EXCLUDE, ())]
    rows = [row for row in rows if not any(out.items() <= row.items() for out in left_out)]
    return rows + [{key: str(row[key]) for key in axes} for row in matrix.get(INCLUDE, ())]


def keys(matrix: Mapping[str, Any]) -> list[str]:
    """What `${{ matrix.KEY }}` may name."""
    return [key for key in matrix if key not in (INCLUDE, EXCLUDE)]


def member_name(task: str, values: Values) -> str:
    """`unit[3.11,linux]`."""
    return f"{task}[{','.join(values.values())}]"


def matrix_faults(task: str, matrix: object) -> Iterator[MatrixFault]:
    """What is wrong with the matrix of a task, as it was written."""
    if not isinstance(matrix, Mapping):
        return  # told as what it is
    axes = keys(matrix)
    faults = [*_axis_faults(matrix, axes), *_row_faults(matrix, axes)]
    yield from faults
    if not axes:
        yield MatrixFault((), "matrix must have at least one key with a list of values")
    if faults or not axes:
        return
    size = math.prod(len(matrix[key]) for key in axes) + len(matrix.get(INCLUDE, ()))
    if size > MEMBERS:
        yield MatrixFault((), f"matrix stands for {size:,} tasks; at most {MEMBERS:,} are allowed")
        return
    rows = combinations(matrix)
    if not rows:
        yield MatrixFault((), "matrix leaves nothing: every combination is excluded")
    names: set[str] = set()
    for name in (member_name(task, row) for row in rows):
        if name in names:
            yield MatrixFault((), f"matrix makes {quoted(name)} twice")
        elif len(name) > NAME_LENGTH:
            yield MatrixFault(
                (), f"matrix makes a name of more than {NAME_LENGTH} characters: {quoted(name)}"
            )
        names.add(name)


def _axis_faults(matrix: Mapping[str, Any], axes: Sequence[str]) -> Iterator[MatrixFault]:
    for key in axes:
        if not KEY.fullmatch(str(key)):
            yield MatrixFault((key,), f"matrix cannot have a key named {quoted(str(key))}", key=True)
        elif not isinstance(matrix[key], list) or not matrix[key]:
            yield MatrixFault((key,), f"matrix {quoted(key)} must be a list of values")
        else:
            for index, value in enumerate(matrix[key]):
                if fault := _value_fault(value):
                    yield MatrixFault((key, index), f"matrix {quoted(key)} {fault}")


def _row_faults(matrix: Mapping[str, Any], axes: Sequence[str]) -> Iterator[MatrixFault]:
    speller = Speller(axes)
    for name in (INCLUDE, EXCLUDE):
        rows = matrix.get(name, [])
        if not isinstance(rows, list):
            yield MatrixFault((name,), f"{name} must be a list of combinations")
            continue
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping) or not row:
                yield MatrixFault(
                    (name, index), f"{name} must list combinations, each a mapping of key to value"
                )
                continue
            for key, value in row.items():
                if key not in axes:
                    hint = speller.hint(str(key))
                    message = f"matrix has no key {quoted(str(key))}{hint}"
                    yield MatrixFault((name, index, key), message, key=True)
                elif fault := _value_fault(value):
                    yield MatrixFault((name, index, key), f"{name} {quoted(key)} {fault}")
            missing = [key for key in axes if key not in row]
            if name == INCLUDE and missing:
                yield MatrixFault(
                    (name, index), f"include must give every key; {quoted(missing[0])} is missing"
                )


def _value_fault(value: object) -> str | None:
    if not isinstance(value, str):
        return "must have values that are text"
    if not value.strip() or not value.isprintable():
        return "must have values that can stand in a name: not empty, no control characters"
    return None
