"""Where the panes lie, at any size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Region, Size

from tui.widgets.frame import SPLIT_HEIGHT, SPLIT_WIDTH, PaneId, regions, split

widths = st.integers(SPLIT_WIDTH, 400)
heights = st.integers(SPLIT_HEIGHT, 200)


@given(widths, heights)
def test_split_panes_fill_the_frame_but_for_the_lines(width: int, height: int) -> None:
    size = Size(width, height)
    panes = regions(size, None)
    lines = split(size)
    assert lines is not None
    assert len(panes) == 3
    cells = sum(region.area for region in panes.values())
    borders = 3 * width + 2 * (height - 3) + (lines.row - 1)
    assert cells + borders == width * height
    for one in panes.values():
        assert Region(1, 1, width - 2, height - 2).contains_region(one)
        assert all(one is other or not one.overlaps(other) for other in panes.values())


@given(widths, heights)
def test_every_pane_has_room_for_something(width: int, height: int) -> None:
    panes = regions(Size(width, height), None)
    assert panes[PaneId.TREE].width >= 22
    assert panes[PaneId.TABLE].width >= 50
    assert panes[PaneId.LOG].height >= 4
    assert panes[PaneId.TABLE].height >= 4


@given(st.integers(0, SPLIT_WIDTH - 1), st.integers(0, 60), st.sampled_from(PaneId))
def test_a_pane_alone_has_all(width: int, height: int, pane: PaneId) -> None:
    assert split(Size(width, height)) is None
    [(shown, region)] = regions(Size(width, height), pane).items()
    assert shown is pane
    assert region.size == (max(0, width - 2), max(0, height - 2))
