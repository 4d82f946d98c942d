"""The log of plandeck itself: structured, in the folder of its run, never on the screen."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from engine.core.state import RunPhase
from engine.logs.program import NAME, SIZE, program_log
from engine.plan.graph import Graph
from engine.plan.model import Plan, Task
from engine.secrets import Mask
from tests.support.events import EventFactory

GRAPH = Graph(Plan(name="p", tasks=(Task(name="a", run="true"), Task(name="b", run="true"))))

logger = logging.getLogger("engine.test")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def messages(folder: Path) -> list[str]:
    return [line["message"] for line in lines(folder)]


def test_a_line_is_an_object(tmp_path: Path) -> None:
    with program_log(tmp_path / "run", "r1"):
        logger.warning("%s is %s", "disk", "full", extra={"fields": {"path": Path("/x")}})
    begin, line = lines(tmp_path / "run")
    assert begin["fields"]["run_id"] == "r1"
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning", "logger": "engine.test", "message": "disk is full", "fields": {"path": "/x"},
    }  # fmt: skip


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    with program_log(tmp_path / "run", "r1"):
        pass
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / NAME).stat().st_mode & 0o777 == 0o600


def test_a_defect_is_told_with_its_traceback(tmp_path: Path) -> None:
    with program_log(tmp_path, "r1"):
        try:
            raise ValueError("no")
        except ValueError:
            logger.exception("a defect")
    assert "ValueError: no" in lines(tmp_path)[-1]["traceback"]


def test_events_that_say_that_all_is_well_are_for_those_who_ask(tmp_path: Path) -> None:
    make = EventFactory(GRAPH)
    events = [make.started("a"), make.completed("a"), make.failed("b", error="exit 1")]
    for verbose in (False, True):
        with program_log(tmp_path / str(verbose), "r1", verbose=verbose) as tell:
            tell(events)
            logger.debug("a detail")
    assert messages(tmp_path / "False")[1:] == ["TASK_FAILED"]
    assert messages(tmp_path / "True")[1:] == ["TASK_STARTED", "TASK_COMPLETED", "TASK_FAILED", "a detail"]
    failed = lines(tmp_path / "False")[-1]
    assert (failed["level"], failed["fields"]["task"], failed["fields"]["error"]) == (
        "warning",
        "b",
        "exit 1",
    )


def test_secrets_are_masked(tmp_path: Path) -> None:
    with program_log(tmp_path, "r1", mask=Mask(["hunter22"])):
        logger.info("login with %s", "hunter22", extra={"fields": {"env": "TOKEN=hunter22"}})
    text = (tmp_path / NAME).read_text()
    assert "hunter22" not in text
    assert text.count("***") == 2


def test_each_run_of_a_process_has_its_own(tmp_path: Path) -> None:
    async def live(name: str, other: asyncio.Event, mine: asyncio.Event) -> None:
        with program_log(tmp_path / name, name):
            mine.set()
            await other.wait()
            logger.info("of %s", name)

    async def both() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        await asyncio.gather(live("one", two, one), live("two", one, two))

    asyncio.run(both())
    assert messages(tmp_path / "one")[1:] == ["of one"]
    assert messages(tmp_path / "two")[1:] == ["of two"]


def test_afterwards_logging_is_as_it_was(tmp_path: Path) -> None:
    root, engine = logging.getLogger(), logging.getLogger("engine")
    before = root.handlers[:], root.level, engine.level
    with program_log(tmp_path, "r1", verbose=True):
        assert (root.level, engine.level) == (logging.DEBUG, logging.DEBUG)
    assert (root.handlers, root.level, engine.level) == before


def test_nothing_reaches_the_screen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with program_log(tmp_path, "r1"):
        logger.error("a fault")
        logging.getLogger("asyncio").error("another")
    assert capfd.readouterr() == ("", "")
    assert messages(tmp_path)[1:] == ["a fault", "another"]


def test_a_folder_that_cannot_be_written_costs_the_log_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with program_log(tmp_path / "file" / "run", "r1") as tell:
        logger.error("a fault")
        tell([])
    (tmp_path / "run" / NAME).mkdir(parents=True)
    with program_log(tmp_path / "run", "r1"):
        logger.error("a fault")
    assert capfd.readouterr() == ("", "")


def test_a_file_that_takes_no_more_costs_the_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_: writer)
        with program_log(tmp_path, "r1"):
            logger.warning("nobody reads this")
    assert not (tmp_path / NAME).exists()


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    with program_log(tmp_path, "r1"):
        for _ in range(25):
            logger.info("x" * (SIZE // 10))
    assert {path.name for path in tmp_path.iterdir()} == {NAME, f"{NAME}.1"}
    assert all(path.stat().st_size <= SIZE for path in tmp_path.iterdir())


def test_what_happens_to_the_plan_is_told(tmp_path: Path) -> None:
    make = EventFactory(GRAPH)
    with program_log(tmp_path, "r1") as tell:
        tell([make.plan_started()])
    assert lines(tmp_path)[-1]["fields"]["phase"] == RunPhase.RUNNING
