"""What is shipped for Prometheus and Grafana asks for metrics that there are, by labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from engine.core.events import EVENT_TYPES
from engine.monitor.metrics import Metrics
from engine.monitor.monitor import Monitor
from tests.support.run import FakeRun, plan_of

DEPLOY = Path(__file__).parents[2] / "deploy"

ADDED_BY_PROMETHEUS = {"instance", "job"}
METRIC = re.compile(r"\b(?:asi|execmon|plandeck)_\w+")
MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')


def panels() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((DEPLOY / "grafana" / "plandeck.json").read_text())["panels"]
    return found


def expressions() -> list[str]:
    texts = re.findall(r'"expr": ("(?:[^"\\]|\\.)*")', (DEPLOY / "grafana" / "plandeck.json").read_text())
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [*map(json.loads, texts), *(rule["expr"] for rule in group["rules"])]


def served() -> dict[str, dict[str, set[str]]]:
    """The labels of every series, and the values of each."""
    monitor = Monitor(clock=lambda: 0.0)
    metrics = Metrics(monitor)
    monitor.follow(FakeRun(plan_of({"A": ""})))
    found: dict[str, dict[str, set[str]]] = {}
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def test_every_expression_asks_for_what_is_served() -> None:
    known = served()
    asked = expressions()
    assert len(asked) >= 17
    for expression in asked:
        names = set(METRIC.findall(expression))
        assert names
        assert names <= set(known)
        labels = {label: values for name in names for label, values in known[name].items()}
        for label, pattern in MATCHER.findall(expression):
            if label not in ADDED_BY_PROMETHEUS:
                assert set(pattern.split("|")) <= labels[label]


def test_every_metric_is_on_the_dashboard_in_an_alert_or_on_the_page() -> None:
    page = (DEPLOY.parent / "docs" / "monitoring.md").read_text()
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in served()}
    assert {name for name in families if f"`{name}`" not in page} == set()
    assert set(re.findall(r"^\| `((?:asi|execmon|plandeck)_\w+)`", page, re.MULTILINE)) == families
    listing = (DEPLOY.parent / "docs" / "command-line.md").read_text()
    assert {name for name in EVENT_TYPES if f"`{name}`" not in listing} == set()


def test_the_first_panels_are_those_that_operators_ask_for_first() -> None:
    assert [(panel["title"], panel["type"]) for panel in panels()[:3]] == [
        ("Wave duration", "heatmap"),
        ("Task states", "piechart"),
        ("Retry success", "gauge"),
    ]
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
