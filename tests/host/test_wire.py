"""The messages between a run and a console: nothing is changed on the way, and nonsense harms nobody."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from random import Random
from typing import Any, get_args

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core import inputs
from engine.core.events import EVENT_TYPES, Event, PlanPaused, TaskStarted
from engine.core.inputs import CancelTask, Command, MarkSucceeded, PausePlan
from engine.core.state import RunPhase, TaskState
from engine.host import wire
from engine.host.attached import attach
from engine.plan.model import Plan, Task
from engine.view.run_view import RunView
from engine.view.snapshot import snapshot_of
from tests.support.random_run import RandomRun, random_plan
from tests.support.run import FakeRun, plan_of
from tests.support.wire import raw_console, served

pytestmark = pytest.mark.anyio

TO_CONSOLE = msgspec.json.Decoder(wire.ToConsole)
TO_RUN = msgspec.json.Decoder(wire.ToRun)


def sent(message: Any) -> Any:
    """A message as the console receives it."""
    line = wire.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return TO_CONSOLE.decode(line)


def sent_events(events: list[Event]) -> list[Event]:
    return wire.unpack(sent(wire.Happened(wire.pack(events))))


# ── what is meant arrives ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES)
@given(data=st.data())
@settings(max_examples=settings().max_examples // 8)
def test_every_event_arrives_as_it_was_sent(kind: type[Event], data: st.DataObject) -> None:
    special = {
        float: st.floats(allow_nan=False, allow_infinity=False),
        int: st.integers(0, 2**53),
        str: st.text(st.characters(exclude_categories=["Cs"])),
    }
    fields = msgspec.structs.fields(kind)
    values = {
        field.name: data.draw(special[field.type] if field.type in special else st.from_type(field.type))
        for field in fields
    }
    event = kind(**values)
    (arrived,) = sent_events([event])
    assert type(arrived) is kind
    assert arrived == event


@given(st.integers(0, 2**32))
def test_plans_events_and_states_of_any_run_arrive_whole(seed: int) -> None:
    run = RandomRun(seed)
    view = RunView(run.graph, "run")
    events = [event for _ in range(60) for event in run.step().events]
    assert sent_events(events) == events
    plan = random_plan(Random(seed))
    assert sent(wire.Tasks(plan.tasks)).tasks == plan.tasks
    for snapshot in (run.scheduler.snapshot(), snapshot_of(view, 1.0)):
        assert sent(wire.Standing(snapshot, len(snapshot.tasks))).snapshot == snapshot
        assert sent(wire.TaskStates(snapshot.tasks)).tasks == snapshot.tasks


@given(st.integers(0, 2**32), st.integers(0, 80))
def test_a_view_made_of_a_views_snapshot_is_its_equal(seed: int, steps: int) -> None:
    run = RandomRun(seed)
    view = RunView.from_snapshot(run.graph, run.scheduler.snapshot())
    for _ in range(steps):
        view.apply(run.step().events)
    again = RunView.from_snapshot(run.graph, snapshot_of(view, run.offset))
    assert [_all_of(task) for task in again.tasks] == [_all_of(task) for task in view.tasks]
    assert again.counts == view.counts
    assert again.stalled == view.stalled
    assert (again.phase, again.outcome, again.last_seq) == (view.phase, view.outcome, view.last_seq)
    assert (again.failure_mode, again.max_parallel) == (view.failure_mode, view.max_parallel)
    assert again.started_at == view.started_at


def _all_of(task: Any) -> dict[str, Any]:
    return {name: getattr(task, name) for name in task.__slots__}


def test_every_command_there_is_can_be_asked_for() -> None:
    kinds = [kind for kind in vars(inputs).values() if isinstance(kind, type) and issubclass(kind, Command)]
    assert set(get_args(wire.AnyCommand)) == {kind for kind in kinds if not kind.__subclasses__()}


def test_a_command_arrives_as_it_was_sent() -> None:
    ask = wire.Ask(7, MarkSucceeded(index=3, reason="seen to — by hand\n", actor="me"))
    assert TO_RUN.decode(wire.encode(ask)) == ask


def test_what_is_no_text_becomes_question_marks_and_stops_nothing() -> None:
    plan = Plan(name="p", tasks=(), directory="/caf\udce9", env={"\udcff": "x"})
    welcome = wire.Welcome(
        version=1, run_id="r", actor="me", read_only=False, offset=0.0, utc=0.0, directory=b"/caf\xe9",
        plan=plan, tasks=0,
    )  # fmt: skip
    arrived = sent(welcome)
    assert arrived.plan.directory == "/caf?"
    assert arrived.plan.env == {"?": "x"}
    assert arrived.directory == b"/caf\xe9", "a folder that is to be opened keeps its bytes"
    task = Task(name="a", run=("\udcff", "b"))
    assert sent(wire.Tasks((task,))).tasks[0].run == ("?", "b")
    event = TaskStarted(
        seq=1, utc=0.0, offset=0.0, run_id="r", cause="\udcff",
        task="a", index=0, attempt=1, state=TaskState.RUNNING,
    )  # fmt: skip
    assert sent_events([event])[0].cause == "?"


@pytest.mark.parametrize(
    "packed",
    [
        ("TASK_EXPLODED", b"{}"),
        ("PLAN_PAUSED", b"{}"),
        ("PLAN_PAUSED", b"[]"),
        ("PLAN_PAUSED", b'{"seq":"\xff"}'),
    ],
)
def test_an_event_that_is_none_is_told_apart(packed: tuple[str, bytes]) -> None:
    name, raw = packed
    with pytest.raises(wire.Garbled):
        wire.unpack(wire.Happened(((name, msgspec.Raw(raw)),)))


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    line = b'{"type":"greeting","version":1,"mood":{"deep":[1,2,{}]}}'
    assert TO_RUN.decode(line) == wire.Greeting(version=1)
    event = PlanPaused(seq=1, utc=0.0, offset=0.0, run_id="r", cause="me", phase=RunPhase.PAUSED)
    fields = json.loads(msgspec.json.encode(event)) | {"mood": "good"}
    assert wire.unpack(wire.Happened((("PLAN_PAUSED", msgspec.Raw(json.dumps(fields).encode())),))) == [event]


# ── what is not ─────────────────────────────────────────────────────────────────────────────────

GREETING = wire.encode(wire.Greeting(version=wire.VERSION))
ASK = b'{"type":"ask","id":1,"command":{"type":"CancelTask","index":0}}\n'
MARK = b'{"type":"ask","id":1,"command":{"type":"MarkSucceeded","index":0,"reason":"%b"}}\n'

MALFORMED = {
    "an empty line": b"\n",
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "invalid UTF-8": MARK % b"\xff",
    "half a surrogate pair": MARK % rb"\ud800",
    "NULs": b"\0" * 1000 + b"\n",
    "deep JSON": b'{"type":"ask","x":' + b"[" * 60_000 + b"\n",
    "deep JSON that is closed": b'{"type":"ask","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n",
    "a huge line": b"[" * (wire.TO_RUN_LIMIT * 20) + b"\n",
    "a huge line without an end": b"x" * (wire.TO_RUN_LIMIT * 20),
    "a huge number": b'{"type":"ask","id":' + b"9" * 20_000 + b"}\n",
    "an array": b'["ask",1,{}]\n',
    "no type": b'{"id":1}\n',
    "an unknown type": b'{"type":"explode"}\n',
    "an unknown command": b'{"type":"ask","id":1,"command":{"type":"Explode"}}\n',
    "a report": b'{"type":"ask","id":1,"command":{"type":"AttemptStarted","index":0,"attempt":1}}\n',
    "a base class": b'{"type":"ask","id":1,"command":{"type":"TaskCommand","index":0}}\n',
    "no command": b'{"type":"ask","id":1}\n',
    "a word for an index": b'{"type":"ask","id":1,"command":{"type":"CancelTask","index":"0"}}\n',
    "a fraction for an index": b'{"type":"ask","id":1,"command":{"type":"CancelTask","index":0.5}}\n',
    "a mode there is not": b'{"type":"ask","id":1,"command":{"type":"SetFailureMode","mode":"panic"}}\n',
    "a negative id": b'{"type":"ask","id":-1,"command":{"type":"PausePlan"}}\n',
    "what a run says": b'{"type":"farewell","reason":"no"}\n',
}  # fmt: skip


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("greets", [False, True], ids=["at once", "after a greeting"])
async def test_a_malformed_message_ends_its_connection_alone(
    tmp_path: Path, line: bytes, greets: bool
) -> None:
    run = FakeRun(plan_of({"a": "", "b": "a"}))
    path = tmp_path / "socket"
    async with served(run, path), attach(path) as good:
        async with raw_console(path) as bad:
            await bad.say((GREETING if greets else b"") + line)
            assert (await bad.farewell()).startswith("not understood: ")
        await good.send(CancelTask(index=0))
        assert good.lost is None
    assert len(run.commands) == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (ASK, "not understood: a greeting comes first"),
        (GREETING + GREETING, "not understood: greeted twice"),
        (wire.encode(wire.Greeting(version=9)), "the run speaks version 1 and the console version 9"),
    ],
)
async def test_a_conversation_has_an_order(tmp_path: Path, said: bytes, reason: str) -> None:
    run = FakeRun(plan_of({"a": ""}))
    path = tmp_path / "socket"
    async with served(run, path), raw_console(path) as bad:
        await bad.say(said)
        assert (await bad.farewell()).startswith(reason)
    assert run.commands == []


@pytest.mark.parametrize("said", [b"", GREETING, b'{"type":"gre', GREETING + ASK[:20]])
async def test_who_leaves_in_the_middle_of_a_word_leaves_nothing_behind(tmp_path: Path, said: bytes) -> None:
    run = FakeRun(plan_of({"a": ""}))
    path = tmp_path / "socket"
    async with served(run, path), attach(path) as good:
        async with raw_console(path) as bad:
            await bad.say(said)
            bad.stream._socket.shutdown(socket.SHUT_WR)
            await bad.ended()
        async with raw_console(path) as bad:
            await bad.say(said)
        await good.send(PausePlan())
    assert len(run.commands) == 1


def _json_lines() -> st.SearchStrategy[bytes]:
    """Lines that are nearly right: messages with something in them replaced."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=5,
    )
    command = st.fixed_dictionaries(
        {"type": st.sampled_from(["CancelTask", "CancelPlan", "Command"]) | anything, "index": anything}
    )
    message = st.fixed_dictionaries(
        {"type": st.sampled_from(["ask", "greeting", "answer"]) | anything},
        optional={
            "id": anything, "command": command, "version": anything, "label": anything, "read_only": anything,
        },
    )  # fmt: skip
    return (message | anything).map(lambda value: json.dumps(value).encode() + b"\n")


