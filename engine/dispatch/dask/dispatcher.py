"""The executor "dask": attempts are made by the workers of a Dask cluster that there is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel
from distributed.security import Security
from msgspec.structs import replace

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, ConcurrencyLimit, Output
from engine.dispatch.dask.cluster import KEEPER, Cluster, Post, WorkerGone, WorkerUnusable
from engine.dispatch.dask.connection import Connection, Unreachable, quiet_loggers
from engine.dispatch.dask.following import Following
from engine.dispatch.dask.messages import Order, Read
from engine.errors import ExecutorUnusable
from engine.ground.identity import task_id
from engine.plan.values import duration


class DaskDispatcher:
    """Commands, Python functions and simulated tasks alike, on workers that have the same plandeck.

    address, scheduler_file: where the scheduler is; without either, what Dask's own configuration says.
    tls_ca_file, tls_cert, tls_key: for an encrypted connection; by default as Dask is configured. security:
    the same as an object of Dask's. directory: where on the workers tasks run that say nothing else, by
    default in the plan's folder, under the same path. patience: how long a scheduler that does not answer
    is waited for. orphan_limit: how long a worker goes on with an attempt whose console has gone. Both are
    durations.

    A worker that dies loses its attempts, which are then made again: the outcome is LOST. What a console
    leaves behind that was killed goes on, and `adopt` finds it.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        scheduler_file: str | None = None,
        tls_ca_file: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        security: Security | None = None,
        directory: str | None = None,
        patience: str | float = "1m",
        orphan_limit: str | float = "1h",
    ) -> None:
        """Raises ValueError."""
        if security is None and (tls_ca_file or tls_cert or tls_key):
            security = Security(  # type: ignore[no-untyped-call]
                tls_ca_file=tls_ca_file,
                tls_client_cert=tls_cert,
                tls_client_key=tls_key,
                require_encryption=True,
            )
        quiet_loggers()
        self._connection = Connection(address, scheduler_file, security, KEEPER)
        self._cluster = Cluster(self._connection)
        self._directory = directory
        self._patience = _seconds(patience)
        self._orphan_limit = _seconds(orphan_limit)
        self._speed = 1.0
        self._seed: int | None = None
        self._adopted: dict[str, Post] = {}

    def pretend(self, *, speed: float, seed: int | None) -> None:
        """How simulated tasks run."""
        self._speed, self._seed = speed, seed

    async def __aenter__(self) -> Self:
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            raise ExecutorUnusable("the executor for Dask needs the event loop of asyncio") from error
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._connection.close()

    async def adopt(self, attempts: Sequence[Attempt]) -> Collection[int]:
        """Those that the cluster still has, by their task's index. Raises `ExecutorUnusable`."""
        by_key = {_key(attempt): attempt.index for attempt in attempts}
        try:
            for key, address in (await self._cluster.find(by_key)).items():
                try:
                    post = await self._cluster.post(address)
                    answer = await self._cluster.ask(post, Read(key=key, offset=0))
                except (WorkerGone, WorkerUnusable):
                    continue
                if answer.is_known:
                    self._cluster.take(key, post)
                    self._cluster.keep(key)
                    self._adopted[key] = post
        except Unreachable as unreachable:
            raise ExecutorUnusable(str(unreachable)) from unreachable
        return {by_key[key] for key in self._adopted}

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        key = _key(attempt)
        post = self._adopted.pop(key, None)
        if post is None:
            await anyio.lowlevel.checkpoint_if_cancelled()
            try:
                post = await self._cluster.allot(key)
            except WorkerUnusable as unusable:
                output.started()
                return AttemptOutcome(OutcomeKind.FAILED, str(unusable), is_final=True)
            except Unreachable as unreachable:
                if self._has_patience():
                    raise ConcurrencyLimit(str(unreachable)) from unreachable
                output.started()
                return AttemptOutcome(OutcomeKind.FAILED, str(unreachable), is_final=True)
        order = None if attempt.is_adopted else self._order(attempt)
        try:
            return await Following(self._cluster, post, key, attempt, output, self._patience).make(order)
        finally:
            self._cluster.release(key, post)

    def _has_patience(self) -> bool:
        since = self._cluster.silent_since
        return since is None or anyio.current_time() <= since + self._patience

    def _order(self, attempt: Attempt) -> Order:
        plan, task = attempt.plan, attempt.task
        secrets = {name: os.environ[name] for name in plan.secrets if name in os.environ}
        scope = plan.subplans[task.scope - 1] if task.scope and task.python is not None else plan
        return Order(
            run_id=attempt.run_id,
            plan=plan.name,
            task=replace(task, scope=0),
            index=attempt.index,
            number=attempt.number,
            env=secrets | plan.env,
            directory=self._directory or scope.directory,
            wants_outputs=attempt.outputs is not None,
            speed=self._speed,
            seed=self._seed,
            patience=self._orphan_limit,
        )


def _key(attempt: Attempt) -> str:
    """The name of an attempt in the cluster: the same whenever it is asked for."""
    return f"plandeck-{task_id(attempt.run_id, attempt.task.type, attempt.index)}-{attempt.number}"


def _seconds(given: str | float) -> float:
    """Raises ValueError for what is no duration."""
    return float(given) if isinstance(given, int | float) else duration(given)
