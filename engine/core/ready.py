"""The queue of ready tasks: one lane for each executor, so that a full one holds up only its own."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from engine.core.retry import deferral


class Lane:
    """The ready tasks of one executor, lowest rank first.

    deferred_until: offset before which the executor is not asked again. refusals: rounds of refusal
    since its last success.
    """

    __slots__ = ("deferred_until", "heap", "refusals")

    def __init__(self) -> None:
        self.heap: list[int] = []
        self.deferred_until = 0.0
        self.refusals = 0

    def defer(self, now: float) -> float:
        """Note a refusal; return the offset at which to ask again. All refusals of a round count once."""
        if self.deferred_until <= now:
            self.deferred_until = now + deferral(self.refusals)
            self.refusals += 1
        return self.deferred_until


class ReadyQueue:
    """Hands out ready tasks in the order of their ranks.

    A task may be queued more than once or have ceased to be ready: `is_startable` decides when it is
    its turn, so that holding, cancelling and resetting need not search the queue.
    """

    def __init__(
        self,
        ranks: Sequence[int],
        executors: Sequence[str],
        is_startable: Callable[[int], bool],
    ) -> None:
        """ranks: the place of each task in the total order. executors: the executor of each task."""
        self._ranks = ranks
        self._by_rank = [0] * len(ranks)
        for index, rank in enumerate(ranks):
            self._by_rank[rank] = index
        self._is_startable = is_startable
        lanes = {name: Lane() for name in dict.fromkeys(executors)}
        self._lanes = list(lanes.values())
        self._lane_of = [lanes[name] for name in executors]

    def push(self, index: int) -> None:
        heapq.heappush(self._lane_of[index].heap, self._ranks[index])

    def lane(self, index: int) -> Lane:
        """The lane in which the task queues."""
        return self._lane_of[index]

    def pop(self, now: float) -> int | None:
        """The next task to start, or None if none may start at offset `now`."""
        best: Lane | None = None
        for lane in self._lanes:
            heap = lane.heap
            if not heap or lane.deferred_until > now:
                continue
            while heap and not self._is_startable(self._by_rank[heap[0]]):
                heapq.heappop(heap)
            if heap and (best is None or heap[0] < best.heap[0]):
                best = lane
        if best is None:
            return None
        return self._by_rank[heapq.heappop(best.heap)]

    def next_deadline(self, now: float) -> float | None:
        """The earliest offset at which a deferred lane with something in it may be asked again."""
        waiting = [lane.deferred_until for lane in self._lanes if lane.heap and lane.deferred_until > now]
        return min(waiting, default=None)
