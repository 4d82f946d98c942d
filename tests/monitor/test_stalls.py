"""A stall is raised once, cleared once, and costs next to nothing while nothing is stalled."""

from __future__ import annotations

import pytest

from engine.core.inputs import AttemptRevived, AttemptStalled
from engine.monitor import stalls
from engine.monitor.stalls import POLL_INTERVAL, StallWatch
from engine.plan.graph import Graph
from engine.plan.model import Plan, StallMeasure, Task
from tests.support.events import EventFactory

Reported = list[tuple[str, int, int]]


class Scene:
    """A plan whose tasks live as the test says, and the watch over it.

    lives: the last sign of life of each task. looks: how often the watch asked for one.
    """

    def __init__(self, *tasks: Task) -> None:
        graph = Graph(Plan(name="plan", tasks=tasks))
        self.events = EventFactory(graph, step=0.0)
        self.lives: dict[int, float] = {}
        self.looks = 0
        self.watch = StallWatch(
            graph.plan, self._life, lambda index: f"last of {graph.plan.tasks[index].name}"
        )

    def _life(self, index: int) -> float:
        self.looks += 1
        return self.lives.get(index, 0.0)

    def at(self, offset: float, event: str, task: str, **detail: float) -> None:
        """Let an event come at that time, and the watch hear of it."""
        self.events.offset = offset
        self.watch.listen([getattr(self.events, event)(task, **detail)])

    def check(self, now: float) -> Reported:
        return [(type(report).__name__, report.index, report.attempt) for report in self.watch.check(now)]

    def run(self, until: float) -> list[tuple[float, str, int]]:
        """Ask whenever the watch wants to be asked, as the runner does."""
        said = []
        while (due := self.watch.next_deadline()) is not None and due <= until:
            said += [(due, type(report).__name__, report.index) for report in self.watch.check(due)]
        return said


def task(name: str, after: float | None = 30.0, measure: StallMeasure = StallMeasure.SILENCE) -> Task:
    return Task(name=name, run="true", stall_after=after, stall_measure=measure)


def test_silence_is_raised_once_however_often_it_is_asked() -> None:
    scene = Scene(task("a"))
    scene.at(5.0, "started", "a")
    assert scene.watch.next_deadline() == 35.0
    assert scene.check(34.9) == []
    assert scene.watch.check(36.0) == [
        AttemptStalled(index=0, attempt=1, silent_for=31.0, last_line="last of a")
    ]
    for poll in range(1_000):
        assert scene.check(36.0 + poll) == []


def test_output_puts_the_stall_off() -> None:
    scene = Scene(task("a"))
    scene.at(0.0, "started", "a")
    scene.lives[0] = 29.5
    assert scene.check(30.0) == []
    assert scene.watch.next_deadline() == 59.5
    assert scene.check(59.4) == []
    assert scene.check(59.5) == [("AttemptStalled", 0, 1)]


def test_a_sign_of_life_of_the_attempt_before_does_not_count() -> None:
    scene = Scene(task("a"))
    scene.lives[0] = 1.0
    scene.at(100.0, "started", "a")
    assert scene.watch.check(130.0)[0].silent_for == 30.0  # type: ignore[union-attr]


def test_life_clears_a_stall_once_and_the_watch_goes_on() -> None:
    scene = Scene(task("a"))
    scene.at(0.0, "started", "a")
    assert scene.check(30.0) == [("AttemptStalled", 0, 1)]
    assert scene.watch.next_deadline() == 30.0 + POLL_INTERVAL
    assert scene.check(31.0) == []
    scene.lives[0] = 31.5
    assert scene.check(31.6) == []  # it is looked at once a second, not more
    assert scene.watch.check(32.0) == [AttemptRevived(index=0, attempt=1)]
    assert scene.watch.next_deadline() == 61.5
    assert scene.check(61.5) == [("AttemptStalled", 0, 1)]


