"""Times in words, and what is told of how long a run still takes."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

TENTHS: Final = 10
"""Seconds below which tenths of one are told."""


def clock(seconds: float) -> str:
    """Elapsed time as on a watch: 0:42, 12:04, 1:02:03. Whole seconds, rounded down."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_of_day(utc: float) -> str:
    """A time as the clock on the reader's wall shows it: 12:03:58. utc: seconds since the epoch."""
    return datetime.fromtimestamp(utc).astimezone().strftime("%H:%M:%S")


def short(seconds: float) -> str:
    """A span as a plan would spell it, in two units at most: 0.4s, 2.5s, 31s, 3m5s, 2h10m, 3d4h. Rounded
    down, as a watch is: what stands beside one must not seem longer."""
    if seconds < TENTHS:
        tenths = int(max(0.0, seconds) * 10 + 1e-6)  # 0.7 is a little less than that
        return f"{tenths // 10}s" if tenths and not tenths % 10 else f"{tenths / 10}s"
    whole = int(seconds)
    for size, unit, part, part_unit in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "m"),
        (MINUTE, "m", 1, "s"),
    ):
        if whole >= size:
            more = whole % size // part
            return f"{whole // size}{unit}{more}{part_unit}" if more else f"{whole // size}{unit}"
    return f"{whole}s"


def rough(seconds: float) -> str:
    """A span as one would guess it: to five seconds below a minute, to whole minutes below an hour."""
    if seconds < MINUTE - 2.5:
        return f"{max(5, 5 * round(seconds / 5))}s"
    step = MINUTE if seconds < HOUR else 10 * MINUTE
    return short(step * max(1, round(seconds / step)))


class Durations:
    """A running mean and variance (Welford's method) of how long successful attempts took, in seconds."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        off = seconds - self.mean
        self.mean += off / self.count
        self._squares += off * (seconds - self.mean)

    @property
    def deviation(self) -> float | None:
        """The standard deviation; None of fewer than two."""
        return float((self._squares / (self.count - 1)) ** 0.5) if self.count > 1 else None


class Estimate(msgspec.Struct, frozen=True):
    """How long a run still takes, in seconds: low <= likely <= high, an 80 % guess and not a promise."""

    low: float
    likely: float
    high: float

    def words(self) -> str:
        """ "about 3m left (2m-5m)"; "roughly" where the range is wide, and without it where it says
        nothing more."""
        likely, low, high = rough(self.likely), rough(self.low), rough(self.high)
        if self.high < SOON:
            return "a few seconds left"
        about = "roughly" if self.high > WIDE * max(self.low, SOON) else "about"
        return f"{about} {likely} left" if low == high else f"{about} {likely} left ({low}-{high})"


SOON: Final = 7.5
"""Seconds that are too few to be counted."""

WIDE: Final = 3.0
"""From how many times the low end a high end makes the whole a rough guess."""

SPREAD: Final = 1.28
"""Standard deviations to either side that hold 80 % of a normal distribution."""

OVERTIME: Final = 0.25
"""What a task that runs longer than the mean is guessed to need still, as a part of the mean."""
