"""`Steering`: carries wishes out. It asks what must be asked, sends commands, and says what was refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from textual.message import Message
from textual.screen import Screen

from engine.core.inputs import Command
from engine.errors import PlandeckError
from engine.handle import RunHandle
from engine.plan.model import FailureMode
from engine.view.text import one_line
from tui import commands
from tui.commands import Wish
from tui.feed import Feed


class Steering:
    """screen: over which dialogs open, and which is told by `Sent`. Dialogs are loaded when first used:
    a run that goes well needs none."""

    class Sent(Message):
        """Commands are on their way."""

    def __init__(self, screen: Screen[Any], run: RunHandle, feed: Feed) -> None:
        self._screen = screen
        self._run = run
        self._feed = feed
        self._asked_slots: int | None = None
        """What the slots will be once the run has heard of it: keys come faster than its answers."""

    def change_slots(self, by: int) -> None:
        """More or fewer at once, counted from what was asked for last."""
        slots = self._feed.view.max_parallel
        if self._asked_slots == slots:
            self._asked_slots = None
        wish = commands.slots((self._asked_slots or slots) + by)
        if wish.commands:
            self._asked_slots = (self._asked_slots or slots) + by
        self.grant(lambda: wish)

    def grant(self, make: Callable[[], Wish]) -> None:
        """Do what is wished for, after the question that belongs to it. make: the wish as the run stands
        when it is called: while the question stands the run goes on."""
        if not self._may_steer():
            return
        wish = make()
        if wish.refusal:
            self.say(wish.refusal)
        elif wish.question is None:
            self.send(wish.commands)
        else:
            from tui.screens.dialogs import confirm

            def answered(answer: str | None) -> None:
                now = make()
                if now.refusal:
                    self.say(now.refusal)
                elif answer is not None:
                    self.send(now.commands)

            self._open(confirm(wish.question, lambda: make().question), answered)

    def choose_mode(self) -> None:
        """Ask for a failure mode, and set it."""
        if not self._may_steer():
            return
        from tui.screens.dialogs import ask_failure_mode

        def chosen(mode: str | None) -> None:
            if mode is not None:
                self.grant(lambda: commands.failure_mode(self._feed.view, FailureMode(mode)))

        self._open(ask_failure_mode(self._feed), chosen)

    def settle(self, tasks: Sequence[int]) -> None:
        """Ask whether the tasks are to be skipped or marked succeeded, and do that."""
        view = self._feed.view
        offers = commands.settlements(view, tasks)
        if not offers:
            self.grant(lambda: commands.skip(view, tasks))  # says why not
            return
        if not self._may_steer():
            return
        from tui.screens.dialogs import ask_reason, ask_settlement

        name = commands.names(view, tasks)

        def reasoned(reason: str | None) -> None:
            if reason is not None:
                self.grant(lambda: commands.mark_succeeded(self._feed.view, tasks, reason))

        def chosen(what: str | None) -> None:
            if what == "skip":
                self.grant(lambda: commands.skip(self._feed.view, tasks))
            elif what == "mark":
                self._open(ask_reason(f"Mark {name} succeeded"), reasoned)

        title = f"Settle {name} without running it?"
        self._open(
            ask_settlement(title, offers, lambda: commands.settlements(self._feed.view, tasks)), chosen
        )

    def send(self, wanted: Sequence[Command]) -> None:
        """Send commands, in their order. A refusal is said, not raised."""
        if wanted:
            self._screen.post_message(self.Sent())
            self._screen.run_worker(self._send(wanted), group="commands")

    async def _send(self, wanted: Sequence[Command]) -> None:
        refusals: list[str] = []
        for command in wanted:
            try:
                await self._run.send(command)
            except PlandeckError as refusal:
                refusals.append(str(refusal))
        if refusals:
            self._asked_slots = None
            more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
            self.say(f"Refused: {one_line(refusals[0])}{more}")

    def say(self, words: str) -> None:
        """Tell the operator, without asking for an answer."""
        self._screen.notify(words, severity="warning", markup=False, timeout=4)

    def _may_steer(self) -> bool:
        if self._run.playback is not None:
            self.say("This is a replay: it can be watched, not steered.")
        elif self._run.read_only:
            self.say("This console is read-only.")
        return not self._run.read_only

    def _open(self, dialog: Screen[str | None], answered: Callable[[str | None], None]) -> None:
        self._screen.app.clear_notifications()  # they would lie over it
        self._screen.app.push_screen(dialog, answered)
