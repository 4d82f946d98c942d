"""The queue of ready tasks: lanes by executor, so that a full one holds up only its own, in rooms by scope,
so that a full subplan holds up only what is inside."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from engine.core.retry import deferral
from engine.core.scopes import Scope, Scopes

NOTHING: Final = 1 << 62
"""The rank of what has nothing to start: behind all ranks."""


class Executor:
    """What is known of an executor's capacity.

    deferred_until: offset before which it is not asked again. refusals: rounds of refusal since its last
    success. lanes: where tasks wait for it.
    """

    __slots__ = ("deferred_until", "lanes", "refusals")

    def __init__(self) -> None:
        self.deferred_until = 0.0
        self.refusals = 0
        self.lanes: list[Lane] = []

    def defer(self, now: float) -> float:
        """Note a refusal; return the offset at which to ask again. All refusals of a round count once."""
        if self.deferred_until <= now:
            self.deferred_until = now + deferral(self.refusals)
            self.refusals += 1
        return self.deferred_until


class Lane:
    """The ready tasks of one executor in one scope, lowest rank first. room: where it is, None if that is
    the outermost."""

    __slots__ = ("executor", "heap", "room")

    def __init__(self, executor: Executor, room: Room | None) -> None:
        self.executor = executor
        self.room = room
        self.heap: list[int] = []
        executor.lanes.append(self)


class Room:
    """What waits in a subplan and within.

    rank: of the first that may start, as the room around it knows. rooms: (rank, number) of the rooms
    within, lowest first; an entry with a rank that is no longer that of the room is passed over.
    """

    __slots__ = ("lanes", "rank", "rooms", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.lanes: list[Lane] = []
        self.rooms: list[tuple[int, int]] = []
        self.rank = NOTHING


class ReadyQueue:
    """Hands out ready tasks in the order of their ranks.

    A task may be queued more than once or have ceased to be ready: `is_startable` decides when it is
    its turn, so that holding, cancelling and resetting need not search the queue. A room in which nothing
    may start now has no place in the room around it, so that nobody looks into it. Handing out costs
    O(log n) for each level of subplans.
    """

    def __init__(
        self,
        ranks: Sequence[int],
        executors: Sequence[str],
        is_startable: Callable[[int], bool],
        scopes: Scopes | None = None,
    ) -> None:
        """ranks: the place of each task in the total order. executors: the executor of each task. scopes:
        None if there is only one."""
        self._ranks = ranks
        self._by_rank = [0] * len(ranks)
        for index, rank in enumerate(ranks):
            self._by_rank[rank] = index
        self._is_startable = is_startable
        self._rooms = [Room(scope) for scope in scopes.all] if scopes is not None else []
        self._executors = {name: Executor() for name in dict.fromkeys(executors)}
        self._outside: list[tuple[Executor, Lane]] = []  # the lanes of the outermost scope
        lanes: dict[tuple[int, str], Lane] = {}
        self._lane_of: list[Lane] = []
        for index, name in enumerate(executors):
            number = 0 if scopes is None else scopes.of(index).number
            lane = lanes.get((number, name))
            if lane is None:
                lane = lanes[number, name] = self._new_lane(number, self._executors[name])
            self._lane_of.append(lane)
        self._deferred: list[Executor] = []  # of which rooms must be told when they are asked again

    def _new_lane(self, number: int, executor: Executor) -> Lane:
        lane = Lane(executor, self._rooms[number] if number else None)
        if lane.room is None:
            self._outside.append((executor, lane))
        else:
            lane.room.lanes.append(lane)
        return lane

    def push(self, index: int) -> None:
        lane = self._lane_of[index]
        heapq.heappush(lane.heap, self._ranks[index])
        if lane.room is not None:
            self._update(lane.room)

    def executor(self, index: int) -> Executor:
        """The executor of a task."""
        return self._lane_of[index].executor

    def defer(self, index: int, now: float) -> float:
        """The executor of a task has refused it: return the offset at which to ask again."""
        executor = self._lane_of[index].executor
        is_new = executor.deferred_until <= now
        due = executor.defer(now)
        if is_new and self._rooms:
            self._deferred.append(executor)
            self._update_all(executor)
        return due

    def reconsider(self, scopes: Iterable[Scope]) -> None:
        """Slots in these scopes were taken or have become free, or they were shut or opened."""
        if self._rooms:
            for scope in scopes:
                if scope.outer is not None:
                    self._update(self._rooms[scope.number])

    def pop(self, now: float) -> int | None:
        """The next task to start, or None if none may start at offset `now`. Its slot must be counted, and
        its scopes be reconsidered, before the next is asked for."""
        best: Lane | None = None
        for executor, lane in self._outside:
            heap = lane.heap
            if not heap or executor.deferred_until > now:
                continue
            while heap and not self._is_startable(self._by_rank[heap[0]]):
                heapq.heappop(heap)
            if heap and (best is None or heap[0] < best.heap[0]):
                best = lane
        if self._rooms:
            best = self._look_inside(now, best)
        if best is None:
            return None
        index = self._by_rank[heapq.heappop(best.heap)]
        if best.room is not None:
            self._update(best.room)
        return index

    def next_deadline(self, now: float) -> float | None:
        """The earliest offset at which a deferred executor that something waits for may be asked again."""
        waiting = [
            executor.deferred_until
            for executor in self._executors.values()
            if executor.deferred_until > now and any(lane.heap for lane in executor.lanes)
        ]
        return min(waiting, default=None)

    # ── rooms ───────────────────────────────────────────────────────────────────────────────────

    def _look_inside(self, now: float, best: Lane | None) -> Lane | None:
        """The lane whose first may start: `best`, of the outermost scope, or one in a room."""
        for executor in [each for each in self._deferred if each.deferred_until <= now]:
            self._deferred.remove(executor)
            self._update_all(executor)
        outermost = self._rooms[0]
        while self._first_room(outermost) < (NOTHING if best is None else best.heap[0]):
            room = outermost
            lane = None
            while lane is None:
                room = self._rooms[room.rooms[0][1]]
                within = self._first_room(room)
                lane = None if within == room.rank else self._first_lane(room)
            if self._is_startable(self._by_rank[lane.heap[0]]):
                return lane
            heapq.heappop(lane.heap)
            self._update(room)
        return best

    def _update_all(self, executor: Executor) -> None:
        for lane in executor.lanes:
            if lane.room is not None:
                self._update(lane.room)

    def _update(self, room: Room) -> None:
        """Something in the room has changed: let the rooms around it know, as far as it concerns them."""
        rooms = self._rooms
        while (outer := room.scope.outer) is not None:
            rank = NOTHING
            if room.scope.has_room:
                rank = self._first_room(room)
                lane = self._first_lane(room)
                if lane is not None and lane.heap[0] < rank:
                    rank = lane.heap[0]
            if rank == room.rank:
                return
            room.rank = rank
            around = rooms[outer.number]
            if rank != NOTHING:
                heapq.heappush(around.rooms, (rank, room.scope.number))
            room = around

    def _first_room(self, room: Room) -> int:
        """The lowest rank in the rooms within; the first of them is then that room."""
        heap, rooms = room.rooms, self._rooms
        while heap and rooms[heap[0][1]].rank != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else NOTHING

    def _first_lane(self, room: Room) -> Lane | None:
        """The lane of the room itself whose first has the lowest rank."""
        best: Lane | None = None
        for lane in room.lanes:
            waits = lane.heap and lane.executor not in self._deferred
            if waits and (best is None or lane.heap[0] < best.heap[0]):
                best = lane
        return best
