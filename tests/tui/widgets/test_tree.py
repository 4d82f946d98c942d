"""The plan as a tree: what its lines say, where its cursor goes, and what it costs."""

from __future__ import annotations

import pytest
from textual.geometry import Region

from engine.plan.model import Need, Plan, Task
from engine.view.run_view import RunView
from tests.support.scene import Scene, plan_of, scene_of
from tui.present import Look
from tui.widgets.tree import PlanTree

pytestmark = pytest.mark.anyio

RELEASE = plan_of(
    {
        "build": "",
        "unit": "build",
        "lint": "build",
        "docs": "",
        "publish": {"unit": "success", "lint": "finished", "docs": "success"},
        "tell": {"publish": "failed"},
    }
)
CHAIN = plan_of({"t0": ""} | {f"t{i}": f"t{i - 1}" for i in range(1, 1000)})
MANY = 10_000


def bush(tasks: int) -> Plan:
    """A root, and under it branches of two."""
    return Plan(
        name="bush",
        tasks=tuple(
            Task(
                name=f"t{i}",
                run="true",
                needs=() if i == 0 else (Need("t0"),) if i % 2 else (Need(f"t{i - 1}"),),
            )
            for i in range(tasks)
        ),
    )


def row(left: str, right: str, width: int = 30) -> str:
    """A line with something at its right end. width: of the pane, of which a cell is the scrollbar's."""
    return f"{left}{right:>{width - 1 - len(left)}}"


async def test_each_task_stands_once_under_its_deciding_parent_with_its_other_needs_beside_it() -> None:
    async with scene_of(PlanTree, RELEASE, size=(44, 10)) as scene:
        assert scene.lines == [
            row(" ◎ build", "ready", 44),
            " ├ ○ unit",
            " └ ○ lint",
            "   └ ○ publish if finished + unit, docs",
            "     └ ○ tell if failed",
            row(" ◎ docs", "ready", 44),
        ]


async def test_a_need_that_asks_for_another_end_than_success_says_so() -> None:
    plan = plan_of(
        {"a": "", "b": "a", "c": {"a": "finished", "b": "skipped"}, "d": {"a": "failed", "c": "success"}}
    )
    async with scene_of(PlanTree, plan, size=(44, 10)) as scene:
        assert scene.lines[2:] == [
            "   └ ○ c if skipped + a if finished",
            "     └ ○ d + a if failed",
        ]


async def test_needs_that_do_not_fit_are_counted() -> None:
    async with scene_of(PlanTree, RELEASE, size=(22, 10)) as scene:
        assert scene.lines[3] == "   └ ○ publish +2"


async def test_the_end_of_a_line_tells_the_state_and_the_time() -> None:
    plan = plan_of(dict.fromkeys(("ok", "runs", "silent", "bad", "again", "held", "off", "left"), ""))
    async with scene_of(PlanTree, plan, size=(30, 10)) as scene:
        events = scene.events
        for name in ("ok", "runs", "silent", "bad", "again"):
            events.started(name)
        await scene.tick(3)
        events.completed("ok")
        events.failed("bad")
        events.retry_scheduled("again")
        events.held("held")
        events.skipped("left", "not wanted")
        events.cancelled("off")
        await scene.tick(39)
        events.stalled("silent", 30)
        await scene.tick()
        assert scene.lines == [
            row(" ✔ ok", "0:03"),
            row(" ◐ runs", "0:42"),
            row(" ◐ silent", "stalled 0:30"),
            row(" ✖ bad", "failed"),
            row(" ↻ again", "retrying"),
            row(" ◎ held", "held"),
            row(" ■ off", "cancelled"),
            row(" ⊘ left", "skipped"),
        ]


async def test_what_there_is_no_room_for_is_left_out_before_the_name() -> None:
    plan = plan_of({"a": "", "integration": "", "x": "a integration"})
    async with scene_of(PlanTree, plan, size=(18, 10)) as scene:
        scene.events.started("integration")
        await scene.tick(3600)
        assert scene.lines[1] == " ◐ integration"
        assert scene.lines[2] == " └ ○ x + a"


