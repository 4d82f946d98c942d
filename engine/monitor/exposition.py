"""Serving metrics over HTTP: what is shown of a registry, where, and whether anybody reads it."""

from __future__ import annotations

import io
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import Metric

from engine.errors import MetricsUnusable

_PATIENCE: Final = 10.0
"""Seconds that who connects has to say what it wants."""


class Address(NamedTuple):
    """Where metrics are served. port: 0 for any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Exposition(CollectorRegistry):
    """A registry that shows what was put into it and nothing else, and notes when it is read.

    begun, completed: how many scrapes. interval: seconds between the last two, None before there are two.
    when_read: called after each, in the thread that serves it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(auto_describe=True)
        self.begun = 0
        self.completed = 0
        self.interval: float | None = None
        self.when_read: Callable[[], object] = lambda: None
        self._clock = clock
        self._last_read: float | None = None
        self._reading = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Without the series `_created` that the library adds: they are no metrics of ours."""
        with self._reading:
            self.begun += 1
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
        with self._reading:
            now = self._clock()
            if self._last_read is not None:
                self.interval = now - self._last_read
            self._last_read = now
            self.completed += 1
        self.when_read()


@contextmanager
def served(registry: CollectorRegistry, address: Address) -> Iterator[Address]:
    """Serve it over HTTP for as long as the block lasts; the address has the port that was found.

    Raises `MetricsUnusable`.
    """
    try:
        (family, _, _, _, place), *_ = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        server = _Server(family, str(place[0]), int(place[1]))
    except OSError as error:
        raise MetricsUnusable(f"cannot serve metrics at {address}: {error.strerror}") from error
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve, name="plandeck metrics", daemon=True)
    thread.start()
    try:
        yield Address(address.host, server.server_port)
    finally:
        server.stop()
        thread.join()
        server.server_close()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request. The one that waits for them sleeps until somebody comes."""

    daemon_threads = True
    allow_reuse_port = False

    def __init__(self, family: int, host: str, port: int) -> None:
        self.address_family = family
        self._is_stopped = False
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """As its parents do, but without asking the name service for a name that nobody needs."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.socket.getsockname()[:2]
        self.server_name = str(host)
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked has gone."""

    def serve(self) -> None:
        while not self._is_stopped:
            self.handle_request()

    def stop(self) -> None:
        self._is_stopped = True
        with socket.create_connection(self.socket.getsockname()[:2], timeout=_PATIENCE):
            pass  # wakes it


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the terminal is the run's."""

    def get_stderr(self) -> TextIO:
        """Nor what goes wrong with an answer: who asked gets status 500."""
        return io.StringIO()
