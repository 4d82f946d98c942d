"""The one table of keys, and all that is made from it."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from tui.app import ConsoleApp
from tui.hints import LOG_HINTS, OVER_HINTS, PLANS_HINTS, REPLAY_HINTS, RUNS_HINTS, TASK_HINTS, TROUBLE_HINTS
from tui.home import HomeApp
from tui.keymap import (
    BY_ID,
    KEYMAP,
    TOGETHER,
    Key,
    Place,
    effective,
    first,
    shown,
)
from tui.screens.detail import DetailScreen
from tui.screens.dialogs import Dialog, LineDialog
from tui.screens.help import HelpScreen
from tui.screens.pages import PageScreen
from tui.screens.run import RunScreen
from tui.screens.runs import RunsScreen
from tui.widgets.events import EventsPane
from tui.widgets.log import LogPane
from tui.widgets.page import Page
from tui.widgets.run_list import RunList
from tui.widgets.table import TaskTable
from tui.widgets.timeline import Timeline
from tui.widgets.tree import PlanTree

WHO_ACTS: Final[dict[Place, tuple[type, ...]]] = {
    Place.ANYWHERE: (ConsoleApp, HomeApp),
    Place.APP: (ConsoleApp, HomeApp),
    Place.HOME: (RunsScreen,),
    Place.RUN: (RunScreen,),
    Place.LIST: (PlanTree, TaskTable, LogPane, Timeline, EventsPane, Page, RunList),
    Place.TASKS: (PlanTree, TaskTable, Timeline),
    Place.TIMELINE: (Timeline,),
    Place.EVENTS: (EventsPane,),
    Place.TREE: (PlanTree,),
    Place.TABLE: (TaskTable,),
    Place.LOG: (LogPane,),
    Place.DETAILS: (DetailScreen,),
    Place.DIALOG: (Dialog, LineDialog, PageScreen),
}


def test_ids_are_unique() -> None:
    assert len(BY_ID) == len(KEYMAP)


@pytest.mark.parametrize("key", KEYMAP, ids=lambda key: key.id)
def test_an_entry_says_what_it_does_and_somebody_does_it(key: Key) -> None:
    assert key.label
    assert key.tooltip.endswith(".")
    name = key.action.partition("(")[0]
    for actor in WHO_ACTS[key.place]:
        assert callable(getattr(actor, f"action_{name}", None)), f"{actor.__name__} lacks {name}"


@pytest.mark.parametrize("key", [key for key in KEYMAP if key.keys], ids=lambda key: key.id)
def test_an_entry_is_bound_by_whoever_acts(key: Key) -> None:
    for actor in WHO_ACTS[key.place]:
        bound = actor._merged_bindings if hasattr(actor, "_merged_bindings") else None
        assert bound is not None
        ids = {binding.id for _, binding in bound}
        assert key.id in ids, f"{actor.__name__} does not bind {key.id}"
        tooltips = {binding.tooltip for _, binding in bound if binding.id == key.id}
        assert tooltips == {key.tooltip}


@pytest.mark.parametrize("places", TOGETHER)
def test_no_key_means_two_things_at_once(places: tuple[Place, ...]) -> None:
    keys = Counter(one for key in KEYMAP if key.place in places for one in key.keys.split(",") if one)
    assert [key for key, count in keys.items() if count > 1] == []


@pytest.mark.parametrize("width", [56, 76, 116])
def test_the_help_shows_every_entry_with_its_keys(width: int) -> None:
    screen = HelpScreen(effective())
    text = " ".join(
        "".join(span.text for span in line) for key in KEYMAP for line in screen._entry(key, width)
    )
    flat = " ".join(text.split())
    for key in KEYMAP:
        assert shown(key.keys) in flat
        assert key.tooltip.split()[0] in flat


def test_the_help_shows_the_keys_in_force() -> None:
    screen = HelpScreen(effective({"task.retry": "ctrl+y"}))
    [line] = screen._entry(BY_ID["task.retry"], 80)
    assert line[0].text.split() == ["Ctrl+Y"]


def test_the_footer_names_only_entries_of_the_table() -> None:
    for hint in (
        *RUNS_HINTS,
        *PLANS_HINTS,
        *TASK_HINTS,
        *TROUBLE_HINTS,
        *OVER_HINTS,
        *LOG_HINTS,
        *REPLAY_HINTS,
    ):
        assert all(key_id in BY_ID for key_id in hint.ids)


def test_no_key_is_one_that_multiplexers_take() -> None:
    keys = {one for key in KEYMAP for one in key.keys.split(",")}
    assert not keys & {"ctrl+a", "ctrl+b"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [("question_mark,f1", "? F1"), ("ctrl+r", "Ctrl+R"), ("shift+tab", "Shift+Tab"), ("G,end", "G End")],
)
def test_keys_are_shown_as_people_write_them(keys: str, words: str) -> None:
    assert shown(keys) == words
    assert first(keys) == words.partition(" ")[0]
