"""Events and plans as the database holds them, and back into the very same events and plans."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec

from engine.core.events import EVENT_TYPES, Event, PlanEvent, TaskEvent
from engine.core.state import RunPhase, TaskState
from engine.plan.model import Plan

Row = tuple[int, str, float, float, int | None, int | None, str, str, str]
"""One event, in the order of `COLUMNS`."""

COLUMNS: Final = "key, type, utc, offset, task, attempt, state, cause, detail"

E = TypeVar("E", bound=Event)

_SEQ_BITS: Final = 32
_STATES: Final = {state.value: state for state in TaskState}
_PHASES: Final = {phase.value: phase for phase in RunPhase}

_encode: Final = msgspec.json.Encoder().encode


def key_of(run: int, seq: int) -> int:
    """The key of the event number `seq` in the run number `run`."""
    return run << _SEQ_BITS | seq


def range_of(run: int, first: int = 0) -> tuple[int, int]:
    """The keys, both included, of a run's events from number `first` on."""
    return key_of(run, first), key_of(run + 1, 0) - 1


def seq_of(key: int) -> int:
    """The number of an event within its run."""
    return key & (1 << _SEQ_BITS) - 1


def to_row(first_key: int, event: Event) -> Row:
    """first_key: that of event number 0. Raises UnicodeEncodeError for what is no text (see `in_text`)."""
    return _WRITERS[type(event)](first_key, event)


def from_row(row: Row, run_id: str, names: Sequence[str]) -> Event:
    """names: of the tasks, by index. Raises LookupError, TypeError or ValueError for a row that is none."""
    key, kind, utc, offset, index, attempt, state, cause, detail = row
    event: Callable[..., Event] = EVENT_TYPES[kind]
    own = _READERS[kind](detail)
    if index is None:
        return event(
            seq=seq_of(key), utc=utc, offset=offset, run_id=run_id, cause=cause,
            phase=_PHASES[state], **own,
        )  # fmt: skip
    return event(
        seq=seq_of(key), utc=utc, offset=offset, run_id=run_id, cause=cause,
        task=names[index], index=index, attempt=attempt, state=_STATES[state], **own,
    )  # fmt: skip


def readable(text: str) -> str:
    """Question marks for what is no text: a file name in another encoding than UTF-8."""
    return text.encode("utf-8", "replace").decode()


def in_text(event: E) -> E:
    """The event with all its words `readable`."""
    words = {name: getattr(event, name) for name in event.__struct_fields__}
    changed = {name: readable(word) for name, word in words.items() if type(word) is str}
    return msgspec.structs.replace(event, **changed)


def encode_plan(plan: Plan) -> str:
    """The plan as JSON, exactly: a path that is no text is escaped."""
    try:
        return msgspec.json.encode(plan).decode()
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(plan))


def decode_plan(text: str) -> Plan:
    """The plan as it was. Raises ValueError."""
    try:
        return msgspec.json.decode(text, type=Plan)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(text), Plan)


class _Named(msgspec.Struct):
    name: str


class _Names(msgspec.Struct):
    tasks: tuple[_Named, ...]


def decode_names(text: str) -> list[str]:
    """The names of a plan's tasks, without the cost of the rest. Raises ValueError."""
    try:
        return [task.name for task in msgspec.json.decode(text, type=_Names).tasks]
    except msgspec.DecodeError:
        return [task.name for task in decode_plan(text).tasks]


def _shape(kind: type[Event]) -> type[msgspec.Struct]:
    """A struct of the fields that only this type of event has; those at their defaults are left out."""
    common = (TaskEvent if issubclass(kind, TaskEvent) else PlanEvent).__struct_fields__
    own = [field for field in msgspec.structs.fields(kind) if field.name not in common]
    own.sort(key=lambda field: not field.required)  # so that it can be made without naming them
    fields = [
        (field.name, field.type) if field.required else (field.name, field.type, field.default)
        for field in own
    ]
    return msgspec.defstruct(f"{kind.__name__}Detail", fields, omit_defaults=True, gc=False)


def _detail_writer(shape: type[msgspec.Struct]) -> Callable[[Event], str]:
    """Closures picking all fields at once: this runs for every event, before anything else may start."""
    names = shape.__struct_fields__
    if not names:
        return lambda event: "{}"
    pick = attrgetter(*names)
    if len(names) == 1:
        return lambda event: _encode(shape(pick(event))).decode()
    return lambda event: _encode(shape(*pick(event))).decode()


def _writer(kind: type[Event], shape: type[msgspec.Struct]) -> Callable[[int, Any], Row]:
    name, detail = kind.type, _detail_writer(shape)

    def task_row(first_key: int, event: TaskEvent) -> Row:
        return (
            first_key + event.seq, name, event.utc, event.offset,
            event.index, event.attempt, event.state._value_, event.cause, detail(event),
        )  # fmt: skip

    def plan_row(first_key: int, event: PlanEvent) -> Row:
        return (
            first_key + event.seq, name, event.utc, event.offset,
            None, None, event.phase._value_, event.cause, detail(event),
        )  # fmt: skip

    return task_row if issubclass(kind, TaskEvent) else plan_row


def _reader(shape: type[msgspec.Struct]) -> Callable[[str], dict[str, Any]]:
    decode, as_dict = msgspec.json.Decoder(shape).decode, msgspec.structs.asdict
    return lambda detail: as_dict(decode(detail))


_SHAPES: Final = {kind: _shape(kind) for kind in EVENT_TYPES.values()}
_WRITERS: Final = {kind: _writer(kind, shape) for kind, shape in _SHAPES.items()}
_READERS: Final = {kind.type: _reader(shape) for kind, shape in _SHAPES.items()}
