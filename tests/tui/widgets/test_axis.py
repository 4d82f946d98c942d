"""The axis of time: what is shown, how that is zoomed and moved."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.axis import SCALES, Axis


def axis(until: float, *, cells: int = 60, is_over: bool = True) -> Axis:
    one = Axis()
    one.settle(5.0, 5.0 + until, cells, is_over=is_over)
    return one


@given(st.floats(0, 10_000_000), st.integers(1, 300), st.booleans())
def test_the_whole_run_fits_as_well_as_the_scales_allow(until: float, cells: int, is_over: bool) -> None:
    one = axis(until, cells=cells, is_over=is_over)
    assert one.start == 5.0
    if until < SCALES[-1] * cells:
        assert 0 <= one.cell(5.0 + until) < cells
    if is_over and one.scale > SCALES[0]:
        assert SCALES[SCALES.index(one.scale) - 1] * cells <= until


@given(st.floats(0, 10_000), st.lists(st.sampled_from("+-<>"), max_size=30), st.floats(0, 1000))
def test_wherever_one_goes_one_stays_in_the_run(until: float, keys: list[str], more: float) -> None:
    one = axis(until, is_over=False)
    for key in keys:
        if key in "+-":
            one.zoom(-1 if key == "+" else 1)
        else:
            one.pan(-1 if key == "<" else 1)
        assert one.start >= 5.0 - 1e-6
        assert one.scale in SCALES
    one.settle(5.0, 5.0 + until + more, 60, is_over=False)
    if "from" not in one.words():
        assert one.now_cell is not None


def test_labels_stand_apart_and_inside() -> None:
    for until in (0.3, 7.0, 100.0, 5000.0, 90_000.0):
        one = axis(until)
        labels = list(one.labels())
        assert labels[0] == (0, labels[0][1])
        assert all(first + len(text) < second for (first, text), (second, _) in pairwise(labels))
        assert labels[-1][0] + len(labels[-1][1]) <= 60


def test_it_goes_along_with_the_present_in_steps() -> None:
    one = axis(100.0, is_over=False)
    one.zoom(-1)
    assert one.words() == "1s a cell · following"
    start = one.start
    one.settle(5.0, 110.0, 60, is_over=False)
    assert one.start == start
    one.settle(5.0, start + 60.0, 60, is_over=False)
    assert one.start == pytest.approx(start + 15.0)


def test_what_has_been_looked_at_stands_still_until_one_comes_back() -> None:
    one = axis(100.0, is_over=False)
    one.zoom(-1)
    one.pan(-1)
    start = one.start
    assert one.words() == f"1s a cell · from 0:{start - 5.0:02.0f}"
    one.settle(5.0, 500.0, 60, is_over=False)
    assert one.start == start
    one.zoom(-1)
    assert one.start + 15.0 == pytest.approx(start + 30.0)  # about its middle
    for _ in range(100):
        one.pan(1)
    assert "following" in one.words()
    one.show_all()
    assert one.words() == "10s a cell · whole run"


def test_zooming_out_ends_with_the_whole_run_and_in_with_hundredths() -> None:
    one = axis(100.0)
    for _ in range(30):
        one.zoom(-1)
    assert one.words().startswith("0.01s a cell")
    assert next(one.labels())[1].count(".") == 1
    for _ in range(30):
        one.zoom(1)
    assert one.words() == "2s a cell · whole run"
    assert one.now_cell is None  # it is over
