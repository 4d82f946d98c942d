"""`FindBar`: one row to type what is sought, in the place of the footer."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class FindBar(Input):
    """Posts `Left` with the text on Enter, with None on Escape."""

    DEFAULT_CSS = """
    FindBar, FindBar:focus { height: 1; border: none; padding: 0 1; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", show=False)]

    class Left(Message):
        """The bar is done with. text: what is sought; None if it was given up."""

        def __init__(self, text: str | None) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(
            placeholder="find: words of a name, or a state. Enter keeps it, Esc leaves it", compact=True
        )

    def on_mount(self) -> None:
        self.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Left(event.value.strip()))

    def action_leave(self) -> None:
        self.post_message(self.Left(None))
