"""An attempt at a station: what it says is kept until its console has asked for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, PacedOutput
from engine.dispatch.dask.messages import PIECE, Answer, Order, Read
from engine.dispatch.dask.spool import Spool
from engine.plan.model import Plan

_PAUSE: Final = 0.05
"""Seconds between two answers about one attempt, so that small pieces of output become larger ones."""

_MUCH: Final = 64 * 1024
"""Bytes of output that are not waited with."""

STOPPED: Final = AttemptOutcome(OutcomeKind.STOPPED, "stopped")


class Stay(PacedOutput):
    """An attempt at a station, and its `Output`, from its order on until it is forgotten.

    scope: what to cancel to stop it, while it is made. outcome: once it is over.
    """

    def __init__(self, order: Order, folder: str) -> None:
        plan = Plan(name=order.plan, tasks=(order.task,), env=order.env, directory=order.directory)
        outputs = f"{folder}/outputs/{order.run_id}-{order.index}-{order.number}"
        self.order = order
        self.attempt = Attempt(
            plan,
            order.task,
            order.index,
            order.number,
            order.run_id,
            outputs if order.wants_outputs else None,
        )
        self.spool = Spool(folder)
        self.scope: anyio.CancelScope | None = None
        self.outcome: AttemptOutcome | None = None
        self.begun = False
        self.beats = 0
        self.asked_at = anyio.current_time()
        self._answered_at = 0.0
        self._taken = self._kept = 0
        self._news = anyio.Event()
        self._when_room: Callable[[], None] | None = None

    # ── as an output ────────────────────────────────────────────────────────────────────────────

    def started(self, where: str = "") -> None:
        self.begun = True
        self._tell()

    def write(self, data: bytes) -> None:
        self.spool.write(data)
        self._tell()

    def heartbeat(self) -> None:
        self.beats += 1
        self._tell()

    @property
    def is_full(self) -> bool:
        return self.spool.is_full

    def when_room(self, call: Callable[[], None]) -> None:
        self._when_room = call

    # ── for its console ─────────────────────────────────────────────────────────────────────────

    @property
    def is_going_on(self) -> bool:
        return self.scope is not None and self.outcome is None

    def end(self, outcome: AttemptOutcome) -> None:
        self.outcome = outcome
        self._tell()

    def stop(self, *, hasten: bool) -> None:
        if hasten:
            self.attempt.hasten()
        if self.scope is not None:
            self.scope.cancel()
        elif self.outcome is None:
            self.end(STOPPED)

    async def read(self, request: Read) -> Answer:
        """Answer at once if there is news, else when there is some or the time is over."""
        self.asked_at = now = anyio.current_time()
        self._take_note(request)
        deadline = now + request.wait
        with anyio.move_on_at(deadline):
            while not self._has_news_for(request):
                await self._news.wait()
        due = min(self._answered_at + _PAUSE, deadline)
        with anyio.move_on_at(due):
            while self.outcome is None and self.spool.end - request.offset < _MUCH:
                await self._news.wait()
        self.asked_at = self._answered_at = anyio.current_time()
        offset = max(request.offset, self.spool.begin)
        data = self.spool.read(offset, PIECE)
        is_all = offset + len(data) == self.spool.end
        return Answer(
            is_known=True,
            begun=self.begun,
            offset=offset,
            data=data,
            lost=self.spool.lost,
            beats=self.beats,
            outcome=self.outcome if is_all else None,
            taken=self._taken,
            kept=self._kept,
        )

    def _has_news_for(self, request: Read) -> bool:
        return (
            self.outcome is not None
            or self.spool.end > request.offset
            or self.begun != request.begun
            or self.beats != request.beats
        )

    def _take_note(self, request: Read) -> None:
        if request.taken > self._taken:
            self._taken, self._kept = request.taken, request.kept
            self.spool.release(request.taken)
            if self._when_room is not None and not self.spool.is_full:
                when_room, self._when_room = self._when_room, None
                when_room()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()
