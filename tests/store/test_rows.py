"""What goes into the database comes out of it: every type of event, and plans, exactly."""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.events import EVENT_TYPES, DispatchDeferred, Event, TaskEvent, TaskHeld
from engine.core.state import TaskState
from engine.plan.model import Plan
from engine.store.rows import (
    COLUMNS,
    decode_names,
    decode_plan,
    encode_plan,
    from_row,
    in_text,
    key_of,
    range_of,
    seq_of,
    to_row,
)
from tests.support.journals import DIAMOND

NAMES = ["A", "b[3.11]", "C: größe"]
NO_TEXT = "/home/\udcff"


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Anything of a field's type."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return st.one_of(*(values_of(part) for part in typing.get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(-(2**62), 2**62),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return plain[kind]


@st.composite
def any_event(draw: st.DrawFn, kind: type[Event]) -> Event:
    fields = {field.name: draw(values_of(field.type)) for field in msgspec.structs.fields(kind)}
    fields |= {"seq": draw(st.integers(1, 2**32 - 1)), "run_id": "run"}
    if issubclass(kind, TaskEvent):
        index = draw(st.integers(0, len(NAMES) - 1))
        fields |= {"index": index, "task": NAMES[index]}
    return kind(**fields)


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES)
@given(data=st.data())
def test_every_event_comes_back_as_it_was(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(any_event(kind))
    row = to_row(key_of(7, 0), event)
    assert len(row) == len(COLUMNS.split(", "))
    back = from_row(row, "run", NAMES)
    assert back == event
    assert type(back) is kind
    for name in kind.__struct_fields__:  # equal is not enough: 1 == 1.0, and a state equals its name
        assert type(getattr(back, name)) is type(getattr(event, name))


@given(st.integers(1, 2**30), st.integers(0, 2**32 - 1))
def test_a_key_tells_the_event_and_lies_in_the_range_of_its_run_alone(run: int, seq: int) -> None:
    key = key_of(run, seq)
    assert seq_of(key) == seq
    first, last = range_of(run)
    assert first <= key <= last
    assert last < range_of(run + 1)[0]
    assert range_of(run, seq)[0] == key


def test_what_is_at_its_default_takes_no_room() -> None:
    event = TaskHeld(
        seq=1, utc=0.0, offset=0.0, run_id="run", cause="operator",
        task="A", index=0, attempt=0, state=TaskState.PENDING,
    )  # fmt: skip
    assert to_row(0, event)[-1] == "{}"


def test_what_is_no_text_is_made_readable() -> None:
    event = DispatchDeferred(
        seq=1, utc=0.0, offset=0.0, run_id="run", cause=NO_TEXT,
        task="A", index=0, attempt=0, state=TaskState.READY, due=1.0, reason=NO_TEXT,
    )  # fmt: skip
    with pytest.raises(UnicodeEncodeError):
        to_row(0, event)
    back = from_row(to_row(0, in_text(event)), "run", NAMES)
    assert isinstance(back, DispatchDeferred)
    assert back.cause == back.reason == "/home/?"
    assert back.state is TaskState.READY


@pytest.mark.parametrize(
    "change",
    [{1: "NO_SUCH_TYPE"}, {4: 99}, {6: "no state"}, {8: "no json"}, {8: "{}"}, {4: None, 1: "TASK_FAILED"}],
    ids=str,
)
def test_a_row_that_is_no_event_is_told(change: dict[int, object]) -> None:
    event = EVENT_TYPES["RETRY_SCHEDULED"](
        seq=1, utc=0.0, offset=0.0, run_id="run", cause="attempt failed",
        task="A", index=0, attempt=1, state=TaskState.RETRYING, due=1.0, delay=0.5, duration=1.0, error="no",
    )  # type: ignore[call-arg]  # fmt: skip
    row: list[Any] = list(to_row(0, event))
    for column, value in change.items():
        row[column] = value
    with pytest.raises((LookupError, TypeError, ValueError)):
        from_row(tuple(row), "run", NAMES)  # type: ignore[arg-type]


@pytest.mark.parametrize("directory", ["/srv/plans", NO_TEXT])
def test_a_plan_comes_back_as_it_was(directory: str) -> None:
    plan = msgspec.structs.replace(DIAMOND, directory=directory, env={"STAGE": "prod"})
    text = encode_plan(plan)
    text.encode()  # can be stored
    assert decode_plan(text) == plan
    assert decode_names(text) == ["A", "B", "C", "D"]


@pytest.mark.parametrize("text", ["", "{}", '{"name": 1, "tasks": []}', "[1]"])
def test_what_is_no_plan_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_plan(text)


def test_a_plan_of_nothing_can_be_stored() -> None:
    assert decode_names(encode_plan(Plan(name="empty", tasks=()))) == []
