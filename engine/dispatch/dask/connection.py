"""The connection to a Dask cluster: to its scheduler, and to its workers directly or by way of that."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import dask.config
from distributed import Client
from distributed.comm.core import CommClosedError
from distributed.security import Security

from engine.errors import ExecutorUnusable

REACH_LIMIT: Final = 5.0
"""Seconds that a scheduler or a worker has to answer a question that takes no time."""

FAULTS: Final = (OSError, TimeoutError, CommClosedError, asyncio.TimeoutError)

LOGGERS: Final = ("distributed", "distributed.client", "bokeh", "tornado", "tornado.application")


class Unreachable(Exception):
    """The scheduler does not answer. The message names it."""


class Connection:
    """To be opened before anything else, and closed.

    address: of the scheduler; None for the one in Dask's own configuration. scheduler_file: which has it,
    instead. security: for TLS, None for what Dask's own configuration says. name: for the scheduler's log.
    """

    def __init__(
        self, address: str | None, scheduler_file: str | None, security: Security | None, name: str
    ) -> None:
        self._address = address or ("" if scheduler_file else dask.config.get("scheduler-address", None))
        self._scheduler_file = scheduler_file
        self._security = security
        self._name = name
        self._client: Any = None  # a Client, most of which has no types
        self.unreachable_since: float | None = None
        """When the scheduler was first found not to answer; None if it did so last."""

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
        if self._client is not None:
            client, self._client = self._client, None
            await _dismiss(client)

    async def call(
        self, address: str, call: Mapping[str, Any], *, is_direct: bool, patience: float = 0.0
    ) -> Any:
        """What a worker answers. Raises one of `FAULTS` if it does not, what it raises itself, and
        `Unreachable` if the way goes by a scheduler that is not."""
        if is_direct:
            arguments = {name: value for name, value in call.items() if name != "op"}
            with anyio.fail_after(REACH_LIMIT + patience):
                return await getattr(self.client.rpc(address), call["op"])(**arguments)
        answers = await self.ask(
            "broadcast", patience=patience, msg=call, workers=[address], on_error="return_pickle"
        )
        answer = answers[address]
        if isinstance(answer, bytes):
            raise pickle.loads(answer)  # noqa: S301 -- it has made it
        return answer

    async def ask(self, operation: str, *, patience: float = 0.0, **arguments: Any) -> Any:
        """What the scheduler answers. Raises `Unreachable`."""
        client = self._client
        if client is None or client.status != "running":
            client = await self._connect()
        ask: Callable[..., Any] = partial(getattr(client.scheduler, operation), **arguments)
        try:
            with anyio.fail_after(REACH_LIMIT + patience):
                answer = await ask()
        except FAULTS as error:
            self._note_silence()
            raise Unreachable(self.silence) from error
        self.unreachable_since = None
        return answer

    def _note_silence(self) -> None:
        if self.unreachable_since is None:
            self.unreachable_since = anyio.current_time()

    @property
    def silence(self) -> str:
        return f"the Dask scheduler at {self._address} cannot be reached"

    async def _connect(self) -> Any:
        """Raises `Unreachable`."""
        if self._client is not None and self._client.status in ("connecting", "newly-created"):
            self._note_silence()
            raise Unreachable(self.silence)
        if self._client is not None:
            await _dismiss(self._client)
        client: Any = Client(  # type: ignore[no-untyped-call]
            self._address,
            security=self._security,
            asynchronous=True,
            set_as_default=False,
            timeout=REACH_LIMIT,
            name=self._name,
        )
        try:
            await client
        except (*FAULTS, ValueError) as error:
            await _dismiss(client)
            self._note_silence()
            raise Unreachable(f"{self.silence}: {error}") from error
        self._client = client
        return client

    @property
    def client(self) -> Any:
        """Dask's own. Raises `Unreachable`."""
        if self._client is None:
            raise Unreachable(self.silence)
        return self._client


async def _dismiss(client: Any) -> None:
    is_well = client.status == "running"
    with suppress(*FAULTS), anyio.move_on_after(REACH_LIMIT):
        await client._close(fast=not is_well)  # else what tries to connect goes on
    client.status = "closed"  # however that went: it must not try again when it is forgotten


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
