"""Following an attempt on a worker, from its order to its end."""

from __future__ import annotations

from typing import Final

import anyio

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, ConcurrencyLimit, Output, ResumableOutput
from engine.dispatch.dask.cluster import Cluster, Post, WorkerGone, WorkerUnusable
from engine.dispatch.dask.connection import Unreachable
from engine.dispatch.dask.messages import Answer, Forget, Order, Place, Read, Request, Stop, Withdraw
from engine.plan.values import spelled_duration

_WAIT: Final = 10.0
"""Seconds that a worker waits for something new before it answers that there is nothing."""

_FIRST_WAIT: Final = 0.5
"""The same as long as the attempt has not begun."""

_BEGIN_LIMIT: Final = 3.0
"""Seconds that a worker which seemed to have room may take to begin."""

_RETRY_INTERVAL: Final = 0.5
"""Seconds between two tries to reach a cluster that does not answer."""


class Following:
    """One attempt on its worker, as its console sees it.

    patience: seconds that a cluster which does not answer is waited for.
    """

    def __init__(
        self, cluster: Cluster, post: Post, key: str, attempt: Attempt, output: Output, patience: float
    ) -> None:
        self._cluster = cluster
        self._post = post
        self._key = key
        self._attempt = attempt
        self._output = output
        self._patience = patience
        self._offset = 0
        self._beats = 0
        self._begun = False
        self._is_stopping = False
        self._last_byte = b"\n"

    async def make(self, order: Order | None) -> AttemptOutcome:
        """Have it made, and return its outcome. order: None for one that the worker has already.

        Raises `ConcurrencyLimit` if the worker does not begin.
        """
        try:
            if order is not None:
                await self._ask(Place(key=self._key, order=order))
                self._cluster.submit(self._key, self._post)
            elif isinstance(self._output, ResumableOutput):
                answer = await self._ask(Read(key=self._key, offset=0))
                self._output.go_back_to(answer.taken, answer.kept)
                self._offset = answer.taken
            return await self._follow()
        except (WorkerGone, WorkerUnusable, Unreachable) as loss:
            return self._lost(str(loss))
        except ConcurrencyLimit:
            raise
        except Exception:
            await self._end(is_heard=False)  # its output has a defect
            raise
        except BaseException:
            await self._end(is_heard=True)
            raise

    async def _follow(self) -> AttemptOutcome:
        begin_by = anyio.current_time() + _BEGIN_LIMIT
        while True:
            answer = await self._read()
            if not answer.is_known:
                return self._lost(f"what the Dask worker {self._post.name} had begun has ended with it")
            self._take(answer)
            if answer.outcome is not None:
                await self._forget()
                if answer.outcome.kind is OutcomeKind.STOPPED:
                    return self._lost(f"the Dask worker {self._post.name} has ended it")
                return answer.outcome
            if not self._begun:
                fault = await self._cluster.fault(self._key)
                if fault is not None and not await self._has_begun():
                    return self._failed(fault)
                if anyio.current_time() > begin_by and not await self._has_begun():
                    self._cluster.leave_alone(self._post)
                    raise ConcurrencyLimit(f"the Dask worker {self._post.name} has no room")

    async def _has_begun(self) -> bool:
        """Else it is taken back, and never will."""
        if self._begun:
            return True
        answer = await self._ask(Withdraw(key=self._key))
        if not answer.begun:
            await self._forget()
        return answer.begun

    async def _end(self, *, is_heard: bool) -> None:
        """Stop it, and return when nothing of it is left as far as can be told."""
        self._is_stopping = True
        with anyio.CancelScope(shield=True):
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._hasten)
                    await self._ask(Stop(key=self._key, hasten=self._attempt.is_hastened))
                    while True:
                        answer = await self._read()
                        if is_heard:
                            self._take(answer)
                        else:
                            self._offset = answer.offset + len(answer.data)
                        if answer.outcome is not None or not answer.is_known:
                            break
                    group.cancel_scope.cancel()
                await self._forget()
            except* (WorkerGone, WorkerUnusable, Unreachable):
                self._note("it cannot be seen whether it has ended")

    async def _hasten(self) -> None:
        if not self._attempt.is_hastened:
            await self._attempt.wait_hastened()
            await self._ask(Stop(key=self._key, hasten=True))

    # ── what comes ──────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> Answer:
        taken, kept = self._offset, self._offset
        if isinstance(self._output, ResumableOutput):
            taken, kept = self._output.bookmark()
        wait = _WAIT if self._begun else _FIRST_WAIT
        request = Read(
            key=self._key,
            offset=self._offset,
            begun=self._begun,
            beats=self._beats,
            taken=taken,
            kept=kept,
            wait=wait,
        )
        return await self._ask(request, wait)

    def _take(self, answer: Answer) -> None:
        if answer.begun and not self._begun:
            self._begun = True
            self._output.started(f"worker {self._post.name}")
        if answer.offset > self._offset:
            self._note(f"{answer.offset - self._offset:,} bytes are missing here")
        if answer.data:
            self._write(answer.data)
        self._offset = answer.offset + len(answer.data)
        if answer.beats != self._beats:
            self._beats = answer.beats
            self._output.heartbeat()
        if answer.outcome is not None and answer.lost:
            self._note(f"{answer.lost:,} bytes of output could not be kept on the worker")

    def _write(self, data: bytes) -> None:
        self._last_byte = data[-1:]
        self._output.write(data)

    def _note(self, text: str) -> None:
        """Say something in the output, on a line of its own."""
        start = b"" if self._last_byte == b"\n" else b"\n"
        self._last_byte = b"\n"
        self._output.write(b"%splandeck: %s\n" % (start, text.encode(errors="backslashreplace")))

    def _lost(self, why: str) -> AttemptOutcome:
        self._take_up()
        self._note(why)
        return AttemptOutcome(OutcomeKind.LOST, why)

    def _failed(self, why: str) -> AttemptOutcome:
        self._take_up()
        return AttemptOutcome(OutcomeKind.FAILED, why)

    def _take_up(self) -> None:
        if not self._begun:
            self._begun = True
            self._output.started(f"worker {self._post.name}")

    # ── asking ──────────────────────────────────────────────────────────────────────────────────

    async def _forget(self) -> None:
        await self._ask(Forget(key=self._key))

    async def _ask(self, request: Request, wait: float = 0.0) -> Answer:
        """As `Cluster.ask`, with patience. A stop that is hastened has none."""
        is_told = False
        while True:
            try:
                return await self._cluster.ask(self._post, request, patience=wait)
            except Unreachable as unreachable:
                since = self._cluster.silent_since
                is_over = since is not None and anyio.current_time() > since + self._patience
                if is_over or (self._is_stopping and self._attempt.is_hastened):
                    raise
                if self._begun and not is_told:
                    is_told = True
                    self._note(f"{unreachable}; waiting for it up to {spelled_duration(self._patience)}")
            await anyio.sleep(_RETRY_INTERVAL)
