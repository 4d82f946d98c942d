"""Hooks: who is called when, what it is told, and that the run never notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from engine.core.events import HookEnded
from engine.core.inputs import AttemptOutcome, CancelPlan, HookFinished, OutcomeKind
from engine.core.state import Outcome
from engine.dispatch.base import Attempt, Output
from engine.ground.folders import state_directory
from engine.host.kept import KeptRun, open_kept_run, reopen_run
from engine.monitor.hooks import AT_ONCE, SHOWN, WAITING, HookRunner, attend
from engine.plan.load import parse_plan
from engine.plan.model import Hooks, Plan
from engine.result import PlanResult
from engine.session import Run
from engine.store.history import History
from tests.support.run import FakeRun, plan_of

pytestmark = pytest.mark.anyio

ALL = Hooks(success="s", failure="f", stall="st", unhealthy="u")


# ── who is called when ──────────────────────────────────────────────────────────────────────────


class Watched(FakeRun):
    """A run without an engine that keeps what is noted of its hooks."""

    def __init__(self, directory: Path, tasks: str = "A B C D", hooks: Hooks = ALL) -> None:
        plan = plan_of(dict.fromkeys(tasks.split(), ""))
        super().__init__(
            Plan(name="nightly", goal="sleep", tasks=plan.tasks, hooks=hooks), directory=directory
        )
        self.directory = directory
        self.notes: list[HookFinished] = []

    def note(self, hook: HookFinished) -> None:
        self.notes.append(hook)


class Caller:
    """A dispatcher of hooks that calls nobody, and lets them end when it is told to."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self.running = 0
        self.most = 0
        self.outcome = AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)
        self.gate = anyio.Event()
        self.gate.set()

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        self.calls.append(attempt.task.env or {})
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        return self.outcome

    def events(self) -> list[str]:
        return [call["PLANDECK_EVENT"] for call in self.calls]


def attended(run: Watched, caller: Caller) -> Any:
    class Attended:
        async def __aenter__(self) -> HookRunner:
            self.block = attend(cast(Run, run), None)
            runner = await self.block.__aenter__()
            runner._dispatcher = cast(Any, caller)
            return runner

        async def __aexit__(self, *what: object) -> None:
            await self.block.__aexit__(*what)

    return Attended()


@pytest.mark.parametrize(
    ("outcome", "hooks"),
    [
        (Outcome.SUCCESS, ["success"]),
        (Outcome.FAILED, ["failure"]),
        (Outcome.INTERRUPTED, ["failure"]),
        (Outcome.CANCELLED, []),
    ],
)
async def test_the_end_of_a_run_is_told_by_how_it_ends(
    outcome: Outcome, hooks: list[str], tmp_path: Path
) -> None:
    run, caller = Watched(tmp_path), Caller()
    async with attended(run, caller) as runner:
        run.start()
        run.push(run.make.plan_completed(outcome))
        await runner.finish()
        assert caller.events() == hooks
        assert all(call["PLANDECK_OUTCOME"] == outcome for call in caller.calls)


async def test_a_run_that_a_retry_reopens_is_told_of_again(tmp_path: Path) -> None:
    run, caller = Watched(tmp_path), Caller()
    async with attended(run, caller) as runner:
        run.start("A")
        run.push(run.make.failed("A"), run.make.plan_completed(Outcome.FAILED))
        await runner.finish()
        run.push(run.make.reset("A"), run.make.resumed(), run.make.completed("A"), run.make.plan_completed())
        await runner.finish()
        assert caller.events() == ["failure", "success"]


async def test_a_stall_is_told_once_and_being_unhealthy_once_until_it_recovers(tmp_path: Path) -> None:
    run, caller = Watched(tmp_path), Caller()
    make = run.make
    async with attended(run, caller) as runner:

        async def told(*events: Any) -> list[str]:
            before = len(caller.calls)
            run.push(*events)
            await anyio.wait_all_tasks_blocked()
            await runner.idle()
            return sorted(caller.events()[before:])

        run.start("A", "B", "C")
        assert await told(make.stalled("A")) == ["stall", "unhealthy"]
        assert await told(make.stalled("B")) == ["stall"]
        assert await told(make.stall_cleared("A"), make.held("D")) == []
        # health is 2 of 3 now, and that of a task that goes on does not make it worse
        assert await told(make.completed("A"), make.completed("C")) == []
        assert await told(make.stall_cleared("B"), make.stalled("B")) == ["stall"]
        # two failures, and it is unhealthy again
        assert await told(make.reset("A"), make.started("A"), make.failed("A")) == ["unhealthy"]
        assert await told(make.completed("B")) == []
        assert [note.about for note in run.notes if note.hook == "stall"] == ["A", "B", "B"]


