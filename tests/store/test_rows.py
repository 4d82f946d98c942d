"""What goes into the database comes out of it: every type of event, and plans, exactly."""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.events import (
    EVENT_TYPES,
    DispatchDeferred,
    Event,
    PlanPaused,
    TaskCompleted,
    TaskHeld,
    TaskStarted,
)
from engine.core.state import RunPhase, TaskState
from engine.store.rows import (
    EVENTS_IN_A_ROW,
    decode_outlines,
    decode_plan,
    encode_plan,
    from_row,
    key_of,
    range_of,
    seq_of,
    to_rows,
)
from tests.support.journals import DIAMOND

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
        dict[str, str]: st.dictionaries(st.text(), st.text(), max_size=3),
    }
    return plain[kind]


@st.composite
def any_event(draw: st.DrawFn, kind: type[Event]) -> Event:
    fields = {field.name: draw(values_of(field.type)) for field in msgspec.structs.fields(kind)}
    fields |= {"seq": draw(st.integers(1, 2**32 - 1))}
    return kind(**fields)


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES)
@given(data=st.data())
@settings(max_examples=settings().max_examples // 4)
def test_every_event_comes_back_as_it_was(kind: type[Event], data: st.DataObject) -> None:
    """Its type, too, is known by the fixed name."""
    event = data.draw(any_event(kind))
    [(key, text)] = to_rows(7, [event])
    assert key == key_of(7, event.seq)
    assert f'"type":"{kind.type}"' in text
    [back] = from_row(text)
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


def held(seq: int, cause: str = "operator") -> Event:
    return TaskHeld(
        seq=seq, utc=0.0, offset=0.0, run_id="run", cause=cause,
        task="A", index=0, attempt=0, state=TaskState.PENDING,
    )  # fmt: skip


def test_a_turn_is_a_row_named_by_its_last_event() -> None:
    events = [held(3), held(4), held(5)]
    [(key, text)] = to_rows(7, events)
    assert key == key_of(7, 5)
    assert from_row(text) == events


def test_a_turn_of_very_many_events_takes_several_rows() -> None:
    events = [held(seq) for seq in range(1, 2 * EVENTS_IN_A_ROW + 2)]
    rows = list(to_rows(7, events))
    assert [seq_of(key) for key, _ in rows] == [EVENTS_IN_A_ROW, 2 * EVENTS_IN_A_ROW, len(events)]
    assert [event for _, text in rows for event in from_row(text)] == events


def test_what_is_at_its_default_takes_no_room() -> None:
    started = TaskStarted(
        seq=1, utc=0.0, offset=0.0, run_id="run", cause="needs met",
        task="A", index=0, attempt=1, state=TaskState.RUNNING,
    )  # fmt: skip
    [(_, text)] = to_rows(7, [started])
    assert "where" not in text


def test_what_is_no_text_is_made_readable_and_the_rest_of_its_turn_left_alone() -> None:
    deferred = DispatchDeferred(
        seq=2, utc=0.0, offset=0.0, run_id="run", cause=NO_TEXT,
        task="A", index=0, attempt=0, state=TaskState.READY, due=1.0, reason=NO_TEXT,
    )  # fmt: skip
    [(_, text)] = to_rows(7, [held(1, "größe"), deferred])
    first, back = from_row(text)
    assert first == held(1, "größe")
    assert isinstance(back, DispatchDeferred)
    assert back.cause == back.reason == "/home/?"
    assert back.state is TaskState.READY


def test_an_outline_tells_what_is_counted_and_timed() -> None:
    completed = TaskCompleted(
        seq=1, utc=0.0, offset=2.0, run_id="run", cause="attempt ended",
        task="A", index=0, attempt=1, state=TaskState.SUCCESS, duration=1.5, reason="by hand",
    )  # fmt: skip
    paused = PlanPaused(seq=2, utc=0.0, offset=3.0, run_id="run", cause="operator", phase=RunPhase.PAUSED)
    [(_, text)] = to_rows(7, [completed, paused])
    task, plan = decode_outlines(text)
    assert (task.type, task.offset, task.index, task.task) == (TaskCompleted.type, 2.0, 0, "A")
    assert (task.state, task.duration, task.reason) == ("success", 1.5, "by hand")
    assert (plan.type, plan.offset, plan.index) == (PlanPaused.type, 3.0, None)


@pytest.mark.parametrize("text", ["", "{}", "[{}]", '[{"type": "NO_SUCH_TYPE"}]', '[{"type": "TASK_HELD"}]'])
def test_a_row_that_is_no_events_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_row(text)


@pytest.mark.parametrize("directory", ["/srv/plans", NO_TEXT])
def test_a_plan_comes_back_as_it_was(directory: str) -> None:
    plan = msgspec.structs.replace(DIAMOND, directory=directory, env={"STAGE": "prod"})
    text = encode_plan(plan)
    text.encode()  # can be stored
    assert decode_plan(text) == plan


@pytest.mark.parametrize("text", ["", "{}", '{"name": 1, "tasks": []}', "[1]"])
def test_what_is_no_plan_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_plan(text)
