"""What a plan file means: every key resolved, every default applied; and files that are none."""

from __future__ import annotations

import gc
import json
import os
import signal
from pathlib import Path

import pytest

from engine.errors import PlanInvalid
from engine.plan.load import load_plan, parse_plan
from engine.plan.model import (
    Condition,
    FailureMode,
    Hooks,
    Need,
    Plan,
    Retry,
    Shutdown,
    Simulation,
    StallMeasure,
    Task,
)
from engine.plan.source import LIMIT

FULL = """\
name: release
goal: Ship 2.4
description: For people
failure_mode: pause_on_failure
max_parallel: 32
env: {STAGE: prod, PORT: 8080, VERSION: 1.10, DEBUG: true, NOTHING: "", HEX: 0x1F}
defaults:
  timeout: 1h30m
  retry: {limit: 1, max_delay: 10s}
  stall_after: never
  stall_measure: elapsed
  priority: 60
  skip_on_failure: true
  working_dir: sub
  shutdown: {grace: 1s}
  executor: local
tasks:
  build:
    run: make build
  unit:
    needs: [build]
    run: [pytest, -q, 5, 1.10, true]
    retry: {delay: 100ms, backoff: 1.5, jitter: 0s, exit_codes: [75, -9]}
    timeout: never
    stall_after: 90s
    stall_measure: silence
    skip_on_failure: false
    priority: 0
    env: {A: b}
    working_dir: /tmp
    shutdown: {signal: sigint}
    executor: local
    description: Runs the tests
  demo:
    depends_on: {build: success, unit: failed}
    simulate: {duration: 2m, fail_rate: 1, output: 30/m}
hooks:
  success: ./say-ok "$PLANDECK_PLAN"
  failure: [./page-me, 7]
  timeout: 1m
"""


def test_every_key_arrives() -> None:
    assert parse_plan(FULL, directory="/plans") == Plan(
        name="release",
        goal="Ship 2.4",
        failure_mode=FailureMode.PAUSE_ON_FAILURE,
        max_parallel=32,
        env={
            "STAGE": "prod",
            "PORT": "8080",
            "VERSION": "1.10",
            "DEBUG": "true",
            "NOTHING": "",
            "HEX": "0x1F",
        },
        origins=dict.fromkeys(
            (
                "failure_mode",
                "max_parallel",
                "hooks.success",
                "hooks.failure",
                "hooks.timeout",
                "retry.limit",
                "retry.max_delay",
                "timeout",
                "stall_after",
                "stall_measure",
                "skip_on_failure",
                "priority",
                "working_dir",
                "shutdown.grace",
                "executor",
            ),
            "plan",
        ),
        hooks=Hooks(success='./say-ok "$PLANDECK_PLAN"', failure=("./page-me", "7"), timeout=60.0),
        directory="/plans",
        tasks=(
            Task(
                name="build",
                run="make build",
                retry=Retry(limit=1, max_delay=10.0),
                timeout=5400.0,
                stall_after=None,
                stall_measure=StallMeasure.ELAPSED,
                skip_on_failure=True,
                priority=60,
                working_dir="/plans/sub",
                shutdown=Shutdown(grace=1.0),
                line=18,
            ),
            Task(
                name="unit",
                run=("pytest", "-q", "5", "1.10", "true"),
                needs=(Need("build"),),
                retry=Retry(1, 0.1, 1.5, 10.0, 0.0, (75, -9)),
                timeout=None,
                stall_after=90.0,
                stall_measure=StallMeasure.SILENCE,
                skip_on_failure=False,
                priority=0,
                env={"A": "b"},
                working_dir="/tmp",
                shutdown=Shutdown(signal.SIGINT, 1.0),
                description="Runs the tests",
                line=20,
                given=(
                    "retry.delay",
                    "retry.backoff",
                    "retry.jitter",
                    "retry.exit_codes",
                    "timeout",
                    "stall_after",
                    "stall_measure",
                    "skip_on_failure",
                    "priority",
                    "working_dir",
                    "shutdown.signal",
                    "executor",
                ),
            ),
            Task(
                name="demo",
                simulate=Simulation(duration=120.0, fail_rate=1.0, output=0.5),
                needs=(Need("build", Condition.SUCCESS), Need("unit", Condition.FAILED)),
                retry=Retry(limit=1, max_delay=10.0),
                timeout=5400.0,
                stall_after=None,
                stall_measure=StallMeasure.ELAPSED,
                skip_on_failure=True,
                priority=60,
                working_dir="/plans/sub",
                shutdown=Shutdown(grace=1.0),
                line=34,
            ),
        ),
    )