async def test_a_chain_of_a_thousand_is_indented_only_as_far_as_there_is_room() -> None:
    async with scene_of(PlanTree, CHAIN, size=(28, 12)) as scene:
        assert scene.lines[:8] == [
            row(" ◎ t0", "ready", 28),
            " └ ○ t1",
            "   └ ○ t2",
            "     └ ○ t3",
            "       └ ○ t4",
            "         └ ○ t5",
            " ⋯         └ ○ t6",
            " ⋯         └ ○ t7",
        ]
        await scene.press("G")
        assert scene.lines[-1] == " ⋯         └ ○ t999"
        await scene.press("left")
        assert scene.selected == "t998"


async def test_the_ascii_tree() -> None:
    async with scene_of(PlanTree, RELEASE, size=(30, 10), look=Look(plain=True)) as scene:
        await scene.press("j", "j", "left")
        assert scene.lines == [
            row(" o build", "ready"),
            " |-. unit",
            " `-. lint > 2.",
            row(" o docs", "ready"),
        ]


async def test_hostile_names_are_names_and_nothing_else() -> None:
    names = (
        "[red]markup[/red] [@click=app.quit]x[/]",
        "\x1b[2J\x1b]0;title\x07clear",
        "two\nlines",
        "\u202eright to left",
        "テスト🚀の実行",
        "\x1b[31m",
    )
    plan = Plan(name="p", tasks=tuple(Task(name=name, run="true") for name in names))
    async with scene_of(PlanTree, plan, size=(44, 10)) as scene:
        assert [line[3:].removesuffix("ready").rstrip() for line in scene.lines] == [
            "[red]markup[/red] [@click=app.quit]x[/]",
            "clear",
            "two lines",
            "right to left",
            "テスト🚀の実行",
            "'\\x1b[31m'",
        ]


async def test_wide_characters_are_cut_by_the_cells_they_take() -> None:
    plan = Plan(name="p", tasks=(Task(name="日本語の名前は長いです", run="true"),))
    async with scene_of(PlanTree, plan, size=(13, 3)) as scene:
        assert scene.lines == [" ◎ 日本語の…"]


# ── the cursor ──────────────────────────────────────────────────────────────────────────────────


async def test_the_keys_move_the_cursor_and_say_where_it_is() -> None:
    plan = plan_of({f"t{i}": "" for i in range(30)})
    async with scene_of(PlanTree, plan, size=(30, 10)) as scene:
        for key, where in [
            ("j", 1),
            ("down", 2),
            ("k", 1),
            ("up", 0),
            ("up", 0),
            ("pagedown", 9),
            ("ctrl+d", 14),
            ("ctrl+u", 9),
            ("G", 29),
            ("j", 29),
            ("pageup", 20),
            ("g", 0),
            ("end", 29),
            ("home", 0),
            ("enter", 0),
        ]:
            await scene.press(key)
            assert scene.pane.selected == where, key
        assert [index for _, index in scene.app.told] == [1, 2, 1, 0, 9, 14, 9, 29, 20, 0, 29, 0, 0]
        assert scene.app.told[-1] == ("opened", 0)


async def test_the_window_follows_the_cursor() -> None:
    plan = plan_of({f"t{i}": "" for i in range(30)})
    async with scene_of(PlanTree, plan, size=(30, 5)) as scene:
        await scene.press(*"jjjjjj")
        assert [line.split()[1] for line in scene.lines] == ["t2", "t3", "t4", "t5", "t6"]
        await scene.press(*"kkkkk")
        assert [line.split()[1] for line in scene.lines] == ["t1", "t2", "t3", "t4", "t5"]


