"""When to try again: after a failed attempt, and after a dispatcher had no capacity."""

from __future__ import annotations

from typing import Final

from engine.plan.model import Retry

DEFERRAL_DELAY: Final = 0.1
DEFERRAL_MAX_DELAY: Final = 5.0


def back_off(retry: Retry, number: int, chance: float) -> float:
    """Seconds before retry `number` (1, 2, ...). chance: a random number in 0..1 for the jitter."""
    try:
        delay = retry.delay * retry.backoff ** (number - 1)
    except OverflowError:
        delay = retry.max_delay
    return min(retry.max_delay, delay) + chance * retry.jitter


def is_worth_retrying(retry: Retry, retries_used: int, exit_code: int | None) -> bool:
    """Whether a failure has a retry left and is of a kind that another attempt may mend."""
    if retries_used >= retry.limit:
        return False
    return retry.exit_codes is None or exit_code in retry.exit_codes


def deferral(refusals: int) -> float:
    """Seconds before a full dispatcher is asked again, after `refusals` rounds of refusal (0, 1, ...)."""
    return min(DEFERRAL_MAX_DELAY, DEFERRAL_DELAY * 2.0 ** min(refusals, 16))
