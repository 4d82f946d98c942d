"""`Steering`: carries wishes out. It asks what must be asked, sends commands, and says what was refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from textual.message import Message
from textual.screen import Screen

from engine.core.inputs import Command
from engine.errors import PlandeckError
from engine.ground.text import one_line
from engine.handle import RunHandle
from engine.plan.model import FailureMode
from engine.view.scope_view import ScopeView
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
        self._asked_slots: dict[int, int] = {}
        """By scope what the slots will be once the run has heard of it: keys come faster than its answers."""

    def change_slots(self, by: int, scope: int = commands.THE_RUN) -> None:
        """More or fewer at once, counted from what was asked for last."""
        slots = self._feed.view.scopes.all[scope].max_parallel
        if self._asked_slots.get(scope) == slots:
            del self._asked_slots[scope]
        wanted = self._asked_slots.get(scope, slots) + by
        wish = commands.slots(wanted, scope)
        if wish.commands:
            self._asked_slots[scope] = wanted
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

    def choose_mode(self, tasks: Sequence[int]) -> None:
        """Ask for a failure mode, of the run or of a subplan around the tasks, and set it."""
        if self._may_steer():
            around = commands.subplans_around(self._feed.view, tasks)
            self._choose_scope("Whose failure mode?", around, self._ask_mode)

    def _ask_mode(self, scope: int) -> None:
        from tui.screens.dialogs import ask_failure_mode

        def chosen(mode: str | None) -> None:
            if mode is not None:
                self.grant(lambda: commands.failure_mode(self._feed.view, FailureMode(mode), scope))

        self._open(ask_failure_mode(self._feed, scope), chosen)

    def pause(self, tasks: Sequence[int]) -> None:
        """Pause the run or a subplan around the tasks, or let it go on."""
        if self._may_steer():
            view = self._feed.view
            around = [
                each for each in commands.subplans_around(view, tasks) if commands.can_pause(view, each)
            ]
            self._choose_scope("Pause what, or let what go on?", around, self._pause)

    def _pause(self, scope: int) -> None:
        self.grant(lambda: commands.pause(self._feed.view, scope))

    def steer_subplan(self, tasks: Sequence[int]) -> None:
        """Ask what is to be done with the innermost subplan around the tasks, and do it."""
        around = commands.subplans_around(self._feed.view, tasks)
        if not around:
            self.say("This is no subplan, nor in one.")
        elif self._may_steer():
            self._ask_subplan(around[0].number, "")

    def _ask_subplan(self, scope: int, lit: str) -> None:
        from tui.screens.scope_dialogs import ask_subplan

        def chosen(what: str | None) -> None:
            if what in ("1", "-1"):
                self.change_slots(int(what), scope)
                self._ask_subplan(scope, what)  # one is seldom enough
            elif what == "pause":
                self._pause(scope)
            elif what == "mode":
                self._ask_mode(scope)

        self._open(ask_subplan(self._feed, scope, lit), chosen)

    def _choose_scope(self, title: str, around: Sequence[ScopeView], then: Callable[[int], None]) -> None:
        """Ask whether the run is meant or a subplan of those; only if there is one."""
        if not around:
            then(commands.THE_RUN)
            return
        from tui.screens.scope_dialogs import ask_scope

        def chosen(number: str | None) -> None:
            if number is not None:
                then(int(number))

        self._open(ask_scope(self._feed, title, [scope.number for scope in around]), chosen)

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
            self._asked_slots.clear()
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
