"""A Dask cluster as seen from a console: its workers, their room, and requests to them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import anyio
from distributed.core import clean_exception

from engine.dispatch.base import ConcurrencyLimit
from engine.dispatch.dask.connection import FAULTS, Connection, Unreachable
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

logger = logging.getLogger(__name__)

KEEPER: Final = "plandeck"
"""The client in whose name the scheduler keeps our keys. None of that name ever leaves: so they outlive a
console."""

_SURVEY_AGE: Final = 0.1
"""Seconds that what the scheduler says of its workers is believed."""

_SULK: Final = 5.0
"""Seconds that a worker is left alone which had seemed to have room but did not begin."""


class Silent(Unreachable):
    """A worker does not answer, though the scheduler has not given it up. The message names it."""


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
    """The workers of one cluster, for a whole run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._posts: dict[str, Post] = {}
        self._unusable: dict[str, WorkerUnusable] = {}  # by address
        self._futures: dict[str, Any] = {}
        self._kept: dict[str, Any] = {}  # by key, the connection by which the keeper was told of it
        self._ours: set[str] = set()  # keys, those of attempts that are over included
        self._allotting = anyio.Lock()
        self._surveyed_at = -1e9
        self._threads: Mapping[str, int] = {}
        self._processing: Mapping[str, Iterable[str]] = {}

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
                except (WorkerGone, Silent):
                    continue
                except WorkerUnusable as unusable:
                    self._unusable[address] = unusable
                    continue
                if anyio.current_time() >= post.sulks_until:
                    self.take(key, post)
                    return post
            if len(self._unusable) == len(self._threads):
                raise next(iter(self._unusable.values()))
            total = sum(self._threads[address] for address in self._threads.keys() - self._unusable.keys())
            raise ConcurrencyLimit(f"all {total} threads of the Dask cluster are taken")

    def take(self, key: str, post: Post) -> None:
        """Count a thread of the worker as taken by the attempt of that key."""
        post.taken.add(key)
        self._ours.add(key)

    def _free(self) -> dict[str, int]:
        """How many threads of each worker are. Our own are known better here than by a survey."""
        free = {}
        for address, threads in self._threads.items():
            if address in self._unusable:
                continue
            post = self._posts.get(address)
            taken = post.taken if post is not None else set()
            others = sum(key not in self._ours for key in self._processing.get(address, ()))
            free[address] = threads - others - len(taken)
        return free

    async def _survey(self) -> None:
        if anyio.current_time() > self._surveyed_at + _SURVEY_AGE:
            self._threads = await self._connection.ask("ncores")
            self._processing = await self._connection.ask("processing")
            self._surveyed_at = anyio.current_time()
            for known in (self._posts, self._unusable):
                for address in known.keys() - self._threads.keys():
                    del known[address]

    async def post(self, address: str) -> Post:
        """The worker at that address, ready for requests. Raises `WorkerGone`, `WorkerUnusable` and
        `Unreachable`."""
        if (post := self._posts.get(address)) is not None:
            return post
        call = {"op": "run", "function": pickle.dumps(open_outpost)}
        is_direct = True
        try:
            try:
                answer = await self._connection.call(address, call, is_direct=True)
            except FAULTS as error:
                if address not in await self._connection.ask("ncores"):
                    raise WorkerGone(f"the Dask worker at {address} has gone") from error
                is_direct = False
                try:
                    answer = await self._connection.call(address, call, is_direct=False)
                except FAULTS as fault:
                    raise Silent(f"the Dask worker at {address} does not answer") from fault
            if answer["status"] != "OK":
                raised: Any = clean_exception(**answer)[1]
                raise raised
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

    @property
    def silent_since(self) -> float | None:
        """When the scheduler was first found not to answer; None if it did so last."""
        return self._connection.unreachable_since

    def leave_alone(self, post: Post) -> None:
        """It did not begin though it seemed to have room."""
        post.sulks_until = anyio.current_time() + _SULK

    # ── attempts ────────────────────────────────────────────────────────────────────────────────

    async def ask(self, post: Post, request: Request, *, patience: float = 0.0) -> Answer:
        """The answer of the station there, `UNKNOWN` if it has ended. patience: seconds that it may take
        besides.

        Raises `WorkerGone`, `Silent`, and `Unreachable` if neither worker nor scheduler can be asked.
        """
        call = {"op": OPERATION, "request": encode(request)}
        try:
            answer = await self._connection.call(
                post.address, call, is_direct=post.is_direct, patience=patience
            )
        except FAULTS as error:
            if self._posts.get(post.address) is post:
                del self._posts[post.address]
            if post.address not in await self._connection.ask("ncores"):
                raise WorkerGone(f"the Dask worker {post.name} has gone") from error
            again = await self.post(post.address)
            if again.id != post.id:
                raise WorkerGone(f"the Dask worker {post.name} has gone") from error
            again.taken, post.is_direct = post.taken, again.is_direct
            raise Silent(f"the Dask worker {post.name} does not answer") from error
        return answer_from(answer["answer"]) if answer["answer"] else UNKNOWN

    def submit(self, key: str, post: Post) -> None:
        """Have the worker begin the attempt of that key as soon as it has a thread for it. Where the cluster
        has that key already, nothing happens."""
        client = self._connection.client
        if client.status != "running":
            raise Unreachable(self._connection.silence)
        self._futures[key] = client.submit(
            _errand(), key, post.id, key=key, workers=[post.address], allow_other_workers=False, pure=False
        )
        self.keep(key)

    def keep(self, key: str) -> None:
        """Have the scheduler keep what it knows of that key, whatever becomes of us."""
        self._kept[key] = client = self._connection.client
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
        client = self._kept.pop(key, None)
        if client is not None and client.status == "running":
            release = {"op": "client-releases-keys", "keys": [key], "client": KEEPER}
            client._send_to_scheduler(release)

    async def find(self, keys: Iterable[str]) -> dict[str, str]:
        """Of those keys that the cluster has, the address of the worker. Raises `Unreachable`."""
        wanted = set(keys)
        found = {
            key: address
            for address, processing in (await self._connection.ask("processing")).items()
            for key in wanted.intersection(processing)
        }
        who_has = await self._connection.ask("who_has", keys=list(wanted - found.keys()))
        return found | {key: addresses[0] for key, addresses in who_has.items() if addresses}


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
