"""How a user wants the console: from the file to the console that opens."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from engine.core.inputs import PausePlan
from engine.settings.reader import settings_path
from tests.support.console import console
from tests.support.run import FakeRun, plan_of
from tui.preferences import Preferences, read_preferences, users_preferences
from tui.present import LIGHT


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    run = FakeRun(plan_of({"build": ""}), directory=tmp_path)
    run.start("build")
    return run


def written(text: str) -> Preferences:
    settings_path().parent.mkdir(parents=True, exist_ok=True)
    settings_path().write_text(text)
    return users_preferences()


@pytest.mark.anyio
async def test_the_console_is_as_it_was_asked_to_be(run: FakeRun) -> None:
    preferences = written(
        '[console]\ntheme = "plandeck-light"\nascii = true\nmouse = false\n[keys]\n"plan.pause" = "Ctrl+Y"\n'
    )
    async with console(run, ascii_only=None, preferences=preferences) as c:
        assert c.app.current_theme.name == LIGHT.name
        assert c.app.look.plain
        assert "Ctrl+Y pause" in c.text()
        await c.press("p")
        assert run.commands == []
        await c.press("ctrl+y")
        assert await run.sent() == [PausePlan()]
        await c.press("question_mark")
        assert "Ctrl+Y" in c.text()
        await c.press("escape", "colon")
        assert "Start nothing new, or go on  (Ctrl+Y)" in c.text()


@pytest.mark.anyio
async def test_a_binding_can_have_no_key(run: FakeRun) -> None:
    async with console(run, preferences=written('[keys]\n"plan.pause" = []\n')) as c:
        await c.press("p")
        assert run.commands == []
        assert c.messages == []
        assert " pause" not in c.text().splitlines()[-1]


@pytest.mark.anyio
async def test_what_was_set_in_vain_is_said_here_and_there(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    preferences = written('[console]\ntheme = "plandeck-lite"\n[keys]\ntask.retyr = "t"\n')
    said = capsys.readouterr().err
    assert f"{settings_path()}:2:1: there is no theme 'plandeck-lite', did you mean 'plandeck-light'?" in said
    assert f"{settings_path()}:4:1: there is no binding 'task.retyr', did you mean 'task.retry'?" in said
    async with console(run, preferences=preferences) as c:
        [message] = c.messages
        assert message.startswith("config.toml:2: there is no theme")
        assert message.endswith("(and 1 more)")


def test_a_file_that_cannot_be_read_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.exceptions.Exit) as ended:
        written("[consol]\n")
    assert ended.value.exit_code == 2
    assert f"plandeck: {settings_path()}:1:2: unknown section 'consol'" in capsys.readouterr().err


def test_a_theme_that_resembles_none_is_answered_with_all_there_are() -> None:
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text('[console]\ntheme = "?"\n')
    [fault] = read_preferences().faults
    assert "plandeck-dark, plandeck-light" in fault.message
