"""What a shell is told when Tab is pressed after a command that takes a run, or a task of one."""

from __future__ import annotations

import pytest
from click.shell_completion import BashComplete

from engine.ground.folders import database_path, state_directory
from tests.support.journals import broken_diamond, diamond, write_run
from tui.cli.main import cli


def offered(words: str, begun: str = "") -> list[str]:
    shell = BashComplete(cli, {}, "plandeck", "_PLANDECK_COMPLETE")
    return [item.value for item in shell.get_completions(words.split(), begun)]


@pytest.mark.parametrize("command", ["show", "logs", "attach", "replay", "resume", "retry", "cancel"])
def test_runs_are_offered_the_newest_first(command: str) -> None:
    write_run(state_directory(), diamond("3f2a0000-1"))
    write_run(state_directory(), broken_diamond("77aa0000-2"))
    assert offered(command) == ["77aa0000", "3f2a0000", "last"]
    assert offered(command, "3") == ["3f2a0000"]


def test_tasks_of_the_run_are_offered() -> None:
    write_run(state_directory(), diamond("3f2a0000-1"))
    assert offered("logs 3f2a") == ["A", "B", "C", "D"]
    assert offered("retry last", "B") == ["B"]


def test_where_there_is_nothing_to_offer_nothing_is_said() -> None:
    assert offered("show") == []
    assert offered("logs 3f2a") == []
    database_path(state_directory()).parent.mkdir(parents=True)
    database_path(state_directory()).write_text("no database")
    assert offered("show") == []
    assert offered("logs 3f2a") == []
