"""Ids that other programs compute too must not change."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ground.identity import NAMESPACE, new_run_id, task_id


def test_a_task_id_is_what_the_specification_says() -> None:
    """The check value of SPEC 2: other programs derive the same id from the run, the type and the index."""
    assert task_id("test-plan-retry", "configure-genesis", 0) == "52870ba7-7f29-5143-8fa9-c17316f83728"


@given(st.text(), st.text(), st.integers())
def test_a_task_id_is_a_uuid_of_version_5(run_id: str, task_type: str, index: int) -> None:
    assert task_id(run_id, task_type, index) == str(uuid.uuid5(NAMESPACE, f"{run_id}/{task_type}/{index}"))


@pytest.mark.parametrize(
    "other",
    [("run-2", "run", 0), ("run-1", "simulate", 0), ("run-1", "run", 1)],
    ids=["another run", "another type", "another place"],
)
def test_a_task_id_is_stable_and_nobody_elses(other: tuple[str, str, int]) -> None:
    assert task_id("run-1", "run", 0) == task_id("run-1", "run", 0)
    assert task_id("run-1", "run", 0) != task_id(*other)


def test_a_run_id_is_a_new_random_uuid() -> None:
    first, second = new_run_id(), new_run_id()
    assert first != second
    assert uuid.UUID(first).version == 4
