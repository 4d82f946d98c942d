"""The one-row widgets: header, gauge, alert and footer, drawn without a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from rich.segment import Segment

from engine.core.state import Outcome, RunPhase
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Plan, Task
from engine.view.forecast import Forecast
from engine.view.run_view import Changes, RunView
from tests.support.events import EventFactory
from tests.support.run import plan_of
from tests.support.world import plan as world_plan
from tests.support.world import subplan
from tui.keymap import effective
from tui.present import Look, widest
from tui.widgets.alert import Alert
from tui.widgets.footer import Footer, Offer
from tui.widgets.gauge import Gauge
from tui.widgets.header import RunHeader
from tui.widgets.line import Line

RELEASE = plan_of({"build": "", "unit": "build", "lint": "build", "publish": "unit lint"})
WIDTHS = (20, 40, 60, 72, 80, 100, 120, 160, 240)
LOOK = Look()


class Scene:
    """A view and the maker of its events."""

    def __init__(self, plan: Plan | None = None) -> None:
        graph = Graph(
            plan or plan_of({"build": "", "unit": "build", "lint": "build", "publish": "unit lint"})
        )
        self.make = EventFactory(graph, run_id="3f2a9c1e")
        self.view = RunView(graph, "3f2a9c1e")
        self.lines: dict[int, str] = {}

    def happens(self) -> None:
        self.view.apply(self.make.events)

    @property
    def now(self) -> float:
        return self.make.offset

    def header(self) -> RunHeader:
        self.happens()
        forecast = Forecast(self.view)
        forecast.advance(self.now)
        header = RunHeader(self.view, forecast)
        header.update_from(Changes(set(), True), self.now)
        return header

    def gauge(self) -> Gauge:
        self.happens()
        return Gauge(self.view)

    def alert(self, selected: int | None = None) -> Alert:
        self.happens()
        alert = Alert(self.view, lambda index: self.lines.get(index, ""), effective())
        alert.select(selected)
        alert.update_from(Changes(set(), True), self.now)
        return alert


@pytest.fixture
def scene() -> Scene:
    """build is done after 9 s, unit and lint run."""
    scene = Scene()
    make = scene.make
    make.plan_started()
    make.started("build")
    make.wait(8)
    make.completed("build")
    make.started("unit")
    make.started("lint")
    return scene


def text(row: Line, width: int = 80, look: Look = LOOK) -> str:
    return _joined(row.draw(look, width))


def _joined(segments: Iterable[Segment]) -> str:
    return "".join(segment.text for segment in segments)


# ── any row ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tasks", [1, 41, 10_000])
def test_no_row_is_wider_than_the_screen(width: int, tasks: int) -> None:
    scene = Scene(Plan(name="n" * 70, tasks=tuple(Task(name=f"t{n}", run="true") for n in range(tasks))))
    scene.make.plan_started()
    scene.make.started("t0")
    scene.make.stalled("t0", 31)
    scene.lines[0] = "l" * 300
    header, gauge, alert = scene.header(), scene.gauge(), scene.alert(0)
    for row in (header, alert) if width < 60 else (header, alert, gauge):
        assert len(text(row, width)) <= width


# ── header ──────────────────────────────────────────────────────────────────────────────────────


def test_the_header_tells_it_all_where_there_is_room(scene: Scene) -> None:
    assert text(scene.header(), 120).startswith(
        " release  run 3f2a · RUNNING 0:12 · fail-fast · 2/4 slots · roughly 20s left ("
    )


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (80, ["release", "run 3f2a", "RUNNING 0:12", "fail-fast", "2/4 slots", "left"]),
        (60, ["release", "RUNNING 0:12", "2/4 slots", "left"]),
        (40, ["release", "RUNNING 0:12", "2/4 slots"]),
        (30, ["release", "RUNNING 0:12"]),
    ],
)
def test_the_header_drops_what_matters_least(width: int, said: list[str], scene: Scene) -> None:
    row = text(scene.header(), width)
    assert all(words in row for words in said)
    assert "…" not in row


def test_a_long_name_is_cut_before_anything_else_is_lost(scene: Scene) -> None:
    scene.view.plan = Plan(name="n" * 100, tasks=scene.view.plan.tasks)
    row = text(scene.header(), 60)
    assert "RUNNING" in row
    assert "…" in row


@pytest.mark.parametrize(
    ("tell", "said"),
    [
        (lambda make: make.paused(), "PAUSED"),
        (lambda make: make.paused(RunPhase.DRAINING), "DRAINING"),
        (lambda make: make.paused(RunPhase.CANCELLING), "CANCELLING"),
        (lambda make: make.mode_changed(FailureMode.PAUSE_ON_FAILURE), "pause-on-failure"),
        (lambda make: make.slots_changed(1), "2/1 slots"),
        (lambda make: make.plan_completed(), "✔ SUCCESS"),
        (lambda make: make.plan_completed(Outcome.FAILED), "✖ FAILED"),
        (lambda make: make.plan_completed(Outcome.CANCELLED), "■ CANCELLED"),
        (lambda make: make.plan_completed(Outcome.INTERRUPTED), "■ INTERRUPTED"),
    ],
)
def test_the_header_tells_how_the_run_stands(
    tell: Callable[[EventFactory], object], said: str, scene: Scene
) -> None:
    tell(scene.make)
    assert said in text(scene.header(), 120)


# ── gauge ───────────────────────────────────────────────────────────────────────────────────────


def test_the_gauge_counts(scene: Scene) -> None:
    row = text(scene.gauge(), 80)
    assert " 1/4  health " in row
    assert " 0.33 " in row
    assert "✔1 ✖0 ⊘0 ■0 ◐2 ○1" in row


def test_the_gauge_shows_the_course_of_the_health(scene: Scene) -> None:
    assert "0.33   ▁█▅▃  ✔1" in text(scene.gauge(), 80)


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_nothing_moves_in_the_gauge_while_the_run_goes_on(width: int, scene: Scene) -> None:
    before = text(scene.gauge(), width)
    scene.make.failed("lint")
    scene.make.completed("unit")
    scene.make.skipped("publish", blocked_by="lint")
    after = text(scene.gauge(), width)
    assert before != after
    for sign in ("✔", "✖", "⊘", "■", "◐", "○", "health"):
        assert before.index(sign) == after.index(sign)


def test_stalls_are_counted_at_the_end_of_the_gauge(scene: Scene) -> None:
    before = text(scene.gauge(), 80)
    scene.make.stalled("unit", 31)
    after = text(scene.gauge(), 80)
    assert after == f"{before}  ! 1 stalled"


def test_words_stand_beside_the_signs_where_there_is_room(scene: Scene) -> None:
    assert "✔1 done" in text(scene.gauge(), 160)


def test_what_stands_for_a_subplan_is_not_counted() -> None:
    nested = Scene(world_plan(build="", sub=subplan({"a": "", "b": ""}, "build")))
    nested.make.started("build")
    nested.make.completed("build")
    assert " 1/3 " in text(nested.gauge(), 120)


def test_the_gauge_is_plain_where_it_must_be(scene: Scene) -> None:
    assert text(scene.gauge(), 80, Look(plain=True)).isascii()


# ── alert ───────────────────────────────────────────────────────────────────────────────────────


def test_in_calm_times_the_row_tells_about_the_selected_task(scene: Scene) -> None:
    assert text(scene.alert(1)).strip() == "unit: true"
    assert text(scene.alert(None)).strip() == ""


def test_a_stall_says_what_how_long_and_what_to_do(scene: Scene) -> None:
    scene.lines[1] = "waiting for lock"
    scene.make.stalled("unit", 31)
    row = text(scene.alert(1), 100)
    assert '! unit has been silent for 31s. Last: "waiting for lock"' in row
    assert row.rstrip().endswith("x cancel  ! why  a dismiss")


def test_a_stall_elsewhere_says_how_to_get_there(scene: Scene) -> None:
    scene.make.stalled("unit", 31)
    scene.make.stalled("lint", 60)
    row = text(scene.alert(0), 100)
    assert row.startswith(" ! lint has been silent for 1m (and 1 more)")  # the longest
    assert row.rstrip().endswith("e go to it  ! why  a dismiss")


def test_a_failure_says_why(scene: Scene) -> None:
    scene.make.failed("lint", "exit 2: E501", 2)
    assert "✖ lint failed: exit 2: E501" in text(scene.alert(0))
    assert "r retry  l log" in text(scene.alert(2))


def test_a_pause_after_a_failure_says_both(scene: Scene) -> None:
    scene.make.failed("lint", "exit 2", 2)
    scene.make.paused()
    row = text(scene.alert(2))
    assert "Paused: ✖ lint failed: exit 2" in row
    assert "p resume" in row


@pytest.mark.parametrize(
    ("tell", "said"),
    [
        (lambda make: make.paused(), "Paused: nothing new starts."),
        (lambda make: make.paused(RunPhase.DRAINING), "Draining: 2 tasks to finish, nothing new starts."),
        (lambda make: make.paused(RunPhase.CANCELLING), "Cancelling: 2 tasks to stop."),
        (lambda make: make.plan_completed(), "All done after 0:13."),
        (lambda make: make.plan_completed(Outcome.CANCELLED), "Ended after 0:13: cancelled."),
        (
            lambda make: make.plan_completed(Outcome.FAILED, "no runnable work"),
            "Ended by a defect: no runnable work",
        ),
    ],
)
def test_the_row_says_what_the_run_is_about(
    tell: Callable[[EventFactory], object], said: str, scene: Scene
) -> None:
    tell(scene.make)
    assert said in text(scene.alert(0))


def test_the_end_names_the_first_failure(scene: Scene) -> None:
    scene.make.failed("lint", "exit 2", 2)
    scene.make.failed("unit", "exit 3", 3)
    scene.make.plan_completed(Outcome.FAILED)
    assert "lint failed (and 1 more): exit 2" in text(scene.alert(0), 120)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Task(name="a", run="one\n  two", description="what it is"), "a: what it is"),
        (Task(name="a", run="one\n  two"), "a: one two"),
        (Task(name="a", run=("one", "two")), "a: one two"),
        (Task(name="\x1b[31ma", run="x"), "a: x"),
    ],
)
def test_a_task_is_told_by_its_description_or_its_command(task: Task, said: str) -> None:
    scene = Scene(Plan(name="p", tasks=(task,)))
    scene.make.plan_started()
    assert text(scene.alert(0)).strip() == said


# ── footer ──────────────────────────────────────────────────────────────────────────────────────

OFFERS = [
    Offer("r", "retry"),
    Offer("x", "cancel", possible=False),
    Offer("p", "pause"),
    Offer("?", "help"),
    Offer("q", "quit"),
]


def _footer(width: int) -> str:
    footer = Footer()
    footer.offer(OFFERS)
    return text(footer, width)


def test_the_footer_leaves_out_whole_offers_and_keeps_the_last_two() -> None:
    assert _footer(80) == " r retry  x cancel  p pause  ? help  q quit "
    assert _footer(35) == " r retry  x cancel  ? help  q quit "
    assert _footer(20) == " ? help  q quit "


def test_what_makes_no_sense_now_is_dimmed() -> None:
    footer = Footer()
    footer.offer(OFFERS)
    styles = {segment.text.strip(): segment.style for segment in footer.draw(LOOK, 80)}
    assert styles["r"] == LOOK.key
    assert styles["x"] == styles["cancel"] == LOOK.line


@pytest.mark.parametrize(
    ("names", "cells"), [([], 0), (["build", "unit"], 5), (["build", "日本語"], 6), (["e\u0301té!", "a"], 4)]
)
def test_the_widest_is_measured_in_cells(names: list[str], cells: int) -> None:
    assert widest(names) == cells
