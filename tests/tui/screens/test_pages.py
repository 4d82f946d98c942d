"""The pages over the run: details of every kind of task, and scrolling; and what a mouse can do."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from engine.core.inputs import CancelTask
from engine.plan.model import (
    Condition,
    FailureMode,
    Need,
    Plan,
    Retry,
    Shutdown,
    Simulation,
    StallMeasure,
    Subplan,
    Task,
)
from tests.support.console import console
from tests.support.run import FakeRun
from tui.app import HUNG_UP
from tui.screens.dialogs import Choices
from tui.terminal.driver import TerminalLost
from tui.widgets.frame import PaneId
from tui.widgets.page import Page

pytestmark = pytest.mark.anyio

PLAN = Plan(
    name="kinds",
    tasks=(
        Task(name="pretend", simulate=Simulation(duration=90, fail_rate=0.25), stall_after=None),
        Task(name="argv", run=("echo", "two words"), timeout=600, needs=(Need("pretend", Condition.FAILED),)),
        Task(
            name="script",
            run="set -e\nmake all\nmake check",
            description="Builds it, and looks whether it works",
            needs=(Need("argv"),),
            retry=Retry(limit=3, backoff=1, exit_codes=(75, 100)),
            stall_measure=StallMeasure.ELAPSED,
            shutdown=Shutdown(signal=signal.SIGINT),
            working_dir="/srv/build",
        ),
        Task(name="call[3.11]", python="ops:send", arguments={"to": "me", "n": 2}, matrix={"py": "3.11"}),
        Task(name="part", plan="parts/part.yaml"),
        Task(name="part/inside", run="true", scope=1),
    ),
    subplans=(
        Subplan(
            name="part",
            task=4,
            parent=0,
            max_parallel=2,
            failure_mode=FailureMode.CONTINUE_ON_ERROR,
            params={"tag": "${{ tasks.argv.outputs.tag }}", "pace": "slow"},
        ),
    ),
)
PRETEND, ARGV, SCRIPT, CALL, PART = range(5)


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    run = FakeRun(PLAN, directory=tmp_path)
    run.start("pretend")
    return run


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            PRETEND,
            [
                "simulates 1m30s, fails 25%",
                "stalled never (built-in)",
                "needs nothing",
                "needed by ○ argv pending (if failed)",
            ],
        ),
        (
            ARGV,
            [
                "runs echo 'two words'",
                "timeout 10m (built-in)",
                "retries none (built-in)",
                "attempts none yet",
                "needed by ○ script",
            ],
        ),
        (
            SCRIPT,
            [
                "about Builds it, and looks whether it works",
                "runs $ set -e make all make check",
                "retries 3, after 0.5s, only exit 75, 100",
                "stalled after 30s of elapsed",
                "directory /srv/build",
                "needs ○ argv pending",
            ],
        ),
        (CALL, ["calls ops:send(to='me', n=2)", "matrix py 3.11"]),
        (
            PART,
            [
                "plan parts/part.yaml",
                "params tag = ${{ tasks.argv.outputs.tag }} pace = slow",
                "inside 0/2 slots, continue-on-error",
            ],
        ),
    ],
)
async def test_details_say_what_a_task_is(task: int, said: list[str], run: FakeRun) -> None:
    async with console(run, (120, 40)) as c:
        c.screen.table.move_cursor(task)
        await c.press("d")
        text = " ".join(c.text().replace("│", " ").split())
        for words in said:
            assert words in text


async def test_details_lead_to_other_tasks_and_to_logs(run: FakeRun) -> None:
    run.write_log("pretend", "hello\n")
    async with console(run, (120, 40)) as c:
        await c.press("d", "shift+tab", "enter")
        assert c.app.screen is c.screen
        assert c.screen.frame.front is PaneId.LOG
        assert (c.screen.log_pane.selected, c.screen.log_pane.attempt) == (PRETEND, 1)
        await c.press("d", "tab", "enter")
        assert "Task: argv" in c.text()
        await c.press("tab", "tab", "enter")
        assert "Task: script" in c.text()
        await c.press("escape")
        assert c.screen.selected == SCRIPT


async def test_details_name_the_environment_and_never_its_values(tmp_path: Path) -> None:
    task = Task(
        name="push", run="true", env={"TOKEN": "s3cret", "STAGE": "prod"}, given=("timeout",), timeout=5
    )
    run = FakeRun(
        Plan(name="p", tasks=(task,), env={"LANG": "C"}, origins={"priority": "profile cautious"}),
        directory=tmp_path,
    )
    async with console(run, (120, 40)) as c:
        await c.press("d")
        text = " ".join(c.text().replace("│", " ").split())
        assert "environment LANG, STAGE, TOKEN" in text
        assert "s3cret" not in text
        assert "timeout 5s (task)" in text
        assert "priority 50 (profile cautious)" in text


async def test_details_are_kept_up_to_date(run: FakeRun) -> None:
    async with console(run, (120, 40)) as c:
        await c.press("d")
        run.push(run.make.failed("pretend", "exit 3: no luck", 3))
        await c.settle()
        c.app.screen.query_one(Page).rewrite()
        await c.handled()
        text = c.text()
        assert "✖ failed" in text
        assert "exit 3: no luck" in text
        assert "task failed" in text


async def test_details_tell_outputs(run: FakeRun) -> None:
    async with console(run, (120, 40)) as c:
        run.push(run.make.completed("pretend", outputs={"tag": "[bold]v1[/]\n\x1b[31m2", "n": "5"}))
        await c.press("d")
        await c.settle()
        text = " ".join(c.text().replace("│", " ").split())
        assert "outputs tag = [bold]v1[/]" in text
        assert "n = 5" in text


async def test_a_page_is_scrolled_like_a_list(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("question_mark")
        page = c.app.screen.query_one(Page)
        for key, top in (("j", 1), ("k", 0), ("G", page.line_count - page.page), ("g", 0)):
            await c.press(key)
            assert page.top == top
        for down, up in (("ctrl+d", "ctrl+u"), ("pagedown", "pageup")):
            await c.press(down)
            assert page.top > 1
            await c.press(up)
            assert page.top == 0
        assert c.app.screen is not c.screen


async def test_an_answer_can_be_clicked(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("x")
        await c.pilot.click(Choices, offset=(5, 1))
        assert await run.sent() == [CancelTask(index=PRETEND)]


async def test_the_arrows_go_round_in_a_dialog(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("x")
        choices = c.app.screen.query_one(Choices)
        for key, lit in (("up", 1), ("down", 0), ("tab", 1), ("shift+tab", 0), ("j", 1), ("k", 0)):
            await c.press(key)
            assert choices.lit == lit
        await c.press("w")  # no answer
        assert choices.lit == 0
        assert run.commands == []


async def test_titles_can_be_clicked_in_the_split_too(run: FakeRun) -> None:
    async with console(run) as c:
        log = c.screen.frame.panes[PaneId.LOG]
        await c.pilot.click(c.screen.frame, offset=(4, log.region.y - c.screen.frame.region.y - 1))
        await c.settle()
        assert c.screen.frame.front is PaneId.LOG
        await c.pilot.click(c.screen.table, offset=(5, 2))
        await c.settle()
        assert c.screen.frame.front is PaneId.TABLE
        assert c.screen.selected == ARGV


async def test_a_lost_terminal_ends_the_console(run: FakeRun) -> None:
    async with console(run) as c:
        c.app.post_message(TerminalLost())
        await c.handled()
        assert c.app._exit
        assert c.app.return_value == HUNG_UP
    assert run.commands == []
