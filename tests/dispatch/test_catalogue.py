"""Dispatchers that others bring: found by their entry points, made with what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.state import Outcome
from engine.dispatch.catalogue import make_dispatcher
from engine.dispatch.executors import open_executors
from engine.errors import ExecutorUnusable
from engine.plan.model import Plan, Retry, Task
from engine.session import open_run

pytestmark = pytest.mark.anyio

MODULE = """
from engine.core.inputs import AttemptOutcome, OutcomeKind

class Echo:
    entered = 0

    def __init__(self, word="echo"):
        if word == "no":
            raise ValueError("no such word")
        self.word = word

    async def __aenter__(self):
        Echo.entered += 1
        return self

    async def __aexit__(self, *error):
        Echo.entered -= 1

    async def run(self, attempt, output):
        output.started("echo")
        output.write(f"{self.word} {Echo.entered}\\n".encode())
        return AttemptOutcome(OutcomeKind.SUCCESS)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two entry points, one of them to a module that there is not."""
    folder = tmp_path / "site"
    about = folder / "echo_dispatcher-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "echo_dispatcher.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-dispatcher\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[plandeck.dispatchers]\necho = echo_dispatcher:Echo\nbroken = nowhere_to_be_found:Echo\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return folder


def plan_for(*executors: str) -> Plan:
    return Plan(
        name="p",
        tasks=tuple(Task(name=name, run="true", executor=name) for name in executors),
        max_parallel=1,
    )


@pytest.mark.usefixtures("installed")
async def test_a_plan_uses_it_by_its_name(tmp_path: Path) -> None:
    async with open_run(plan_for("echo", "local"), directory=tmp_path / "run") as run:
        assert (await run.wait()).outcome is Outcome.SUCCESS
    assert run.log_path(0, 1).read_text() == "echo 1\n"


@pytest.mark.usefixtures("installed")
async def test_the_settings_say_what_it_is_and_how_it_is_made() -> None:
    options = {"loud": {"kind": "echo", "word": "ECHO"}}
    async with open_executors(plan_for("loud"), options=options) as executors:
        assert executors["loud"].word == "ECHO"  # type: ignore[attr-defined]
        assert executors["loud"].entered == 1  # type: ignore[attr-defined]
    assert executors["loud"].entered == 0  # type: ignore[attr-defined]


async def test_a_task_that_no_dispatcher_takes_fails(tmp_path: Path) -> None:
    async with open_run(plan_for("nowhere", "local"), directory=tmp_path) as run:
        result = await run.wait()
    assert [failure.error for failure in result.failures] == ["no eligible executor: nowhere"]


async def test_a_task_that_no_dispatcher_takes_is_not_tried_again(tmp_path: Path) -> None:
    lost = Task(name="lost", run="true", executor="nowhere", retry=Retry(limit=2))
    async with open_run(Plan(name="p", tasks=(lost,)), directory=tmp_path) as run:
        await run.wait()
        assert len(run.snapshot().tasks[0].attempts) == 1


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("broken", {}, "the executor 'broken' cannot be loaded: No module named 'nowhere_to_be_found'"),
        ("echo", {"word": "no"}, "the executor 'echo' cannot be used: no such word"),
        ("loud", {"kind": "echo", "colour": 1}, "the executor 'loud' cannot be used: .*'colour'"),
    ],
)
def test_one_that_cannot_be_made(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ExecutorUnusable, match=message):
        make_dispatcher(name, options)


def test_one_that_nobody_knows() -> None:
    assert make_dispatcher("nobody", {}) is None
