"""Every key of the table is pressed once: key in, effect out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from textual.command import CommandPalette

from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    Command,
    HoldTask,
    KillTask,
    MarkSucceeded,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
)
from engine.plan.model import FailureMode
from tests.support.console import Console, console
from tests.support.run import FakeRun, plan_of
from tui.app import DETACHED
from tui.keymap import KEYMAP, Place
from tui.preferences import Preferences
from tui.screens.detail import DetailScreen, LogOf
from tui.screens.dialogs import Dialog, LineDialog
from tui.screens.help import HelpScreen
from tui.widgets.frame import PaneId
from tui.widgets.page import Page

pytestmark = pytest.mark.anyio

PLAN: Final = plan_of(
    {
        "build": "",
        "unit": "build",
        "lint": "build",
        "docs": "build",
        "publish": "unit",
        "tell": "publish",
        "again": "",
    }
    | {f"more-{number:02}": "publish" for number in range(40)}
)
BUILD, UNIT, LINT, DOCS, PUBLISH, _, RETRIED = range(7)


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """build is done, unit runs, lint has failed, docs is held, the rest waits."""
    run = FakeRun(PLAN, directory=tmp_path)
    run.start("build")
    run.push(run.make.completed("build"), run.make.started("unit"), run.make.started("lint"))
    run.push(run.make.failed("lint"), run.make.held("docs"))
    run.push(run.make.started("again"), run.make.retry_scheduled("again"), run.make.started("again"))
    run.write_log("unit", "one\ntwo\nthree\n")
    return run


class Sends(NamedTuple):
    """On `task`, the key and then the `answers` send the commands."""

    commands: Sequence[Command]
    task: int = UNIT
    answers: Sequence[str] = ()


SENDS: Final[dict[str, Sends]] = {
    "task.retry": Sends([RetryTask(index=LINT)], LINT),
    "task.retry-all": Sends([RetryTask(index=LINT, downstream=True)], LINT, "y"),
    "task.cancel": Sends([CancelTask(index=UNIT)], UNIT, "y"),
    "task.kill": Sends([KillTask(index=UNIT)], UNIT, "y"),
    "task.hold": Sends([HoldTask(index=PUBLISH)], PUBLISH),
    "task.settle": Sends([SkipTask(index=PUBLISH)], PUBLISH, "s"),
    "plan.retry-failed": Sends([RetryFailed()], LINT, "y"),
    "plan.cancel": Sends([CancelPlan()], UNIT, "y"),
    "plan.mode": Sends([SetFailureMode(mode=FailureMode.CONTINUE_ON_ERROR)], UNIT, "c"),
    "plan.slots-up": Sends([SetMaxParallel(slots=5)]),
    "plan.slots-down": Sends([SetMaxParallel(slots=3)]),
    "plan.pause": Sends([PausePlan()]),
}


class Does(NamedTuple):
    """After the keys `before`, on line `at` of the table, the key makes `effect` true."""

    effect: Callable[[Console], bool]
    before: Sequence[str] = ()
    at: int = UNIT


def _front(pane: PaneId) -> Callable[[Console], bool]:
    return lambda c: c.screen.frame.front is pane and c.screen.frame.panes[pane].has_focus


def _at(line: int) -> Callable[[Console], bool]:
    return lambda c: c.screen.table.selected == line == c.screen.selected


def _asks_to_quit(c: Console) -> bool:
    return isinstance(c.app.screen, Dialog) and c.app.screen.id == "quit"


def _is_no_replay(c: Console) -> bool:
    return "This run happens now" in "".join(c.messages)


DOES: Final[dict[str, Does]] = {
    "move.up": Does(_at(UNIT - 1)),
    "move.down": Does(_at(UNIT + 1)),
    "move.top": Does(_at(0), at=9),
    "move.bottom": Does(_at(len(PLAN.tasks) - 1)),
    "move.half-up": Does(lambda c: 0 < (c.screen.selected or 0) < 20, at=20),
    "move.half-down": Does(lambda c: 20 < (c.screen.selected or 0) < 40, at=20),
    "move.page-up": Does(lambda c: 0 < (c.screen.selected or 0) < 20, at=20),
    "move.page-down": Does(lambda c: 20 < (c.screen.selected or 0) < 40, at=20),
    "open": Does(_front(PaneId.LOG)),
    "back": Does(_front(PaneId.TABLE), ["3"]),
    "tree.fold": Does(lambda c: len(c.screen.plan_tree.rows) < len(PLAN.tasks), ["1"], at=PUBLISH),
    "tree.unfold": Does(lambda c: len(c.screen.plan_tree.rows) == len(PLAN.tasks), ["1", "left"], at=PUBLISH),
    "tree.fold-all": Does(lambda c: len(c.screen.plan_tree.rows) < len(PLAN.tasks), ["1"], at=PUBLISH),
    "tree.unfold-all": Does(
        lambda c: len(c.screen.plan_tree.rows) == len(PLAN.tasks), ["1", "left"], at=PUBLISH
    ),
    "view.tree": Does(_front(PaneId.TREE)),
    "view.table": Does(_front(PaneId.TABLE), ["1"]),
    "view.log": Does(_front(PaneId.LOG)),
    "view.timeline": Does(_front(PaneId.TIMELINE)),
    "view.events": Does(_front(PaneId.EVENTS)),
    "timeline.zoom-in": Does(lambda c: "following" in c.screen.timeline.note, ["4"]),
    "timeline.zoom-out": Does(lambda c: "whole run" in c.screen.timeline.note, ["4", "]"]),
    "timeline.fit": Does(lambda c: "whole run" in c.screen.timeline.note, ["4", "]", "]"]),
    "timeline.left": Does(lambda c: "from" in c.screen.timeline.note, ["4", *"]]]"]),
    "timeline.right": Does(lambda c: "following" in c.screen.timeline.note, ["4", *"]]]", "left"]),
    "events.show": Does(lambda c: "only what people did" in c.screen.events_pane.note, ["5"]),
    "events.open": Does(lambda c: _front(PaneId.TABLE)(c) and _at(DOCS)(c), ["5"], at=BUILD),
    "pane.next": Does(_front(PaneId.LOG)),
    "pane.previous": Does(_front(PaneId.TREE)),
    "zoom": Does(lambda c: c.screen.frame.zoomed and not c.screen.plan_tree.display),
    "stream": Does(lambda c: "there is no terminal to print to" in c.messages[0]),
    "task.log": Does(_front(PaneId.LOG)),
    "task.details": Does(lambda c: isinstance(c.app.screen, DetailScreen) and "Task: unit" in c.text()),
    "suspend": Does(lambda c: c.messages == ["There is no shell to go back to."]),
    "redraw": Does(lambda c: not c.app._canvas._rows),
    "task.stall": Does(lambda c: c.messages == ["Nothing is stalled."]),
    "stall.dismiss": Does(lambda c: c.messages == ["There is no stall alert to dismiss."]),
    "find": Does(lambda c: list(c.screen.table.rows) == [LINT], []),
    "find.next": Does(_at(UNIT), ["1", "slash", *"unit", "enter", "g"]),
    "find.previous": Does(_at(UNIT), ["1", "slash", *"unit", "enter", "G"]),
    "find.failed-only": Does(lambda c: list(c.screen.table.rows) == [LINT]),
    "find.trouble": Does(_at(LINT)),
    "table.sort": Does(lambda c: c.screen.table.rows[0] == LINT or "by" in c.screen.table.note),
    "task.mark": Does(lambda c: c.screen.table.marked == {UNIT} and c.screen.targets == [UNIT]),
    "log.follow": Does(lambda c: not c.screen.log_pane.follow),
    "log.wrap": Does(lambda c: c.screen.log_pane.wrap),
    "log.times": Does(lambda c: "times" in c.screen.log_pane.note),
    "log.merged": Does(lambda c: c.screen.log_pane.merged and _front(PaneId.LOG)(c)),
    "log.filter": Does(lambda c: "matches only" in c.screen.log_pane.note, ["3", "slash", "t", "enter"]),
    "log.context": Does(lambda c: "1 around" in c.screen.log_pane.note, ["3", "slash", "t", "enter", "&"]),
    "log.select": Does(lambda c: c.screen.log_pane.selected_text() == "three", ["3"]),
    "log.copy": Does(lambda c: c.app.clipboard == "two\nthree", ["3", "v", "k"]),
    "log.save": Does(lambda c: isinstance(c.app.screen, LineDialog), ["3"]),
    "log.pager": Does(lambda c: "A pager is not possible here" in "".join(c.messages), ["3"]),
    "log.left": Does(lambda c: "column" not in c.screen.log_pane.note, ["3", "right"]),
    "log.right": Does(lambda c: "from column 17" in c.screen.log_pane.note, ["3"]),
    "log.previous-attempt": Does(lambda c: c.screen.log_pane.attempt == 1, ["3"], RETRIED),
    "log.next-attempt": Does(lambda c: c.screen.log_pane.attempt == 2, ["3", "["], RETRIED),
    "replay.step": Does(_is_no_replay),
    "replay.step-back": Does(_is_no_replay),
    "replay.faster": Does(_is_no_replay),
    "replay.slower": Does(_is_no_replay),
    "details.next": Does(lambda c: c.app.screen.query_one(Page)._lit == BUILD, ["d"]),
    "details.previous": Does(lambda c: c.app.screen.query_one(Page)._lit == LogOf(1), ["d"]),
    "details.open": Does(lambda c: "Task: build" in c.text() and c.screen.selected == BUILD, ["d", "tab"]),
    "commands": Does(lambda c: isinstance(c.app.screen, CommandPalette)),
    "plan.subplan": Does(lambda c: "This is no subplan, nor in one." in c.messages),
    "help": Does(lambda c: isinstance(c.app.screen, HelpScreen) and "Run the task again." in c.text()),
    "detach": Does(lambda c: "This run lives in this console and would end with it." in c.messages),
    "quit": Does(_asks_to_quit),
    "quit.anywhere": Does(_asks_to_quit, ["slash", "x"]),
    "interrupt": Does(_asks_to_quit),
    "close": Does(lambda c: c.app.screen is c.screen, ["question_mark"]),
}
TYPED_AFTER: Final = {"find": ("l", "i", "n")}


def _pressed(ids: set[str]) -> list[tuple[str, str]]:
    return [(key.id, one) for key in KEYMAP if key.id in ids for one in key.keys.split(",")]


def test_every_key_is_pressed_here() -> None:
    here = {key.id for key in KEYMAP if key.keys and key.place is not Place.HOME}
    assert here == {*SENDS, *DOES}


@pytest.mark.parametrize(("key_id", "key"), _pressed(set(SENDS)))
async def test_a_key_sends_its_command(key_id: str, key: str, run: FakeRun) -> None:
    case = SENDS[key_id]
    async with console(run) as c:
        c.screen.table.move_cursor(case.task)
        await c.press(key, *case.answers)
        assert await run.sent(len(case.commands)) == list(case.commands)
        assert c.app.screen is c.screen


@pytest.mark.parametrize(("key_id", "key"), _pressed(set(DOES)))
async def test_a_key_does_what_it_says(key_id: str, key: str, run: FakeRun) -> None:
    case = DOES[key_id]
    async with console(run) as c:
        run.push(run.make.released("docs"), run.make.held("docs"))
        await c.settle()
        c.screen.table.move_cursor(case.at)
        await c.press(*case.before)
        if case.before:
            assert not case.effect(c), "it was so before"
        await c.press(key, *TYPED_AFTER.get(key_id, ()))
        assert case.effect(c)
        assert run.commands == []


@pytest.mark.parametrize(
    ("key", "task"),
    [
        ("x", UNIT),
        ("X", UNIT),
        ("R", LINT),
        ("r", BUILD),
        ("ctrl+x", UNIT),
        ("ctrl+r", UNIT),
        ("S", PUBLISH),
        ("M", UNIT),
        ("q", UNIT),
    ],
)
@pytest.mark.parametrize("answer", ["enter", "escape"])
async def test_the_safe_answer_has_the_focus(key: str, task: int, answer: str, run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(task)
        await c.press(key)
        assert isinstance(c.app.screen, Dialog)
        await c.press(answer)
        assert c.app.screen is c.screen
        assert run.commands == []


@pytest.mark.parametrize("keys", [["D"], ["q", "l"]])
async def test_a_run_that_can_go_on_alone_is_left(keys: list[str], run: FakeRun) -> None:
    async with console(run, can_detach=True) as c:
        await c.press(*keys)
        assert c.app.return_value == DETACHED
        assert run.commands == []


async def test_a_dialog_says_what_it_will_do(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(UNIT)
        await c.press("x")
        text = c.text()
        assert "Cancel unit?" in text
        assert "Stops unit now; skips 42: publish, tell," in text


async def test_an_open_dialog_goes_along_with_the_run(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("ctrl+x")
        assert "Stops unit" in c.text()
        run.push(run.make.completed("unit"), run.make.started("publish"))
        await c.settle()
        assert isinstance(c.app.screen, Dialog)
        c.app.screen.renew()
        await c.handled()
        assert "Stops publish" in c.text()
        await c.press("escape", "x")
        run.push(run.make.skipped("lint", "by hand"))
        await c.settle()
        await c.press("escape")
        assert run.commands == []


async def test_a_dialog_closes_when_there_is_nothing_to_be_asked_any_more(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(UNIT)
        await c.press("x")
        dialog = c.app.screen
        assert isinstance(dialog, Dialog)
        run.push(run.make.completed("unit"))
        await c.settle()
        dialog.renew()
        await c.handled()
        assert c.app.screen is c.screen
        assert c.messages == ["unit is success: there is nothing to cancel."]


async def test_the_mode_dialog_says_what_the_next_failure_would_stop(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("M")
        text = " ".join(c.text().replace("│", " ").split())
        assert (
            "a failure now would stop the others that run and cancel 43 that wait. Now runs: unit and again."
            in text
        )
        await c.press("escape")
        run.push(run.make.completed("again"))
        await c.settle()
        await c.press("M")
        text = " ".join(c.text().replace("│", " ").split())
        assert "Under fail-fast a failure now would cancel 43 that wait. Now runs: unit." in text


async def test_an_answer_can_be_picked_with_the_arrows(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(UNIT)
        await c.press("x", "down", "enter")
        assert await run.sent() == [CancelTask(index=UNIT)]


async def test_marked_tasks_are_acted_on_together(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(PUBLISH)
        await c.press("space", "space", "x")
        assert "Cancel 2 tasks?" in c.text()
        await c.press("y")
        assert await run.sent(2) == [CancelTask(index=PUBLISH), CancelTask(index=PUBLISH + 1)]
        assert not c.screen.table.marked


async def test_a_held_task_is_released(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(DOCS)
        await c.press("H")
        assert await run.sent() == [ReleaseTask(index=DOCS)]


async def test_a_paused_run_is_resumed(run: FakeRun) -> None:
    async with console(run) as c:
        run.push(run.make.paused())
        await c.settle()
        assert "p resume" in c.text()
        await c.press("p")
        assert await run.sent() == [ResumePlan()]


async def test_marking_succeeded_takes_a_reason(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(LINT)
        await c.press("S", "m", "enter")
        assert "It needs a reason." in c.messages
        await c.press(*"seen", "enter")
        assert await run.sent() == [MarkSucceeded(index=LINT, reason="seen")]


async def test_escape_gives_no_reason(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(LINT)
        await c.press("S", "m", "a", "escape")
        assert c.app.screen is c.screen
        assert run.commands == []


async def test_a_refusal_is_said_and_nothing_breaks(run: FakeRun) -> None:
    run.refusal = "the run is [bold]ending[/]"
    async with console(run) as c:
        await c.press("p")
        assert c.messages == ["Refused: the run is [bold]ending[/]"]
        assert not any(notification.markup for notification in c.app._notifications)


@pytest.mark.parametrize(
    ("key", "task", "words"),
    [
        ("r", UNIT, "unit is running: only a task that is over can be retried."),
        ("R", UNIT, "unit is running: only a task that is over can be retried."),
        ("x", LINT, "lint is failed: there is nothing to cancel."),
        ("X", PUBLISH, "publish is pending: only what runs can be killed."),
        ("H", UNIT, "unit is running: only a task that has not started can be held."),
        ("S", BUILD, "build is success: only a task that has not started can be skipped."),
        ("n", UNIT, "Nothing is being sought: / finds."),
    ],
)
async def test_a_key_that_makes_no_sense_says_why(key: str, task: int, words: str, run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(task)
        await c.press(key)
        assert c.messages == [words]
        assert run.commands == []


@pytest.mark.parametrize("key", ["x", "M", "S", "ctrl+x"])
async def test_a_read_only_console_asks_nothing(key: str, tmp_path: Path) -> None:
    run = FakeRun(PLAN, directory=tmp_path, read_only=True)
    run.start("build")
    async with console(run) as c:
        assert "read only" in c.text()
        await c.press(key)
        assert c.messages == ["This console is read-only."]
        assert c.app.screen is c.screen


async def test_remapped_keys_are_the_keys(run: FakeRun) -> None:
    async with console(run, preferences=Preferences(remapped={"plan.pause": "ctrl+y"})) as c:
        await c.press("p")
        assert run.commands == []
        await c.press("ctrl+y")
        assert await run.sent() == [PausePlan()]
        assert "Ctrl+Y pause" in c.text()


async def test_slots_are_counted_from_what_was_asked_for_last(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("+", "+")  # faster than the run answers
        assert await run.sent(2) == [SetMaxParallel(slots=5), SetMaxParallel(slots=6)]
        run.push(run.make.slots_changed(5), run.make.slots_changed(6))
        await c.settle()
        await c.press("-")
        assert (await run.sent(3))[-1] == SetMaxParallel(slots=5)


async def test_slots_that_were_refused_count_for_nothing(run: FakeRun) -> None:
    async with console(run) as c:
        run.refusal = "not now"
        await c.press("+")
        run.refusal = ""
        await c.press("+")
        assert await run.sent() == [SetMaxParallel(slots=5)]
