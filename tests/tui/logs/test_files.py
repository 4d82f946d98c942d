"""The log is saved where the operator says, and nothing is overwritten unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.console import console
from tests.support.run import FakeRun, plan_of

pytestmark = pytest.mark.anyio

RAW = b"\x1b[31mred\x1b[0m\r\n\xff\0 no end"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.chdir(tmp_path)
    run = FakeRun(plan_of({"unit/../test": ""}), directory=tmp_path / "logs")
    run.start("unit/../test")
    run.write_log("unit/../test", RAW)
    return run


async def test_byte_for_byte_under_the_name_of_the_task(run: FakeRun, tmp_path: Path) -> None:
    saved = tmp_path / "unit-..-test-1.log"
    async with console(run) as c:
        await c.press("3", "W", "enter")
        await c.until(lambda: bool(c.messages))
        assert c.messages == [f"Saved {len(RAW)} bytes in {saved.name}."]
    assert saved.read_bytes() == RAW
    assert saved.stat().st_mode & 0o777 == 0o600


async def test_what_is_there_is_overwritten_only_when_that_is_said(run: FakeRun, tmp_path: Path) -> None:
    saved = tmp_path / "unit-..-test-1.log"
    saved.write_text("precious")
    async with console(run) as c:
        await c.press("3", "W", "enter")
        assert "is there already" in c.text()
        await c.press("enter")  # the safe answer is lit
        assert saved.read_text() == "precious"
        await c.press("W", "enter", "y")
        await c.until(lambda: bool(c.messages))
    assert saved.read_bytes() == RAW


async def test_a_place_that_cannot_be_written_is_told(run: FakeRun) -> None:
    async with console(run) as c:
        await c.press("3", "W", "home", *"nowhere/", "enter")
        await c.until(lambda: bool(c.messages))
        assert c.messages == ["Not saved: nowhere/unit-..-test-1.log: No such file or directory"]