async def test_selecting_says_nothing_so_that_panes_can_follow_one_another() -> None:
    async with scene_of(PlanTree, RELEASE) as scene:
        scene.pane.select(4)
        await scene.settle()
        assert scene.selected == "publish"
        assert scene.app.told == []


async def test_a_click_selects_a_second_opens_and_one_on_the_glyph_folds() -> None:
    async with scene_of(PlanTree, RELEASE) as scene:
        await scene.pilot.click(scene.pane, offset=(6, 1))
        assert scene.selected == "unit"
        await scene.pilot.click(scene.pane, offset=(6, 1), times=2)
        assert scene.app.told[-1] == ("opened", 1)
        await scene.pilot.click(scene.pane, offset=(3, 2))
        await scene.settle()
        assert scene.lines[2] == " └ ○ lint ▸ 2○"
        assert scene.selected == "lint"
        await scene.pilot.click(scene.pane, offset=(6, 8))
        assert scene.selected == "lint"


async def test_find_goes_round_opens_what_is_folded_and_says_when_there_is_nothing() -> None:
    async with scene_of(PlanTree, RELEASE) as scene:
        scene.pane.action_fold_all()
        assert scene.pane.find_next("LI")
        assert scene.selected == "lint"
        assert scene.pane.find_next("li")
        assert scene.selected == "publish"
        assert scene.pane.find_previous("li")
        assert scene.selected == "lint"
        assert scene.pane.find_previous("li")
        assert scene.selected == "publish"
        assert not scene.pane.find_next("nowhere")
        assert scene.selected == "publish"


async def test_a_plan_without_tasks_has_no_cursor() -> None:
    async with scene_of(PlanTree, Plan(name="p", tasks=())) as scene:
        await scene.press("j", "G", "left", "right", "enter", "shift+left", "shift+right")
        assert scene.pane.selected is None
        assert not scene.pane.find_next("a")
        assert scene.lines == [" the plan has no tasks"]


# ── folding ─────────────────────────────────────────────────────────────────────────────────────


async def test_left_folds_and_then_goes_up_and_right_unfolds_and_then_goes_down() -> None:
    async with scene_of(PlanTree, RELEASE, size=(30, 10)) as scene:
        await scene.press("j", "j")
        await scene.press("left")
        assert scene.lines[2] == " └ ○ lint ▸ 2○"
        await scene.press("left")
        assert scene.selected == "build"
        await scene.press("left")
        assert scene.lines[0] == row(" ◎ build ▸ 4○", "ready")
        await scene.press("left")
        assert scene.selected == "build"
        await scene.press("right")
        assert scene.lines[2] == " └ ○ lint ▸ 2○"
        await scene.press("right")
        assert scene.selected == "unit"
        await scene.press("right")
        assert scene.selected == "unit", "there is nothing to open"


async def test_enter_opens_a_folded_branch_and_else_the_task() -> None:
    async with scene_of(PlanTree, RELEASE) as scene:
        await scene.press("left", "enter")
        assert len(scene.lines) == 6
        assert scene.app.told == []
        await scene.press("enter")
        assert scene.app.told == [("opened", 0)]


async def test_folding_all_takes_the_cursor_to_the_branch_and_unfolding_leaves_it_there() -> None:
    async with scene_of(PlanTree, RELEASE, size=(30, 10)) as scene:
        await scene.press("j", "j", "j")
        await scene.press("shift+left")
        assert scene.selected == "build"
        assert scene.app.told[-1] == ("highlighted", 0)
        assert scene.lines == [row(" ◎ build ▸ 4○", "ready"), row(" ◎ docs", "ready")]
        await scene.press("shift+right")
        assert scene.selected == "build"
        assert len(scene.lines) == 6


