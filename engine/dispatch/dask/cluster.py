"""A Dask cluster as seen from a console: its workers, their room, and requests to them."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import dask.config
from distributed import Client
from distributed.comm.core import CommClosedError
from distributed.security import Security

from engine.dispatch.base import ConcurrencyLimit
from engine.dispatch.dask.messages import (
    OPERATION,
    UNKNOWN,
    Answer,
    Request,
    answer_from,
    encode,
    own_version,
)
from engine.dispatch.dask.outpost import open_outpost
from engine.errors import ExecutorUnusable

logger = logging.getLogger(__name__)

KEEPER: Final = "plandeck"
"""The client in whose name the scheduler keeps our keys. None of that name ever leaves: so they outlive a
console."""

REACH_LIMIT: Final = 5.0
"""Seconds that a scheduler or a worker has to answer a question that takes no time."""

_SURVEY_AGE: Final = 0.1
"""Seconds that what the scheduler says of its workers is believed."""

_SULK: Final = 5.0
"""Seconds that a worker is left alone which had seemed to have room but did not begin."""

_FAULTS: Final = (OSError, TimeoutError, CommClosedError, asyncio.TimeoutError)

LOGGERS: Final = ("distributed", "distributed.client", "bokeh", "tornado", "tornado.application")


class Unreachable(Exception):
    """The scheduler does not answer. The message names it."""


class WorkerGone(Exception):
    """The worker is no longer of the cluster. The message names it."""


class WorkerUnusable(Exception):
    """plandeck cannot work there. The message names it, and says why."""


class Post:
    """A worker that passes requests on. id: of its process: an address may go to another.

    taken: the keys of our attempts there. is_direct: whether it can be reached from here, and not only by
    way of the scheduler.
    """

    def __init__(self, address: str, id: str, name: str, *, is_direct: bool) -> None:
        self.address = address
        self.id = id
        self.name = name
        self.is_direct = is_direct
        self.taken: set[str] = set()
        self.sulks_until = 0.0


class Cluster:
    """One connection for a whole run. To be opened before anything else, and closed.

    address: of the scheduler; None for the one in Dask's own configuration. scheduler_file: which has it,
    instead. security: for TLS, None for what Dask's own configuration says.
    """

    def __init__(self, address: str | None, scheduler_file: str | None, security: Security | None) -> None:
        self._address = address or ("" if scheduler_file else dask.config.get("scheduler-address", None))
        self._scheduler_file = scheduler_file
        self._security = security
        self._client: Any = None  # a Client, most of which has no types
        self._posts: dict[str, Post] = {}
        self._futures: dict[str, Any] = {}
        self._ours: set[str] = set()  # keys, those of attempts that are over included
        self._allotting = anyio.Lock()
        self._surveyed_at = -1e9
        self.unreachable_since: float | None = None
        """When the scheduler was first found not to answer; None if it did so last."""
        self._threads: Mapping[str, int] = {}
        self._processing: Mapping[str, Iterable[str]] = {}

    async def open(self) -> None:
        """Raises `ExecutorUnusable`."""
        if not self._address and self._scheduler_file is None:
            raise ExecutorUnusable(
                "which Dask cluster? Give the executor an address or a scheduler_file in config.toml, or set "
                "DASK_SCHEDULER_ADDRESS"
            )
        if self._scheduler_file is not None:
            self._address = _address_in(self._scheduler_file)
        try:
            await self._connect()
        except Unreachable as unreachable:
            raise ExecutorUnusable(str(unreachable)) from unreachable

    async def close(self) -> None:
        self._futures.clear()
        if self._client is not None:
            client, self._client = self._client, None
            await _dismiss(client)

    # ── room ────────────────────────────────────────────────────────────────────────────────────

    async def allot(self, key: str) -> Post:
        """A thread of a worker for the attempt of that key: of the worker with most of them free.

        Raises `ConcurrencyLimit` if there is none, `WorkerUnusable` and `Unreachable`.
        """
        async with self._allotting:
            await self._survey()
            free = self._free()
            if not self._threads:
                raise ConcurrencyLimit("the Dask cluster has no workers")
            for address in sorted(free, key=lambda address: -free[address]):
                if free[address] <= 0:
                    break
                try:
                    post = await self.post(address)
                except WorkerGone:
                    continue
                if anyio.current_time() >= post.sulks_until:
                    self.take(key, post)
                    return post
            total = sum(self._threads.values())
            raise ConcurrencyLimit(f"all {total} threads of the Dask cluster are taken")

    def take(self, key: str, post: Post) -> None:
        """Count a thread of the worker as taken by the attempt of that key."""
        post.taken.add(key)
        self._ours.add(key)

    def _free(self) -> dict[str, int]:
        """How many threads of each worker are. Our own are known better here than by a survey."""
        free = {}
        for address, threads in self._threads.items():
            post = self._posts.get(address)
            taken = post.taken if post is not None else set()
            others = sum(key not in self._ours for key in self._processing.get(address, ()))
            free[address] = threads - others - len(taken)
        return free

    async def _survey(self) -> None:
        if anyio.current_time() > self._surveyed_at + _SURVEY_AGE:
            self._threads = await self.scheduler("ncores")
            self._processing = await self.scheduler("processing")
            self._surveyed_at = anyio.current_time()
            for address in self._posts.keys() - self._threads.keys():
                del self._posts[address]

    async def post(self, address: str) -> Post:
        """The worker at that address, ready for requests. Raises `WorkerGone`, `WorkerUnusable` and
        `Unreachable`."""
        if (post := self._posts.get(address)) is not None:
            return post
        call = {"op": "run", "function": pickle.dumps(open_outpost)}
        is_direct = True
        try:
            try:
                answer = await self._call(address, call, is_direct=True)
            except _FAULTS as error:
                if address not in await self.scheduler("ncores"):
                    raise WorkerGone(f"the Dask worker at {address} has gone") from error
                is_direct = False
                answer = await self._call(address, call, is_direct=False)
            if answer["status"] != "OK":
                raise answer["exception"]
        except (Unreachable, WorkerGone):
            raise
        except (ImportError, AttributeError) as error:
            lacks = f"the Dask worker at {address} does not have plandeck {own_version()}: {error}"
            raise WorkerUnusable(lacks) from error
        except Exception as error:
            raise WorkerUnusable(f"the Dask worker at {address} cannot be used: {error}") from error
        about = answer["result"]
        if about["version"] != own_version():
            raise WorkerUnusable(
                f"the Dask worker {about['name']} has plandeck {about['version']}, here it is {own_version()}"
            )
        post = self._posts[address] = Post(address, about["id"], about["name"], is_direct=is_direct)
        return post

    def leave_alone(self, post: Post) -> None:
        """It did not begin though it seemed to have room."""
        post.sulks_until = anyio.current_time() + _SULK

    # ── attempts ────────────────────────────────────────────────────────────────────────────────

    async def ask(self, post: Post, request: Request, *, patience: float = 0.0) -> Answer:
        """The answer of the station there, `UNKNOWN` if it has ended. patience: seconds that it may take
        besides.

        Raises `WorkerGone`, and `Unreachable` if neither the worker nor the scheduler can be asked.
        """
        call = {"op": OPERATION, "request": encode(request)}
        limit = REACH_LIMIT + patience
        try:
            answer = await self._call(post.address, call, is_direct=post.is_direct, limit=limit)
        except _FAULTS as error:
            if self._posts.get(post.address) is post:
                del self._posts[post.address]
            if post.address not in await self.scheduler("ncores"):
                raise WorkerGone(f"the Dask worker {post.name} has gone") from error
            again = await self.post(post.address)
            if again.id != post.id:
                raise WorkerGone(f"the Dask worker {post.name} has gone") from error
            again.taken, post.is_direct = post.taken, again.is_direct
            return await self.ask(post, request, patience=patience)
        return answer_from(answer["answer"]) if answer["answer"] else UNKNOWN

    def submit(self, key: str, post: Post) -> None:
        """Have the worker begin the attempt of that key as soon as it has a thread for it. Where the cluster
        has that key already, nothing happens."""
        client = self._client_now()
        self._futures[key] = client.submit(
            _errand(), key, post.id, key=key, workers=[post.address], allow_other_workers=False, pure=False
        )
        client._send_to_scheduler({"op": "client-desires-keys", "keys": [key], "client": KEEPER})

    async def fault(self, key: str) -> str | None:
        """Why what was submitted has not begun and will not, if that is so."""
        future = self._futures.get(key)
        if future is None or future.status not in ("finished", "error"):
            return None
        try:
            return str(await future) or None
        except Exception as error:
            return f"Dask cannot begin it: {type(error).__name__}: {error}"

    def release(self, key: str, post: Post) -> None:
        """The attempt of that key is over."""
        post.taken.discard(key)
        self._futures.pop(key, None)
        if self._client is not None and self._client.status == "running":
            release = {"op": "client-releases-keys", "keys": [key], "client": KEEPER}
            self._client._send_to_scheduler(release)

    async def find(self, keys: Iterable[str]) -> dict[str, str]:
        """Of those keys that the cluster has, the address of the worker. Raises `Unreachable`."""
        wanted = set(keys)
        found = {
            key: address
            for address, processing in (await self.scheduler("processing")).items()
            for key in wanted.intersection(processing)
        }
        who_has = await self.scheduler("who_has", keys=list(wanted - found.keys()))
        return found | {key: addresses[0] for key, addresses in who_has.items() if addresses}

    async def _call(
        self, address: str, call: Mapping[str, Any], *, is_direct: bool, limit: float = REACH_LIMIT
    ) -> Any:
        """What a worker answers. Raises one of `_FAULTS` if it does not, what it raises itself, and
        `Unreachable` if the way goes by a scheduler that is not."""
        if is_direct:
            arguments = {name: value for name, value in call.items() if name != "op"}
            with anyio.fail_after(limit):
                return await getattr(self._client_now().rpc(address), call["op"])(**arguments)
        answers = await self.scheduler(
            "broadcast", limit=limit, msg=call, workers=[address], on_error="return_pickle"
        )
        answer = answers[address]
        if isinstance(answer, bytes):
            raise pickle.loads(answer)  # noqa: S301 -- it has made it
        return answer

    # ── the connection ──────────────────────────────────────────────────────────────────────────

    async def scheduler(self, operation: str, *, limit: float = REACH_LIMIT, **arguments: Any) -> Any:
        """What the scheduler answers. Raises `Unreachable`."""
        client = self._client
        if client is None or client.status != "running":
            client = await self._connect()
        ask: Callable[..., Any] = partial(getattr(client.scheduler, operation), **arguments)
        try:
            with anyio.fail_after(limit):
                answer = await ask()
        except _FAULTS as error:
            self._note_silence()
            raise Unreachable(self._silence) from error
        self.unreachable_since = None
        return answer

    def _note_silence(self) -> None:
        if self.unreachable_since is None:
            self.unreachable_since = anyio.current_time()

    @property
    def _silence(self) -> str:
        return f"the Dask scheduler at {self._address} cannot be reached"

    async def _connect(self) -> Any:
        """Raises `Unreachable`."""
        if self._client is not None and self._client.status in ("connecting", "newly-created"):
            self._note_silence()
            raise Unreachable(self._silence)
        if self._client is not None:
            await _dismiss(self._client)
        client: Any = Client(  # type: ignore[no-untyped-call]
            self._address,
            security=self._security,
            asynchronous=True,
            set_as_default=False,
            timeout=REACH_LIMIT,
            name=KEEPER,
        )
        try:
            await client
        except (*_FAULTS, ValueError) as error:
            await _dismiss(client)
            self._note_silence()
            raise Unreachable(f"{self._silence}: {error}") from error
        self._client = client
        return client

    def _client_now(self) -> Any:
        if self._client is None:
            raise Unreachable(self._silence)
        return self._client


async def _dismiss(client: Any) -> None:
    is_well = client.status == "running"
    with suppress(*_FAULTS), anyio.move_on_after(REACH_LIMIT):
        await client._close(fast=not is_well)  # else what tries to connect goes on
    client.status = "closed"  # however that went: it must not try again when it is forgotten


def _errand() -> Callable[[str, str], str]:
    """What Dask has a worker do. A function within a function is sent as it stands: so the scheduler, which
    takes apart what it is sent, need not have plandeck. It never raises, so nothing of it is logged there."""

    def plandeck(key: str, worker_id: str) -> str:
        try:
            from distributed import get_worker

            worker = get_worker()
            if worker.id != worker_id:
                return "this is another worker by now"
            from engine.dispatch.dask.outpost import perform

            perform(worker, key)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    return plandeck


def _address_in(scheduler_file: str) -> str:
    """Raises `ExecutorUnusable`."""
    try:
        return str(json.loads(Path(scheduler_file).expanduser().read_text())["address"])
    except OSError as error:
        raise ExecutorUnusable(f"cannot read {scheduler_file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ExecutorUnusable(f"{scheduler_file} is no scheduler file of Dask") from error


def quiet_loggers() -> None:
    """Leave it to the program what becomes of what Dask logs: by itself it would write it to the screen."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
