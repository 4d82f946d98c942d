"""The log pane: what it follows, how it is read, and that a flood does not drown it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from textual.events import MouseScrollUp

from engine.core.inputs import Now
from engine.handle import RunHandle
from engine.plan.model import Plan, Task
from engine.view.run_view import RunView
from tests.support.scene import Scene, plan_of, scene_of
from tui.present import Look
from tui.widgets.log import LogPane

pytestmark = pytest.mark.anyio

PLAN = plan_of({"build": "", "unit": "build"}, retries={"unit": 3})


class Files:
    """Of a run all that the pane needs: where its logs are, and what time it is."""

    playback = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log_path(self, index: int, attempt: int) -> Path:
        return self.folder / f"{index}-{attempt}.log"

    def now(self) -> Now:
        return Now(0.0, 1_000_000.0)

    def write(self, index: int, attempt: int, data: bytes) -> None:
        with self.log_path(index, attempt).open("ab") as log:
            log.write(data)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def log_scene(
    files: Files, *, plan: Plan = PLAN, size: tuple[int, int] = (40, 6), look: Look | None = None
) -> AsyncIterator[Scene[LogPane]]:
    """The log of the first task, of which an attempt is running."""

    def make(view: RunView) -> LogPane:
        return LogPane(cast(RunHandle, files), view)

    async with scene_of(make, plan, size=size, look=look) as scene:
        scene.pane.select(0)
        scene.events.started(plan.tasks[0].name)
        await scene.tick()
        yield scene


def numbered(numbers: Sequence[int]) -> bytes:
    return b"".join(b"line %d\n" % number for number in numbers)


# ── what it follows ─────────────────────────────────────────────────────────────────────────────


async def test_new_output_is_there_at_the_next_tick(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, b"first\nsec")
        await scene.tick(0.1)
        assert scene.lines == ["first", "sec"]
        files.write(0, 1, b"ond\nthird\n")
        await scene.tick(0.1)
        assert scene.lines == ["first", "second", "third"]
        assert scene.pane.title == "Log: build, attempt 1"
        assert scene.pane.note == "following"


async def test_what_is_not_there_is_said_in_words(files: Files) -> None:
    async with log_scene(files) as scene:
        assert scene.lines == [" no output yet"]
        scene.pane.select(1)
        await scene.tick()
        assert scene.lines == [" waits for build: no attempt yet"]
        assert scene.pane.title == "Log: unit"
        assert scene.pane.note == ""
        scene.events.completed("build")
        scene.pane.select(0)
        await scene.tick()
        assert scene.lines == [" no output"]
        assert scene.pane.note == "ended"
        scene.events.cancelled("unit")
        scene.pane.select(1)
        await scene.tick()
        assert scene.lines == [" cancelled by operator: it never ran"]


async def test_before_a_task_is_selected_it_says_that_none_is(files: Files) -> None:
    async with scene_of(lambda view: LogPane(cast(RunHandle, files), view), PLAN) as scene:
        assert scene.lines == [" no task is selected"]
        assert scene.pane.title == "Log"
        assert scene.pane.selected is None
        await scene.press("j", "G", "left_square_bracket")
        scene.pane.follow = True
        scene.pane.wrap = True
        assert not scene.pane.find_next("a")
        assert scene.lines == [" no task is selected"]


async def test_the_log_of_the_task_selected_replaces_the_one_before(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(50)))
        files.write(1, 1, b"of unit\n")
        await scene.tick()
        scene.events.started("unit")
        scene.pane.select(1)
        await scene.tick()
        assert scene.lines == ["of unit"]
        assert scene.pane.selected == 1
        scene.pane.select(0)
        await scene.settle()
        assert scene.lines[-1] == "line 49"


async def test_a_new_attempt_takes_over_and_the_brackets_go_back_to_earlier_ones(files: Files) -> None:
    async with log_scene(files) as scene:
        scene.pane.select(1)
        for attempt in (1, 2, 3):
            scene.events.started("unit")
            files.write(1, attempt, b"attempt %d\n" % attempt)
            await scene.tick()
            assert scene.lines == [f"attempt {attempt}"]
            if attempt < 3:
                scene.events.retry_scheduled("unit")
        scene.pane.action_previous_attempt()
        scene.pane.action_previous_attempt()
        scene.pane.action_previous_attempt()
        await scene.tick()
        assert scene.lines == ["attempt 1"]
        assert scene.pane.title == "Log: unit, attempt 1 of 3"
        assert scene.pane.note == "ended"
        scene.events.retry_scheduled("unit")
        scene.events.started("unit")
        files.write(1, 4, b"attempt 4\n")
        await scene.tick()
        assert scene.pane.attempt == 1, "it stays on what was asked for"
        for _ in range(9):
            scene.pane.action_next_attempt()
        await scene.tick()
        assert scene.lines == ["attempt 4"]
        assert scene.pane.title == "Log: unit, attempt 4"


async def test_another_view_of_the_run_keeps_the_log(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, b"first\n")
        await scene.tick()
        view = RunView(scene.view.graph, "run")
        view.apply(scene.events.events)
        scene.pane.rebind(view)
        scene.view = view
        files.write(0, 1, b"second\n")
        await scene.tick()
        assert scene.lines == ["first", "second"]


# ── following and scrolling ─────────────────────────────────────────────────────────────────────


async def test_it_keeps_to_the_end_until_scrolled_up_and_again_from_the_end_on(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(20)))
        await scene.tick()
        assert scene.lines == [f"line {n}" for n in range(14, 20)]
        await scene.press("k", "k")
        assert not scene.pane.follow
        assert scene.pane.note == "not following · line 18/20"
        files.write(0, 1, numbered(range(20, 25)))
        await scene.tick()
        assert scene.lines == [f"line {n}" for n in range(12, 18)]
        assert scene.pane.note == "not following · line 18/25"
        await scene.press("G")
        assert scene.pane.follow
        assert scene.lines[-1] == "line 24"


async def test_coming_to_the_end_by_scrolling_resumes_too(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(9)))
        await scene.tick()
        await scene.press("pageup")
        assert scene.lines[0] == "line 0"
        await scene.press("pagedown")
        assert scene.pane.follow
        await scene.press("g")
        assert not scene.pane.follow
        await scene.press("ctrl+d")
        assert scene.pane.follow
        await scene.press("ctrl+u", "j")
        assert scene.lines[0] == "line 1"


async def test_following_can_be_switched(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(6)))
        await scene.tick()
        scene.pane.follow = False
        while scene.pane.note != "not following · line 6/6":  # once the lines are counted
            await scene.settle()
        files.write(0, 1, numbered(range(6, 9)))
        await scene.tick()
        assert scene.lines[-1] == "line 5"
        scene.pane.follow = True
        await scene.settle()
        assert scene.lines[-1] == "line 8"


async def test_the_wheel_stops_it_too(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(20)))
        await scene.tick()
        await scene.pilot._post_mouse_events([MouseScrollUp], scene.pane)
        await scene.settle()
        assert not scene.pane.follow
        assert scene.lines[-1] == "line 17"


async def test_while_not_following_what_is_read_stays_even_in_a_flood(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(20)))
        await scene.tick()
        await scene.press("k")
        for start in range(0, 20_000, 5_000):
            files.write(0, 1, numbered(range(start, start + 5_000)))
            await scene.tick(0.1)
        assert scene.lines == [f"line {n}" for n in range(13, 19)]
        await scene.press("G")
        assert scene.lines[-1] == "line 19999"


# ── how it is read ──────────────────────────────────────────────────────────────────────────────


async def test_long_lines_are_cut_and_can_be_looked_at_further_to_the_right(files: Files) -> None:
    async with log_scene(files, size=(21, 4)) as scene:
        files.write(0, 1, b"0123456789" * 4 + b"\nshort\n")
        await scene.tick()
        assert scene.lines == ["0123456789012345678…", "short"]
        scene.pane.action_scroll_right()
        await scene.settle()
        assert scene.lines == ["6789012345678901234…"]
        assert scene.pane.note == "following · from column 17"
        scene.pane.action_scroll_right()
        scene.pane.action_scroll_left()
        scene.pane.action_scroll_left()
        scene.pane.action_scroll_left()
        await scene.settle()
        assert scene.lines == ["0123456789012345678…", "short"]


async def test_wrapped_lines_go_on_in_the_next_row_and_no_wide_character_is_cut_in_two(files: Files) -> None:
    async with log_scene(files, size=(11, 8)) as scene:
        files.write(0, 1, "0123456789abc\n日本語日本語\n\nend\n".encode())
        await scene.tick()
        scene.pane.wrap = True
        await scene.settle()
        assert scene.lines == ["0123456789", "abc", "日本語日本", "語", "", "end"]
        assert scene.pane.note == "following · wrapped"
        scene.pane.action_scroll_right()
        files.write(0, 1, b" and more of it\n")
        await scene.tick()
        assert scene.lines[-2:] == [" and more", "of it"]


async def test_wrapping_keeps_up_with_lines_that_grow_come_and_go(files: Files) -> None:
    async with log_scene(files, size=(11, 5)) as scene:
        scene.pane.wrap = True
        for n in range(3):
            files.write(0, 1, b"0123456789")
            await scene.tick()
            assert scene.lines == ["0123456789"] * (n + 1)
        files.write(0, 1, b"\n" + numbered(range(10_000)))
        await scene.tick()
        assert scene.lines[-1] == "line 9999"
        files.write(0, 1, b"x" * 25 + b"\n")
        await scene.tick()
        assert scene.lines[-3:] == ["x" * 10, "x" * 10, "x" * 5]


async def test_wrapping_follows_the_width_and_keeps_the_line_that_is_looked_at(files: Files) -> None:
    async with log_scene(files, size=(20, 5)) as scene:
        files.write(0, 1, b"".join(b"%02d" % n + b"x" * 18 + b"\n" for n in range(30)))
        await scene.tick()
        await scene.press("g", "j", "j", "j")
        scene.pane.wrap = True
        await scene.settle()
        assert scene.lines[0].startswith("03")
        await scene.pilot.resize_terminal(40, 5)
        await scene.settle()
        assert all(line.endswith("x" * 18) for line in scene.lines)
        scene.pane.wrap = False
        assert not scene.pane.follow


async def test_colour_and_style_survive_and_nothing_else_of_what_a_terminal_obeys(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, b"\x1b[2J\x1b[1;31mred\x1b[0m plain\x07 \x1b]0;title\x07[b]markup[/b] \x00\xff\n")
        files.write(0, 1, b" 10%\r 50%\r100%\n\x1b[38;2;1;2;3mrgb\x1b[44mon blue\x1b[0m\n")
        await scene.tick()
        assert scene.lines == ["red plain [b]markup[/b] \N{REPLACEMENT CHARACTER}", "100%", "rgbon blue"]
        strips = scene.strips
        red, plain, *_ = strips[0]
        assert red.text == "red"
        assert red.style.bold
        assert red.style.color != plain.style.color
        rgb, blue, *_ = strips[2]
        assert rgb.style.color.triplet == (1, 2, 3)
        assert blue.style.bgcolor != rgb.style.bgcolor


async def test_without_colours_a_programs_colours_are_left_out_too(files: Files) -> None:
    async with log_scene(files, look=Look(monochrome=True)) as scene:
        files.write(0, 1, b"\x1b[1;31mred\x1b[0m plain\n")
        await scene.tick()
        red, plain, *_ = scene.strips[0]
        assert red.style.bold
        assert red.style.color == plain.style.color


async def test_a_hostile_name_in_the_title_is_a_name(files: Files) -> None:
    plan = Plan(name="p", tasks=(Task(name="\x1b[2J[b]x[/b]\n", run="true"), Task(name="\x1b[m", run="true")))
    async with log_scene(files, plan=plan) as scene:
        assert scene.pane.title == "Log: [b]x[/b], attempt 1"
        scene.pane.select(1)
        assert scene.pane.title == "Log: '\\x1b[m'"


# ── finding ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_found_is_in_view_and_marked_and_the_log_stands_still(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(100)) + b"\x1b[31mAn ERR\x1b[0mOR here\n" + numbered(range(50)))
        await scene.tick()
        assert scene.pane.find_next("error")
        await scene.settle()
        assert not scene.pane.follow
        row = scene.lines.index("An ERROR here")
        segments = list(scene.strips[row])
        marked = "".join(s.text for s in segments if s.style.bgcolor == scene.app.look.found.bgcolor)
        assert marked == "ERROR"


async def test_find_goes_on_from_where_it_was_and_round_the_ends(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(30)))
        await scene.tick()
        await scene.press("g")

        async def found(step: int) -> str:
            assert scene.pane.find_next("7") if step > 0 else scene.pane.find_previous("7")
            await scene.settle()
            [line] = [line for line in scene.lines if "7" in line]
            return line

        assert [await found(step) for step in (1, 1, 1, 1, -1, -1)] == [
            "line 7",
            "line 17",
            "line 27",
            "line 7",
            "line 27",
            "line 17",
        ]
        assert not scene.pane.find_next("nowhere")


async def test_found_in_wrapped_lines(files: Files) -> None:
    async with log_scene(files, size=(10, 5)) as scene:
        scene.pane.wrap = True
        files.write(0, 1, b"x" * 95 + b"\n" + "straße 日本語 needle\n".encode() + numbered(range(20)))
        await scene.tick()
        assert scene.pane.find_next("needle")
        await scene.settle()
        assert "straße 日" in scene.lines
        assert scene.pane.find_next("日本語")


# ── a flood ─────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_new_draws_nothing(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(100)))
        await scene.tick()
        scene.forget()
        await scene.tick(0.1)
        await scene.tick(5)
        assert scene.drawn == []
        assert scene.painted == []


async def test_one_line_more_draws_one_line(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(100)))
        await scene.tick()
        scene.forget()
        files.write(0, 1, b"line 100\n")
        await scene.tick()
        assert scene.drawn == [5], "the last row"
        assert all(region.right <= len("line 100") for region in scene.painted), "not the blanks"


async def test_fifty_thousand_lines_between_two_ticks_draw_a_screen(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, numbered(range(50_000)))
        scene.forget()
        await scene.tick()
        assert scene.lines == [f"line {n}" for n in range(49_994, 50_000)]
        assert len(scene.drawn) == 6


async def test_a_line_of_a_gigabyte_is_cut_where_that_is_cheap(files: Files) -> None:
    async with log_scene(files) as scene:
        files.write(0, 1, b"begins " + b"x" * 200_000)
        await scene.tick()
        await scene.press("g")
        assert scene.lines[0] == "begins " + "x" * 31 + "…"
        assert len(scene.lines) == 6, "pieces of it"
        scene.pane.wrap = True
        await scene.settle()
        assert scene.lines[:2] == ["begins " + "x" * 32, "x" * 39]
        await scene.press("G")
        assert scene.lines[-1] == "x" * (200_007 % 32768 % 39)


async def test_while_hidden_nothing_is_read(files: Files) -> None:
    async with log_scene(files) as scene:
        scene.pane.display = False
        await scene.settle()
        files.write(0, 1, b"first\n")
        await scene.tick()
        assert scene.pane.line_count == 0
        scene.pane.display = True
        await scene.settle()
        await scene.tick()
        assert scene.lines == ["first"]