async def test_only_what_is_wanted_is_called(tmp_path: Path) -> None:
    run, caller = Watched(tmp_path, hooks=Hooks(failure="f")), Caller()
    async with attended(run, caller) as runner:
        run.start("A")
        run.push(run.make.stalled("A"))
        run.finish()
        await runner.finish()
        assert (caller.calls, runner.notes()) == ([], [])


async def test_a_few_run_at_once_some_wait_and_more_are_not_run(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(AT_ONCE + WAITING + 7)]
    run = Watched(tmp_path, " ".join(names), Hooks(stall="st", failure="f"))
    caller = Caller()
    caller.gate = anyio.Event()
    async with attended(run, caller) as runner:
        run.start(*names)
        run.push(*[run.make.stalled(name) for name in names[:AT_ONCE]])
        while caller.running < AT_ONCE:
            await anyio.sleep(0.001)
        run.push(*[run.make.stalled(name) for name in names[AT_ONCE:]])
        await anyio.wait_all_tasks_blocked()
        assert runner.notes() == ["7 more hooks were not run: too many at once, or too late"]
        assert caller.most == AT_ONCE
        # at the end of the run only its end is worth a word
        async with anyio.create_task_group() as group:
            group.start_soon(runner.finish)
            await anyio.wait_all_tasks_blocked()
            caller.gate.set()
        assert len(caller.calls) == AT_ONCE
        assert runner.not_run == 7 + WAITING


async def test_many_faults_are_told_in_a_few_lines(tmp_path: Path) -> None:
    run, caller = Watched(tmp_path), Caller()
    caller.outcome = AttemptOutcome(OutcomeKind.FAILED, "exit 3", 3)
    async with attended(run, caller) as runner:
        run.start()
        for _ in range(SHOWN + 2):
            run.push(run.make.plan_completed(), run.make.resumed())
        await runner.finish()
        *told, last = runner.notes()
        assert told == ["the success hook failed: exit 3"] * SHOWN
        assert last == "and 2 more hooks failed"


async def test_what_is_wrong_with_hooks_themselves_does_no_harm(tmp_path: Path) -> None:
    class Broken(Caller):
        async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
            raise ZeroDivisionError("odd")

    run = Watched(tmp_path)
    async with attended(run, Broken()) as runner:
        run.start()
        run.push(run.make.plan_completed())
        await runner.finish()
        assert runner.notes()[-1] == "a hook could not be run: ZeroDivisionError: odd"


async def test_an_error_in_the_block_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with attended(Watched(tmp_path), Caller()):
            raise ZeroDivisionError


# ── real ones ───────────────────────────────────────────────────────────────────────────────────


def plan_with(directory: Path, tasks: str = "{a: {run: 'true'}}", **hooks: Any) -> Plan:
    text = {"name": "nightly $(touch evil) 'x", "goal": "sleep", "hooks": hooks}
    return parse_plan(json.dumps(text)[:-1] + f', "tasks": {tasks}}}', directory=directory)


async def run_through(kept: KeptRun) -> PlanResult:
    result = await kept.run.wait()
    assert kept.hooks is not None
    await kept.hooks.finish()
    return result


def variables(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text().splitlines() if line.startswith("PLANDECK_"))
    return {name: value for name, _, value in pairs}


def hooks_of(run_id: str) -> list[tuple[str, str, str | None, int | None]]:
    """What the audit trail says of hooks."""
    with History(state_directory()) as history:
        events = [event for event in history.events(run_id) if isinstance(event, HookEnded)]
    return [(event.hook, event.about, event.error, event.exit_code) for event in events]


