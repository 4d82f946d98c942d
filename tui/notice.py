"""What is worth a bell, and how the terminal is asked to show a notification of the desktop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.core.state import Outcome, RunPhase
from engine.ground.text import one_line
from engine.view.run_view import RunView

LENGTH: Final = 200
"""Characters of a notification."""


class Notices:
    """Finds in a run what is new and worth a bell: a failure, a stall, the end. What was so when the
    console was opened is not new."""

    def __init__(self, view: RunView) -> None:
        self._failures = set(view.failures)
        self._stalls = set(view.stalled.items())
        self._was_complete = view.phase is RunPhase.COMPLETE

    def of(self, view: RunView) -> str:
        """What to say, "" if nothing is new. Of several things the most important is said."""
        failures, stalls = set(view.failures), set(view.stalled.items())
        is_complete = view.phase is RunPhase.COMPLETE
        failed, stalled = failures - self._failures, stalls - self._stalls
        ended = is_complete and not self._was_complete
        self._failures, self._stalls, self._was_complete = failures, stalls, is_complete
        plan = one_line(view.plan.name)
        if ended:
            return f"{plan} {_ENDS[view.outcome]}"
        if failed:
            return f"{plan}: {_names(view, sorted(failed))} failed"
        if stalled:
            return f"{plan}: {_names(view, sorted(index for index, _ in stalled))} shows no sign of life"
        return ""


_ENDS: Final[dict[Outcome | None, str]] = {
    Outcome.SUCCESS: "succeeded",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "was cancelled",
    Outcome.INTERRUPTED: "was interrupted",
    None: "ended",
}


def _names(view: RunView, tasks: list[int]) -> str:
    more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
    return f"{one_line(view.tasks[tasks[0]].name)}{more}"


def desktop_notification(words: str, environment: Mapping[str, str]) -> str:
    """The control sequence that shows `words`: OSC 9, or what the terminal knows instead; "" where it
    would be printed as rubbish. Through tmux and screen it is passed to the terminal outside, if they
    allow it (`set -g allow-passthrough on`)."""
    text = one_line(words, LENGTH).replace(";", ",")
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if term in ("", "linux", "dumb", "vt100", "vt220"):
        return ""
    if environment.get("KITTY_WINDOW_ID"):
        sequence = f"\x1b]99;;{text}\x1b\\"
    elif environment.get("VTE_VERSION") or term.startswith(("rxvt", "foot")):
        sequence = f"\x1b]777;notify;plandeck;{text}\x1b\\"
    else:
        sequence = f"\x1b]9;{text}\x07"
    if environment.get("TMUX") or program == "tmux":
        return f"\x1bPtmux;{sequence.replace(chr(27), chr(27) * 2)}\x1b\\"
    if environment.get("STY"):
        return f"\x1bP{sequence.replace(chr(27) + chr(92), chr(7))}\x1b\\"
    return sequence
