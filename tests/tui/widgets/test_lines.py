"""What is repainted of a line that changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tests.support.scene import plan_of, scene_of
from tui.widgets.lines import changed_columns
from tui.widgets.table import TaskTable

RED, BLUE = Style(color="red"), Style(color="blue")


def strip(*parts: str | tuple[str, Style]) -> Strip:
    return Strip(Segment(part) if isinstance(part, str) else Segment(*part) for part in parts)


def test_equal_lines_have_no_changed_columns() -> None:
    assert changed_columns(strip("abc", "def"), strip("abc", "def")) == []


def test_only_the_letters_that_differ() -> None:
    assert changed_columns(strip("name ", "0:41 "), strip("name ", "0:42 ")) == [(8, 9)]
    assert changed_columns(strip("silent 9s     "), strip("silent 10s    ")) == [(7, 10)]


def test_another_style_changes_the_whole_segment() -> None:
    assert changed_columns(strip("a", ("bcd", RED)), strip("a", ("bcd", BLUE))) == [(1, 4)]


def test_changes_that_lie_near_are_one_and_others_apart() -> None:
    assert changed_columns(strip("a", "     ", "b"), strip("x", "     ", "y")) == [(0, 7)]
    assert changed_columns(strip("a", " " * 20, "b"), strip("x", " " * 20, "y")) == [(0, 1), (21, 22)]


def test_segments_of_other_widths_change_from_the_first_to_where_both_are_blank() -> None:
    assert changed_columns(strip("ab", "cde   "), strip("ab", "c", "fgh  ")) == [(2, 6)]
    assert changed_columns(strip("ab"), strip("a", "b")) == [(0, 2)]
    assert changed_columns(strip("ab", "   "), strip("ab", "  ", " ")) == [(2, 4)]


def test_wide_characters_are_never_cut_in_two() -> None:
    assert changed_columns(strip("日本 "), strip("日木 ")) == [(0, 5)]


@given(st.data())
def test_painting_the_changed_columns_over_the_old_line_gives_the_new_one(data: st.DataObject) -> None:
    def line() -> Strip:
        parts = data.draw(
            st.lists(st.tuples(st.text("ab 日", max_size=4), st.sampled_from([RED, BLUE])), max_size=4)
        )
        drawn = Strip(Segment(text, style) for text, style in parts)
        return drawn.adjust_cell_length(20, RED)

    old, new = line(), line()
    painted, x = [], 0
    for start, end in changed_columns(old, new):
        assert x <= start < end <= 20
        painted += [old.crop(x, start), new.crop(start, end)]
        x = end
    result = Strip.join([*painted, old.crop(x, 20)])
    cells = [(letter, segment.style) for segment in result for letter in segment.text]
    assert cells == [(letter, segment.style) for segment in new for letter in segment.text]


@pytest.mark.anyio
async def test_lines_that_were_scrolled_past_are_not_kept() -> None:
    async with scene_of(TaskTable, plan_of({f"t{i}": "" for i in range(1_000)}), size=(60, 10)) as scene:
        for line in range(0, 1_000, 8):
            scene.pane.select(line)
            await scene.tick()
        assert len(scene.pane._drawn) <= 4 * 9 + 64 + 10
