"""The list of runs, as pictures (`pytest --snapshot-update` after a change that was looked at)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from textual.pilot import Pilot

from engine.core.state import TaskState
from engine.settings.model import ConsoleSettings
from tui.home import HomeApp
from tui.preferences import Preferences
from tui.shelf import PlanEntry, RunEntry, Shelf

Compare = Callable[..., bool]

SHELF = Shelf(
    runs=(
        RunEntry(
            "3f2a", "3f2a9c1e", TaskState.RUNNING, "running", "12:04:31", "4m12s", "23/41 1 failed",
            "release", "attach", "in the hands of process 4711 since 2026-11-21 12:04:31",
        ),
        RunEntry(
            "9b1d", "9b1d0c77", TaskState.CANCELLED, "interrupted", "11:52:02", "31m", "112/200", "survey",
            "resume", "9b1d0c77 lost its engine; 88 tasks left to do",
        ),
        RunEntry(
            "77aa", "77aa1b2c", TaskState.FAILED, "failed", "2026-11-20", "58s", "10/10 2 failed", "release",
            "retry", "",
        ),
        RunEntry(
            "0c4e", "0c4e6a13", TaskState.CANCELLED, "cancelled", "2026-11-20", "3.1s", "4/9", "nightly 試験",
            "resume", "0c4e6a13 was cancelled; 5 tasks left to do",
        ),
        RunEntry(
            "f00d", "f00d8e21", TaskState.SUCCESS, "success", "2026-11-19", "2m", "41/41",
            "a plan with a name that is much too long for the line that it stands in", "", "",
        ),
    ),
    plans=(
        PlanEntry("release.yaml", "Ship it", Path("/srv/release.yaml"), ("run", "/srv/release.yaml")),
        PlanEntry("diamond", "sample: Two tasks side by side", Path("/s/diamond.yaml"), ("demo", "diamond")),
    ),
)  # fmt: skip


@pytest.fixture
def looks(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compare:
    """Compare the list, some keys pressed, with its picture."""
    monkeypatch.setattr("tui.home.take_stock", lambda state, folder: SHELF)
    monkeypatch.setattr("tui.home.why", lambda state, run_id: "lint failed: exit 2 (and 1 more)")

    def compare(
        size: tuple[int, int], *keys: str, ascii_only: bool = False, theme: str | None = None
    ) -> bool:
        async def get_there(pilot: Pilot[None]) -> None:
            while not app.runs_screen.title_line.words:
                await anyio.lowlevel.checkpoint()
            await pilot.press(*keys)
            while not app.runs_screen.note.words:
                await anyio.lowlevel.checkpoint()
            await pilot.pause()

        # nothing is visited, so no group of tasks is needed
        preferences = Preferences(ConsoleSettings(theme=theme))
        app = HomeApp(tmp_path, None, preferences, ascii_only=ascii_only)  # type: ignore[arg-type]
        return snap_compare(app, terminal_size=size, run_before=get_there)

    return compare


def test_runs_80x24(looks: Compare) -> None:
    """What goes on, what was cut off, the rest; below, what is to be known of the first, and its keys."""
    assert looks((80, 24))


def test_runs_60x20(looks: Compare) -> None:
    """Ids and counts give way; state and plan stay."""
    assert looks((60, 20), "j")


def test_runs_120x40(looks: Compare) -> None:
    """The failed run is chosen: why it failed stands below, `r` retries."""
    assert looks((120, 40), "j", "j")


def test_runs_light(looks: Compare) -> None:
    """The light theme."""
    assert looks((80, 24), theme="plandeck-light")


def test_runs_ascii(looks: Compare) -> None:
    """Only signs that every terminal has."""
    assert looks((80, 24), ascii_only=True)


def test_runs_no_color(looks: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor is reversed; states are shapes and words."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks((80, 24))


def test_plans_80x24(looks: Compare) -> None:
    """Plans here, then samples."""
    assert looks((80, 24), "2")


def test_a_question_before_a_run_goes_on(looks: Compare) -> None:
    """The safe answer is lit."""
    assert looks((80, 24), "j", "r")
