"""Keys that arrive together: each finds the focus where the one before it has put it."""

from __future__ import annotations

from typing import ClassVar

import pytest
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input

from tui.terminal import type_ahead
from tui.terminal.type_ahead import OneKeyAtATime

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Question(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer", "yes")]

    def action_answer(self) -> None:
        self.app.note("yes")  # type: ignore[attr-defined]
        self.dismiss()


class Pane(Widget, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [("g", "go", "go"), ("k", "leave", "leave")]

    def action_go(self) -> None:
        self.app.note("pane g")  # type: ignore[attr-defined]

    def action_leave(self) -> None:
        self.remove()

    def on_key(self, event: events.Key) -> None:
        if event.key == "s":
            event.stop()
            self.app.note("stopped s")  # type: ignore[attr-defined]


class Typed(OneKeyAtATime[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        ("slash", "find", "find"),
        ("q", "ask", "ask"),
        ("y", "note('app y')", "y"),
        ("r", "note('app r')", "r"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def compose(self) -> ComposeResult:
        yield Pane()
        yield Input()

    def on_mount(self) -> None:
        self.query_one(Pane).focus()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def action_note(self, text: str) -> None:
        self.note(text)

    def action_find(self) -> None:
        self.query_one(Input).focus()

    def action_ask(self) -> None:
        self.push_screen(Question())

    def type(self, *keys: str) -> None:
        """All at once, as a packet brings them."""
        for key in keys:
            self.post_message(events.Key("slash" if key == "/" else key, key))


async def test_what_follows_the_key_that_opens_a_text_field_goes_into_it() -> None:
    app = Typed()
    async with app.run_test() as pilot:
        app.type(*"/retry")
        await pilot.pause()
        await pilot.pause()
        assert app.query_one(Input).value == "retry"
        assert app.notes == []


async def test_what_follows_the_key_that_opens_a_question_answers_it() -> None:
    app = Typed()
    async with app.run_test() as pilot:
        app.type("q", "y", "y", "g")
        await pilot.pause()
        await pilot.pause()
        assert app.notes == ["yes", "app y", "pane g"]


async def test_a_key_that_a_widget_keeps_to_itself_holds_nothing_up() -> None:
    app = Typed()
    async with app.run_test() as pilot:
        app.type(*"srsg")
        await pilot.pause()
        await pilot.pause()
        assert app.notes == ["stopped s", "app r", "stopped s", "pane g"]


async def test_a_key_whose_widget_goes_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_ahead, "LONGEST", 0.0)
    app = Typed()
    async with app.run_test() as pilot:
        app.type("k")
        await pilot.pause()
        app.type("r")
        await pilot.pause()
        assert app.query_one(Input).value == "r"  # which has the focus now


async def test_the_order_is_kept() -> None:
    app = Typed()
    async with app.run_test() as pilot:
        app.type("r", "g", "y", "r", *"/abc")
        await pilot.pause()
        await pilot.pause()
        assert app.notes == ["app r", "pane g", "app y", "app r"]
        assert app.query_one(Input).value == "abc"


def test_the_follower_goes_all_the_way() -> None:
    assert type_ahead.KeyFollower.bubble
    assert issubclass(type_ahead.KeyFollower, Message)
