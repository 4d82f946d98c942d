"""`attach`: a run in another process, as if it were in this one."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final, TypeVar, cast

import anyio
import msgspec

from engine.core.events import Event, PlanResumed
from engine.core.inputs import Command, Now
from engine.core.records import Snapshot, TaskSnapshot
from engine.errors import CommandRefused, PlandeckError, PlanInvalid
from engine.ground.collector import collector_paused
from engine.host import wire
from engine.host.local_socket import LocalStream, connect
from engine.host.mirror import Mirror
from engine.plan.graph import Graph
from engine.plan.model import Task
from engine.result import PlanResult
from engine.view.run_view import AUDIT_LIMIT, RunView

ATTACH_PATIENCE: Final = 10.0
"""Seconds until the run must have said how it stands."""

SEND_PATIENCE: Final = 5.0
"""Seconds until a command must have been taken from us. Its answer may take longer."""

DETACHED: Final = "detached from the run"

_NOBODY: Final = {errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED}

Connection = wire.Channel[wire.ToConsole]
Expected = TypeVar("Expected", bound=msgspec.Struct)


class RunUnreachable(PlandeckError):
    """The run is in another process, and that cannot be reached (any more); the message says why."""


@asynccontextmanager
async def attach(path: Path, *, read_only: bool = False) -> AsyncIterator[AttachedRun]:
    """Watch and steer the run that `serve` serves at `path`, for as long as the block lasts.

    Leaving the block leaves the run as it is. When the connection ends the block goes on: the stream of
    events ends, time stands still, commands are refused, and `AttachedRun.lost` says why.
    Raises `RunUnreachable` if there is no run to attach to.
    """
    run: AttachedRun | None = None
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        with anyio.move_on_after(ATTACH_PATIENCE):
            stream = await stack.enter_async_context(await _reach(path))
            run = await _meet(stream, read_only=read_only)
        if run is None:
            raise RunUnreachable(f"the run at {path} does not answer")
        async with anyio.create_task_group() as group:
            group.start_soon(run.follow)
            try:
                yield run
            except Exception as error:
                failure = error  # raised again outside the group, which would wrap it
            finally:
                run.lose(DETACHED)
                group.cancel_scope.cancel()
    if failure is not None:
        raise failure


class AttachedRun(Mirror):
    """A `RunHandle` of a run in another process. Made by `attach` alone.

    actor: who this console is in the audit trail of the run. read_only: commands are refused here, and
    would be there. lost: why nothing more comes; None while it does.
    """

    def __init__(self, channel: Connection, welcome: wire.Welcome, received: float, view: RunView) -> None:
        """received: when, on the clock of this process, the welcome came."""
        super().__init__(view, welcome.offset, Path(os.fsdecode(welcome.directory)))
        self.actor = welcome.actor
        self.read_only = welcome.read_only
        self.lost: str | None = None
        self._channel = channel
        self._ahead = welcome.offset - received
        self._epoch = welcome.utc - welcome.offset
        self._turn = anyio.Lock()
        self._numbers = count(1)
        self._asked: dict[int, _Asked] = {}
        self._result: PlanResult | None = None
        self._changed = anyio.Event()
        self._lost_at = 0.0

    def now(self) -> Now:
        """As in the other process; once the connection is lost, as it was then."""
        here = anyio.current_time() if self.lost is None else self._lost_at
        offset = here + self._ahead
        return Now(offset, offset + self._epoch)

    async def send(self, command: Command) -> None:
        """Also refused when the run cannot be reached. The command's actor is replaced by ours."""
        if self.read_only:
            raise CommandRefused(wire.READ_ONLY)
        if self.lost is not None:
            raise CommandRefused(self.lost)
        number, asked = next(self._numbers), _Asked()
        ask = wire.Ask(number, cast(wire.AnyCommand, command))
        if len(wire.encode(ask)) > wire.TO_RUN_LIMIT:
            raise CommandRefused("the command is too long to be sent")
        self._asked[number] = asked
        try:
            await self._write(ask)
            await asked.answered.wait()
        finally:
            del self._asked[number]
        if asked.refusal is not None:
            raise CommandRefused(asked.refusal)

    async def wait(self) -> PlanResult:
        """Raises `RunUnreachable` if the connection is lost before the run is complete."""
        while self._result is None:
            if self.lost is not None:
                raise RunUnreachable(self.lost)
            await self._changed.wait()
        return self._result

    async def gone(self) -> str:
        """Return when nothing more comes, with the reason (`lost`)."""
        while self.lost is None:
            await self._changed.wait()
        return self.lost

    async def follow(self) -> None:
        """Until the run, or the connection, ends. For `attach` alone."""
        try:
            while self.lost is None:
                await self._take(await self._channel.receive())
        except wire.Garbled as garbled:
            self.lose(f"the run says what is not understood: {garbled}")
        except wire.Gone:
            self.lose("the connection to the run is lost")
        except RunUnreachable as farewell:
            self.lose(str(farewell))

    def lose(self, reason: str) -> None:
        """Nothing more will come, or shall. For `attach` alone."""
        if self.lost is not None:
            return
        self._lost_at = anyio.current_time()
        self.lost = reason
        for asked in self._asked.values():
            asked.answer(f"{reason}; whether the command was carried out is not known")
        self._stream.end()
        self._wake()

    async def _write(self, message: wire.Ask) -> None:
        # shielded: half a line would be the end of the connection
        with anyio.move_on_after(SEND_PATIENCE, shield=True) as patience:
            async with self._turn:
                with suppress(wire.Gone):  # who reads notices
                    await self._channel.send(message)
        if patience.cancelled_caught:
            self.lose("the run does not listen")

    async def _take(self, message: wire.ToConsole) -> None:
        match message:
            case wire.Happened():
                self._note(wire.unpack(message))
            case wire.Answer():
                if message.id in self._asked:
                    self._asked[message.id].answer(message.refusal)
            case wire.Standing():
                snapshot = await _receive_states(self._channel, message, len(self.plan.tasks))
                known = [*self._view.audit, *snapshot.past][-AUDIT_LIMIT:]
                snapshot = msgspec.structs.replace(snapshot, past=tuple(known))
                self._result = None  # it comes again if it still holds
                self._keep_pace(snapshot.offset)
                self._jump(RunView.from_snapshot(self.graph, snapshot), snapshot.offset, message.missed)
            case wire.Completed():
                self._result = message.result
                self._wake()
            case wire.Farewell():
                self.lose(message.reason)
            case _:
                raise wire.Garbled("welcomed twice")

    def _note(self, events: list[Event]) -> None:
        if not events:
            return
        if any(isinstance(event, PlanResumed) for event in events):
            self._result = None
        self._keep_pace(events[-1].offset)
        self._happen(events)

    def _keep_pace(self, offset: float) -> None:
        """What has happened there cannot lie ahead of us."""
        self._ahead = max(self._ahead, offset - anyio.current_time())

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class _Asked:
    """A command on its way, and whoever waits for the answer."""

    __slots__ = ("answered", "refusal")

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.refusal: str | None = None

    def answer(self, refusal: str | None) -> None:
        self.refusal = refusal
        self.answered.set()


