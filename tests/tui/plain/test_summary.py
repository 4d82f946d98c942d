"""The closing summary: counts first, failures last, each with its cause and its last lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.records import AttemptRecord, Snapshot, TaskSnapshot
from engine.core.state import Outcome, RunPhase, TaskState
from engine.logs.attempt import LAST_LINES, last_lines
from engine.plan.graph import Graph
from engine.plan.model import FailureMode, Plan, Simulation, Task
from engine.result import PlanResult
from engine.view.run_view import RunView
from tui.plain.report import Style
from tui.plain.summary import SHOWN_FAILURES, SHOWN_OTHERS, summary

RUN_ID = "3f2a91bc-0000-4000-8000-000000000000"
AGAIN = ["plandeck", "run", "my plan.yaml"]


def ended(state: TaskState, error: str | None = None, **fields: object) -> TaskSnapshot:
    attempts = (AttemptRecord(1, 0.0, 1.0, error=error),) if error or state is TaskState.SUCCESS else ()
    return TaskSnapshot(state=state, attempts=attempts, **fields)  # type: ignore[arg-type]


def text_of(
    tmp_path: Path,
    outcome: Outcome,
    *tasks: TaskSnapshot,
    style: Style | None = None,
    diagnosis: str | None = None,
) -> str:
    plan = Plan(
        name="release",
        tasks=tuple(Task(name=f"task-{index}", simulate=Simulation()) for index in range(len(tasks))),
    )
    snapshot = Snapshot(
        run_id=RUN_ID,
        seq=9,
        offset=12.0,
        began=0.0,
        phase=RunPhase.COMPLETE,
        outcome=outcome,
        failure_mode=FailureMode.CONTINUE_ON_ERROR,
        max_parallel=4,
        tasks=tasks,
    )
    view = RunView.from_snapshot(Graph(plan), snapshot)
    count = view.counts
    result = PlanResult(
        run_id=RUN_ID,
        plan="release",
        outcome=outcome,
        duration=12.0,
        success=count[TaskState.SUCCESS],
        failed=count[TaskState.FAILED],
        skipped=count[TaskState.SKIPPED],
        cancelled=count[TaskState.CANCELLED],
        retried=1,
        diagnosis=diagnosis,
    )
    return summary(
        result,
        view,
        lambda index, attempt: tmp_path / f"{index}.{attempt}",
        lambda index: f"last words of {index}\x1b[2J",
        AGAIN,
        style or Style(),
    )


def test_success_is_two_lines(tmp_path: Path) -> None:
    text = text_of(tmp_path, Outcome.SUCCESS, ended(TaskState.SUCCESS), ended(TaskState.SUCCESS))
    assert text == f"\n✔ release succeeded after 12s\n  2 success; 1 retried; run {RUN_ID}\n"


def test_the_last_line_is_told_where_no_log_could_be_kept(tmp_path: Path) -> None:
    failed = ended(TaskState.FAILED, "exit 1")
    (tmp_path / "1.1").write_text("kept\n")
    text = text_of(tmp_path, Outcome.FAILED, failed, failed)
    assert "✖ task-0 failed: exit 1\n    │ last words of 0\n\n" in text
    assert f"    │ kept\n    whole log: {tmp_path / '1.1'}\n" in text


def test_success_with_tolerated_failures_says_so(tmp_path: Path) -> None:
    tolerated = ended(TaskState.SKIPPED, "exit 1", tolerated=True, reason="tolerated")
    text = text_of(tmp_path, Outcome.SUCCESS, ended(TaskState.SUCCESS), tolerated)
    assert "succeeded after 12s, with 1 tolerated failure\n" in text
    assert "tolerated task-1: exit 1\n" in text


def test_failures_come_last_with_cause_last_lines_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "0.1").write_bytes(b"".join(b"line %d\n" % number for number in range(20)))
    text = text_of(
        tmp_path,
        Outcome.FAILED,
        ended(TaskState.FAILED, "exit 2"),
        ended(TaskState.SKIPPED, reason="task-0 failed"),
        ended(TaskState.CANCELLED, reason="cancelled by operator"),
    )
    assert text.splitlines()[1:] == [
        "✖ release failed after 12s",
        f"  1 failed, 1 skipped, 1 cancelled; 1 retried; run {RUN_ID}",
        "  ⊘ skipped   task-1: task-0 failed",
        "  ■ cancelled task-2: cancelled by operator",
        "",
        "✖ task-0 failed: exit 2",
        *(f"    │ line {number}" for number in range(20 - LAST_LINES, 20)),
        f"    whole log: {tmp_path / '0.1'}",
        "",
        "To run what failed again: plandeck retry 3f2a91bc",
        "To run it again: plandeck run 'my plan.yaml'",
    ]


def test_many_are_counted_rather_than_listed(tmp_path: Path) -> None:
    failed = [ended(TaskState.FAILED, "exit 1")] * (SHOWN_FAILURES + 3)
    skipped = [ended(TaskState.SKIPPED, reason="no")] * (SHOWN_OTHERS + 2)
    text = text_of(tmp_path, Outcome.FAILED, *failed, *skipped)
    assert text.count(" failed: exit 1\n") == SHOWN_FAILURES
    assert "\nand 3 more failures\n" in text
    assert "\n  and 2 more skipped\n" in text


@pytest.mark.parametrize(
    ("outcome", "words"),
    [(Outcome.CANCELLED, "was cancelled after"), (Outcome.INTERRUPTED, "was interrupted after")],
)
def test_stopped_run_says_how(tmp_path: Path, outcome: Outcome, words: str) -> None:
    assert words in text_of(tmp_path, outcome, ended(TaskState.CANCELLED, reason="cancelled"))


def test_diagnosis_of_a_defect_is_shown(tmp_path: Path) -> None:
    text = text_of(tmp_path, Outcome.FAILED, ended(TaskState.CANCELLED), diagnosis="nothing could run")
    assert "The engine could not go on: nothing could run\n" in text


def test_ascii_and_colour(tmp_path: Path) -> None:
    (tmp_path / "0.1").write_bytes(b"boom\n")
    failed = ended(TaskState.FAILED, "exit 1")
    assert text_of(tmp_path, Outcome.FAILED, failed, style=Style(ascii=True)).isascii()
    assert "\x1b[" in text_of(tmp_path, Outcome.FAILED, failed, style=Style(colour=True))
    assert "\x1b" not in text_of(tmp_path, Outcome.FAILED, failed)


def test_last_lines_obey_no_control_sequence_and_no_markup(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\x1b]0;title\x07\x1b[2J[red]text[/red]\n\xff\x00bytes\n10%\r50%\r100%\r\n\n  \nlast")
    assert last_lines(log) == ["[red]text[/red]", "�bytes", "100%", "last"]


def test_last_lines_of_a_huge_line_are_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1_000_000)
    (line,) = last_lines(log)
    assert len(line) == 200


def test_no_log_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "missing") == []
