"""The dialogs about subplans: which is meant, and what is to be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.core.state import RunPhase
from engine.ground.text import one_line
from engine.view.scope_view import ScopeView
from tui.commands import THE_RUN, can_pause
from tui.feed import Feed
from tui.plain.marks import MODE_WORDS, counted
from tui.screens.dialogs import Choice, Dialog

_KEYS: Final = "s23456789"
"""For the innermost subplan, and for those around it."""


def ask_scope(feed: Feed, title: str, around: Sequence[int]) -> Dialog:
    """The run, which is lit, or one of these subplans, the innermost first. Answers with its number."""

    def label(name: str, number: int) -> str:
        scope = feed.view.scopes.all[number]
        paused = feed.view.phase is RunPhase.PAUSED if number == THE_RUN else scope.paused
        return f"{name}: {'paused, ' * paused}{_limits(scope)}"

    choices = [Choice("r", label("The whole run", THE_RUN), str(THE_RUN))]
    for key, number in zip(_KEYS, around, strict=False):
        choices.append(Choice(key, label(one_line(feed.view.scopes.all[number].name), number), str(number)))
    return Dialog(title, (), choices)


def ask_subplan(feed: Feed, number: int, lit: str) -> Dialog:
    """What is to be done with a subplan. Answers "1" or "-1" for slots more, "pause" for a pause or its end,
    "mode" or None. lit: the answer that is lit, "" for the last."""
    scope = feed.view.scopes.all[number]
    choices = [
        Choice("n", "Leave it as it is", ""),
        Choice("+", "One more slot", "1"),
        Choice("-", "One slot fewer; stops nothing", "-1"),
        Choice("m", "Change what a failure in it means", "mode"),
    ]
    if can_pause(feed.view, scope):
        choices.append(
            Choice("p", "Let it go on" if scope.paused else "Pause it: start nothing new", "pause")
        )

    def words() -> Sequence[str]:
        scope = feed.view.scopes.all[number]
        done = f"{scope.finished}/{scope.total} done"
        return (f"{'Paused. ' * scope.paused}{done}, {scope.used}/{_limits(scope)}.",)

    at = next(place for place, choice in enumerate(choices) if choice.value == lit)
    return Dialog(f"Subplan {one_line(scope.name)}", words(), choices, at, renew=words)


def _limits(scope: ScopeView) -> str:
    return f"{counted(scope.max_parallel, 'slot')}, {MODE_WORDS[scope.failure_mode]}"