async def test_what_fails_or_runs_within_a_fold_comes_into_view_at_once() -> None:
    async with scene_of(PlanTree, RELEASE, size=(30, 10)) as scene:
        await scene.press("left")
        scene.events.started("unit")
        await scene.tick(5)
        assert scene.lines[:2] == [row(" ◎ build ▸ 3○", "ready"), row(" ┆ ◐ unit", "0:05")]
        scene.events.failed("unit")
        scene.events.started("lint")
        await scene.tick()
        assert scene.lines[1:3] == [row(" ┆ ✖ unit", "failed"), row(" ┆ ◐ lint", "0:00")]
        await scene.press("j", "j")
        scene.events.completed("lint")
        await scene.tick(2)
        assert scene.lines[:2] == [row(" ◎ build ▸ 2○ 1✔", "ready"), row(" ┆ ✖ unit", "failed")]
        assert scene.selected == "docs", "the line that took the place of the one that went"
        assert scene.app.told[-1] == ("highlighted", scene.index("docs"))


async def test_a_task_shown_in_a_fold_has_no_branch_of_its_own_there() -> None:
    async with scene_of(PlanTree, RELEASE, size=(30, 10)) as scene:
        await scene.press("left")
        scene.events.started("lint")
        await scene.tick()
        await scene.press("j", "right")
        assert scene.selected == "lint"
        scene.pane.action_toggle_fold()
        assert len(scene.lines) == 3
        await scene.press("shift+left")
        assert scene.selected == "lint", "it stays in view"
        await scene.press("left")
        assert scene.selected == "build"
        scene.pane.action_toggle_fold()
        await scene.settle()
        assert len(scene.lines) == 4, "the folds within are still there"


async def finish_first_branch(scene: Scene[PlanTree]) -> None:
    for name in ("t0", "t1", "t2"):
        scene.events.started(name)
        scene.events.completed(name)
    await scene.tick()


async def test_finished_branches_fold_by_themselves_where_there_are_more_tasks_than_lines() -> None:
    async with scene_of(PlanTree, bush(9), size=(30, 6)) as scene:
        await finish_first_branch(scene)
        assert scene.lines[1] == row(" ├ ✔ t1", "0:00"), "not at once: lines that jump cannot be read"
        await scene.tick(1)
        assert scene.lines[1] == row(" ├ ✔ t1 ▸ 1✔", "0:00")
        scene.events.reset("t2")
        scene.events.started("t2")
        await scene.tick(1)
        assert scene.lines[1:3] == [row(" ├ ✔ t1", "0:00"), row(" │ └ ◐ t2", "0:01")]


async def test_once_the_run_is_complete_nothing_waits_to_be_folded() -> None:
    async with scene_of(PlanTree, bush(9), size=(30, 6)) as scene:
        for i in range(9):
            scene.events.started(f"t{i}")
            scene.events.completed(f"t{i}")
        scene.events.plan_completed()
        await scene.tick(0.1)
        assert scene.lines == [row(" ✔ t0 ▸ 8✔", "0:00")]


async def test_where_all_tasks_have_a_line_nothing_folds_by_itself() -> None:
    async with scene_of(PlanTree, bush(9), size=(30, 9)) as scene:
        await finish_first_branch(scene)
        await scene.tick(1)
        assert len(scene.lines) == 9
        await scene.pilot.resize_terminal(30, 6)
        await scene.settle()
        assert scene.lines[1] == row(" ├ ✔ t1 ▸ 1✔", "0:00")
        await scene.pilot.resize_terminal(30, 12)
        await scene.settle()
        assert len(scene.lines) == 9


async def test_a_branch_with_the_cursor_in_it_does_not_fold_by_itself() -> None:
    async with scene_of(PlanTree, bush(9), size=(30, 6)) as scene:
        await scene.press("j", "j")
        await finish_first_branch(scene)
        await scene.tick(1)
        assert scene.selected == "t2"
        assert scene.lines[1] == row(" ├ ✔ t1", "0:00")


