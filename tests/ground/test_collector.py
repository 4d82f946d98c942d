"""The garbage collector runs again when it ran before, and only then."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from engine.ground.collector import collector_paused, put_off_collector, settle_collector


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_is_paused_and_runs_again() -> None:
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            pass
        assert not gc.isenabled()  # the outer block still holds
    assert gc.isenabled()


def test_it_runs_again_after_an_error() -> None:
    with pytest.raises(RuntimeError), collector_paused():
        raise RuntimeError
    assert gc.isenabled()


def test_who_has_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    with collector_paused():
        pass
    assert not gc.isenabled()


@pytest.fixture
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # as it was, but for what is garbage by now
    gc.set_threshold(*before)


def test_what_a_start_has_made_is_not_looked_at_again(thresholds: tuple[int, int, int]) -> None:
    frozen = gc.get_freeze_count()
    put_off_collector()
    collections = [generation["collections"] for generation in gc.get_stats()]
    made = [[number] for number in range(10 * thresholds[0])]
    assert [generation["collections"] for generation in gc.get_stats()] == collections
    settle_collector()
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() >= frozen + len(made)


def test_a_process_that_has_not_put_it_off_is_left_alone(thresholds: tuple[int, int, int]) -> None:
    frozen = gc.get_freeze_count()
    settle_collector()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, frozen)
