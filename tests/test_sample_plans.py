"""Every sample plan is sound, says what it is about, and ends as its comments promise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dask.config
import pytest

from engine import load_plan
from engine.plan.graph import Graph
from tests.support.dask_cluster import DaskCluster
from tui.cli.main import run_command_line
from tui.samples import headline, sample_plans

SAMPLES = sample_plans()
QUICK = ["--speed", "1000"]
AT_ITS_OWN_SPEED: list[str] = []

PROMISED: dict[str, tuple[list[str], int, dict[str, str]]] = {
    "continue-on-error": (
        QUICK,
        1,
        {
            "build-bsd": "failed",
            "test-mac": "failed",
            "test-linux": "success",
            "size-report": "success",
            "test-bsd": "skipped",
            "publish": "skipped",
        },
    ),
    "diamond": (QUICK, 0, {"open": "success"}),
    # the simulated tasks must still be running when the real one fails, which it does at once
    "fail-fast": (
        AT_ITS_OWN_SPEED,
        1,
        {
            "migrate": "failed",
            "assets": "cancelled",
            "mail": "cancelled",
            "search": "cancelled",
            "deploy": "skipped",
        },
    ),
    "flaky": ([*QUICK, "--seed", "7"], 0, {"ratings": "skipped", "index": "success"}),
    "matrix": (
        QUICK,
        0,
        {"unit[3.11,mac]": "success", "unit[3.13,linux]": "success", "report": "success"},
    ),
    # likewise `power`, after which `network` would have started
    "pause-on-failure": (
        ["--speed", "3"],
        1,
        {"power": "success", "disk": "failed", "network": "cancelled", "format": "skipped"},
    ),
    "recovery": (
        QUICK,
        1,
        {
            "deploy": "failed",
            "celebrate": "skipped",
            "rollback": "success",
            "page": "success",
            "report": "success",
        },
    ),
    "release": (QUICK, 0, {"publish": "success", "announce": "success", "tidy": "success"}),
    "stalling": (QUICK, 0, {"report": "success"}),
    "subplans": (
        QUICK,
        0,
        {"rollout[eu]/warm-up[3]": "success", "rollout[us]": "success", "announce": "success"},
    ),
    "wide": ([*QUICK, "--seed", "4", "--max-parallel", "32"], 0, {"report": "success"}),
}

RETRIED = {"flaky", "recovery", "release", "wide"}


@pytest.fixture(autouse=True)
def quick_and_tidy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, and files only in a folder of this test's own."""
    monkeypatch.setenv("PACE", "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def run(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str], list[str]]:
    """The exit code, the last state of every task, and the types of all events."""
    code = run_command_line([*arguments, "--json"])
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    states = {event["task"]: event["state"] for event in events if "task" in event}
    return code, states, [event["type"] for event in events]


def test_every_plan_is_tried() -> None:
    assert set(PROMISED) == set(SAMPLES)


@pytest.mark.parametrize("name", PROMISED)
def test_plan_is_sound_and_says_what_it_is_about(name: str) -> None:
    plan = load_plan(SAMPLES[name])
    assert plan.name == name
    assert Graph(plan).waves
    assert len(headline(SAMPLES[name])) > 20


@pytest.mark.parametrize("name", PROMISED)
def test_plan_ends_as_promised(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options, code, promised = PROMISED[name]
    got, states, types = run(["demo", name, *options], capfd)
    assert {task: states.get(task) for task in promised} == promised
    assert got == code
    assert ("TASK_RETRIED" in types) == (name in RETRIED)
    assert not list(tmp_path.glob("plandeck-release-*")), "the release tidies up"


@pytest.fixture(scope="module")
def dask_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield cluster.address
    cluster.close()


@pytest.mark.soak
@pytest.mark.parametrize("name", PROMISED)
def test_plan_ends_as_promised_on_a_dask_cluster(
    name: str, dask_address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options, code, promised = PROMISED[name]
    with dask.config.set({"scheduler-address": dask_address}):
        got, states, types = run(["demo", name, *options, "--executor", "dask"], capfd)
    assert {task: states.get(task) for task in promised} == promised
    assert got == code
    assert ("TASK_RETRIED" in types) == (name in RETRIED)


def test_paused_plan_can_be_mended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plandeck-disk-is-fine").touch()
    code, states, _ = run(["demo", "pause-on-failure", *QUICK], capfd)
    assert code == 0
    assert states["install"] == "success"


def said(name: str, options: list[str], task: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What a task of a sample plan printed."""
    run(["demo", name, *options], capfd)
    assert run_command_line(["logs", "last", task]) == 0
    return capfd.readouterr().out


def test_what_goes_from_task_to_task_in_the_matrix(capfd: pytest.CaptureFixture[str]) -> None:
    odd = ["-p", "greeting=it's $(date) `date` \"\\"]
    assert said("matrix", odd, "unit[3.12,linux]", capfd).endswith("""it's $(date) `date` "\\\n""")
    report = said("matrix", ["-p", "release=3.0"], "report", capfd)
    assert report.startswith("v3.0-")
    assert report.endswith(": 311 tests passed on mac\n\nfirst line\nsecond line\n")


def test_what_comes_back_from_the_subplans(capfd: pytest.CaptureFixture[str]) -> None:
    assert said("subplans", [], "announce", capfd) == (
        "live at https://eu.example.org/build-17 and https://us.example.org/build-17\n"
    )


def test_a_part_runs_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    part = str(SAMPLES["subplans"].parent / "parts" / "rollout.yaml")
    assert run(["run", part, "-p", "tag=x"], capfd)[0] == 0
    assert run_command_line(["check", part]) == 2
    assert capfd.readouterr().err == f"{part}: param 'tag' needs a value: give it one with -p tag=...\n"


def test_wide_plan_is_wide() -> None:
    assert len(load_plan(SAMPLES["wide"]).tasks) == 200