async def test_a_hook_has_the_facts_in_its_environment_and_on_its_stdin(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, "{a: {run: exit 7, retry: 1}}", failure="cat > facts; env > env; echo said")
    async with open_kept_run(plan) as kept:
        result = await run_through(kept)
        run = kept.run
        assert kept.hooks is not None
        assert kept.hooks.notes() == []
    told = variables(tmp_path / "env")
    facts = json.loads((tmp_path / "facts").read_text())
    folder = run.directory / "hooks"
    expected = {
        "EVENT": "failure",
        "RUN_ID": run.run_id,
        "PLAN": "nightly $(touch evil) 'x",
        "GOAL": "sleep",
        "OUTCOME": "failed",
        "DURATION": str(facts["duration"]),
        "HEALTH": "0.0",
        "PROGRESS": "1.0",
        "TASK": "a",
        "TASK_ID": facts["failures"][0]["task_id"],
        "ATTEMPT": "2",
        "ERROR": "exit 7",
        "EXIT_CODE": "7",
        "SILENT_FOR": "",
        "LAST_LINE": "",
        "ADVICE": "",
        "FACTS": str(folder / "001-failure.json"),
    }
    assert told == {f"PLANDECK_{name}": value for name, value in expected.items()}
    assert facts["schema"] == 1
    assert facts["counts"]["failed"] == result.failed == 1
    assert facts["failures"] == [
        {
            "task": "a",
            "task_id": told["PLANDECK_TASK_ID"],
            "attempt": 2,
            "error": "exit 7",
            "exit_code": 7,
            "retries": 1,
            "log": str(run.log_path(0, 2)),
        }
    ]
    assert (folder / "001-failure.log").read_text() == "said\n"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert hooks_of(run.run_id) == [("failure", "", None, 0)]


async def test_a_value_never_becomes_code(tmp_path: Path) -> None:
    """Neither in a shell, nor where there is none."""
    plan = plan_with(
        tmp_path,
        success=["sh", "-c", 'printf "%s\n" "$1" "$PLANDECK_PLAN" > said', "x", "$(touch evil)"],
        failure="exit 1",
    )
    async with open_kept_run(plan) as kept:
        await run_through(kept)
    assert (tmp_path / "said").read_text() == f"$(touch evil)\n{plan.name}\n"
    assert not (tmp_path / "evil").exists()


