"""Metrics: every name, label and bucket that is promised, and what each of them counts."""

from __future__ import annotations

import re
import socket
from urllib.request import Request, urlopen

import anyio
import pytest
from anyio import to_thread
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from engine.core.events import EVENT_TYPES
from engine.core.state import Outcome
from engine.errors import MetricsUnusable
from engine.monitor.exposition import Address, Exposition, served
from engine.monitor.metrics import Metrics
from engine.monitor.monitor import Following, Monitor
from engine.monitor.publication import Publication, publish
from tests.support.run import FakeRun, plan_of
from tests.support.world import plan, subplan

DIAMOND = plan_of({"A": "", "B": "A", "C": "A", "D": "B C"})

Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def fetch(address: Address, **headers: str) -> str:
    with urlopen(Request(f"http://{address}/metrics", headers=headers), timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def scrape(registry: CollectorRegistry) -> Scrape:
    """Every sample by its name and its labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


def measured() -> tuple[FakeRun, Following, Metrics]:
    run, monitor = FakeRun(DIAMOND), Monitor(clock=lambda: 0.0)
    metrics = Metrics(monitor)
    return run, monitor.follow(run), metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scrape(metrics.registry).get((name, tuple(sorted(labels.items()))))


def test_every_name_and_label_is_there_from_the_start_and_no_other() -> None:
    _, _, metrics = measured()
    families: dict[str, set[str]] = {}
    for name, labels in scrape(metrics.registry):
        values = {f"{label}={text}" for label, text in labels if label != "plan_id"}
        families.setdefault(name, set()).update(values)
    buckets = {
        "asi_plan_executor_wave_duration_seconds": [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
        "asi_plan_executor_plan_duration_seconds": [0.5, 1, 2.5, 5, 10, 30, 60, 120],
        "execmon_view_latency_seconds": [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
    }
    expected: dict[str, set[str]] = {
        "asi_plan_executor_subtasks_total": {
            f"state={s}" for s in ("success", "failed", "skipped", "retried")
        },
        "asi_plan_executor_active_tasks": set(),
        "asi_plan_executor_retry_attempts_total": {"result=success", "result=exhausted"},
        "execmon_events_total": {f"event_type={event_type}" for event_type in EVENT_TYPES},
        "execmon_plans_tracked": set(),
        "execmon_stalls_detected_total": set(),
        "execmon_health_score": set(),
        "plandeck_plans_total": {f"outcome={outcome}" for outcome in Outcome},
        "plandeck_max_parallel": set(),
        "plandeck_events_dropped_total": set(),
    }
    for name, bounds in buckets.items():
        expected[f"{name}_bucket"] = {f"le={float(bound)}" for bound in bounds} | {"le=+Inf"}
        expected[f"{name}_sum"] = expected[f"{name}_count"] = set()
    assert families == expected


def test_tasks_are_counted_by_how_they_end() -> None:
    run, following, metrics = measured()
    make = run.make
    run.start("A")
    run.push(make.completed("A"), make.started("B"), make.retry_scheduled("B"), make.started("B"))
    run.push(make.failed("B"), make.cancelled("C"), make.skipped("D", "B failed"))
    run.push(make.plan_completed(Outcome.FAILED))
    following.catch_up()
    found = scrape(metrics.registry)
    states = {
        labels[0][1]: count
        for (name, labels), count in found.items()
        if name == "asi_plan_executor_subtasks_total"
    }
    assert states == {"success": 1, "failed": 1, "skipped": 1, "retried": 1}
    assert value(metrics, "execmon_events_total", event_type="TASK_CANCELLED") == 1
    assert value(metrics, "plandeck_plans_total", outcome="failed") == 1
    assert value(metrics, "plandeck_plans_total", outcome="success") == 0
    assert value(metrics, "asi_plan_executor_plan_duration_seconds_count") == 1


@pytest.mark.parametrize(
    ("steps", "success", "exhausted"),
    [
        (("started", "completed"), 0, 0),
        (("started", "retry_scheduled", "started", "completed"), 1, 0),
        (("started", "retry_scheduled", "started", "failed"), 0, 1),
        # none of these has used a retry, or says whether one would have helped
        (("started", "failed"), 0, 0),
        (("started", "retry_scheduled", "cancelled"), 0, 0),
        (("started", "retry_scheduled", "started", "tolerated"), 0, 0),
        (("started", "retry_scheduled", "reset", "started", "completed"), 0, 0),
        (("started", "retry_scheduled", "marked"), 0, 0),
    ],
)
def test_a_retry_counts_by_whether_it_helped(steps: tuple[str, ...], success: int, exhausted: int) -> None:
    run, following, metrics = measured()
    run.start()
    for step in steps:
        if step == "marked":
            run.push(run.make.completed("A", reason="seen to by hand"))
        elif step == "failed":
            failed = run.make.failed("A")
            failed.retry_count = steps.count("retry_scheduled")
            run.push(failed)
        else:
            run.push(getattr(run.make, step)("A"))
    following.catch_up()
    assert value(metrics, "asi_plan_executor_retry_attempts_total", result="success") == success
    assert value(metrics, "asi_plan_executor_retry_attempts_total", result="exhausted") == exhausted


def test_gauges_tell_the_present_and_go_with_the_run() -> None:
    run, following, metrics = measured()
    make = run.make
    run.start("A")
    run.push(make.completed("A"), make.started("B"), make.started("C"), make.slots_changed(7))
    following.catch_up()
    assert value(metrics, "asi_plan_executor_active_tasks") == 2
    assert value(metrics, "execmon_health_score", plan_id=run.run_id) == pytest.approx(1 / 3)
    assert value(metrics, "plandeck_max_parallel", plan_id=run.run_id) == 7
    assert value(metrics, "execmon_plans_tracked") == 1
    run.finish()
    following.catch_up()
    assert value(metrics, "asi_plan_executor_active_tasks") == 0
    assert value(metrics, "execmon_health_score", plan_id=run.run_id) is None
    assert value(metrics, "plandeck_max_parallel", plan_id=run.run_id) is None
    run.push(make.reset("D"), make.resumed(), make.started("D"))
    following.catch_up()
    assert value(metrics, "asi_plan_executor_active_tasks") == 1
    assert value(metrics, "execmon_health_score", plan_id=run.run_id) == 0.75


@pytest.mark.anyio
async def test_gauges_go_with_a_run_that_is_cut_off() -> None:
    monitor = Monitor()
    metrics, run = Metrics(monitor), FakeRun(DIAMOND)
    following = monitor.follow(run)
    run.start("A")
    run.end_stream()
    await following.last()
    assert value(metrics, "execmon_health_score", plan_id=run.run_id) is None
    assert value(metrics, "asi_plan_executor_active_tasks") == 0


def test_a_wave_lasts_from_its_first_start_to_its_last_end() -> None:
    run, following, metrics = measured()
    make = run.make
    run.start("A")  # at 1 s; the factory lets a second pass with every event
    run.push(make.completed("A"))  # 1 s
    run.push(make.started("B"), make.started("C"), make.completed("C"), make.completed("B"))  # 3 s
    run.push(make.skipped("D"))  # nothing ran
    following.catch_up()
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_count") == 2
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_sum") == 4
    run.push(make.reset("C"), make.started("C"), make.completed("C"))  # and once more: 1 s
    following.catch_up()
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_count") == 3
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_sum") == 5


def test_a_wave_that_had_begun_before_one_looked_is_measured_from_its_start() -> None:
    run = FakeRun(DIAMOND)
    make = run.make
    run.start("A")
    run.push(make.completed("A"), make.started("B"), make.started("C"), make.completed("B"))
    monitor = Monitor(clock=lambda: 0.0)
    metrics = Metrics(monitor)
    following = monitor.follow(run)
    run.push(make.completed("C"))
    following.catch_up()
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_sum") == 3


def test_what_stands_for_a_subplan_is_neither_counted_nor_a_wave() -> None:
    run = FakeRun(
        plan(build="", roll=subplan({"one": "", "two": "one"}, "build"), tell="roll", other="build")
    )
    make, monitor = run.make, Monitor(clock=lambda: 0.0)
    metrics = Metrics(monitor)
    following = monitor.follow(run)
    run.start("build")
    run.push(make.completed("build"), make.started("roll"), make.started("roll/one"), make.started("other"))
    following.catch_up()
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_count") == 1
    run.push(make.completed("roll/one"), make.completed("other"))  # the wave after build
    following.catch_up()
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_count") == 2
    run.push(make.started("roll/two"), make.completed("roll/two"), make.completed("roll"))
    run.push(make.started("tell"), make.completed("tell"), make.plan_completed())
    following.catch_up()
    assert value(metrics, "asi_plan_executor_wave_duration_seconds_count") == 4
    assert value(metrics, "asi_plan_executor_subtasks_total", state="success") == 5


def test_what_was_missed_is_counted_as_missed() -> None:
    run, monitor = FakeRun(DIAMOND), Monitor(backlog=2, clock=lambda: 0.0)
    metrics = Metrics(monitor)
    following = monitor.follow(run)
    run.start("A")
    run.push(run.make.stalled("A"))
    following.catch_up()
    assert value(metrics, "plandeck_events_dropped_total") == 3
    assert value(metrics, "execmon_stalls_detected_total") == 1
    assert value(metrics, "asi_plan_executor_active_tasks") == 1


# ── over HTTP ───────────────────────────────────────────────────────────────────────────────────


def test_it_is_served_as_prometheus_reads_it() -> None:
    _, _, metrics = measured()
    with served(metrics.registry, Address("127.0.0.1", 0)) as address:
        text = fetch(address)
        open_metrics = fetch(address, Accept="application/openmetrics-text; version=1.0.0")
    types = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert types["asi_plan_executor_subtasks"] == "counter"
    assert types["asi_plan_executor_wave_duration_seconds"] == "histogram"
    for answer in (text, open_metrics):
        assert 'asi_plan_executor_subtasks_total{state="retried"} 0.0' in answer
        assert "execmon_stalls_detected_total 0.0" in answer
        assert "_created" not in answer
    assert open_metrics.endswith("# EOF\n")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address)


def test_a_port_that_is_taken_is_told_and_so_is_a_host_that_is_not_ours() -> None:
    registry = CollectorRegistry()
    with served(registry, Address("127.0.0.1", 0)) as address:
        reason = re.escape(f"cannot serve metrics at {address}: Address already in use")
        with pytest.raises(MetricsUnusable, match=reason), served(registry, address):
            pass
    with (
        pytest.raises(MetricsUnusable, match=r"metrics at 192\.0\.2\.1:0: "),
        served(registry, Address("192.0.2.1", 0)),
    ):
        pass


def test_an_address_is_written_as_in_a_url() -> None:
    assert str(Address("::1", 9100)) == "[::1]:9100"
    assert str(Address("localhost", 0)) == "localhost:0"


def test_who_leaves_in_the_middle_or_asks_for_nonsense_does_no_harm() -> None:
    with served(Exposition(), Address("127.0.0.1", 0)) as address:
        with socket.create_connection(address) as rude:
            rude.sendall(b"GET /metrics HTTP/1.1\r\n")
        with socket.create_connection(address) as odd:
            odd.sendall(b"\x00\xff\r\n\r\n")
            assert b"400" in odd.recv(1000)
        assert fetch(address) == ""


async def scraped(publication: Publication) -> str:
    return await to_thread.run_sync(fetch, publication.address)


@pytest.mark.anyio
async def test_the_end_waits_for_who_has_read_before() -> None:
    run = FakeRun(DIAMOND)
    with publish(Address("127.0.0.1", 0)) as publication:
        publication.follow(run)
        run.start()
        assert "PLAN_STARTED" in await scraped(publication)
        run.finish()
        has_ended = anyio.Event()

        async def end() -> None:
            await publication.read()
            has_ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(end)
            await anyio.wait_all_tasks_blocked()
            assert not has_ended.is_set()
            assert 'plandeck_plans_total{outcome="success"} 1.0' in await scraped(publication)
            await has_ended.wait()
        # the end has been read by now: nobody is waited for any more
        await publication.read()


@pytest.mark.anyio
async def test_it_publishes_until_the_run_is_closed_and_a_defect_of_its_own_is_nothing_to_the_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(DIAMOND)
    with publish(Address("127.0.0.1", 0)) as publication:
        assert publication.url == f"http://{publication.address}/metrics"
        publication.follow(run)
        async with anyio.create_task_group() as group:
            group.start_soon(publication.last)
            run.start("A")
            await anyio.wait_all_tasks_blocked()
            assert 'event_type="TASK_STARTED"} 1.0' in await scraped(publication)
            monkeypatch.setattr(Metrics, "happened", None)
            run.finish()
        await publication.last()  # there is nothing any more that could be published
    assert "metrics are no longer published" in caplog.text


@pytest.mark.anyio
async def test_the_end_waits_for_nobody_if_nobody_has_ever_read() -> None:
    run = FakeRun(DIAMOND)
    with publish(Address("127.0.0.1", 0)) as publication:
        publication.follow(run)
        run.start()
        run.finish()
        assert publication.patience == 0
        await publication.read()


def test_the_interval_of_the_reader_is_found_out() -> None:
    times = iter((5.0, 20.0))
    exposition = Exposition(clock=lambda: next(times))
    assert exposition.interval is None
    list(exposition.collect())
    assert exposition.interval is None
    list(exposition.collect())
    assert exposition.interval == 15.0
    assert (exposition.begun, exposition.completed) == (2, 2)