def test_what_is_not_said_is_as_documented() -> None:
    plan = parse_plan(
        "tasks: {a: {run: 'true'}, b: {simulate: {}}}", source="nightly.yaml", directory="/plans"
    )
    assert plan == Plan(
        name="nightly",
        directory="/plans",
        tasks=(
            Task(name="a", run="true", working_dir="/plans", line=1),
            Task(name="b", simulate=Simulation(1.0, 0.0, 0.0), working_dir="/plans", line=1),
        ),
    )
    assert (plan.failure_mode, plan.max_parallel) == (FailureMode.FAIL_FAST, 4)
    task = plan.tasks[0]
    assert (task.priority, task.stall_after, task.timeout, task.retry.limit) == (50, 30.0, None, 0)
    assert task.shutdown == Shutdown(signal.SIGTERM, 10.0)


def test_a_plan_may_have_no_tasks() -> None:
    assert parse_plan("tasks: {}").tasks == ()


def test_a_number_of_retries_keeps_the_rest_of_the_default() -> None:
    plan = parse_plan("defaults: {retry: {delay: 1s}}\ntasks: {a: {run: x, retry: 2}, b: {run: x}}")
    assert [task.retry for task in plan.tasks] == [Retry(limit=2, delay=1.0), Retry(limit=0, delay=1.0)]


def test_the_nearer_level_decides_what_is_tolerated() -> None:
    tasks = "tasks: {a: {run: x}, b: {run: x, skip_on_failure: %s}}"
    plans = [
        f"skip_on_failure: true\n{tasks % 'false'}",
        f"skip_on_failure: true\ndefaults: {{skip_on_failure: false}}\n{tasks % 'true'}",
    ]
    assert [[task.skip_on_failure for task in parse_plan(text).tasks] for text in plans] == [
        [True, False],
        [False, True],
    ]


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "y", "N", "~x", "1_000", "12:30", "0o9", "1e", ".inf"]
)
def test_what_only_older_yaml_takes_for_something_else_is_text(word: str) -> None:
    assert parse_plan(f"goal: {word}\ntasks: {{{word}: {{run: {word}}}}}").tasks[0].run == word


@pytest.mark.parametrize("word", ["true", "True", "FALSE"])
def test_the_commands_true_and_false_need_no_quotes(word: str) -> None:
    assert parse_plan(f"tasks: {{a: {{run: {word}}}}}").tasks[0].run == word


@pytest.mark.parametrize(
    ("written", "number"), [("7", 7), ("+7", 7), ("007", 7), ("0x10", 16), ("0o10", 8), ("0x1f", 31)]
)
def test_whole_numbers(written: str, number: int) -> None:
    assert parse_plan(f"tasks: {{a: {{run: x, priority: {written}}}}}").tasks[0].priority == number


@pytest.mark.parametrize(
    ("written", "number"), [("1", 1), ("1.5", 1.5), ("2.", 2), ("15e-1", 1.5), (".2e1", 2)]
)
def test_numbers(written: str, number: float) -> None:
    retry = parse_plan(f"tasks: {{a: {{run: x, retry: {{limit: 1, backoff: {written}}}}}}}").tasks[0].retry
    assert retry.backoff == number


def test_a_number_longer_than_any_number_is_text() -> None:
    with pytest.raises(PlanInvalid, match="priority must be a whole number, not '9999"):
        parse_plan(f"tasks: {{a: {{run: x, priority: {'9' * 101}}}}}")


def test_numbers_are_names_where_names_are_wanted() -> None:
    plan = parse_plan(
        "tasks: {1.10: {run: x}, true: {run: x, needs: [1.10]}, 5: {run: x, needs: {true: failed}}}"
    )
    assert [task.name for task in plan.tasks] == ["1.10", "true", "5"]
    assert plan.tasks[1].needs == (Need("1.10"),)
    assert plan.tasks[2].needs == (Need("true", Condition.FAILED),)


def test_anchors_and_merge_keys() -> None:
    plan = parse_plan("""\
tasks:
  a: &a
    run: &run make all
    priority: 10
    env: &env {X: "1"}
  &b b: {<<: *a, priority: 20}
  c:
    run: *run
    <<: [{priority: 30}, *a]
    needs: [*b]
    env: {Y: "2", <<: *env}
  "<<": {run: !!str 5}
""")
    assert [(task.name, task.run, task.priority, task.env) for task in plan.tasks] == [
        ("a", "make all", 10, {"X": "1"}),
        ("b", "make all", 20, {"X": "1"}),
        ("c", "make all", 30, {"X": "1", "Y": "2"}),
        ("<<", "5", 50, None),
    ]
    assert plan.tasks[2].needs == (Need("b"),)