async def test_a_hook_has_the_environment_of_the_plan_with_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
    params: {to: "$(touch evil)"}
    env: {STAGE: "to ${{ params.to }}", HOME_OF: "${{ env.WHERE }}"}
    hooks: {success: 'echo "$STAGE" > stage', failure: 'echo "$STAGE" > stage'}
    tasks: {a: {run: "true"}}
    """
    monkeypatch.setenv("WHERE", "here")
    async with open_kept_run(parse_plan(text, directory=tmp_path)) as kept:
        await run_through(kept)
    assert (tmp_path / "stage").read_text() == "to $(touch evil)\n"
    assert not (tmp_path / "evil").exists()
    # without it no task can run, but a hook can
    monkeypatch.delenv("WHERE")
    async with open_kept_run(parse_plan(text, directory=tmp_path)) as kept:
        assert (await run_through(kept)).outcome is Outcome.FAILED
    assert (tmp_path / "stage").read_text() == "\n"


async def test_a_stall_is_told_with_its_evidence(tmp_path: Path) -> None:
    tasks = "{a: {run: 'echo waiting for lock; exec sleep 600', stall_after: 50ms}}"
    plan = plan_with(tmp_path, tasks, stall="cat > facts; env > env; : > done")
    async with open_kept_run(plan):
        while not (tmp_path / "done").exists():
            await anyio.sleep(0.01)
    told, facts = variables(tmp_path / "env"), json.loads((tmp_path / "facts").read_text())
    stall = facts["stall"]
    assert (stall["task"], stall["last_lines"]) == ("a", ["waiting for lock"])
    assert [process["name"] for process in stall["processes"]] == ["sleep"]
    assert told["PLANDECK_TASK"] == "a"
    assert told["PLANDECK_LAST_LINE"] == "waiting for lock"
    assert told["PLANDECK_ADVICE"].startswith("see what it waits for: plandeck logs ")
    assert float(told["PLANDECK_SILENT_FOR"]) >= 0.05


async def test_a_hook_that_fails_or_takes_too_long_makes_no_difference_to_the_run(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, success="echo no; exit 3")
    async with open_kept_run(plan) as kept:
        assert (await run_through(kept)).outcome is Outcome.SUCCESS
        assert kept.hooks is not None
        log = kept.run.directory / "hooks" / "001-success.log"
        assert kept.hooks.notes() == [f"the success hook failed: exit 3; its output: {log}"]
    assert hooks_of(kept.run.run_id) == [("success", "", "exit 3", 3)]

    plan = plan_with(tmp_path, success="trap '' TERM; : > began; sleep 600", timeout="500ms")
    async with open_kept_run(plan) as kept:
        await kept.run.wait()
        assert not (tmp_path / "began").exists()  # nobody has waited for it
        assert (await run_through(kept)).outcome is Outcome.SUCCESS
    assert (tmp_path / "began").exists()
    assert hooks_of(kept.run.run_id) == [("success", "", "not done after 0.5s, and stopped", None)]


async def test_a_hook_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    async with open_kept_run(plan_with(tmp_path, success=["./missing"])) as kept:
        await run_through(kept)
        assert kept.hooks is not None
        (note,) = kept.hooks.notes()
    assert note.startswith("the success hook failed: exit 127; its output: ")


async def test_who_leaves_takes_the_hooks_along(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, success=": > began; sleep 600; : > ended")
    async with open_kept_run(plan) as kept:
        while not (tmp_path / "began").exists():
            await anyio.sleep(0.01)
    assert not (tmp_path / "ended").exists()
    assert hooks_of(kept.run.run_id) == [("success", "", "stopped at the end of the run", None)]


async def test_hooks_can_be_stopped_before_the_block_is_left(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, success=": > began; sleep 600", failure="exit 1")
    async with open_kept_run(plan) as kept:
        while not (tmp_path / "began").exists():
            await anyio.sleep(0.01)
        assert kept.hooks is not None
        await kept.hooks.stop()
        assert kept.hooks.notes() == ["the success hook failed: stopped at the end of the run"]


async def test_what_an_earlier_engine_told_its_hooks_stays(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, success="cat > facts")
    async with open_kept_run(plan) as kept:
        folder = kept.run.directory / "hooks"
        folder.mkdir()
        (folder / "001-success.json").write_text("earlier")
        await run_through(kept)
    assert (folder / "001-success.json").read_text() == "earlier"
    assert (folder / "002-success.json").read_bytes() == (tmp_path / "facts").read_bytes()


async def test_without_a_place_for_its_facts_a_hook_has_its_variables(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, success='cat > facts; echo "$PLANDECK_EVENT" > event')
    async with open_kept_run(plan) as kept:
        (kept.run.directory / "hooks").write_text("in the way")
        await run_through(kept)
    assert (tmp_path / "facts").read_text() == ""
    assert (tmp_path / "event").read_text() == "success\n"


async def test_secrets_are_masked_in_what_a_hook_is_told_and_in_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2hunter2")
    tasks = '{a: {run: "echo $TOKEN; exec sleep 600", stall_after: 50ms}}, "secrets": ["TOKEN"]'
    plan = plan_with(
        tmp_path, tasks, stall='cat > facts; echo "$PLANDECK_LAST_LINE" > line; echo $TOKEN; : > done'
    )
    async with open_kept_run(plan) as kept:
        while not (tmp_path / "done").exists():
            await anyio.sleep(0.01)
    assert json.loads((tmp_path / "facts").read_text())["stall"]["last_lines"] == ["***"]
    assert (tmp_path / "line").read_text() == "***\n"
    kept_files = [path for path in kept.run.directory.rglob("*") if path.is_file()]
    assert not [path for path in kept_files if b"hunter2" in path.read_bytes()]


async def test_a_run_that_is_gone_on_with_has_its_hooks(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, "{a: {run: exec sleep 600}}", success="cat > ended", failure="cat > failed")
    async with open_kept_run(plan) as kept:
        await kept.run.send(CancelPlan())
        await run_through(kept)
    assert list(tmp_path.glob("*ed")) == []
    async with reopen_run(kept.run.run_id) as kept:
        assert kept.hooks is not None
        await kept.hooks.finish()
        assert list(tmp_path.glob("*ed")) == []
