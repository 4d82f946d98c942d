"""The console as a whole: leaving, following, finding, sizes, looks, and drawing only what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.geometry import Region
from textual.widgets import Input

from engine.core.inputs import CancelPlan, DrainPlan, RetryTask
from engine.core.state import Outcome, RunPhase
from engine.plan.model import FailureMode, Need, Plan, Task
from tests.support.console import Console, console
from tests.support.events import EventFactory
from tests.support.run import FakeRun, plan_of
from tui.feed import Feed
from tui.lead import LINGER
from tui.screens.dialogs import ask_failure_mode, ask_settlement, ask_to_quit
from tui.widgets.frame import PaneId

pytestmark = pytest.mark.anyio


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """build is done, unit and lint run, publish waits."""
    run = FakeRun(
        plan_of({"build": "", "unit": "build", "lint": "build", "publish": "unit lint"}), directory=tmp_path
    )
    run.start("build")
    run.push(run.make.completed("build"), run.make.started("unit"), run.make.started("lint"))
    return run


def left(c: Console) -> bool:
    return c.app._exit


# ── leaving ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
async def test_leaving_a_complete_run_asks_nothing(key: str, run: FakeRun) -> None:
    run.finish()
    async with console(run) as c:
        await c.press(key)
        assert left(c)
    assert run.commands == []


async def test_a_run_that_completes_leaves_the_console_open(run: FakeRun) -> None:
    async with console(run) as c:
        run.finish()
        await c.settle()
        assert not left(c)
        assert "SUCCESS" in c.text()


@pytest.mark.parametrize(("answer", "command"), [("d", DrainPlan()), ("c", CancelPlan())])
async def test_leaving_waits_until_what_was_chosen_is_done(answer: str, command: Any, run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("q", answer)
        assert await run.sent() == [command]
        assert not left(c)
        run.finish()
        await c.settle()
        assert left(c)


async def test_staying_takes_back_an_earlier_wish_to_leave(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("q", "d")
        run.push(run.make.paused(RunPhase.DRAINING))
        await c.settle()
        await c.press("q", "escape")
        run.finish()
        await c.settle()
        assert not left(c)


async def test_a_run_that_completes_while_asked_lets_go(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("q")
        run.finish()
        await c.settle()
        await c.press("c")
        assert left(c)
    assert run.commands == []


async def test_what_is_stopping_already_can_be_hurried(run: FakeRun) -> None:
    async with console(run) as c:
        run.push(run.make.paused(RunPhase.CANCELLING), run.make.stopping("unit"), run.make.stopping("lint"))
        await c.settle()
        await c.press("q")
        assert "Drain" not in c.text()
        await c.press("h")
        assert await run.sent() == [CancelPlan(kill=True)]


async def test_detaching_is_not_offered_yet(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("q")
        assert "etach" not in c.text()


async def test_ctrl_c_twice_cancels_gracefully(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("ctrl+c")
        assert c.app.screen.id == "quit"
        run.offset += 1.9
        await c.press("ctrl+c")
        assert await run.sent() == [CancelPlan()]
        assert c.app.screen is c.screen
        run.finish()
        await c.settle()
        assert left(c)


async def test_ctrl_c_twice_but_slowly_asks_again(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("ctrl+c", "escape")
        run.offset += 2.1
        await c.press("ctrl+c")
        assert c.app.screen.id == "quit"
        assert run.commands == []


async def test_ctrl_c_copies_what_is_selected_in_a_text_field(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("slash", *"unit")
        c.app.screen.query_one(Input).select_all()
        await c.press("ctrl+c")
        assert c.app.clipboard == "unit"
        assert c.app.screen is c.screen


@pytest.mark.parametrize("times", [1, 3])
async def test_escape_never_quits(times: int, run: FakeRun) -> None:
    async with console(run) as c:
        await c.press(*["escape"] * times)
        assert not left(c)
        assert c.app.screen is c.screen


async def test_a_read_only_console_leaves_at_once(tmp_path: Path) -> None:
    run = FakeRun(plan_of({"a": ""}), directory=tmp_path, read_only=True)
    run.start("a")
    async with console(run) as c:
        await c.press("q")
        assert left(c)


@pytest.mark.parametrize("phase", [RunPhase.RUNNING, RunPhase.DRAINING, RunPhase.CANCELLING])
def test_answers_fit_a_small_screen_and_leave_the_moving_keys_alone(phase: RunPhase, run: FakeRun) -> None:
    feed = Feed(run)
    feed.view.phase = phase
    offers = {"skip": "skips unit", "mark": "frees unit"}
    for dialog in (ask_to_quit(feed), ask_failure_mode(feed), ask_settlement("?", offers, lambda: offers)):
        keys = [choice.key for choice in dialog.choices]
        assert len(set(keys)) == len(keys)
        assert not set(keys) & {"j", "k", "q"}
        assert max(len(choice.label) for choice in dialog.choices) <= 42


# ── being led ───────────────────────────────────────────────────────────────────────────────────


async def test_the_cursor_goes_to_what_runs_and_to_what_fails_until_the_first_key(run: FakeRun) -> None:
    plan = plan_of({f"t{n}": "" for n in range(200)})
    long = FakeRun(plan)
    async with console(long, leads=True) as c:
        for n in range(100):
            long.start(f"t{n}") if not n else long.push(long.make.started(f"t{n}"))
            if n < 90:
                long.push(long.make.completed(f"t{n}"))
        await c.settle()
        assert c.screen.selected == 90
        long.push(long.make.started("t150"))
        await c.settle()
        assert c.screen.selected == 90  # that is worth a look still
        long.push(long.make.failed("t150"))
        await c.settle()
        assert c.screen.selected == 150
        assert c.screen.log_pane.selected == 150
        await c.press("up")
        long.push(long.make.failed("t99"))
        await c.settle()
        assert c.screen.selected == 149


async def test_the_cursor_stays_a_while_at_what_has_ended() -> None:
    """Or with many short tasks it would jump at every tick."""
    run = FakeRun(plan_of({"a": "", "b": "", "c": ""}))
    run.make = EventFactory(run.graph, run_id=run.run_id, step=0.01)
    async with console(run, leads=True) as c:
        run.start("b")
        await c.settle()
        assert c.screen.selected == 1
        run.push(run.make.completed("b"), run.make.started("c"))
        await c.settle()
        assert c.screen.selected == 1
        run.offset += LINGER
        await c.settle()
        assert c.screen.selected == 2


# ── following ───────────────────────────────────────────────────────────────────────────────────


async def test_the_panes_keep_to_one_task(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("down")
        assert (c.screen.plan_tree.selected, c.screen.log_pane.selected) == (1, 1)
        await c.press("1", "down")
        assert c.screen.table.selected == c.screen.plan_tree.selected == c.screen.log_pane.selected
        assert "Log: " + run.plan.tasks[c.screen.selected or 0].name in c.text()


async def test_events_show_at_the_next_tick(run: FakeRun) -> None:
    async with console(run) as c:
        run.push(run.make.failed("lint", "exit 2: E501", 2))
        await c.settle()
        text = c.text()
        assert "✖1" in text
        assert "exit 2: E501" in text
        run.push(run.make.reset("lint"))
        await c.settle()
        assert "✖0" in c.text()


async def test_what_was_missed_is_made_up_from_a_snapshot(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(20)]
    run = FakeRun(plan_of(dict.fromkeys(names, "")), directory=tmp_path, limit=5)
    run.push(run.make.plan_started())
    async with console(run) as c:
        before = c.screen.view
        # all at once, so that the console has no chance to take any
        run.push(*(run.make.started(name) for name in names))
        await c.settle()
        assert c.screen.view is not before
        assert c.screen.table.view is c.screen.view
        assert "◐20" in c.text()
        run.push(run.make.completed("t0"))
        await c.settle()
        assert "✔1 " in c.text()


async def test_the_stream_may_end_before_the_console(run: FakeRun) -> None:
    async with console(run) as c:
        run.finish()
        run.end_stream()
        await c.settle()
        await c.press("j")
        assert not left(c)


async def test_a_retry_after_the_end_goes_on_being_shown(run: FakeRun) -> None:
    async with console(run) as c:
        run.push(
            run.make.failed("lint"),
            run.make.completed("unit"),
            run.make.skipped("publish", blocked_by="lint"),
        )
        run.push(run.make.plan_completed(Outcome.FAILED))
        await c.settle()
        assert "FAILED" in c.text()
        await c.press("e", "r")
        assert await run.sent() == [RetryTask(index=2)]
        run.push(run.make.resumed(), run.make.reset("lint"), run.make.started("lint"))
        await c.settle()
        assert "RUNNING" in c.text()


# ── drawing ─────────────────────────────────────────────────────────────────────────────────────


class Frames:
    """Counts what reaches the terminal."""

    def __init__(self, c: Console, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        display = c.app._display

        def counted(screen: Any, renderable: Any) -> None:
            self.count += 1
            display(screen, renderable)

        monkeypatch.setattr(c.app, "_display", counted)


async def test_nothing_changed_nothing_drawn(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(run) as c:
        await c.settle()
        frames = Frames(c, monkeypatch)
        for _ in range(20):
            run.offset += 0.01
            await c.settle()
        assert frames.count == 0


async def test_clocks_move_once_a_second(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(run) as c:
        await c.settle()
        regions: list[Region] = []
        refresh = c.screen.header.refresh

        def noted(*areas: Region, **more: Any) -> Any:
            regions.extend(areas)
            return refresh(*areas, **more)

        monkeypatch.setattr(c.screen.header, "refresh", noted)
        run.offset += 1.0
        await c.settle()
        assert regions
        assert sum(region.width for region in regions) <= 4  # a digit or two, not the row


async def test_a_complete_run_draws_no_more(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(run) as c:
        run.finish()
        await c.settle()
        await c.settle()
        frames = Frames(c, monkeypatch)
        for _ in range(10):
            run.offset += 5
            await c.settle()
        assert frames.count == 0


# ── sizes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(60, 20), (79, 24), (100, 15)])
async def test_small_screens_show_one_pane_and_tabs(size: tuple[int, int], run: FakeRun) -> None:
    async with console(run, size) as c:
        panes = c.screen.frame.panes
        assert [pane.display for pane in panes] == [False, True, False, False, False]
        assert "1 Plan" in c.text()
        assert "[2 Tasks]" in c.text()
        assert "3 Log" in c.text()
        await c.press("tab")
        assert [pane.display for pane in panes] == [False, False, True, False, False]
        assert panes[PaneId.LOG].has_focus
        await c.press("tab", "down", "enter")
        assert c.screen.frame.front is PaneId.LOG
        await c.press("escape")
        assert c.screen.frame.front is PaneId.TIMELINE
        await c.press("tab", "tab")
        assert c.screen.frame.front is PaneId.TREE


async def test_timeline_and_events_have_the_width_above_the_log(run: FakeRun) -> None:
    async with console(run) as c:
        for key, pane in (("4", PaneId.TIMELINE), ("5", PaneId.EVENTS)):
            await c.press(key)
            shown = {PaneId(at) for at, one in enumerate(c.screen.frame.panes) if one.display}
            assert shown == {pane, PaneId.LOG}
            await c.press("tab")
            assert c.screen.frame.front is PaneId.LOG
            await c.press("tab")
            assert c.screen.frame.front is pane
            assert c.screen.frame.panes[pane].has_focus
        await c.press("2")
        assert [one.display for one in c.screen.frame.panes] == [True, True, True, False, False]


async def test_the_timeline_shares_its_cursor_and_steers(run: FakeRun) -> None:
    async with console(run) as c:
        c.screen.table.move_cursor(1)
        await c.press("4")
        assert c.screen.timeline.selected == 1
        await c.press("g", "down")
        selected = c.screen.timeline.selected
        assert c.screen.table.selected == c.screen.log_pane.selected == selected
        assert c.screen.targets == [selected]
        await c.press("enter")
        assert c.screen.frame.front is PaneId.LOG
        await c.press("escape")
        assert c.screen.frame.front is PaneId.TIMELINE


async def test_events_lead_to_their_tasks(run: FakeRun) -> None:
    async with console(run) as c:
        make = run.make
        c.screen.table.filter("nothing is called so")
        run.push(make.mode_changed(FailureMode.CONTINUE_ON_ERROR), make.failed("unit"))
        await c.settle()
        await c.press("5")
        assert c.screen.events_pane.note.endswith("following")
        assert c.screen.events_pane.selected == 1
        await c.press("v")
        assert "continue-on-error instead of fail-fast" in c.text()
        assert "unit" not in c.text().split("3 Log")[0].split("WHAT HAPPENED")[1]
        await c.press("escape")
        assert c.screen.events_pane.note.endswith("following")
        await c.press("enter")
        assert c.screen.frame.front is PaneId.TABLE
        assert c.screen.table.selected == 1


async def test_growing_and_shrinking_keeps_the_pane_in_front(run: FakeRun) -> None:
    async with console(run, (60, 20)) as c:
        await c.press("3")
        for size, split in (((120, 40), True), ((60, 20), False), ((80, 24), True)):
            await c.pilot.resize_terminal(*size)
            await c.settle()
            assert c.screen.frame.is_split is split
            assert [pane.display for pane in c.screen.frame.panes] == [split, split, True, False, False]
            assert c.screen.frame.front is PaneId.LOG


async def test_zoom_and_back(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("z")
        assert [pane.display for pane in c.screen.frame.panes] == [False, True, False, False, False]
        assert "zoomed" in c.text()
        await c.press("1")
        assert [pane.display for pane in c.screen.frame.panes] == [True, False, False, False, False]
        await c.press("escape")
        assert [pane.display for pane in c.screen.frame.panes] == [True, True, True, False, False]
        assert "zoomed" not in c.text()


async def test_a_click_on_a_title_brings_the_pane(run: FakeRun) -> None:
    async with console(run, (60, 20)) as c:
        await c.pilot.click(c.screen.frame, offset=(3, 0))
        await c.settle()
        assert c.screen.frame.front is PaneId.TREE


# ── finding ─────────────────────────────────────────────────────────────────────────────────────


async def test_the_table_is_filtered_while_one_types(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("slash", "u", "n")
        assert list(c.screen.table.rows) == [1]
        await c.press("enter")
        assert list(c.screen.table.rows) == [1]
        assert c.screen.table.has_focus
        assert c.screen.footer.display
        await c.press("escape")
        assert len(c.screen.table.rows) == 4


async def test_a_search_given_up_leaves_no_filter(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("slash", "u", "escape")
        assert len(c.screen.table.rows) == 4
        assert c.screen.table.has_focus
        assert not c.app.screen.query(Input)


async def test_failed_only_shows_the_table_it_filters(run: FakeRun) -> None:
    async with console(run, (60, 20)) as c:
        run.push(run.make.failed("lint"))
        await c.settle()
        await c.press("1", "F")
        assert c.screen.frame.front is PaneId.TABLE
        assert list(c.screen.table.rows) == [2]
        await c.press("F")
        assert len(c.screen.table.rows) == 4


async def test_there_is_one_search_at_a_time(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("slash", "u")
        c.screen.action_find()
        await c.handled()
        assert len(c.app.screen.query(Input)) == 1


async def test_the_log_is_searched(run: FakeRun) -> None:
    run.write_log("build", "".join(f"line {number}\n" for number in range(100)))
    async with console(run) as c:
        await c.press("3", "slash", *"line 42", "enter")
        assert "line 42" in c.text()
        await c.press("slash", *"nowhere", "enter")
        assert c.messages == ["Not found: nowhere"]


async def test_the_next_trouble_is_found_past_a_filter(run: FakeRun) -> None:
    async with console(run) as c:
        run.push(run.make.failed("lint"))
        await c.settle()
        await c.press("slash", *"build", "enter", "e")
        assert c.screen.table.selected == 2
        assert len(c.screen.table.rows) == 4


# ── looks ───────────────────────────────────────────────────────────────────────────────────────


async def test_names_are_no_markup(tmp_path: Path) -> None:
    name, evil = "[red]x[/]", "a\x1b[31mb"
    plan = Plan(
        name="[bold]p",
        tasks=(Task(name=name, run="true"), Task(name=evil, run="true", needs=(Need(name),))),
    )
    run = FakeRun(plan, directory=tmp_path)
    run.start(name)
    run.last_lines[0] = "[blink]last"
    run.push(run.make.stalled(name, 31))
    async with console(run, (120, 40)) as c:
        text = c.text()
        assert "[bold]p" in text
        assert text.count("[red]x[/]") >= 3  # tree, table, log
        assert 'Last: "[blink]last"' in text
        await c.press("x")
        assert "Cancel [red]x[/]?" in c.text()
        await c.press("escape", "d")
        assert "Task: [red]x[/]" in c.text()
        assert "\x1b" not in c.text()


@pytest.mark.parametrize("keys", [[], ["question_mark"], ["d"], ["q"], ["z"]])
@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
async def test_ascii_is_enough(keys: list[str], size: tuple[int, int], run: FakeRun) -> None:
    run.push(run.make.failed("lint"), run.make.stalled("unit", 40))
    run.push(run.make.skipped("publish", blocked_by="lint"))
    async with console(run, size, ascii_only=True) as c:
        await c.press(*keys)
        assert {sign for sign in c.text() if not sign.isascii()} == set()


async def test_no_color_means_none(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(run) as c:
        assert c.app.look.monochrome
        for line in c.app.screen._compositor.render_strips():
            for text, style, _ in line.apply_filter(c.app._filters[-1], c.app.screen.styles.background):
                colours = (style.color, style.bgcolor) if style else ()
                assert all(colour is None or colour.is_default for colour in colours), text


async def test_another_theme_repaints_everything(run: FakeRun) -> None:
    async with console(run) as c:
        before = c.app.look
        c.app.theme = "plandeck-light"
        await c.settle()
        assert c.app.look is not before
        assert c.screen.header._look is c.app.look
        c.app.theme = "nord"  # one that knows none of our variables
        await c.settle()
        assert "release" in c.text()


async def test_the_palette_offers_what_the_keys_do(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("colon", *"pause")
        await c.press("escape")
        await c.press("ctrl+p", *"one more task")
        await c.until(lambda: "One more task at once" in c.text())
        await c.pilot.pause()
        await c.press("enter")
        assert [type(command).__name__ for command in await run.sent()] == ["SetMaxParallel"]
