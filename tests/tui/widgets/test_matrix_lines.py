"""A matrix in the tree: one line for all of it, which folds, counts, and is acted on as one."""

from __future__ import annotations

import pytest

from engine.plan.model import Need, Plan, Task
from tests.support.scene import Scene, scene_of
from tui.present import Look
from tui.widgets.tree import PlanTree

pytestmark = pytest.mark.anyio

SYSTEMS = ("linux", "mac", "bsd", "sun", "aix")
UNIT = [1, 2, 3, 4, 5]


def member(system: str) -> Task:
    return Task(name=f"unit[{system}]", group="unit", run="true", needs=(Need("build"),))


MATRIX = Plan(
    name="matrix",
    tasks=(
        Task(name="build", run="true"),
        *map(member, SYSTEMS),
        Task(name="mac-only", run="true", needs=(Need("unit[mac]"),)),
        Task(name="report", run="true", needs=tuple(Need(f"unit[{system}]") for system in SYSTEMS)),
        Task(name="late", run="true", needs=(*(Need(f"unit[{s}]") for s in SYSTEMS), Need("report"))),
    ),
)


async def begin(scene: Scene[PlanTree], *tasks: str) -> None:
    for name in ("build", *tasks):
        scene.events.started(name)
    scene.events.completed("build")
    await scene.tick(1)


async def test_its_tasks_stand_under_a_line_for_all_of_them_and_what_needs_all_comes_after() -> None:
    async with scene_of(PlanTree, MATRIX, size=(40, 12)) as scene:
        await begin(scene, "unit[linux]")
        lines = [" ".join(line.split()) for line in scene.lines]
        assert lines == [
            "✔ build 0:00",
            "└ ◐ unit[…] 0/5",
            "├ ◐ [linux] 0:01",
            "├ ◎ [mac] ready",
            "│ └ ○ mac-only",
            "├ ◎ [bsd] ready",
            "├ ◎ [sun] ready",
            "├ ◎ [aix] ready",
            "└ ○ report",
            "└ ○ late + unit[…]",
        ]


async def test_it_folds_by_itself_where_there_are_more_lines_than_the_pane_has() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 9)) as scene:
        await begin(scene, "unit[linux]", "unit[mac]", "unit[bsd]")
        scene.events.failed("unit[mac]")
        scene.events.completed("unit[bsd]")
        await scene.tick(1)
        assert [" ".join(line.split()) for line in scene.lines] == [
            "✔ build 0:00",
            "└ ✖ unit[…] ▸ 1✖ 2/5",
            "┆ ◐ [linux] 0:02",
            "┆ ✖ [mac] failed",
            "└ ○ report",
            "└ ○ late + unit[…]",
        ]


async def test_it_is_opened_and_folded_with_the_keys_of_any_branch() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 20)) as scene:
        await scene.press("j", "enter")
        assert [line.split()[-1] for line in scene.lines] == ["ready", "0/5", "report", "unit[…]"]
        assert scene.pane.targets == UNIT
        await scene.press("enter")
        assert len(scene.lines) == 10
        await scene.press("j", "left")
        assert scene.pane.targets == UNIT, "from a member to the line for all"
        await scene.press("left", "right")
        assert len(scene.lines) == 10
        await scene.press("right")
        assert (scene.selected, scene.pane.targets) == ("unit[linux]", [1])
        assert not any(kind == "opened" for kind, _ in scene.app.told)


async def test_at_its_line_the_other_panes_show_the_task_that_needs_a_person_first() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 20)) as scene:
        await begin(scene, "unit[bsd]", "unit[sun]")
        scene.events.failed("unit[sun]")
        await scene.tick()
        await scene.press("j")
        assert scene.app.told[-1] == ("highlighted", 4)
        scene.pane.select(4)
        assert scene.pane.targets == UNIT, "the panes that follow do not take the cursor from its line"
        scene.pane.select(6)
        assert scene.selected == "mac-only"
        scene.pane.select(4)
        assert scene.pane.targets == [4]


async def test_a_search_finds_the_line_of_a_folded_matrix_and_a_member_by_what_it_alone_has() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 9)) as scene:
        assert scene.pane.find_next("unit")
        assert scene.pane.targets == UNIT
        assert scene.pane.find_next("unit"), "there is no other"
        assert scene.pane.targets == UNIT
        assert scene.pane.find_next("sun")
        assert scene.selected == "unit[sun]"
        assert scene.pane.find_next("unit"), "it is open now: its members are found"
        assert scene.selected == "unit[aix]"


async def test_who_is_on_a_running_member_of_a_folded_matrix_does_not_open_it() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 9)) as scene:
        await begin(scene, "unit[sun]")
        scene.pane.select(4)
        await scene.tick(2)
        assert scene.selected == "unit[sun]"
        assert len(scene.lines) == 5


async def test_a_stall_and_ascii_show_on_its_line() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 9), look=Look(plain=True)) as scene:
        await begin(scene, "unit[sun]")
        scene.events.stalled("unit[sun]")
        await scene.tick()
        assert scene.lines[1].split() == ["`-*", "unit[...]", ">", "0/5"]


async def test_folding_all_goes_up_through_it() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 20)) as scene:
        scene.pane.select(3)
        await scene.press("shift+left")
        assert scene.selected == "build"
        assert len(scene.lines) == 1


async def test_another_view_of_the_plan_keeps_the_cursor_on_it() -> None:
    async with scene_of(PlanTree, MATRIX, size=(30, 9)) as scene:
        await scene.press("j")
        scene.pane.rebind(scene.view)
        assert scene.pane.targets == UNIT
        assert scene.pane.names[-1] == "unit[…]"
