"""`Publication`: the metrics of a run at an address, until the end of the run has been read there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
import anyio.from_thread
import anyio.lowlevel

from engine.handle import RunHandle
from engine.monitor.exposition import Address, served
from engine.monitor.metrics import Metrics
from engine.monitor.monitor import Following, Monitor

logger = logging.getLogger(__name__)

PATIENCE: Final = 60.0
"""Seconds that the end of a run waits at most to be read. Scrapers come once or several times a minute."""

_SCRAPES_AWAITED: Final = 2
"""So many of the reader's intervals are waited: one scrape may fail."""


class Publication:
    """A monitor, the metrics that observe it, and where they are served.

    Made inside a running event loop by `publish`. address: with the port that was found.
    """

    def __init__(self, address: Address, monitor: Monitor, metrics: Metrics) -> None:
        self.address = address
        self._monitor = monitor
        self._metrics = metrics
        self._exposition = metrics.registry
        self._following: Following | None = None
        self._read = anyio.Event()
        self._token = anyio.lowlevel.current_token()
        self._exposition.when_read = self._note_read

    @property
    def url(self) -> str:
        return f"http://{self.address}/metrics"

    def follow(self, run: RunHandle) -> None:
        """Begin to publish a run, now; `last` does the rest."""
        self._following = self._monitor.follow(run)

    async def last(self) -> None:
        """Publish until the run is closed. What is wrong with metrics is nothing to the run."""
        if self._following is None:
            return
        try:
            await self._following.last()
        except Exception:
            logger.exception("metrics are no longer published")
            self._following = None

    @property
    def patience(self) -> float:
        """Seconds that `read` waits at most: none if nobody has ever read anything."""
        exposition = self._exposition
        if not exposition.completed:
            return 0.0
        return (
            PATIENCE if exposition.interval is None else min(PATIENCE, _SCRAPES_AWAITED * exposition.interval)
        )

    async def read(self) -> None:
        """Return when what has happened until now has been read once, or nobody is likely to: a process
        that ends at once takes its last figures with it."""
        if self._following is not None:
            self._following.catch_up()
        with anyio.move_on_after(self.patience):
            while self._exposition.completed <= self._metrics.begun_before:
                self._read = anyio.Event()
                await self._read.wait()

    def _note_read(self) -> None:
        with suppress(anyio.RunFinishedError):
            anyio.from_thread.run_sync(lambda: self._read.set(), token=self._token)


@contextmanager
def publish(address: Address) -> Iterator[Publication]:
    """Serve metrics for as long as the block lasts. Raises `MetricsUnusable`."""
    monitor = Monitor()
    metrics = Metrics(monitor)
    with served(metrics.registry, address) as bound:
        yield Publication(bound, monitor, metrics)
