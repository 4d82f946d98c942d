"""Events and plans as the database holds them, and back into the very same events and plans."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from engine.core.events import AnyEvent, Event
from engine.plan.model import Plan

Row = tuple[int, str]
"""Some events of one turn: the key of the last of them, and all of them as JSON."""

EVENTS_IN_A_ROW: Final = 1_000
"""At most: more come in one turn only when thousands of tasks are cancelled at once, or have waited."""

E = TypeVar("E", bound=Event)

_SEQ_BITS: Final = 32

_encode: Final = msgspec.json.Encoder().encode
_decode_events: Final = msgspec.json.Decoder(list[AnyEvent]).decode


class Outline(msgspec.Struct, gc=False):
    """As much of an event as counting and timing need, for a fraction of what reading all of it costs."""

    type: str
    offset: float
    index: int | None = None
    task: str = ""
    state: str = ""
    duration: float = 0.0
    reason: str = ""
    cause: str = ""


decode_outlines: Final = msgspec.json.Decoder(list[Outline]).decode
"""The events of a row in outline. Raises ValueError for what is none."""


def key_of(run: int, seq: int) -> int:
    """The key of the event number `seq` in the run number `run`."""
    return run << _SEQ_BITS | seq


def range_of(run: int, first: int = 0) -> tuple[int, int]:
    """The keys, both included, of a run's events from number `first` on."""
    return key_of(run, first), key_of(run + 1, 0) - 1


def seq_of(key: int) -> int:
    """The number of an event within its run."""
    return key & (1 << _SEQ_BITS) - 1


def to_rows(run: int, events: Sequence[Event]) -> Iterator[Row]:
    """The events of a turn, mostly in one row: what a row costs is far more than what an event costs.

    run: its number. What is no text is made `readable`.
    """
    for first in range(0, len(events), EVENTS_IN_A_ROW):
        part = events[first : first + EVENTS_IN_A_ROW]
        try:
            text = _encode(part)
        except UnicodeEncodeError:
            text = _encode([in_text(event) for event in part])
        yield key_of(run, part[-1].seq), text.decode()


def from_row(text: str) -> Sequence[Event]:
    """The events of a row, exactly as they were published. Raises ValueError for what is none."""
    return _decode_events(text)


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
