"""`--metrics`: what it accepts, and a real run that is scraped while it goes on and once it has ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry

from engine.monitor.exposition import Address, served
from tui.cli.main import run_command_line
from tui.cli.metrics_option import AddressType

PLAN = "tasks: {wait: {run: read line < gate}}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9877", ("127.0.0.1", 9877)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:9877", ("0.0.0.0", 9877)),  # noqa: S104
        ("metrics.example:80", ("metrics.example", 80)),
        ("[::1]:9877", ("::1", 9877)),
    ],
)
def test_an_address_is_a_port_or_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert AddressType().convert(text, None, None) == address


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "65536", "123456", "::1", "::1:9877", ":9877", "a b:1", "9877/x"]
)
def test_anything_else_is_refused(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["demo", "diamond", f"--metrics={text}"]) == 2
    assert f"{text!r} is no port, nor a host and a port" in capfd.readouterr().err


@pytest.mark.parametrize("command", [("demo", "diamond"), ("run", "plan.yaml")])
def test_a_port_that_is_taken_is_told_before_anything_runs(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.yaml").write_text("tasks: {touch: {run: touch done}}")
    with served(CollectorRegistry(), Address("127.0.0.1", 0)) as address:
        assert run_command_line([*command, "--plain", "--metrics", str(address.port)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"Error: cannot serve metrics at {address}: Address already in use\n"
    assert not Path("done").exists()


def test_a_run_is_scraped_while_it_goes_on_and_once_it_has_ended(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    os.mkfifo(tmp_path / "gate")
    with subprocess.Popen(
        [sys.executable, "-m", "tui", "run", "plan.yaml", "--plain", "--metrics", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.fullmatch(r"plandeck: metrics are at (http://127\.0\.0\.1:\d+/metrics)\n", said)
        assert found is not None, said
        before = urlopen(found[1], timeout=10).read().decode()  # noqa: S310
        assert "execmon_plans_tracked 1.0\n" in before
        assert 'plandeck_plans_total{outcome="success"} 0.0\n' in before
        (tmp_path / "gate").write_text("go\n")
        said = process.stderr.readline()
        assert said == "plandeck: waiting up to 1m for the end to be scraped; ctrl+c leaves at once\n"
        after = urlopen(found[1], timeout=10).read().decode()  # noqa: S310
        assert 'plandeck_plans_total{outcome="success"} 1.0\n' in after
        out, _ = process.communicate()
    assert process.returncode == 0
    assert "1 success" in out
