"""What a run and a console in another process say to each other: JSON objects, one a line.

```
console → run   Greeting                              first, and once
                Ask                                   a command; an Answer follows, after its events
run → console   Welcome, Tasks...                     the plan, its tasks in parts
                Standing, TaskStates..., Past...      the run as it stands; again after falling behind
                Happened...                           events, in their order
                Answer, Completed
                Farewell                              last, with the reason
```

Fields that a side does not know are ignored. What it does not understand is answered with a Farewell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import anyio
import anyio.lowlevel
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from engine.core.events import EVENT_TYPES, Event
from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    DrainPlan,
    HoldTask,
    KillTask,
    MarkSucceeded,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
)
from engine.core.records import Snapshot, TaskSnapshot
from engine.host.local_socket import LocalStream
from engine.plan.model import Plan, Task
from engine.result import PlanResult

VERSION: Final = 1
"""Of these messages. A Greeting and a Farewell are the same in all versions."""

TO_RUN_LIMIT: Final = 64 * 1024
"""Bytes of a line that a run reads: a command is short."""

TO_CONSOLE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a line that a console reads. Long things come in parts, but one task of a plan may be long."""

PART: Final = 500
"""Tasks or events in one message, so that nobody is held up for the making of a long one."""

READ_ONLY: Final = "this console is read-only: attach without --read-only to steer"

AnyCommand = (
    CancelTask
    | KillTask
    | RetryTask
    | HoldTask
    | ReleaseTask
    | SkipTask
    | MarkSucceeded
    | RetryFailed
    | CancelPlan
    | DrainPlan
    | PausePlan
    | ResumePlan
    | SetFailureMode
    | SetMaxParallel
)

Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


# ── from a console ──────────────────────────────────────────────────────────────────────────────


class Greeting(msgspec.Struct, frozen=True, kw_only=True, tag="greeting"):
    """label: what the console calls its place ("pts/3"). read_only: every command is to be refused."""

    version: int
    label: str = ""
    read_only: bool = False


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A command. id: any number; it comes back with the answer."""

    id: Number
    command: AnyCommand


ToRun = Greeting | Ask


# ── from a run ──────────────────────────────────────────────────────────────────────────────────


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """The run. actor: who the console is to it. offset, utc: its present, in seconds. directory: where its
    logs are, as the system spells it. plan: without its tasks, of which there are `tasks`."""

    version: int
    run_id: str
    actor: str
    read_only: bool
    offset: float
    utc: float
    directory: bytes
    plan: Plan
    tasks: Number


class Tasks(msgspec.Struct, frozen=True, tag="tasks"):
    """The next tasks of the plan."""

    tasks: tuple[Task, ...]


class Standing(msgspec.Struct, frozen=True, tag="standing"):
    """The run as it stands, without its tasks, of which there are `tasks`, and without its past, of which
    there are `past` events that the console has not had. missed: how many were dropped before."""

    snapshot: Snapshot
    tasks: Number
    missed: Number = 0
    past: Number = 0


class TaskStates(msgspec.Struct, frozen=True, tag="task_states"):
    """The next tasks as they stand."""

    tasks: tuple[TaskSnapshot, ...]


class Past(msgspec.Struct, frozen=True, tag="past"):
    """The next events that happened before (see `Happened`)."""

    events: tuple[tuple[str, msgspec.Raw], ...]


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """Events, each as its type's fixed name and its fields (see `pack` and `unpack`)."""

    events: tuple[tuple[str, msgspec.Raw], ...]


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """To the Ask of that id. refusal: None if it was carried out."""

    id: Number
    refusal: str | None = None


class Completed(msgspec.Struct, frozen=True, tag="completed"):
    """The run is complete, until a PLAN_RESUMED."""

    result: PlanResult


class Farewell(msgspec.Struct, frozen=True, tag="farewell"):
    """Nothing more will come. reason: for people."""

    reason: str


ToConsole = Welcome | Tasks | Standing | TaskStates | Past | Happened | Answer | Completed | Farewell


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────

_encode: Final = msgspec.json.Encoder().encode
_EVENTS: Final = {name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()}

Message = TypeVar("Message")
Item = TypeVar("Item")


class Garbled(Exception):
    """The other side says what cannot be understood. The message says what is wrong with it."""


class Gone(Exception):
    """The other side is no longer there."""


def encode(message: ToRun | ToConsole) -> bytes:
    """One line, with its end. What is no text (a path in another encoding) becomes question marks."""
    try:
        return _encode(message) + b"\n"
    except UnicodeEncodeError:
        return _encode(_readable(msgspec.to_builtins(message))) + b"\n"


def pack(events: Sequence[Event]) -> tuple[tuple[str, msgspec.Raw], ...]:
    """Events, ready to be sent."""
    return tuple((event.type, msgspec.Raw(_encode_event(event))) for event in events)


def unpack(message: Happened | Past) -> list[Event]:
    """The events, equal to those that were packed. Raises `Garbled`."""
    try:
        return [_EVENTS[name].decode(raw) for name, raw in message.events]
    except (LookupError, ValueError) as error:
        raise Garbled(f"an event that is none: {error}") from error


def parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """What goes into one message each."""
    return (items[start : start + PART] for start in range(0, len(items), PART))


class Channel(Generic[Message]):
    """One end of a connection, as messages. One task may send while another receives."""

    def __init__(self, stream: LocalStream, accepted: Any, limit: int) -> None:
        """accepted: the union of the messages that may come. limit: bytes of one of them."""
        self._stream = stream
        self._buffered = BufferedByteReceiveStream(stream)
        self._decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(accepted)
        self._limit = limit
        self._is_whole = True

    async def send(self, message: ToRun | ToConsole) -> None:
        """Raises `Gone`, also once an earlier message could be sent in part only."""
        await anyio.lowlevel.checkpoint()  # to be cancelled here leaves nothing half said
        if not self._is_whole:
            raise Gone
        self._is_whole = False
        try:
            await self._stream.send(encode(message))
        except anyio.BrokenResourceError as error:
            raise Gone from error
        self._is_whole = True

    async def receive(self) -> Message:
        """Raises `Garbled` or `Gone`."""
        try:
            line = await self._buffered.receive_until(b"\n", self._limit)
        except anyio.DelimiterNotFound as error:
            raise Garbled(f"a line of more than {self._limit:,} bytes") from error
        except (anyio.IncompleteRead, anyio.BrokenResourceError) as error:
            raise Gone from error
        try:
            return self._decoder.decode(line)
        except (ValueError, RecursionError) as error:
            raise Garbled(str(error)) from error


def _encode_event(event: Event) -> bytes:
    try:
        return _encode(event)
    except UnicodeEncodeError:
        return _encode(_readable(msgspec.to_builtins(event)))


def _readable(value: Any) -> Any:
    """Plain values, with all that is no text replaced."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_readable(key): _readable(each) for key, each in value.items()}
        case list() | tuple():
            return [_readable(each) for each in value]
        case _:
            return value
