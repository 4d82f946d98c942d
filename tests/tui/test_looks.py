"""What the operator sees, as pictures (`pytest --snapshot-update` after a change that was looked at)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import anyio
import pytest
from textual.pilot import Pilot

from engine.plan.model import FailureMode, Need, Plan, Retry, Task
from tests.support.run import FakeRun
from tui.app import ConsoleApp
from tui.present import LIGHT
from tui.screens.stall import StallScreen

Compare = Callable[..., bool]


def _task(name: str, needs: str = "", run: str = "true", retries: int = 0) -> Task:
    return Task(
        name=name, run=run, needs=tuple(Need(needed) for needed in needs.split()), retry=Retry(limit=retries)
    )


RELEASE = Plan(
    name="release",
    max_parallel=4,
    tasks=(
        _task("fetch", run="git fetch --all"),
        _task("build", "fetch", "make build"),
        _task("lint", "build", "ruff check ."),
        _task("types", "build", "mypy src"),
        _task("unit", "build", "pytest -q tests/unit", retries=2),
        _task("integration", "build", "pytest -q tests/integration", retries=2),
        _task("docs", "fetch", "make docs"),
        _task("package", "unit lint types", "make package"),
        _task("publish", "package integration", "twine upload dist/*"),
        _task("announce", "publish docs", "./announce"),
    ),
)


UNIT = 4


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    """A run about to begin, with the logs it will have."""
    run = FakeRun(RELEASE, directory=tmp_path)
    run.last_lines[UNIT] = "tests/test_db.py: waiting for lock"
    run.write_log("unit", "".join(f"tests/test_{name}.py ........\n" for name in ("app", "cli", "io", "net")))
    run.write_log("unit", "\x1b[33mtests/test_db.py: waiting for lock\x1b[0m\n")
    run.write_log("fetch", "From ssh://git.example.org/release\n   4c1f0a2..9b7e3d1  main -> origin/main\n")
    return run


def _get_into_the_middle(run: FakeRun) -> None:
    """Some done, one failed, one stalled, one to be retried, the rest waiting."""
    make = run.make
    run.push(make.plan_started(), make.started("fetch", "pid 4711"))
    make.wait(3)
    run.push(make.completed("fetch"), make.started("build", "pid 4712"), make.started("docs", "pid 4713"))
    make.wait(41)
    run.push(make.completed("build"), make.mode_changed(FailureMode.CONTINUE_ON_ERROR))
    run.push(*(make.started(task) for task in ("lint", "types", "unit", "integration")))
    make.wait(8)
    run.push(make.failed("lint", "exit 2: E501 line too long", 2))
    run.push(make.skipped("package", "lint failed", blocked_by="lint"))
    run.push(make.completed("docs"), make.completed("types"))
    run.push(make.retry_scheduled("integration", 60.0, "exit 75: the database is starting up", 75))
    make.wait(21)
    run.push(make.stalled("unit", 31.0))


@pytest.fixture
def utc() -> Iterator[None]:
    """Times of day are those of UTC."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def looks(run: FakeRun, snap_compare: Compare) -> Compare:
    """Compare the console, the cursor on a task and some keys pressed, with its picture."""

    def compare(
        size: tuple[int, int], *keys: str, at: int = UNIT, ascii_only: bool = False, theme: str = ""
    ) -> bool:
        async def get_there(pilot: Pilot[None]) -> None:
            screen = app.run_screen
            app.theme = theme or app.theme
            _get_into_the_middle(run)
            while screen.view.last_seq < len(run.make.events):
                await anyio.lowlevel.checkpoint()
            screen.tick()
            screen.table.move_cursor(at)
            await pilot.pause()
            await pilot.press(*keys)
            if isinstance(app.screen, StallScreen):
                await app.screen.look()
            screen.tick()
            await pilot.pause()

        app = ConsoleApp(run, ascii_only=ascii_only)
        return snap_compare(app, terminal_size=size, run_before=get_there)

    return compare


def test_main_screen_80x24(looks: Compare) -> None:
    """Header, gauge, three panes with shared borders, the stall in the alert row, the keys below."""
    assert looks((80, 24))


def test_main_screen_120x40(looks: Compare) -> None:
    """The same with room: run id, span of the time left, whole reasons, more keys."""
    assert looks((120, 40))


def test_main_screen_60x20(looks: Compare) -> None:
    """One pane, with tabs above it; nothing is cut in header and gauge."""
    assert looks((60, 20))


def test_the_alert_points_elsewhere(looks: Compare) -> None:
    """The cursor is on another task than the stalled one: the row says how to get there."""
    assert looks((80, 24), at=0)


