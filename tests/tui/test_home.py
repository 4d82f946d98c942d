"""The list of runs: what it shows, and what its keys do; nothing is started or ended without a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.inputs import CancelPlan
from engine.core.state import Outcome
from engine.ground.folders import state_directory
from engine.plan.graph import Graph
from tests.support.events import EventFactory
from tests.support.home import Home, going_on, home
from tests.support.journals import DIAMOND, broken_diamond, diamond, write_run
from tests.support.run import FakeRun, plan_of
from tui.keymap import KEYMAP, Place
from tui.screens.dialogs import Dialog
from tui.screens.kept import KeptScreen
from tui.screens.run import RunScreen
from tui.widgets.frame import PaneId

pytestmark = pytest.mark.anyio

PLAN = "name: mine\ntasks: {only: {run: 'true'}}\n"


@pytest.fixture
def state() -> Path:
    return state_directory()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where plan files are looked for."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def alive(tmp_path: Path) -> FakeRun:
    run = FakeRun(plan_of({"build": "", "lint": ""}), directory=tmp_path)
    run.start("build")
    return run


def cut_off(run_id: str) -> None:
    """A run whose engine is gone."""
    made = EventFactory(Graph(DIAMOND), run_id=run_id)
    made.plan_started()
    made.started("A")
    made.completed("A")
    made.started("B")
    write_run(state_directory(), made.events)


def names(opened: Home) -> list[str]:
    return [line.split()[1] for line in opened.text.splitlines()[2:-2] if line.strip()]


async def test_what_goes_on_and_what_was_cut_off_comes_first(state: Path, alive: FakeRun) -> None:
    cut_off("cut-off")
    write_run(state, diamond("well"))
    write_run(state, broken_diamond("broken"))
    async with going_on(state, alive):
        write_run(state, diamond("newest"))
        async with home(state) as h:
            assert names(h) == ["3f2a9c1e", "cut-off", "newest", "broken", "well"]
            assert "plandeck · 5 runs · 1 going on · 1 can be resumed" in h.text
            rows = [" ".join(line.split()) for line in h.text.splitlines()]
            assert any("broken failed" in row and "4/4 1 failed diamond" in row for row in rows)
            assert "Enter attach" in rows[-1]


async def test_a_run_that_starts_elsewhere_appears_and_the_cursor_stays(state: Path) -> None:
    write_run(state, diamond("first"))
    write_run(state, broken_diamond("second"))
    async with home(state) as h:
        await h.press("j")
        write_run(state, diamond("third"))
        await h.app.runs_screen.look()
        await h.handled()
        assert names(h) == ["third", "second", "first"]
        assert h.list.selected.run_id == "first"


async def test_where_nothing_has_run_plans_are_offered(state: Path, folder: Path) -> None:
    (folder / "mine.yaml").write_text(PLAN)
    (folder / "compose.yml").write_text("services: {}\n")
    (folder / "recorded.json").write_text('{"workflow": {\n"tasks": []}}')
    (folder / "notes.txt").write_text("tasks: none")
    (folder / "folder.yaml").mkdir()
    async with home(state) as h:
        assert [line.split()[0] for line in h.text.splitlines()[2:5]] == [
            "mine.yaml",
            "recorded.json",
            "continue-on-error",
        ]
        assert not state.exists()
        await h.press("1")
        assert "no runs yet" in h.text
        await h.press("tab")
        assert "mine.yaml" in h.text


@pytest.mark.parametrize("answer", ["enter", "escape", "n"])
async def test_no_plan_is_run_without_a_clear_yes(state: Path, folder: Path, answer: str) -> None:
    (folder / "mine.yaml").write_text(PLAN)
    async with home(state) as h:
        await h.press("enter")
        await h.until_shown("Run mine.yaml?")
        assert "1 task, 4 slots, fail-fast." in h.text
        await h.press(answer)
        assert h.app.screen is h.app.runs_screen
        assert h.launched == []


async def test_a_plan_is_run_by_a_plandeck_of_its_own(state: Path, folder: Path) -> None:
    (folder / "mine.yaml").write_text("# My own.\n" + PLAN)
    write_run(state, diamond("there"))
    async with home(state, starts="there") as h:
        await h.press("2", "enter")
        await h.until_shown("Run mine.yaml?")
        await h.press("y")
        screen = await h.at_run()
        assert h.launched == [("run", str(folder / "mine.yaml"), "--detach")]
        assert screen.view.run_id == "there"


async def test_a_plan_with_mistakes_is_not_offered(state: Path, folder: Path) -> None:
    (folder / "mine.yaml").write_text("tasks: {a: {needs: [b]}}\n")
    async with home(state) as h:
        await h.press("enter")
        await h.until(lambda: bool(h.messages))
        assert h.messages[0].startswith("mine.yaml cannot be run: ")


async def test_a_run_that_is_over_is_shown_as_it_ended(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state) as h:
        await h.press("enter")
        screen = await h.at_run()
        assert "FAILED" in h.text
        assert "q runs" in h.text
        assert screen.view.outcome is Outcome.FAILED
        await h.press("escape")
        assert h.app.screen is h.app.runs_screen
        assert "broken" in h.text


async def test_what_is_retried_in_a_run_that_is_over_reopens_it(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state, starts="broken") as h:
        await h.press("enter")
        before = await h.at_run()
        await h.press("e", "r")
        await h.until(lambda: isinstance(h.app.screen, RunScreen) and h.app.screen is not before)
        await h.press("R", "y")
        await h.until(lambda: len(h.launched) == 2)
        assert h.launched == [
            ("retry", "--detach", "--", "broken", "B"),
            ("retry", "--detach", "--downstream", "--", "broken", "B"),
        ]


async def test_other_commands_to_a_run_that_is_over_are_refused(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state, starts="broken") as h:
        await h.press("enter")
        await h.at_run()
        await h.press("+")
        await h.until(lambda: bool(h.messages))
        assert "all that can be done is to retry something" in h.messages[0]
        assert h.launched == []


async def test_a_run_that_goes_on_is_attached_to_and_left_going_on(state: Path, alive: FakeRun) -> None:
    async with going_on(state, alive), home(state) as h:
        await h.press("enter")
        await h.at_run()
        assert "RUNNING" in h.text
        await h.press("p")
        await alive.sent()
        await h.press("q")
        await h.until(lambda: h.app.screen is h.app.runs_screen)
        assert len(alive.commands) == 1


async def test_an_engine_that_goes_away_is_told(state: Path, alive: FakeRun) -> None:
    async with home(state) as h:
        async with going_on(state, alive):
            await h.app.runs_screen.look()
            await h.press("1", "enter")
            await h.at_run()
        await h.until(lambda: bool(h.messages))
        assert "no longer served" in h.messages[0]


async def test_a_run_that_was_cut_off_is_shown_and_said_to_be(state: Path) -> None:
    cut_off("cut-off")
    async with home(state) as h:
        await h.press("enter")
        await h.at_run()
        await h.until(lambda: bool(h.messages))
        assert "The engine of this run is gone" in h.messages[0]


@pytest.mark.parametrize(("make", "argv"), [("cut-off", "resume"), ("broken", "retry")])
@pytest.mark.parametrize("answer", ["enter", "y"])
async def test_r_goes_on_with_a_run_after_a_question(state: Path, make: str, argv: str, answer: str) -> None:
    if make == "cut-off":
        cut_off(make)
    else:
        write_run(state, broken_diamond(make))
    async with home(state, starts=make) as h:
        await h.press("r")
        assert isinstance(h.app.screen, Dialog)
        await h.press(answer)
        if answer == "enter":
            assert h.launched == []
            return
        await h.at_run()
        assert h.launched == [(argv, make, "--detach")]


@pytest.mark.parametrize("answer", ["enter", "y"])
async def test_x_cancels_a_run_after_a_question(state: Path, alive: FakeRun, answer: str) -> None:
    async with going_on(state, alive), home(state) as h:
        await h.press("x")
        assert isinstance(h.app.screen, Dialog)
        await h.press(answer)
        if answer == "y":
            [command] = await alive.sent()
            assert isinstance(command, CancelPlan)
        else:
            assert alive.commands == []


async def test_l_goes_to_the_log_of_what_failed(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state) as h:
        await h.press("l")
        screen = await h.at_run()
        await h.until(lambda: screen.frame.front is PaneId.LOG)
        assert screen.selected == 1


async def test_d_tells_how_it_went(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state) as h:
        await h.until_shown("B failed: exit 3")
        await h.press("d")
        await h.until(lambda: isinstance(h.app.screen, KeptScreen))
        assert "diamond failed after" in h.text
        await h.press("q")
        assert h.app.screen is h.app.runs_screen


async def test_v_replays_from_the_beginning(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state) as h:
        await h.press("v")
        screen = await h.at_run()
        assert screen.view.outcome is None


@pytest.mark.parametrize(("key", "said"), [("r", "nothing left"), ("x", "has ended")])
async def test_what_makes_no_sense_is_refused_with_the_reason(state: Path, key: str, said: str) -> None:
    write_run(state, diamond("well"))
    async with home(state) as h:
        await h.press(key)
        assert said in h.messages[0]


async def test_the_list_is_left_at_once(state: Path) -> None:
    write_run(state, diamond("well"))
    async with home(state) as h:
        await h.press("escape")
        assert not h.app._exit
        await h.press("q")
        assert h.app._exit


async def test_the_palette_offers_what_the_list_can_do(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state, size=(80, 40)) as h:
        await h.press("colon")
        await h.until_shown("Watch it again from its beginning")
        assert "Stop the task at once" not in h.text


async def test_two_clicks_open(state: Path) -> None:
    write_run(state, broken_diamond("broken"))
    async with home(state) as h:
        await h.pilot.click(h.list, offset=(5, 1), times=2)
        await h.at_run()


async def test_moving(state: Path) -> None:
    for number in range(40):
        write_run(state, diamond(f"run{number:02}"))
    async with home(state) as h:
        for key, line in (
            ("j", 1), ("k", 0), ("G", 39), ("g", 0), ("ctrl+d", 10), ("ctrl+u", 0), ("pagedown", 19),
            ("pageup", 0),
        ):  # fmt: skip
            await h.press(key)
            assert h.list.selected.run_id == f"run{39 - line:02}", key


def test_every_key_of_the_list_is_pressed_here() -> None:
    pressed = {"enter", "r", "l", "d", "v", "x", "1", "2", "tab"}
    assert {key.keys for key in KEYMAP if key.place is Place.HOME} == pressed
