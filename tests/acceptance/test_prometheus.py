"""The real Prometheus scrapes a real run: all that the dashboard and the alerts ask for is there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

PLAN = """
name: harbour
failure_mode: continue_on_error
tasks:
  scraped: {run: read line < scraped}
  wobbly: {needs: [scraped], run: 'test -e tried || { : > tried; exit 1; }', retry: {limit: 1, delay: 100ms}}
  broken: {needs: [scraped], run: exit 3, retry: {limit: 1, delay: 100ms}}
  after: {needs: [broken], run: 'true'}
  silent: {needs: [scraped], run: read line < gate, stall_after: 1s}
"""

GRAFANAS: dict[str, str] = {"$__rate_interval": "1m", "$__range": "1h", "$instance": ".*"}
"""What Grafana puts in for its variables."""


def dashboard_expressions() -> dict[str, str]:
    """By the title of the panel and the target's letter."""
    found = {}
    for panel in json.loads((DEPLOY / "grafana" / "plandeck.json").read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in GRAFANAS.items():
                expression = expression.replace(variable, value)
            found[f"{panel['title']} {target['refId']}"] = expression
    return found


def alerts() -> dict[str, str]:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


class Prometheus:
    """A server of its own, with the configuration that is shipped, but quicker."""

    def __init__(self, folder: Path, port: int) -> None:
        config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self._address}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def ask(self, what: str, **parameters: str) -> Any:
        try:
            with urlopen(
                f"http://{self._address}/api/v1/{what}?{urlencode(parameters)}", timeout=10
            ) as answer:
                return json.load(answer)["data"]
        except URLError:
            assert self._process.poll() is None, (Path(self._log.name)).read_text()
            return None

    def has(self, expression: str) -> bool:
        answer = self.ask("query", query=expression)
        return bool(answer and answer["result"])

    def fired(self) -> set[str]:
        """Alerts whose condition holds now."""
        answer = self.ask("alerts")
        return {alert["labels"]["alertname"] for alert in answer["alerts"]} if answer else set()


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`plandeck run` on the plan, and the port of its metrics."""
    (folder / "plan.yaml").write_text(PLAN)
    for gate in ("scraped", "gate"):
        os.mkfifo(folder / gate)
    with subprocess.Popen(
        [sys.executable, "-m", "tui", "run", "plan.yaml", "--plain", "--metrics", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            port = re.search(r":(\d+)/metrics", process.stderr.readline())
            assert port is not None
            yield process, int(port[1])
        finally:
            process.terminate()


def wait_until(condition: Callable[[], bool]) -> None:
    """The test's own time limit ends it. Nothing tells when a server has looked again, so it is asked."""
    while not condition():
        time.sleep(0.2)


def test_every_expression_returns_data_and_every_alert_is_raised(tmp_path: Path) -> None:
    wanted = dashboard_expressions() | alerts()
    at_the_end = {name for name, expression in wanted.items() if "_plan_duration_" in expression}
    at_the_end |= {"PlandeckPlanFailureRate"}
    assert len(at_the_end) == 2
    with running(tmp_path) as (process, port):
        prometheus = Prometheus(tmp_path, port)
        try:
            wait_until(lambda: prometheus.has("execmon_plans_tracked == 1"))
            (tmp_path / "scraped").write_text("go\n")
            pending = {name: wanted[name] for name in wanted if name not in at_the_end}

            def all_seen() -> bool:
                for name in [name for name, expression in pending.items() if prometheus.has(expression)]:
                    del pending[name]
                return not pending

            wait_until(all_seen)
            during = set(alerts()) - at_the_end
            wait_until(lambda: during <= prometheus.fired())
            (tmp_path / "gate").write_text("go\n")
            assert process.wait() == 1  # after the end of the run has been scraped
            pending |= {name: wanted[name] for name in at_the_end}
            wait_until(all_seen)
            wait_until(lambda: "PlandeckPlanFailureRate" in prometheus.fired())
            helped = 'asi_plan_executor_retry_attempts_total{result="success"}'
            [sample] = prometheus.ask("query", query=f"last_over_time({helped}[5m])")["result"]
            assert sample["value"][1] == "1"
        finally:
            prometheus.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    result = subprocess.run(["promtool", *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_finds_nothing_wrong_with_the_metrics(tmp_path: Path) -> None:
    with (
        running(tmp_path) as (_, port),
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer,
    ):
        metrics = answer.read()
    result = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")
