"""The events: which are listed, how they are told, what the cursor does."""

from __future__ import annotations

import pytest

from engine.core.events import EVENT_TYPES
from engine.plan.model import FailureMode
from engine.view import run_view
from engine.view.run_view import RunView
from engine.view.snapshot import snapshot_of
from tests.support.random_run import RandomRun
from tests.support.scene import Scene, plan_of, scene_of
from tui.present import Look
from tui.widgets.events import EventsPane, Show

pytestmark = pytest.mark.anyio

PLAN = plan_of({"build": "", "unit": "build", "lint": "build"}, retries={"unit": 1})


def happen(scene: Scene[EventsPane]) -> None:
    make = scene.events
    make.plan_started()
    make.started("build", "pid 7")
    make.completed("build")
    make.mode_changed(FailureMode.CONTINUE_ON_ERROR)
    make.started("unit")
    make.retry_scheduled("unit")
    make.started("lint")
    make.failed("lint", "exit 2: \x1b[31mE501", 2)
    make.held("unit")


async def test_every_kind_of_event_is_told() -> None:
    told: set[str] = set()
    wanted = set(EVENT_TYPES) - {"PLAN_STARTED", "HOOK_ENDED"}
    for seed in range(80):
        if told >= wanted:
            break
        run = RandomRun(seed)
        view = RunView(run.graph, "run")
        for _ in range(60):
            view.apply(run.step().events)
        pane = EventsPane(view)
        for line in range(len(pane._numbers)):
            segments, _ = pane.draw_line(line, pane.line_content(line), Look())
            assert "".join(segment.text for segment in segments).strip()
            told.add(view.audit[line].type)
    assert told >= wanted


async def test_the_newest_is_last_and_the_list_goes_along_with_it() -> None:
    async with scene_of(EventsPane, PLAN, size=(70, 6)) as scene:
        happen(scene)
        await scene.tick()
        assert "held" in scene.lines[-1]
        assert "»" in scene.lines[-1]
        assert scene.pane.selected == 1
        await scene.press("up")
        assert scene.pane.note == ""
        scene.events.released("unit")
        await scene.tick()
        assert "released" not in "".join(scene.lines)
        await scene.press("G")
        assert scene.pane.note == "following"
        scene.events.held("unit")
        await scene.tick()
        assert "held" in scene.lines[-1]


async def test_kinds_of_events_are_listed_alone() -> None:
    async with scene_of(EventsPane, PLAN, size=(70, 20)) as scene:
        happen(scene)
        await scene.tick()
        scene.pane.select(1)
        counts = {}
        for _ in Show:
            await scene.press("v")
            counts[scene.pane.show] = scene.pane.line_count
        assert counts == {Show.STEERING: 2, Show.TROUBLE: 2, Show.TASK: 3, Show.ALL: 9}
        scene.pane.show = Show.TASK
        assert scene.pane.note == "only unit · following"
        scene.pane.select(0)
        scene.pane.show = Show.TASK
        assert scene.pane.line_count == 2
        scene.events.failed("unit")
        await scene.tick()
        assert scene.pane.line_count == 2


async def test_words_filter() -> None:
    async with scene_of(EventsPane, PLAN, size=(70, 20)) as scene:
        happen(scene)
        await scene.tick()
        scene.pane.filter("LINT exit")
        assert scene.pane.line_count == 1
        assert scene.pane.note == "/lint exit · following"
        scene.pane.filter("nobody")
        await scene.settle()
        assert scene.lines[1].strip() == "nothing of that kind has happened"
        assert scene.pane.selected is None
        await scene.press("down", "enter")
        scene.pane.filter("")
        assert scene.pane.line_count == 9


async def test_what_is_sought_is_gone_to_round_the_end() -> None:
    async with scene_of(EventsPane, PLAN, size=(70, 20)) as scene:
        happen(scene)
        await scene.tick()
        assert scene.pane.find_next("unit")
        assert scene.pane.selected == 1
        assert scene.pane.find_previous("lint")
        assert scene.pane.selected == 2
        assert not scene.pane.find_next("nobody")


async def test_no_control_character_reaches_the_screen() -> None:
    async with scene_of(EventsPane, PLAN, size=(70, 20)) as scene:
        happen(scene)
        await scene.tick()
        assert any("exit 2: E501" in line for line in scene.lines)


async def test_who_comes_later_sees_what_happened_before() -> None:
    async with scene_of(EventsPane, PLAN, size=(70, 20)) as scene:
        happen(scene)
        await scene.tick()
        before = scene.lines
        scene.pane.rebind(RunView.from_snapshot(scene.events.graph, snapshot_of(scene.pane.view, 9.0)))
        await scene.settle()
        assert scene.lines == before
        assert scene.pane.note == "following"
        assert EventsPane(scene.pane.view).line_count == 9


async def test_a_long_trail_is_cut_at_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_view, "AUDIT_LIMIT", 50)
    monkeypatch.setattr(run_view, "AUDIT_SLACK", 5)
    async with scene_of(EventsPane, PLAN, size=(70, 20)) as scene:
        for _ in range(60):
            scene.events.held("unit")
            scene.events.released("unit")
            await scene.tick()
        assert 50 <= scene.pane.line_count <= 55
        assert scene.pane.note == f"{120 - scene.pane.line_count} earlier not here · following"
        await scene.press("g")
        assert scene.pane.selected == 1


async def test_moving_draws_what_is_seen_and_no_more() -> None:
    async with scene_of(EventsPane, PLAN, size=(70, 20)) as scene:
        for _ in range(3000):
            scene.events.held("unit")
        await scene.tick()
        scene.forget()
        await scene.press("up")
        assert len(set(scene.drawn)) <= 2
        for key in ("pageup", "pagedown", "ctrl+u", "ctrl+d", "g", "end"):
            scene.forget()
            await scene.press(key)
            assert len(set(scene.drawn)) <= 21
