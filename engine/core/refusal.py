"""`Refusal`: why a command makes no sense."""

from __future__ import annotations

from engine.core.state import RunPhase


class Refusal(Exception):
    """The command makes no sense now. The message says why, for people."""


def refuse_while_ending(phase: RunPhase) -> None:
    """Nothing is begun again in a run that is being ended."""
    if phase is RunPhase.CANCELLING:
        raise Refusal("the run is being cancelled")
    if phase is RunPhase.DRAINING:
        raise Refusal("the run is draining: resume it first")
