"""Metrics for Prometheus: what the monitor learns, as counters, gauges and histograms over HTTP."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from engine.core.events import (
    EVENT_TYPES,
    Event,
    PlanCompleted,
    TaskCompleted,
    TaskEvent,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
)
from engine.core.state import Outcome, RunPhase
from engine.monitor.exposition import Exposition
from engine.monitor.monitor import Monitor
from engine.monitor.waves import Waves
from engine.view.run_view import RunView

WAVE_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PLAN_BUCKETS: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
LATENCY_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds in seconds."""

_SUBTASKS: Final[dict[type[Event], str]] = {
    TaskCompleted: "success",
    TaskFailed: "failed",
    TaskSkipped: "skipped",
    TaskRetried: "retried",
}


class Metrics:
    """Observes a monitor. All that has a fixed set of label values is there from the start, at 0.

    Changed in the event loop, read by the threads that serve.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.registry = Exposition()
        self.begun_before = 0
        """How many scrapes had begun before the last event: they may lack it."""
        registry = self.registry
        self._subtasks = Counter(
            "asi_plan_executor_subtasks_total",
            "Tasks that have ended, by how; and attempts after a first (retried).",
            ["state"],
            registry=registry,
        )
        self._active = Gauge(
            "asi_plan_executor_active_tasks", "Tasks that hold a slot now.", registry=registry
        )
        self._wave = Histogram(
            "asi_plan_executor_wave_duration_seconds",
            "From the first start to the last end of a wave: the tasks with equally many tasks before them.",
            buckets=WAVE_BUCKETS,
            registry=registry,
        )
        self._plan = Histogram(
            "asi_plan_executor_plan_duration_seconds",
            "From the beginning of a run to its end.",
            buckets=PLAN_BUCKETS,
            registry=registry,
        )
        self._retries = Counter(
            "asi_plan_executor_retry_attempts_total",
            "Tasks that were retried, by whether that helped.",
            ["result"],
            registry=registry,
        )
        self._events = Counter("execmon_events_total", "Events, by type.", ["event_type"], registry=registry)
        tracked = Gauge("execmon_plans_tracked", "Runs that the monitor holds.", registry=registry)
        tracked.set_function(lambda: monitor.tracked)
        self._stalls = Counter(
            "execmon_stalls_detected_total", "Stalls; each counts once.", registry=registry
        )
        self._health = Gauge(
            "execmon_health_score",
            "The share of success in all that has started or ended, of a run that goes on.",
            ["plan_id"],
            registry=registry,
        )
        self._latency = Histogram(
            "execmon_view_latency_seconds",
            "From an event to when the monitor's view has it.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._plans = Counter(
            "plandeck_plans_total", "Runs that have ended, by outcome.", ["outcome"], registry=registry
        )
        self._limit = Gauge(
            "plandeck_max_parallel", "The slots of a run that goes on.", ["plan_id"], registry=registry
        )
        self._dropped = Counter(
            "plandeck_events_dropped_total",
            "Events that the monitor has lost by falling behind; the other counters lack them.",
            registry=registry,
        )
        # to look a label value up costs as much as to count it
        self._count_subtask = {kind: self._subtasks.labels(state).inc for kind, state in _SUBTASKS.items()}
        self._count_event = {kind: self._events.labels(kind.type).inc for kind in EVENT_TYPES.values()}
        self._count_plan = {outcome: self._plans.labels(outcome.value).inc for outcome in Outcome}
        self._count_success = self._retries.labels("success").inc
        self._count_exhausted = self._retries.labels("exhausted").inc
        self._slots_used: dict[str, int] = {}
        self._waves: dict[str, Waves] = {}
        monitor.observe(self)

    # ── what a monitor tells ────────────────────────────────────────────────────────────────────

    def joined(self, view: RunView, missed: int) -> None:
        self._dropped.inc(missed)
        self._waves[view.run_id] = Waves(view)

    def happened(self, view: RunView, event: Event, latency: float) -> None:
        self.begun_before = self.registry.begun
        self._count_event[type(event)]()
        self._latency.observe(max(0.0, latency))
        if isinstance(event, PlanCompleted):
            self._count_plan[event.outcome]()
            self._plan.observe(event.duration)
        elif isinstance(event, TaskEvent) and event.index not in view.graph.nesting.children:
            self._count_task(view, event)
        for duration in self._waves[view.run_id].take(event):
            self._wave.observe(duration)

    def _count_task(self, view: RunView, event: TaskEvent) -> None:
        """A task that does something itself: what stands for a subplan is none."""
        if count := self._count_subtask.get(type(event)):
            count()
        if isinstance(event, TaskCompleted):
            # one that a person calls done has not been helped by its retries
            if view.tasks[event.index].retries and not event.reason:
                self._count_success()
        elif isinstance(event, TaskFailed) and event.retry_count:
            self._count_exhausted()

    def stalled(self, view: RunView, index: int) -> None:
        self._stalls.inc()

    def settled(self, view: RunView) -> None:
        """Only what the gauges show in the end is ever seen."""
        run_id = view.run_id
        if view.phase is RunPhase.COMPLETE:
            self._remove(run_id)
            return
        self._health.labels(run_id).set(view.health)
        self._limit.labels(run_id).set(view.max_parallel)
        self._use(run_id, len(view.active))

    def left(self, view: RunView) -> None:
        self._waves.pop(view.run_id, None)
        self._remove(view.run_id)

    def _remove(self, run_id: str) -> None:
        """Its gauges go: a value that never changes any more would be taken for the present."""
        if run_id in self._slots_used:
            self._health.remove(run_id)
            self._limit.remove(run_id)
            self._use(run_id, 0)
            del self._slots_used[run_id]

    def _use(self, run_id: str, slots: int) -> None:
        if self._slots_used.get(run_id) != slots:
            self._slots_used[run_id] = slots
            self._active.set(sum(self._slots_used.values()))