def _is_accepted(line: bytes) -> bool:
    try:
        TO_RUN.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


LINES = (st.binary(max_size=200).map(lambda data: data.replace(b"\n", b" ") + b"\n") | _json_lines()).filter(
    lambda line: not _is_accepted(line)
)


@given(st.lists(st.tuples(st.booleans(), LINES), min_size=20, max_size=20))
@settings(max_examples=max(50, settings().max_examples // 20))
def test_a_thousand_malformed_messages(lines: list[tuple[bool, bytes]]) -> None:
    """Fifty times twenty. Each ends its own connection; who is attached notices nothing."""

    async def main(path: Path) -> None:
        run = FakeRun(plan_of({"a": ""}))
        async with served(run, path), attach(path) as good:
            for greets, line in lines:
                async with raw_console(path) as bad:
                    await bad.say((GREETING if greets else b"") + line)
                    await bad.ended()
            await good.send(PausePlan())
            assert good.lost is None
        assert len(run.commands) == 1

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(main, Path(folder) / "socket")


class Stuck:
    """A stream that takes half of what it is given. said: that half, of each time."""

    def __init__(self) -> None:
        self.said: list[bytes] = []

    async def send(self, data: bytes) -> None:
        self.said.append(data[: len(data) // 2])
        await anyio.sleep_forever()


async def test_a_channel_with_half_a_line_sends_no_other() -> None:
    """What would follow it could be taken for the rest of it."""
    stuck = Stuck()
    channel: wire.Channel[Any] = wire.Channel(stuck, wire.ToConsole, 100)  # type: ignore[arg-type]
    with anyio.CancelScope() as too_early:
        too_early.cancel()
        await channel.send(wire.Farewell("unsaid"))
    assert stuck.said == []
    async with anyio.create_task_group() as group:
        group.start_soon(channel.send, wire.Farewell("half said"))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    with pytest.raises(wire.Gone):
        await channel.send(wire.Farewell("again"))
    assert len(stuck.said) == 1