def test_a_fault_in_merged_values_is_told_where_they_stand() -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan("tasks:\n  a: &a {run: x, priority: -1}\n  b: {<<: *a}\n")
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [(2, 28), (2, 28)]


def test_json_is_yaml_enough() -> None:
    document = {
        "name": "\U0001f680 \\ud83d",
        "tasks": {"a/b".replace("/", ":"): {"run": ["x", "tab\t", "\u20ac", 'quote"']}, "b": {"run": "true"}},
    }
    for text in (
        json.dumps(document),
        json.dumps(document, indent="\t"),
        json.dumps(document, ensure_ascii=False),
    ):
        plan = parse_plan(text)
        assert plan.name == "\U0001f680 \\ud83d"
        assert plan.tasks[0].run == ("x", "tab\t", "\u20ac", 'quote"')
        assert plan.tasks[1].run == "true"


def test_json_with_a_mistake_has_places_too() -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan('{\n\t"tasks": {"a": {"run": "x", "retry": null}}\n}', source="f")
    assert str(caught.value) == "f:2:39: nothing stands here; give it a value or take the line out"


def test_values_that_are_none_are_as_good_as_absent() -> None:
    plan = parse_plan({"tasks": {"a": {"run": "x", "timeout": None, "retry": {"limit": 1, "delay": None}}}})
    assert plan.tasks[0].retry == Retry(limit=1)


# ── files ───────────────────────────────────────────────────────────────────────────────────────


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nightly.yaml").write_bytes(b"\xef\xbb\xbftasks:\r\n  a: {run: x}\r\n")
    monkeypatch.chdir(tmp_path)
    plan = load_plan("nightly.yaml")
    assert (plan.name, plan.source, plan.directory) == (
        "nightly",
        str(tmp_path / "nightly.yaml"),
        str(tmp_path),
    )
    assert (plan.tasks[0].line, plan.tasks[0].working_dir) == (2, str(tmp_path))


def test_a_file_whose_name_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[2J.yaml"
    path.write_text("tasks: {}")
    assert load_plan(path).name == "\\x1b[2J"
    path = tmp_path / " .yaml"
    path.write_text("tasks: {}")
    assert load_plan(path).name == "plan"


def refusal(path: Path | str) -> str:
    with pytest.raises(PlanInvalid) as caught:
        load_plan(path)
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == (str(path), 0)
    return fault.message


def test_standard_input_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanInvalid, match="a plan cannot come from standard input; write it to a file"):
        load_plan("-")
    (tmp_path / "-").write_text("tasks: {a: {run: 'true'}}")
    assert load_plan("-").tasks[0].name == "a"


def test_a_big_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.touch()
    os.truncate(path, 100 * 1024 * 1024)
    path.chmod(0o400)
    assert refusal(path) == "this is too big: a plan has at most 64 MiB"


def test_a_file_that_does_not_tell_its_size_is_read_no_further_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"#" * (LIMIT + 10))
    true_status = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        status = list(true_status(descriptor))
        status[6] = 0
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", growing)
    assert refusal(path) == "this is too big: a plan has at most 64 MiB"


def test_what_is_not_a_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "this is a directory, not a plan file"
    assert refusal(tmp_path / "missing") == "there is no such file"
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "plan.yaml") == "there is no such file"
    assert refusal(tmp_path / ("x" * 300)) == "the name is too long for a file"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refusal(tmp_path / "loop") == "Too many levels of symbolic links"
    os.mkfifo(tmp_path / "fifo")
    assert (
        refusal(tmp_path / "fifo") == "this is not a regular file; a plan is read as a whole before it runs"
    )
    assert refusal("/dev/null") == "this is not a regular file; a plan is read as a whole before it runs"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)  # the superuser may read everything
    assert refusal(tmp_path / "plan.yaml") == "permission denied"


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(PlanInvalid) as caught:
        load_plan("a\0b")
    assert str(caught.value) == "a\\x00b: a NUL character cannot stand in the name of a file"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool) -> None:
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        parse_plan("tasks: {}")
        assert gc.isenabled() is enabled
        with pytest.raises(PlanInvalid):
            parse_plan("")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