def test_two_stalls_are_polled_together() -> None:
    scene = Scene(task("a"), task("b"))
    scene.at(0.0, "started", "a")
    scene.at(0.5, "started", "b")
    assert scene.check(30.5) == [("AttemptStalled", 0, 1), ("AttemptStalled", 1, 1)]
    scene.lives[1] = 31.0
    assert scene.run(until=40.0) == [(31.5, "AttemptRevived", 1)]
    assert scene.watch.next_deadline() == 40.5
    scene.at(40.2, "completed", "a")
    assert scene.watch.next_deadline() == 61.0  # nothing is stalled, so nothing is polled


@pytest.mark.parametrize(
    "end", ["completed", "failed", "skipped", "cancelled", "stopping", "retry_scheduled", "reset"]
)
def test_an_end_ends_the_watch(end: str) -> None:
    scene = Scene(task("a"))
    scene.at(0.0, "started", "a")
    scene.at(10.0, end, "a")
    assert scene.watch.next_deadline() is None
    assert scene.check(100.0) == []


def test_an_end_ends_a_stall_without_a_report() -> None:
    scene = Scene(task("a"))
    scene.at(0.0, "started", "a")
    scene.check(30.0)
    scene.at(30.5, "stopping", "a")
    assert scene.watch.next_deadline() is None
    assert scene.check(31.0) == []


def test_a_retry_starts_afresh() -> None:
    scene = Scene(task("a"))
    scene.at(0.0, "started", "a")
    scene.at(20.0, "retry_scheduled", "a")
    scene.at(25.0, "started", "a")
    assert scene.check(54.9) == []
    assert scene.check(55.0) == [("AttemptStalled", 0, 2)]


def test_by_elapsed_time_output_is_no_sign_of_life() -> None:
    scene = Scene(task("a", 10.0, StallMeasure.ELAPSED))
    scene.at(0.0, "started", "a")
    scene.lives[0] = 9.9
    assert scene.watch.check(10.0) == [
        AttemptStalled(index=0, attempt=1, silent_for=10.0, last_line="last of a")
    ]
    scene.lives[0] = 10.5
    assert scene.watch.next_deadline() is None
    assert scene.check(1_000.0) == []
    assert scene.looks == 0


def test_what_never_stalls_is_not_watched() -> None:
    scene = Scene(task("a", None))
    scene.at(0.0, "started", "a")
    assert scene.watch.next_deadline() is None
    assert scene.check(10_000.0) == []


def test_other_events_mean_nothing_to_it() -> None:
    scene = Scene(task("a"))
    scene.watch.listen([scene.events.plan_started()])
    scene.at(0.0, "held", "a")
    scene.at(0.0, "stalled", "a")
    assert scene.watch.next_deadline() is None


def test_a_task_that_speaks_all_the_time_is_looked_at_once_per_patience() -> None:
    scene = Scene(task("a", 10.0))
    scene.at(0.0, "started", "a")
    for now in range(1, 1_001):
        scene.lives[0] = now - 0.5
        if (due := scene.watch.next_deadline()) is not None and due <= now:
            assert scene.check(now) == []
    assert scene.looks == pytest.approx(100, abs=10)


def test_a_busy_run_leaves_no_alarms_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "COMPACT_FROM", 100)
    scene = Scene(*(task(f"t{number}", 3_600.0) for number in range(1_000)))
    scene.at(0.0, "started", "t0")
    for number in range(1, 1_000):
        scene.at(float(number), "started", f"t{number}")
        scene.at(float(number), "completed", f"t{number}")
    assert len(scene.watch._alarms) <= 102
    assert scene.watch.next_deadline() == 3_600.0
    assert scene.check(3_600.0) == [("AttemptStalled", 0, 1)]
    assert scene.looks == 1


def test_the_runner_asks_no_more_often_than_it_must() -> None:
    scene = Scene(task("a", 10.0), task("b", 25.0))
    scene.at(0.0, "started", "a")
    scene.at(0.0, "started", "b")
    assert scene.run(until=30.0) == [(10.0, "AttemptStalled", 0), (25.0, "AttemptStalled", 1)]
    assert scene.looks == 2 + 20 + 5
