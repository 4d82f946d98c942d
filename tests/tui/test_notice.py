"""What rings, when, and what the terminal is sent for a notification of the desktop."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from engine.core.state import Outcome
from engine.settings.model import ConsoleSettings, When
from tests.support.console import Console, console
from tests.support.run import FakeRun, plan_of
from tui.notice import desktop_notification
from tui.preferences import Preferences


@pytest.mark.parametrize(
    ("environment", "sequence"),
    [
        ({"TERM": "xterm-256color"}, "\x1b]9;a, b\x07"),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, "\x1b]99;;a, b\x1b\\"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7200"}, "\x1b]777;notify;plandeck;a, b\x1b\\"),
        ({"TERM": "foot"}, "\x1b]777;notify;plandeck;a, b\x1b\\"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux,1,0"}, "\x1bPtmux;\x1b\x1b]9;a, b\x07\x1b\\"),
        (
            {"TERM": "screen", "STY": "1.pts", "VTE_VERSION": "1"},
            "\x1bP\x1b]777;notify;plandeck;a, b\x07\x1b\\",
        ),
        ({"TERM": "linux"}, ""),
        ({}, ""),
    ],
)
def test_a_notification_in_the_words_of_the_terminal(environment: dict[str, str], sequence: str) -> None:
    assert desktop_notification("a;\x1b\x07 b", environment) == sequence


class Heard:
    """What a console sent to its terminal besides frames."""

    def __init__(self, opened: Console, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bells = 0
        self.notifications: list[str] = []
        monkeypatch.setenv("TERM", "xterm")
        for variable in ("TMUX", "STY", "VTE_VERSION", "KITTY_WINDOW_ID", "TERM_PROGRAM"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(opened.app, "bell", self._ring)
        monkeypatch.setattr(opened.app._driver, "write", self._write)

    def _ring(self) -> None:
        self.bells += 1

    def _write(self, data: str) -> None:
        if data.startswith("\x1b]9;"):
            self.notifications.append(data[4:-1])


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    run = FakeRun(plan_of({"build": "", "lint": ""}), directory=tmp_path)
    run.start("build", "lint")
    return run


def wanting(bell: When, notifications: When) -> Preferences:
    return Preferences(ConsoleSettings(bell=bell, notifications=notifications))


@pytest.mark.anyio
async def test_each_thing_that_needs_a_person_rings_once(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(run, preferences=wanting("always", "always")) as c:
        heard = Heard(c, monkeypatch)
        await c.settle()
        assert heard.bells == 0
        run.push(run.make.stalled("build", 31.0))
        await c.settle()
        await c.settle()
        run.push(run.make.failed("lint"))
        await c.settle()
        run.push(run.make.completed("build"), run.make.plan_completed(Outcome.FAILED))
        await c.settle()
        await c.settle()
        assert heard.notifications == [
            "release: build shows no sign of life",
            "release: lint failed",
            "release failed",
        ]
        assert heard.bells == 3


@pytest.mark.anyio
async def test_what_was_so_when_the_console_opened_is_no_news(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.push(run.make.failed("lint"), run.make.stalled("build", 31.0))
    async with console(run, preferences=wanting("always", "always")) as c:
        heard = Heard(c, monkeypatch)
        run.offset += 5
        await c.settle()
        assert (heard.bells, heard.notifications) == (0, [])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("when", "in_doubt", "seen", "unseen"), [("never", 0, 0, 0), ("away", 1, 0, 1), ("always", 1, 1, 1)]
)
async def test_it_rings_when_the_user_wants_it(
    when: When, in_doubt: int, seen: int, unseen: int, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(run, preferences=wanting(when, "never")) as c:
        heard = Heard(c, monkeypatch)
        rings: list[int] = []
        for focus in (None, events.AppFocus(), events.AppBlur()):
            if focus is not None:
                c.app.post_message(focus)
                await c.handled()
            heard.bells = 0
            run.push(run.make.stalled("build", 31.0))
            await c.settle()
            run.push(run.make.stall_cleared("build"))
            await c.settle()
            rings.append(heard.bells)
        assert rings == [in_doubt, seen, unseen]
        assert heard.notifications == []
