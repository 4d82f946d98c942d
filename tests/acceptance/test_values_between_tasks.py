"""Params, outputs and variables on their way from task to task, through shells and the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.inputs import RetryFailed
from engine.core.state import Outcome, TaskState
from engine.host.kept import open_kept_run, reopen_run
from engine.plan.load import load_plan
from engine.session import Run
from engine.store.history import History

pytestmark = pytest.mark.anyio

PLAN = """\
failure_mode: continue_on_error
params: {version: "1.0", odd: {}}
env: {STAGE: "stage ${{ params.version }}"}
tasks:
  build:
    retry: {limit: 1, delay: 1ms, jitter: 0s}
    run: |
      echo "tag=attempt-$PLANDECK_ATTEMPT" >> "$PLANDECK_OUTPUT"
      printf 'odd<<END\\n%s\\nEND\\n' ${{ params.odd }} >> "$PLANDECK_OUTPUT"
      test "$PLANDECK_ATTEMPT" = 2
  unit:
    needs: [build]
    matrix: {n: [1, 2]}
    run: echo "n=${{ matrix.n }}" >> "$PLANDECK_OUTPUT"
  show:
    needs: [unit]
    run: |
      cat <<EOF > ${{ env.SHOWN }}
      ${{ params.version }} $STAGE ${{ tasks.build.outputs.tag }}
      EOF
      printf '<%s>' '${{ tasks.build.outputs.odd }}' "${{ tasks.unit[2].outputs.n }}" >> "$SHOWN"
      test -e ready
  missing:
    needs: [build]
    retry: 5
    run: echo ${{ tasks.build.outputs.nothing }}
"""
ODD = 'it\'s "$(touch CODE)"; `touch CODE`\n-n * \\ ${HOME} \u00e6'


async def test_values_arrive_and_outlive_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: object
) -> None:
    path, shown, state = tmp_path / "plan.yaml", tmp_path / "shown in here", tmp_path / "state"
    path.write_text(PLAN)
    monkeypatch.setenv("SHOWN", str(shown))
    plan = load_plan(path, params={"version": "2.0", "odd": ODD})

    async with open_kept_run(plan, state=state) as kept:
        result = await kept.run.wait()
        run_id = kept.run.run_id
        assert result.outcome is Outcome.FAILED
        assert tasks(kept.run)["missing"] == (
            TaskState.FAILED,
            ["'build' has left no output 'nothing'"],
            None,
        )
        build = tasks(kept.run)["build"]
        assert build == (TaskState.SUCCESS, ["exit 1", None], {"tag": "attempt-2", "odd": ODD})
        assert tasks(kept.run)["show"][:2] == (TaskState.FAILED, ["exit 1"])
    assert shown.read_text() == f"2.0 stage 2.0 attempt-2\n<{ODD}><2>"

    shown.unlink()
    path.unlink()  # the plan as it was is kept with the run
    (tmp_path / "ready").touch()
    async with reopen_run(run_id, state=state) as kept:
        assert tasks(kept.run)["build"] == build
        await kept.run.send(RetryFailed())
        await kept.run.wait()
        assert tasks(kept.run)["show"][0] is TaskState.SUCCESS
    assert shown.read_text() == f"2.0 stage 2.0 attempt-2\n<{ODD}><2>"
    assert not (tmp_path / "CODE").exists()
    with History(state) as history:
        assert history.plan(run_id).params == {"version": "2.0", "odd": ODD}


async def test_a_variables_value_is_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: object
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "env: {A: 'a ${{ env.PASSWORD }}'}\n"
        "tasks: {x: {run: 'test ${{ env.PASSWORD }} = \"$B\"', env: {B: '${{ env.PASSWORD }}'}}}"
    )
    monkeypatch.setenv("PASSWORD", "correct horse battery")
    async with open_kept_run(load_plan(path), state=tmp_path / "state") as kept:
        assert (await kept.run.wait()).outcome is Outcome.SUCCESS
    kept_files = [file for file in (tmp_path / "state").rglob("*") if file.is_file()]
    assert kept_files
    assert not [file for file in kept_files if b"horse" in file.read_bytes()]


async def test_a_variable_that_is_not_set_fails_every_task_that_has_it(
    tmp_path: Path, anyio_backend: object
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("env: {A: '${{ env.NOWHERE }}'}\ntasks: {x: {run: touch x}}")
    async with open_kept_run(load_plan(path), state=tmp_path / "state") as kept:
        await kept.run.wait()
        assert tasks(kept.run)["x"][1] == ["${{ env.NOWHERE }}: variable 'NOWHERE' is not set"]
    assert not (tmp_path / "x").exists()


def tasks(run: Run) -> dict[str, tuple[TaskState, list[str | None], dict[str, str] | None]]:
    """By name: the state, the error of each attempt, the outputs."""
    return {
        task.name: (kept.state, [record.error for record in kept.attempts], kept.outputs)
        for task, kept in zip(run.plan.tasks, run.snapshot().tasks, strict=True)
    }
