"""`Pace`: what is known of how long the tasks of a run take, from past runs and from this one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from engine.plan.graph import median
from engine.plan.model import Plan
from engine.view.timing import Durations

USUAL_SPREAD: Final = 0.3
"""By what part of itself a duration is thought to differ from the usual one, until this run tells."""

UNKNOWN_SPREAD: Final = 1.0
"""The same for a task of which nothing is known but what the others of this run take."""

CAUTION: Final = 3
"""So many tasks that take as long as usual are thought to have been seen before this run's own."""


class Pace:
    """Made anew for every view; `add` is called for every attempt that succeeds. O(1) each.

    usual: seconds that each task takes in past runs, by index, None where they do not tell; empty if
    they tell nothing at all.
    """

    def __init__(self, plan: Plan, usual: Sequence[float | None] = ()) -> None:
        self._tasks = plan.tasks
        self._usual = usual
        self.all = Durations()
        self._groups: dict[str, Durations] = {}
        self._ratios = Durations()
        self._rates: tuple[float, float, float] | None = None
        self._took = 0.0
        self._expected = 0.0
        known = [seconds for seconds in usual if seconds is not None]
        self._median = median(known) if known else None

    @property
    def is_known(self) -> bool:
        """Whether anything is known at all."""
        return self._median is not None or self.all.count > 0

    @property
    def known(self) -> int:
        """Of how many durations the knowledge of this run comes."""
        return self.all.count

    def usual(self, index: int) -> float | None:
        """What a task takes in past runs, in seconds."""
        return self._usual[index] if self._usual else None

    def add(self, index: int, seconds: float) -> None:
        """A task of this run took so long. One that stands for a subplan takes what is inside takes."""
        if self._tasks[index].plan is not None:
            return
        self._rates = None
        self.all.add(seconds)
        group = self._tasks[index].group
        if group is not None:
            self._groups.setdefault(group, Durations()).add(seconds)
        usual = self.usual(index)
        if usual:
            self._took += seconds
            self._expected += usual
            self._ratios.add(seconds / usual)

    def guess(self, index: int) -> tuple[float, float]:
        """How long a task takes, and the standard deviation of that, in seconds.

        By its own past, as fast as this run goes; else by the others of its matrix; else by all of this
        run; else by the usual task. A second where nothing is known.
        """
        rates = self._rates
        if rates is None:  # asked for every task of a plan between one end and the next
            rates = self._rates = (
                self._ratio,
                self._spread(self._ratios, USUAL_SPREAD),
                self._spread(self.all, UNKNOWN_SPREAD),
            )
        ratio, spread, spread_of_all = rates
        usual = self.usual(index)
        if usual is not None:
            seconds = usual * ratio
            return seconds, seconds * spread
        group = self._groups.get(self._tasks[index].group or "")
        if group is not None:
            return group.mean, group.mean * self._spread(group, UNKNOWN_SPREAD)
        if self.all.count:
            return self.all.mean, self.all.mean * spread_of_all
        seconds = 1.0 if self._median is None else self._median * ratio
        return seconds, seconds * UNKNOWN_SPREAD

    @property
    def doubt(self) -> float:
        """By what part of itself every guess may be wrong alike: all of a run may be slower than others."""
        if self._median is not None:
            return USUAL_SPREAD / math.sqrt(CAUTION + self._ratios.count)
        return self._spread(self.all, UNKNOWN_SPREAD) / math.sqrt(max(1, self.all.count))

    @property
    def _ratio(self) -> float:
        """How much longer than usual things take in this run."""
        if not self._expected:
            return 1.0
        before = CAUTION * self._expected / self._ratios.count
        return (self._took + before) / (self._expected + before)

    @staticmethod
    def _spread(known: Durations, otherwise: float) -> float:
        """The standard deviation as a part of the mean. `otherwise` counts as one that has been seen."""
        if known.deviation is None or not known.mean:
            return otherwise
        seen = known.deviation / known.mean
        return math.sqrt((otherwise**2 + seen**2 * (known.count - 1)) / known.count)
