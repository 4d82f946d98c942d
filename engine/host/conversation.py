"""`Conversation`: a run's side of one connection with a console in another process."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import msgspec

from engine.core.events import PlanEvent, PlanResumed
from engine.core.inputs import Command
from engine.core.records import TaskSnapshot
from engine.core.state import RunPhase
from engine.errors import CommandRefused
from engine.handle import RunHandle
from engine.host import wire
from engine.host.local_socket import LocalStream
from engine.result import PlanResult
from engine.stream import Missed

PACE: Final = 0.02
"""Seconds of events that travel together: a console draws less often than that."""

GREETING_PATIENCE: Final = 10.0
"""Seconds that a new connection has to say what it is."""

PARTING_PATIENCE: Final = 0.5
"""Seconds that a console has to read the rest when the run or its connection ends."""

RESULT_PATIENCE: Final = 0.2
"""Seconds to wait for the result of a run that is complete: it is there, or there was a retry just now."""

LABEL_LIMIT: Final = 32
_NOT_IN_A_LABEL: Final = re.compile(r"[^A-Za-z0-9/._:-]")


class Conversation:
    """What is said over one connection, as the run's side says it.

    Three tasks: one hears what it asks, one tells it what happens, one waits for the result. Whoever
    sends has the turn. The cancellation of the surroundings does not reach them: `part` ends them.
    """

    def __init__(self, run: RunHandle, directory: Path, stream: LocalStream, backlog: int) -> None:
        """directory: where the run's logs are. backlog: events that may wait for the console."""
        self._run = run
        self._directory = directory
        self._stream = stream
        self._channel: wire.Channel[wire.ToRun] = wire.Channel(stream, wire.ToRun, wire.TO_RUN_LIMIT)
        self._subscription = run.subscribe(backlog)
        self._life = anyio.CancelScope(shield=True)
        self._greeting = anyio.CancelScope()
        self._turn = anyio.Lock()
        self._farewell = ""
        self._actor = ""
        self._read_only = False
        self._phase = RunPhase.PENDING  # as far as the console has been told
        self._told = 0  # the number of the last event that the console has had
        self._has_result = False
        self._reopened = anyio.Event()

    def part(self, reason: str) -> None:
        """Tell it the rest and the reason, and end the connection. Returns at once."""
        if not self._farewell:
            self._farewell = reason
            self._life.deadline = anyio.current_time() + PARTING_PATIENCE
            self._greeting.cancel()
            self._subscription.end()

    async def converse(self) -> None:
        """Until it leaves or is left."""
        try:
            with self._life, suppress(wire.Gone):
                try:
                    if await self._is_greeted():
                        await self._welcome()
                        await self._follow()
                except wire.Garbled as garbled:
                    self.part(f"not understood: {garbled}")
                await self._channel.send(wire.Farewell(self._farewell))
        finally:
            self._subscription.close()
            await self._stream.aclose()

    # ── the beginning ───────────────────────────────────────────────────────────────────────────

    async def _is_greeted(self) -> bool:
        greeting: wire.ToRun | None = None
        self._greeting.deadline = anyio.current_time() + GREETING_PATIENCE
        with self._greeting:
            greeting = await self._channel.receive()
        if greeting is None:
            self.part("not greeted in time")
            return False
        if not isinstance(greeting, wire.Greeting):
            raise wire.Garbled("a greeting comes first")
        if greeting.version != wire.VERSION:
            self.part(
                f"the run speaks version {wire.VERSION} and the console version {greeting.version}:"
                " use the plandeck that started the run"
            )
            return False
        self._actor = _actor(greeting.label)
        self._read_only = greeting.read_only
        return True

    async def _welcome(self) -> None:
        run, now = self._run, self._run.now()
        tasks = run.plan.tasks
        await self._channel.send(
            wire.Welcome(
                version=wire.VERSION,
                run_id=run.run_id,
                actor=self._actor,
                read_only=self._read_only or run.read_only,
                offset=now.offset,
                utc=now.utc,
                directory=os.fsencode(self._directory.absolute()),
                plan=msgspec.structs.replace(run.plan, tasks=()),
                tasks=len(tasks),
            )
        )
        for part in wire.parts(tasks):
            await self._channel.send(wire.Tasks(tuple(part)))
        await self._stand()

    # ── the run goes on ─────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._until_it_leaves, self._hear, group.cancel_scope)
            group.start_soon(self._until_it_leaves, self._report, group.cancel_scope)
            await self._until_it_leaves(self._tell, group.cancel_scope)
            group.cancel_scope.cancel()

    async def _until_it_leaves(
        self, function: Callable[[], Awaitable[None]], scope: anyio.CancelScope
    ) -> None:
        try:
            await function()
        except wire.Garbled as garbled:
            self.part(f"not understood: {garbled}")
            scope.cancel()
        except wire.Gone:
            self.part("the console has left")
            scope.cancel()

    async def _hear(self) -> None:
        """Commands, one after the other: the next is not read before this one's answer is sent."""
        while True:
            message = await self._channel.receive()
            if not isinstance(message, wire.Ask):
                raise wire.Garbled("greeted twice")
            refusal = await self._obey(message.command)
            async with self._turn:
                await self._flush()
                await self._channel.send(wire.Answer(message.id, refusal))

    async def _obey(self, command: Command) -> str | None:
        if self._read_only:
            return wire.READ_ONLY
        try:
            await self._run.send(msgspec.structs.replace(command, actor=self._actor))
        except CommandRefused as refused:
            return str(refused)
        return None

    async def _tell(self) -> None:
        """Events, until there are no more; what is known at the end is told in any case."""
        while await self._subscription.wait():
            async with self._turn:
                await self._flush()
            await anyio.sleep(PACE)
        async with self._turn:
            if not self._has_result:
                await self._send_result()

    async def _report(self) -> None:
        """The result, each time the run has completed."""
        while True:
            await self._run.wait()
            async with self._turn:
                await self._flush()
                self._reopened = anyio.Event()
                if self._phase is not RunPhase.COMPLETE:
                    continue  # a retry was quicker
                await self._send_result()
            await self._reopened.wait()

    async def _send_result(self) -> None:
        """That of now: while others had the turn the run may have been reopened, and completed again."""
        result: PlanResult | None = None
        if self._phase is RunPhase.COMPLETE:
            with anyio.move_on_after(RESULT_PATIENCE):
                result = await self._run.wait()
        if result is not None:
            await self._channel.send(wire.Completed(result))
            self._has_result = True

    async def _flush(self) -> None:
        """Send what waits."""
        try:
            events = self._subscription.take()
        except Missed as missed:
            await self._stand(missed.count)
            return
        for event in events:
            if isinstance(event, PlanEvent):
                self._phase = event.phase
                if isinstance(event, PlanResumed):
                    self._forget_result()
        if events:
            self._told = events[-1].seq
        for part in wire.parts(events):
            await self._channel.send(wire.Happened(wire.pack(part)))

    async def _stand(self, missed: int = 0) -> None:
        """Send the run as it stands."""
        with suppress(Missed):
            self._subscription.take()  # older than the snapshot
        snapshot = self._run.snapshot()
        self._phase = snapshot.phase
        self._forget_result()
        tasks = [_still(task) for task in snapshot.tasks]
        past = [event for event in snapshot.past if event.seq > self._told]
        self._told = snapshot.seq
        head = msgspec.structs.replace(snapshot, tasks=(), past=())
        await self._channel.send(wire.Standing(head, len(tasks), missed, len(past)))
        for part in wire.parts(tasks):
            await self._channel.send(wire.TaskStates(tuple(part)))
        for events in wire.parts(past):
            await self._channel.send(wire.Past(wire.pack(events)))

    def _forget_result(self) -> None:
        self._has_result = False
        self._reopened.set()


def _still(task: TaskSnapshot) -> TaskSnapshot:
    """The same, but not changing while it is being sent: the record of a running attempt is written to."""
    if not task.attempts or task.attempts[-1].ended is not None:
        return task
    *earlier, current = task.attempts
    return msgspec.structs.replace(task, attempts=(*earlier, msgspec.structs.replace(current)))


def _actor(label: str) -> str:
    """Who a console is, for the audit trail: the user, who is known, at what it calls its place."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"uid {uid}"
    place = _NOT_IN_A_LABEL.sub("", label)[:LABEL_LIMIT]
    return f"{user}@{place}" if place else user
