"""The timeline: its lines, its order, its bars, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.plan.model import Plan, Task
from engine.view.forecast import Forecast
from engine.view.run_view import RunView
from tests.support.scene import Scene, plan_of, scene_of
from tui.present import Look
from tui.widgets.timeline import Timeline

pytestmark = pytest.mark.anyio

PLAN = plan_of({"fetch": "", "build": "fetch", "lint": "fetch", "publish": "build"}, retries={"lint": 2})
MANY = 10_000
CROWD = Plan(name="crowd", tasks=tuple(Task(name=f"t{i}", run="true") for i in range(MANY)))


def make() -> Callable[[RunView], Timeline]:
    return lambda view: Timeline(view, Forecast(view))


async def go_on(scene: Scene[Timeline]) -> None:
    """fetch takes 4 s, build runs, lint fails after 2 s and waits 3 s, then runs again."""
    events = scene.events
    events.plan_started()
    events.started("fetch")
    events.wait(4.0)
    events.completed("fetch")
    events.started("lint")
    events.wait(2.0)
    events.retry_scheduled("lint", 3.0)
    events.started("build")
    events.wait(3.0)
    events.started("lint")
    await scene.tick(1.0)


async def test_bars_stand_where_things_happened() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        await go_on(scene)
        assert scene.lines == [
            " ◆ critical  · waits  ━ runs  ~ back-off  ░ stops  ✔ done",
            "            0:00.0    0:05.0    ▾         0:15.0",
            "  ✔ fetch   ━━━━━━━━✔                                  0:04",
            "  ◐ lint            ━━━━✖~~~~~━━▸                      0:01",
            "  ◐ build           ····━━━━━━━━▸                      0:04",
            "  ○ publish                                               -",
        ]


async def test_lines_are_ordered_by_their_first_start_and_what_has_not_started_comes_last() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        assert list(scene.pane.rows) == [0, 1, 2, 3]
        await go_on(scene)
        assert [scene.view.tasks[index].name for index in scene.pane.rows] == [
            "fetch",
            "lint",
            "build",
            "publish",
        ]


async def test_the_cursor_stays_on_its_task_when_lines_change_places() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        scene.pane.select(3)
        await go_on(scene)
        assert scene.selected == "publish"
        await scene.press("g", "down")
        assert scene.selected == "lint"
        assert ("highlighted", 2) in scene.app.told


async def test_the_critical_path_is_marked() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        await go_on(scene)
        scene.pane._forecast.advance(scene.events.offset)
        await scene.tick(1.0)
        marked = [line[4:12].strip() for line in scene.lines[2:] if line.startswith("◆")]
        assert marked == ["fetch", "build", "publish"]


async def test_ascii_needs_no_other_sign() -> None:
    async with scene_of(make(), PLAN, size=(60, 8), look=Look(plain=True)) as scene:
        await go_on(scene)
        assert all(line.isascii() for line in scene.lines)


async def test_zooming_changes_the_scale_and_panning_the_place() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        await go_on(scene)
        whole = scene.lines
        await scene.press("right_square_bracket", "right_square_bracket")
        assert scene.pane.note == "0.1s a cell · following"
        assert scene.lines != whole
        await scene.press("left")
        assert "from" in scene.pane.note
        await scene.press("right", "right", "right")
        assert "following" in scene.pane.note
        await scene.press("left_square_bracket", "left_square_bracket")
        assert scene.lines == whole
        await scene.press("right_square_bracket", "0")
        assert scene.lines == whole


async def test_the_bar_of_what_runs_grows_with_the_time() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        await go_on(scene)
        before = next(line for line in scene.lines if "build" in line).count("━")
        await scene.tick(2.0)
        assert next(line for line in scene.lines if "build" in line).count("━") > before


async def test_only_what_is_seen_is_drawn_however_many_there_are() -> None:
    async with scene_of(make(), CROWD, size=(60, 20)) as scene:
        scene.events.plan_started()
        for number in range(0, MANY, 3):
            scene.events.started(f"t{number}")
        await scene.tick(2.0)
        scene.forget()
        scene.events.completed("t0")
        await scene.tick(0.1)
        assert len(set(scene.drawn)) <= 18
        scene.forget()
        await scene.press("G")
        assert len(set(scene.drawn)) <= 20
        assert scene.selected == "t9998"  # the last that has not started


async def test_a_tick_on_which_nothing_changed_paints_nothing() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        await go_on(scene)
        scene.forget()
        await scene.tick()
        assert scene.drawn == []
        assert scene.painted == []


async def test_another_view_is_shown_as_it_is() -> None:
    async with scene_of(make(), PLAN, size=(60, 8)) as scene:
        await go_on(scene)
        fresh = RunView(scene.view.graph, "run")
        scene.pane.rebind(fresh)
        assert list(scene.pane.rows) == [0, 1, 2, 3]
