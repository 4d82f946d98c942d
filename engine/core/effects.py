"""What the runner must do for the scheduler: the only way out of the core besides events."""

from __future__ import annotations

import msgspec


class StartAttempt(msgspec.Struct, frozen=True, gc=False):
    """Hand the task to its dispatcher as attempt number `attempt` (from 1). is_adopted: the dispatcher has
    that attempt already, from an engine that is gone."""

    index: int
    attempt: int
    is_adopted: bool = False


class StopAttempt(msgspec.Struct, frozen=True, gc=False):
    """Stop it: signal, grace, kill; with `kill` at once, also when it is stopping already."""

    index: int
    attempt: int
    kill: bool = False


Effect = StartAttempt | StopAttempt