async def test_the_cursor_keeps_its_task_and_its_row_when_lines_above_it_fold() -> None:
    async with scene_of(PlanTree, bush(41), size=(30, 6)) as scene:
        await scene.press("G", "k", "k")
        row = next(y for y, line in enumerate(scene.lines) if " t38 " in f"{line} ")
        await finish_first_branch(scene)
        await scene.tick(1)
        assert scene.selected == "t38"
        assert scene.lines[row].split()[-1] == "t38"
        assert scene.pane.line_of(38) == 37


async def test_selecting_a_hidden_task_opens_its_fold_for_as_long_as_it_is_selected() -> None:
    async with scene_of(PlanTree, bush(9), size=(30, 6)) as scene:
        await finish_first_branch(scene)
        await scene.tick(1)
        scene.pane.select(2)
        assert scene.selected == "t2"
        scene.pane.select(0)
        scene.events.started("t3")
        scene.events.completed("t3")
        scene.events.started("t4")
        scene.events.completed("t4")
        await scene.tick(1)
        assert scene.lines[1:3] == [row(" ├ ✔ t1 ▸ 1✔", "0:00"), row(" ├ ✔ t3 ▸ 1✔", "0:00")]


async def test_another_view_of_the_plan_keeps_cursor_and_folds() -> None:
    async with scene_of(PlanTree, RELEASE, size=(30, 10)) as scene:
        await scene.press("j", "j", "left")
        view = RunView(scene.view.graph, "run")
        scene.events.started("unit")
        view.apply(scene.events.events)
        scene.pane.rebind(view)
        await scene.settle()
        assert scene.selected == "lint"
        assert scene.lines[1:3] == [row(" ├ ◐ unit", "0:00"), " └ ○ lint ▸ 2○"]


# ── the cost ────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_changed_draws_nothing() -> None:
    async with scene_of(PlanTree, bush(MANY), size=(40, 20)) as scene:
        scene.events.started("t3")
        await scene.tick(0.5)
        scene.forget()
        await scene.tick()
        await scene.tick(0.3)
        assert scene.drawn == []
        assert scene.painted == []


async def test_a_second_that_passed_repaints_the_time_of_what_runs_and_no_more() -> None:
    async with scene_of(PlanTree, bush(MANY), size=(40, 20)) as scene:
        scene.events.started("t3")
        scene.events.started("t9001")
        await scene.tick()
        scene.forget()
        await scene.tick(1)
        assert scene.drawn == [3]
        assert scene.painted == [Region(38, 3, 1, 1)]
        assert scene.lines[3].endswith("0:01")


async def test_what_happens_out_of_sight_draws_nothing_and_is_there_when_scrolled_to() -> None:
    async with scene_of(PlanTree, bush(MANY), size=(40, 20)) as scene:
        scene.forget()
        for i in range(9_000, 9_500):
            scene.events.started(f"t{i}")
        await scene.tick()
        assert scene.painted == []
        await scene.press("G")
        scene.pane.select(9_400)
        await scene.tick(65)
        assert [line for line in scene.lines if " t9400 " in line] == [row(" │ └ ◐ t9400", "1:05", 40)]


async def test_a_scrolled_window_draws_only_the_lines_that_came_into_it() -> None:
    async with scene_of(PlanTree, bush(MANY), size=(40, 20)) as scene:
        await scene.press("pagedown")
        scene.forget()
        await scene.press("j")
        assert sorted(set(scene.drawn)) == [19, 20]


async def test_a_line_that_comes_or_goes_moves_the_others_without_drawing_them_again() -> None:
    async with scene_of(PlanTree, bush(MANY), size=(40, 20)) as scene:
        await scene.press("left")
        for i in range(10, 15):
            scene.events.started(f"t{i}")
        await scene.tick()
        scene.forget()
        scene.events.started("t5")
        await scene.tick(0.2)
        assert [line.split()[2] for line in scene.lines[1:]] == ["t5", "t10", "t11", "t12", "t13", "t14"]
        assert sorted(set(scene.drawn)) == [0, 1], "the fold's counts, and the line that came"
