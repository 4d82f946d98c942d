"""What a console and the station on a worker say to each other: one request, one answer."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec

from engine.core.inputs import AttemptOutcome
from engine.plan.model import Task

OPERATION: Final = "plandeck"
"""The name under which a Dask worker passes requests on."""

PIECE: Final = 1024 * 1024
"""Bytes of output in one answer, at most."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to be made. task: without references. env: of the plan, with the values of its secrets.
    directory: of the task's scope. wants_outputs: whether it may leave any. speed, seed: of simulated tasks.
    patience: seconds without a word from a console after which the attempt is ended and forgotten."""

    run_id: str
    plan: str
    task: Task
    index: int
    number: int
    env: dict[str, str]
    directory: str
    wants_outputs: bool
    speed: float
    seed: int | None
    patience: float


class Request(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """key: of the attempt that it is about."""

    key: str


class Place(Request, frozen=True, kw_only=True):
    """Keep this order until `Perform`. One that is there already stays as it is."""

    order: Order


class Perform(Request, frozen=True, kw_only=True):
    """Make the attempt; answered once it is over. Without an order nothing is done."""


class Read(Request, frozen=True, kw_only=True):
    """What is new? The answer waits for it, but not longer than `wait` seconds.

    offset: of the output that is wanted. begun, beats: what is known already. taken, kept: how much of the
    output is safe, and how long the console's log was then: output before that is dropped here.
    """

    offset: int
    begun: bool = False
    beats: int = 0
    taken: int = 0
    kept: int = 0
    wait: float = 0.0


class Stop(Request, frozen=True, kw_only=True):
    """End it, with the grace period that its order has. hasten: without. What has not begun never will."""

    hasten: bool = False


class Withdraw(Request, frozen=True, kw_only=True):
    """End it if it has not begun, which the answer tells."""


class Forget(Request, frozen=True, kw_only=True):
    """Nobody will ask for it any more."""


AnyRequest = Place | Perform | Read | Stop | Withdraw | Forget


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an attempt stands.

    is_known: whether there is such a key here. begun: it was taken up. offset, data: a piece of the output;
    `offset` is larger than what was asked for where that is no longer there. lost: bytes of output that
    could not be kept. beats: heartbeats so far. outcome: once it is over and all output before it was read.
    taken, kept: as the last `Read` said.
    """

    is_known: bool
    begun: bool = False
    offset: int = 0
    data: bytes = b""
    lost: int = 0
    beats: int = 0
    outcome: AttemptOutcome | None = None
    taken: int = 0
    kept: int = 0


UNKNOWN: Final = Answer(is_known=False)

HEADER: Final = 12
"""Bytes before each message between a Dask worker and its station: 8 that number the request, 4 that tell how
long the message is."""

_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final = msgspec.msgpack.Decoder(AnyRequest)
_answers: Final = msgspec.msgpack.Decoder(Answer)

encode = _encoder.encode


def request_from(data: bytes) -> AnyRequest:
    request: AnyRequest = _requests.decode(data)
    return request


def answer_from(data: bytes) -> Answer:
    return _answers.decode(data)


def own_version() -> str:
    """Of plandeck, as it is installed here."""
    try:
        return version("plandeck")
    except PackageNotFoundError:  # run from its sources
        return "not installed"