async def _reach(path: Path) -> LocalStream:
    try:
        stream = await connect(path)
    except OSError as error:
        if error.errno in _NOBODY:
            raise RunUnreachable(
                f"no run listens at {path}: it has ended, or its process was killed"
            ) from error
        raise RunUnreachable(f"cannot attach at {path}: {error.strerror or error}") from error
    if not stream.is_of_this_user:
        await stream.aclose()
        raise RunUnreachable(f"the run at {path} belongs to another user")
    return stream


async def _meet(stream: LocalStream, *, read_only: bool) -> AttachedRun:
    """Say who we are, and be told the plan and how the run stands."""
    channel: Connection = wire.Channel(stream, wire.ToConsole, wire.TO_CONSOLE_LIMIT)
    try:
        await channel.send(wire.Greeting(version=wire.VERSION, label=_terminal(), read_only=read_only))
        welcome = await _receive(channel, wire.Welcome)
        received = anyio.current_time()
        tasks: list[Task] = []
        while len(tasks) < welcome.tasks:
            tasks.extend((await _receive(channel, wire.Tasks)).tasks)
        with collector_paused():
            graph = Graph(msgspec.structs.replace(welcome.plan, tasks=tuple(tasks)))
        snapshot = await _receive_states(channel, await _receive(channel, wire.Standing), len(tasks))
    except (wire.Garbled, PlanInvalid) as error:
        raise RunUnreachable(f"the run says what is not understood: {error}") from error
    except wire.Gone as error:
        raise RunUnreachable("the run has ended the connection") from error
    return AttachedRun(channel, welcome, received, RunView.from_snapshot(graph, snapshot))


async def _receive_states(channel: Connection, standing: wire.Standing, count: int) -> Snapshot:
    """count: of the tasks in the plan."""
    tasks: list[TaskSnapshot] = []
    while len(tasks) < standing.tasks:
        tasks.extend((await _receive(channel, wire.TaskStates)).tasks)
    if len(tasks) != count:
        raise wire.Garbled(f"the states of {len(tasks)} tasks where {count} should be")
    past: list[Event] = []
    while len(past) < standing.past:
        past += wire.unpack(await _receive(channel, wire.Past))
    return msgspec.structs.replace(standing.snapshot, tasks=tuple(tasks), past=tuple(past))


async def _receive(channel: Connection, kind: type[Expected]) -> Expected:
    message = await channel.receive()
    if isinstance(message, wire.Farewell):
        raise RunUnreachable(message.reason)
    if not isinstance(message, kind):
        raise wire.Garbled(f"{type(message).__name__} where {kind.__name__} should be")
    return message


def _terminal() -> str:
    """The name of our terminal, without its folder; "" without one."""
    for descriptor in range(3):
        with suppress(OSError):
            return os.ttyname(descriptor).removeprefix("/dev/")
    return ""
