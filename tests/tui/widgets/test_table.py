"""The table of tasks: its columns at every width, its order, its filters, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import pytest
from rich.cells import cell_len
from rich.segment import Segment

from engine.plan.model import Plan, Retry, Task
from engine.view.run_view import RunView
from tests.support.scene import Scene, plan_of, scene_of
from tui.present import Look
from tui.widgets.table import Columns, Sort, TaskTable, columns

pytestmark = pytest.mark.anyio

PLAN = plan_of(
    {"build": "", "unit": "build", "lint": "build", "publish": "unit lint", "docs": ""},
    retries={"unit": 2},
)
MANY = 10_000
CROWD = Plan(name="crowd", tasks=tuple(Task(name=f"t{i}", run="true") for i in range(MANY)))


def table_with(**last_lines: str) -> Callable[[RunView], TaskTable]:
    """A maker of tables in which tasks, by name, have printed something."""

    def make(view: RunView) -> TaskTable:
        return TaskTable(view, lambda index: last_lines.get(view.tasks[index].name, ""))

    return make


def shown(scene: Scene[TaskTable]) -> list[str]:
    """The names in the rows, from top to bottom."""
    return [scene.view.tasks[index].name for index in scene.pane.rows]


async def some_of_everything(scene: Scene[TaskTable]) -> None:
    events = scene.events
    events.plan_started()
    events.started("build")
    events.wait(2)
    events.completed("build")
    events.started("unit")
    events.started("lint")
    events.started("docs")
    events.wait(3)
    events.failed("lint", "exit 2: E501 line too long")
    events.retry_scheduled("unit", delay=40)
    await scene.tick(39)


async def test_the_first_frame_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Sequence[Segment]] = []
    draw = TaskTable.draw_header

    def recorded(table: TaskTable, look: Look, row: int) -> Sequence[Segment]:
        drawn.append(draw(table, look, row))
        return drawn[-1]

    monkeypatch.setattr(TaskTable, "draw_header", recorded)
    async with scene_of(table_with(), PLAN, size=(72, 8)):
        assert {segment.text.rstrip() for segments in drawn for segment in segments} == {
            "    TASK     STATE     TRY  TIME WHY / LAST LINE"
        }


async def test_a_row_says_what_a_task_does_or_why_it_does_not() -> None:
    async with scene_of(table_with(docs="reading sources"), PLAN, size=(72, 8)) as scene:
        await some_of_everything(scene)
        assert scene.lines == [
            "    TASK     STATE     TRY  TIME WHY / LAST LINE",
            "  ✔ build    success   1/1  0:02",
            "  ↻ unit     retrying  1/3  0:03 retry in 1s (2/3)",
            "  ✖ lint     failed    1/1  0:03 exit 2: E501 line too long",
            "  ○ publish  pending     -     - can't be met: lint is failed",
            "  ◐ docs     running   1/1  0:42 reading sources",
        ]


async def test_a_stalled_task_says_for_how_long_instead_of_what_it_printed_last() -> None:
    async with scene_of(table_with(docs="waiting for lock"), PLAN, size=(72, 8)) as scene:
        scene.events.started("docs")
        scene.events.wait(30)
        scene.events.stalled("docs", 30)
        await scene.tick(5)
        assert scene.lines[-1] == "  ◐ docs     running   1/1  0:35 silent 35s"


async def test_the_last_line_is_cut_to_the_column_and_no_control_gets_through() -> None:
    printed = "\x1b[2J\x1b[31m日本語の出力がとても長い場合\x07"
    async with scene_of(table_with(docs=printed), PLAN, size=(60, 8)) as scene:
        scene.events.started("docs")
        await scene.tick()
        assert scene.lines[-1].endswith("0:00 日本語の出力がとても長い…")
        assert cell_len(scene.lines[-1]) <= 60


def test_the_columns_fill_any_width_and_leave_the_name_room() -> None:
    for width, longest in product(range(10, 301), (1, 9, 24, 200)):
        shares = columns(width, longest)
        used = 4 + shares.task + 1 + shares.why
        used += sum(part + 1 for part in (shares.state, shares.tries, shares.time) if part)
        case = f"{width} cells, names of {longest}: {shares}"
        assert used <= max(width, 14), case
        assert min(shares) >= 0, case
        if width >= 40:
            assert used == width, case
            assert shares.task >= 8, case
            assert shares.why >= 10, case


def test_where_room_is_scarce_tries_go_first_then_the_word_for_the_state_then_the_time() -> None:
    assert columns(56, 24) == Columns(task=12, state=9, tries=3, time=5, why=19)
    assert columns(44, 24).tries == 0
    assert columns(44, 24).state == 9
    assert columns(40, 24).state == 0
    assert columns(40, 24).time == 5
    assert columns(24, 24).time == 0


async def test_the_same_rows_at_forty_columns() -> None:
    async with scene_of(table_with(docs="reading sources"), PLAN, size=(40, 8)) as scene:
        await some_of_everything(scene)
        assert scene.lines == [
            "    TASK     STATE      TIME WHY / LAS…",
            "  ✔ build    success    0:02",
            "  ↻ unit     retrying   0:03 retry in…",
            "  ✖ lint     failed     0:03 exit 2: E…",
            "  ○ publish  pending       - can't be…",
            "  ◐ docs     running    0:42 reading s…",
        ]


async def test_the_columns_follow_the_width_of_the_terminal() -> None:
    async with scene_of(TaskTable, PLAN, size=(40, 8)) as scene:
        await scene.pilot.resize_terminal(72, 8)
        await scene.settle()
        assert scene.lines[1] == "  ◎ build    ready       -     - the run has not begun"


async def test_the_time_gets_a_wider_column_once_there_are_hours() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.events.plan_started()
        scene.events.started("docs")
        await scene.tick(3599)
        assert scene.lines[-1] == "  ◐ docs     running   1/1 59:59"
        await scene.tick(1)
        assert scene.lines[0] == "    TASK     STATE     TRY    TIME WHY / LAST LINE"
        assert scene.lines[-1] == "  ◐ docs     running   1/1 1:00:00"
        await scene.tick(2 * 86_400)
        assert scene.lines[-1] == "  ◐ docs     running   1/1    2d1h"


async def test_attempts_that_a_person_asked_for_still_fit_their_column() -> None:
    plan = Plan(name="p", tasks=(Task(name="a", run="true", retry=Retry(limit=8)),))
    async with scene_of(TaskTable, plan, size=(60, 4)) as scene:
        for _ in range(9):
            scene.events.started("a")
            scene.events.retry_scheduled("a")
        await scene.tick()
        assert " 9/9 " in scene.lines[1]
        scene.events.started("a")
        await scene.tick()
        assert "  10  " in scene.lines[1]


async def test_hostile_names_are_names_and_nothing_else() -> None:
    names = (
        "[b]bold[/b] [@click=app.quit]",
        "\x1b[2Jclear\r\n",
        "עברית",
        "e\u0301 combining",
        "日本語の名前は長い",
    )
    plan = Plan(name="p", tasks=tuple(Task(name=name, run="true") for name in names))
    async with scene_of(TaskTable, plan, size=(60, 8)) as scene:
        assert [line[4:18].rstrip() for line in scene.lines[1:3]] == ["…ick=app.quit]", "clear"]
        assert scene.lines[3].startswith("  ◎ עברית ")
        assert {cell_len(line[: line.index("the run")]) for line in scene.lines[1:]} == {39}
        assert "日本語の名前…" in scene.lines[5]


async def test_the_ascii_table() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8), look=Look(plain=True)) as scene:
        await some_of_everything(scene)
        await scene.press("space")
        assert [line[:4] for line in scene.lines[1:]] == ["* + ", "  ~ ", "  X ", "  . ", "  * "]


# ── order and filters ───────────────────────────────────────────────────────────────────────────


async def test_each_order_and_back_to_that_of_the_plan() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        await some_of_everything(scene)
        orders = []
        for _ in Sort:
            await scene.press("O")
            orders.append((scene.pane.note, shown(scene)))
        assert orders == [
            ("by state", ["lint", "unit", "docs", "publish", "build"]),
            ("by time", ["docs", "unit", "lint", "build", "publish"]),
            ("by name", ["build", "docs", "lint", "publish", "unit"]),
            ("", ["build", "unit", "lint", "publish", "docs"]),
        ]


async def test_rows_change_places_at_most_once_a_second_and_the_cursor_goes_with_its_task() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.pane.sort = Sort.STATE
        scene.pane.select(scene.index("docs"))
        scene.events.started("docs")
        await scene.tick(0.5)
        assert shown(scene) == ["build", "docs", "unit", "lint", "publish"]
        await scene.tick(0.5)
        assert shown(scene) == ["docs", "build", "unit", "lint", "publish"]
        assert scene.selected == "docs"
        assert scene.app.told == []


async def test_once_the_run_is_complete_the_rows_are_where_they_belong() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.pane.sort = Sort.STATE
        scene.events.started("docs")
        scene.events.failed("docs")
        scene.events.plan_completed()
        await scene.tick(0.1)
        assert shown(scene)[0] == "docs"


async def test_sorted_by_time_a_running_task_overtakes_a_finished_one_without_any_event() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.events.started("build")
        scene.events.wait(5)
        scene.events.completed("build")
        scene.events.started("docs")
        await scene.tick()
        scene.pane.sort = Sort.TIME
        assert shown(scene)[:2] == ["build", "docs"]
        await scene.tick(6)
        assert shown(scene)[:2] == ["docs", "build"]


async def test_filter_by_name_and_by_the_word_for_a_state() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        await some_of_everything(scene)
        scene.events.held("publish")
        scene.events.stalled("docs")
        await scene.tick()
        for text, names in [
            ("LI", ["lint", "publish"]),
            ("failed", ["lint"]),
            ("run", ["docs"]),
            ("stalled", ["docs"]),
            ("held", ["publish"]),
            ("li fail", ["lint"]),
            ("", ["build", "unit", "lint", "publish", "docs"]),
        ]:
            scene.pane.filter(text)
            assert shown(scene) == names, text


async def test_a_filter_says_what_it_does_and_what_it_leaves() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.pane.filter("Li")
        await scene.settle()
        assert scene.pane.note == "/li · 2 of 5"
        scene.pane.filter("\x1b[2J[red]nothing")
        await scene.settle()
        assert scene.lines[1:] == [" no task matches [red]nothing"]
        assert scene.pane.selected is None
        scene.pane.action_failed_only()
        await scene.settle()
        assert scene.lines[1:] == [" no task matches [red]nothing and failed"]
        scene.pane.filter("")
        await scene.settle()
        assert scene.lines[1:] == [" no task has failed"]
        assert scene.pane.note == "failed only · 0 of 5"
        scene.pane.action_failed_only()
        assert len(shown(scene)) == 5
        assert scene.pane.note == ""


async def test_failed_only_follows_what_happens() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.pane.failed_only = True
        for name in ("lint", "docs"):
            scene.events.started(name)
            scene.events.failed(name)
        await scene.tick()
        assert shown(scene) == ["lint", "docs"]
        assert scene.selected == "lint"
        scene.events.reset("lint")
        await scene.tick()
        assert shown(scene) == ["docs"]
        assert scene.selected == "docs"
        assert scene.app.told == [("highlighted", scene.index("docs"))]


async def test_the_cursor_keeps_its_task_through_filters() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.pane.select(scene.index("publish"))
        scene.pane.filter("li")
        assert scene.selected == "publish"
        scene.pane.filter("")
        assert scene.selected == "publish"
        scene.pane.filter("build")
        await scene.settle()
        assert scene.app.told == [("highlighted", scene.index("build"))]
        scene.pane.select(scene.index("docs"))
        assert scene.selected == "build", "it is not shown"


async def test_space_marks_and_goes_on_and_marks_can_be_taken_away() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        await scene.press("space", "space", "k", "space")
        assert scene.pane.marked == {scene.index("build")}
        assert scene.pane.note == "1 marked"
        assert [line[:2] for line in scene.lines[1:]] == ["• ", "  ", "  ", "  ", "  "]
        scene.pane.clear_marks()
        await scene.settle()
        assert [line[:2] for line in scene.lines[1:]] == ["  "] * 5


async def test_find_looks_at_the_rows_shown() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        assert scene.pane.find_next("li")
        assert scene.selected == "lint"
        scene.pane.filter("u")
        assert not scene.pane.find_next("lint")


async def test_a_plan_without_tasks_says_so() -> None:
    async with scene_of(TaskTable, Plan(name="p", tasks=()), size=(72, 8)) as scene:
        await scene.press("j", "space", "O", "enter")
        assert scene.lines[1:] == [" the plan has no tasks"]


async def test_another_view_of_the_plan_keeps_cursor_order_and_filter() -> None:
    async with scene_of(TaskTable, PLAN, size=(72, 8)) as scene:
        scene.pane.filter("li")
        scene.pane.select(scene.index("publish"))
        view = RunView(scene.view.graph, "run")
        scene.events.started("lint")
        view.apply(scene.events.events)
        scene.pane.rebind(view)
        await scene.settle()
        assert scene.selected == "publish"
        assert scene.lines[1].startswith("  ◐ lint ")
        assert len(scene.lines) == 3


async def test_the_header_stays_when_the_rows_scroll_and_a_click_hits_the_row_it_is_on() -> None:
    async with scene_of(TaskTable, CROWD, size=(72, 8)) as scene:
        await scene.press("G")
        assert scene.lines[0].startswith("    TASK")
        assert scene.lines[7].startswith("  ◎ t9999 ")
        await scene.pilot.click(scene.pane, offset=(6, 2))
        assert scene.selected == "t9994"
        await scene.pilot.click(scene.pane, offset=(6, 0))
        assert scene.selected == "t9994"


# ── the cost ────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_changed_draws_nothing() -> None:
    async with scene_of(table_with(t1="a line"), CROWD, size=(80, 24)) as scene:
        scene.events.plan_started()
        scene.events.started("t1")
        await scene.tick(0.2)
        scene.forget()
        await scene.tick()
        await scene.tick(0.7)
        assert scene.drawn == []
        assert scene.painted == []


async def test_one_changed_cell_repaints_its_columns_in_its_line() -> None:
    async with scene_of(TaskTable, CROWD, size=(80, 24)) as scene:
        scene.events.plan_started()
        scene.events.started("t3")
        await scene.tick()
        scene.forget()
        await scene.tick(1)
        assert scene.drawn == [3]
        [region] = scene.painted
        assert (region.y, region.height) == (4, 1)
        assert scene.lines[4][: region.right].endswith("0:01")
        assert region.width == 1


async def test_the_time_ticks_only_in_rows_that_are_seen() -> None:
    async with scene_of(TaskTable, CROWD, size=(80, 24)) as scene:
        for i in range(0, MANY, 3):
            scene.events.started(f"t{i}")
        await scene.tick()
        scene.forget()
        await scene.tick(1)
        assert sorted(scene.drawn) == list(range(0, 23, 3))
        assert len(scene.painted) == 8


async def test_what_is_out_of_sight_is_looked_at_only_when_it_comes_into_sight() -> None:
    asked: list[int] = []

    def last_line(index: int) -> str:
        asked.append(index)
        return "a line"

    async with scene_of(lambda view: TaskTable(view, last_line), CROWD, size=(80, 24)) as scene:
        for i in range(5_000, 5_500):
            scene.events.started(f"t{i}")
        scene.forget()
        await scene.tick(3)
        assert asked == []
        assert scene.painted == []
        scene.pane.select(5_100)
        await scene.settle()
        assert "running" in scene.lines[23]
        assert min(asked) >= 5_070
        assert max(asked) <= 5_130


async def test_moving_the_cursor_draws_two_lines() -> None:
    async with scene_of(TaskTable, CROWD, size=(80, 24)) as scene:
        scene.forget()
        await scene.press("j")
        assert sorted(scene.drawn) == [0, 1]
        assert {region.y for region in scene.painted} == {1, 2}


async def test_what_is_hidden_is_drawn_when_it_is_shown_again() -> None:
    async with scene_of(TaskTable, CROWD, size=(80, 24)) as scene:
        scene.pane.display = False
        await scene.settle()
        scene.events.started("t3")
        await scene.tick(2)
        scene.pane.display = True
        await scene.settle()
        assert scene.lines[4].startswith("  ◐ t3 ")


async def test_another_look_is_drawn_at_the_next_tick_all_over() -> None:
    async with scene_of(TaskTable, PLAN, size=(80, 24)) as scene:
        scene.app.look = Look(plain=True)
        scene.pane.notify_style_update()
        scene.pane.refresh()
        await scene.settle()
        assert [line[2] for line in scene.lines[1:]] == ["o", ".", ".", ".", "o"]


async def test_the_line_of_the_cursor_shows_whether_keys_go_here() -> None:
    async with scene_of(TaskTable, PLAN, size=(80, 24)) as scene:

        def backgrounds() -> list[object]:
            rows = scene.strips[1:4]
            return [next(iter(row)).style.bgcolor for row in rows]

        cursor, other, another = backgrounds()
        assert cursor != other
        assert other == another
        await scene.press("tab")
        blurred, other, another = backgrounds()
        assert blurred != cursor
        assert blurred != other
        await scene.press("tab")
        assert backgrounds() == [cursor, other, another]