def test_quit_dialog(looks: Compare) -> None:
    """Three answers, the safe one lit; what draining and cancelling would do."""
    assert looks((80, 24), "q")


def test_cancel_dialog(looks: Compare) -> None:
    """What would be stopped and skipped, the safe answer lit."""
    assert looks((80, 24), "x")


def test_failure_mode_dialog_60x20(looks: Compare) -> None:
    """Fits a small screen; the mode in force is lit."""
    assert looks((60, 20), "M")


def test_help_80x24(looks: Compare) -> None:
    """Keys by what they are for, steering first."""
    assert looks((80, 24), "question_mark")


def test_help_120x40(looks: Compare) -> None:
    """Two columns."""
    assert looks((120, 40), "question_mark")


def test_details_of_a_task(looks: Compare, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and why, what it runs, needs, attempts, history."""
    monkeypatch.setattr(run, "log_path", lambda index, attempt: Path(f"/state/logs/{index}-{attempt}.log"))
    assert looks((80, 40), "d", at=5)


def test_plain_ascii_80x24(looks: Compare) -> None:
    """Everything in signs that every terminal has."""
    assert looks((80, 24), ascii_only=True)


def test_no_color_80x24(looks: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour: the cursor is reversed, states tell themselves by shape and word."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks((80, 24))


SIZES = [(60, 20), (80, 24), (120, 40)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_timeline(size: tuple[int, int], looks: Compare) -> None:
    """Attempts on an axis of time with waits and a back-off, the critical path marked, a legend."""
    assert looks(size, "4")


def test_timeline_in_a_light_theme(looks: Compare) -> None:
    """The same on white."""
    assert looks((80, 24), "4", theme=LIGHT.name)


def test_timeline_in_ascii(looks: Compare) -> None:
    """The same in signs that every terminal has."""
    assert looks((80, 24), "4", ascii_only=True)


def test_timeline_without_colour(looks: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes tell themselves by the signs at the ends of the bars."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks((80, 24), "4")


def test_timeline_zoomed_in(looks: Compare) -> None:
    """A part of the run, which goes along with the present."""
    assert looks((80, 24), "4", "right_square_bracket", "right_square_bracket")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_events(size: tuple[int, int], looks: Compare, utc: None) -> None:
    """What happened, the newest last; what somebody asked for has a sign of its own."""
    assert looks(size, "5")


def test_events_in_a_light_theme(looks: Compare, utc: None) -> None:
    """The same on white."""
    assert looks((80, 24), "5", theme=LIGHT.name)


def test_events_in_ascii(looks: Compare, utc: None) -> None:
    """The same in signs that every terminal has."""
    assert looks((80, 24), "5", ascii_only=True)


def test_events_without_colour(looks: Compare, utc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """States tell themselves by shape and word."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks((80, 24), "5")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_evidence_of_a_stall(size: tuple[int, int], looks: Compare) -> None:
    """How long, what it printed last, what to do and the keys for it."""
    assert looks(size, "exclamation_mark")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "keys",
    [
        ("slash", *"db", "enter", "t"),
        ("slash", *"db", "enter", "ampersand", "c"),
        ("w", "v", "k"),
        ("L", "t", "t"),
    ],
    ids=["found, with times", "only matches", "wrapped and selected", "all logs in one"],
)
def test_log(size: tuple[int, int], keys: Sequence[str], looks: Compare, run: FakeRun, utc: None) -> None:
    """Colours of the program, what is found, times, names of tasks; the note says how it is shown."""
    run.write_log("unit", "a line that is longer than any terminal is wide, " * 4 + "\n")
    run.write_log("unit", "tests/test_web.py \x1b[32m........\x1b[0m\n")
    assert looks(size, "3", *keys)


@pytest.fixture
def kept_logs(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs whose places have short names, the same for everybody."""
    monkeypatch.setattr(run, "log_path", lambda index, attempt: Path(f"/state/logs/{index}-{attempt}.log"))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_details(size: tuple[int, int], looks: Compare, kept_logs: None) -> None:
    """The first line that leads somewhere is lit; the foot says how to go on."""
    assert looks(size, "d", "tab", at=5)


def test_details_in_a_light_theme(looks: Compare, kept_logs: None) -> None:
    """The same on white."""
    assert looks((80, 24), "d", "tab", at=5, theme=LIGHT.name)


def test_details_in_ascii(looks: Compare, kept_logs: None) -> None:
    """The same in signs that every terminal has."""
    assert looks((80, 24), "d", "tab", at=5, ascii_only=True)


def test_details_without_colour(looks: Compare, kept_logs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lit line is reversed."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks((80, 24), "d", "tab", at=5)
