"""`Play`: the rest of a run, played through with what tasks usually take.

It knows slots, the order in which ready tasks start, back-offs, needs of every kind, and subplans. It takes
everything to succeed that is not over: a failure to come would make any other answer a wild one. What failed
inside of a subplan that goes on does make that fail in the end, or be tried again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from engine.core.retry import back_off
from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.plan.model import Condition, FailureMode
from engine.view.run_view import RunView
from engine.view.scope_view import ScopeView
from engine.view.task_view import MET_BY
from engine.view.timing import OVERTIME, SPREAD, Estimate

BEYOND: Final = 4.0
"""Standard deviations above the mean from which on a distribution says nothing any more."""

LATE: Final = 2.0
"""How much further it may go wrong to the late side than to the early one: a run waits for its slowest."""

_WAITING: Final = frozenset({TaskState.PENDING, TaskState.READY, TaskState.RETRYING})
_SUCCESS, _FAILED, _CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED


class Play:
    """Of one view, from `now` on.

    ends: by index, offsets. To begin costs a walk over all tasks; each step is the end of one.
    """

    def __init__(self, view: RunView, now: float) -> None:
        self._view = view
        self._now = now
        self._moment = now
        tasks, pace = view.tasks, view.pace
        self._ranks = view.ranks
        self._unmet = [task.unmet for task in tasks]
        self._slots = view.max_parallel
        self.ends = [0.0] * len(tasks)
        self._variance = 0.0
        self._left = 0
        self._over: dict[int, TaskState] = {}  # what it has ended as here; kept of a success if one may ask
        self._revived: set[int] = set()  # over in the run, but runs again here
        self._retried: set[int] = set()  # subplans that were tried again
        self._tolerated: set[int] = set()  # subplans whose failure here is tolerated
        self._blocked: dict[int, int] = {}  # on whose account something was skipped or cancelled here
        self._ready: list[tuple[int, int]] = []  # rank and index
        self._going: list[tuple[float, int]] = []  # when it ends, or a back-off does, and the index
        self._running: set[int] = set()
        self._nesting = view.graph.nesting
        self._inside = {parent: len(inner) for parent, inner in self._nesting.children.items()}
        """Of each subplan, how many of its tasks are not over."""
        self._used = [scope.used for scope in view.scopes.all] if self._inside else []
        self._parked: dict[int, list[tuple[int, int]]] = {}
        """What is ready but for a slot in a subplan, by the number of that."""
        starts = view.phase in (RunPhase.RUNNING, RunPhase.PAUSED, RunPhase.PENDING)
        begins: list[int] = []
        for task in tasks:
            index, state = task.index, task.state
            if state in _WAITING:
                if not starts or task.held or (self._inside and self._is_shut(index)):
                    continue
                if state is TaskState.RETRYING and task.due is not None and task.due > now:
                    self._going.append((task.due, index))
                elif not task.unmet:
                    if index in self._inside:
                        begins.append(index)
                    else:
                        self._ready.append((self._ranks[index], index))
            elif index in view.active:
                seconds, deviation = pace.guess(index)
                elapsed = task.elapsed(now) or 0.0
                self._running.add(index)
                self._left += 1
                self._variance += deviation**2
                self._going.append((now + _rest(seconds, deviation, elapsed), index))
            elif task.attempts:
                self.ends[index] = task.attempts[-1].ended or 0.0
            if self._inside and state in TERMINAL and view.plan.tasks[index].scope:
                self._inside[self._nesting.parents[index]] -= 1
        heapify(self._ready)
        heapify(self._going)
        for index in begins:
            self._begin(index)

    def go_on(self, steps: int) -> bool:
        """Play so many ends; return whether there is nothing left to play."""
        going = self._going
        self._start()
        for _ in range(steps):
            if not going:
                return True
            self._moment, index = heappop(going)
            if index in self._running:
                self._leave(index)
                self._end(index)
            else:
                self._take_up(index)
                while going and going[0][0] == self._moment and going[0][1] not in self._running:
                    self._take_up(heappop(going)[1])  # the first in rank starts first
            self._start()
        return not going

    def estimate(self, path: Sequence[int]) -> Estimate | None:
        """Offsets. None if nothing is known. path: the tasks that decide the end."""
        pace = self._view.pace
        if not pace.is_known:
            return None
        now = self._now
        last = max(self.ends, default=now) if self._left else now
        likely = max(0.0, last - now)
        # what many tasks do differently evens out over the slots, what the critical ones do does not, and
        # by what the whole run goes faster or slower all of them do alike
        work = (index for index in path if self.ends[index] > now and index not in self._inside)
        ahead = sum(pace.guess(index)[1] ** 2 for index in work)
        several = self._variance / min(self._slots, max(1, self._left)) ** 2
        margin = SPREAD * (max(ahead, several) + (likely * pace.doubt) ** 2) ** 0.5
        low = max(likely - margin, likely * 0.25)
        return Estimate(now + low, now + likely, now + likely + margin * LATE)

    # ── tasks begin and end ─────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        ready, running, pace = self._ready, self._running, self._view.pace
        while ready and len(running) < self._slots:
            rank, index = heappop(ready)
            if index in self._over:
                continue
            if self._inside:
                full = self._full_around(index)
                if full is not None:
                    heappush(self._parked.setdefault(full, []), (rank, index))
                    continue
                for scope in self._view.scopes.of(index).chain():
                    self._used[scope.number] += 1
            seconds, deviation = pace.guess(index)
            running.add(index)
            self._left += 1
            self._variance += deviation**2
            heappush(self._going, (self._moment + seconds, index))

    def _take_up(self, index: int) -> None:
        """Its back-off is over."""
        if index not in self._over:
            self._enqueue(index)

    def _leave(self, index: int) -> None:
        """It holds a slot no longer."""
        self._running.discard(index)
        self.ends[index] = self._moment
        if self._inside:
            for scope in self._view.scopes.of(index).chain():
                self._used[scope.number] -= 1
                self._unpark(scope.number)

    def _end(self, index: int, state: TaskState = _SUCCESS) -> None:
        """It ends; what asks for another end of it is skipped, and what follows from that."""
        view = self._view
        special = view.graph.special_conditions
        if self._inside or special:
            self._over[index] = state
        if state is _SUCCESS and not special:
            for dependent in view.graph.dependents[index]:
                self._need_met(dependent)
            self._told(index)
            return
        ended = [index]
        while ended:
            index = ended.pop()
            for dependent in view.graph.dependents[index]:
                if not self._waits(dependent):
                    continue
                if self._is_met(index, dependent):
                    self._need_met(dependent)
                else:
                    self._over[dependent] = TaskState.SKIPPED
                    self._blocked[dependent] = index
                    ended.append(dependent)
            self._told(index)

    def _need_met(self, index: int) -> None:
        self._unmet[index] -= 1
        if not self._unmet[index] and self._waits(index) and not self._view.tasks[index].held:
            self._enqueue(index)

    def _waits(self, index: int) -> bool:
        if index in self._over:
            return False
        return self._view.tasks[index].state in _WAITING or index in self._revived

    def _enqueue(self, index: int) -> None:
        """It has all it needs."""
        if not self._inside:
            heappush(self._ready, (self._ranks[index], index))
        elif not self._is_shut(index):
            if index in self._inside:
                self._begin(index)
            else:
                heappush(self._ready, (self._ranks[index], index))

    # ── subplans ────────────────────────────────────────────────────────────────────────────────

    def _full_around(self, index: int) -> int | None:
        """The number of a subplan around it that has no slot for it."""
        for scope in self._view.scopes.of(index).chain():
            if self._used[scope.number] >= scope.max_parallel:
                return scope.number
        return None

    def _unpark(self, number: int) -> None:
        """A slot is free in a subplan: for the first that nothing else keeps waiting."""
        parked = self._parked.get(number)
        while parked:
            rank, index = heappop(parked)
            full = self._full_around(index)
            if full is None or full == number:
                heappush(self._ready if full is None else parked, (rank, index))
                return
            heappush(self._parked.setdefault(full, []), (rank, index))

    def _is_shut(self, index: int) -> bool:
        """Whether nothing new starts in the subplan that it belongs to."""
        tasks = self._view.tasks
        return any(scope.paused or tasks[scope.task].held for scope in self._view.scopes.of(index).chain())

    def _begin(self, index: int) -> None:
        """A subplan takes no slot, and what its tasks take."""
        if index in self._retried or self._view.tasks[index].state is TaskState.RETRYING:
            self._revive(index)
        if not self._inside[index]:
            self._end_subplan(index)
        for inner in self._nesting.children[index]:
            self._need_met(inner)

    def _revive(self, parent: int) -> None:
        """A subplan is tried again: what failed inside, and what that blocked, runs again."""
        graph, nesting = self._view.graph, self._nesting
        again = {parent}
        over = [index for index in nesting.inside[parent] if self._state(index) in TERMINAL]
        for index in over:
            if self._state(index) is _FAILED and nesting.parents[index] in again:
                again.add(index)
        blocked = {index: self._blocker(index) for index in over if index not in again}
        for index in graph.order if any(blocker in again for blocker in blocked.values()) else ():
            if blocked.get(index) in again and all(
                needed in again or self._is_met(needed, index) for needed in graph.needs[index]
            ):
                again.add(index)
        again.remove(parent)
        for index in again:
            self._revived.add(index)
            self._over.pop(index, None)
            unmet = sum(need in again for need in graph.needs[index])
            self._unmet[index] = unmet + 1  # and the subplan that it belongs to
            self._inside[nesting.parents[index]] += 1

    def _state(self, index: int) -> TaskState:
        waiting = TaskState.PENDING if index in self._revived else self._view.tasks[index].state
        return self._over.get(index, waiting)

    def _is_met(self, needed: int, index: int) -> bool:
        condition = self._view.graph.special_conditions.get((needed, index), Condition.SUCCESS)
        tolerated = self._view.tasks[needed].tolerated or needed in self._tolerated
        return self._state(needed) in MET_BY[condition] or (tolerated and condition is Condition.SUCCESS)

    def _told(self, index: int) -> None:
        """Something inside of a subplan has ended; the last of it ends the subplan."""
        if not self._inside or not self._view.plan.tasks[index].scope:
            return
        parent = self._nesting.parents[index]
        self._inside[parent] -= 1
        if not self._inside[parent] and parent not in self._over:
            self._end_subplan(parent)

    def _end_subplan(self, parent: int) -> None:
        """As what has become of all that is inside says."""
        self.ends[parent] = self._moment
        ends = {self._state(index) for index in self._nesting.children[parent]}
        task, view = self._view.plan.tasks[parent], self._view.tasks[parent]
        if _FAILED not in ends:
            self._end(parent, _CANCELLED if _CANCELLED in ends else _SUCCESS)
        elif view.retries < task.retry.limit and parent not in self._retried:
            self._retried.add(parent)
            due = self._moment + back_off(task.retry, view.retries + 1, 0.5)
            heappush(self._going, (due, parent))
        elif task.skip_on_failure:
            self._tolerated.add(parent)
            self._end(parent, TaskState.SKIPPED)
        else:
            scope = self._view.scopes.of(parent)
            self._end(parent, _FAILED)
            if scope.failure_mode is FailureMode.FAIL_FAST:
                self._fail_fast(scope, parent)

    def _fail_fast(self, scope: ScopeView, culprit: int) -> None:
        """What runs is stopped and what waits is cancelled, but for what is there to answer a failure."""
        graph, nesting = self._view.graph, self._nesting
        inside = nesting.inside.get(scope.task)
        spared: set[int] = set()
        stopped: list[int] = []
        for index in graph.order:
            if (inside is not None and index not in inside) or self._state(index) in TERMINAL:
                continue
            around = nesting.parents[index]
            if around in spared or (
                around == scope.task and self._waits(index) and self._answers_failure(index, spared)
            ):
                spared.add(index)
            else:
                stopped.append(index)
        stops = frozenset(stopped)
        self._going[:] = [entry for entry in self._going if entry[1] not in stops]
        heapify(self._going)
        for index in stopped:
            self._over[index] = _CANCELLED
            self._blocked[index] = culprit
        for index in stopped:
            if index in self._running:
                self._leave(index)
            if nesting.parents[index] == scope.task:
                self._told(index)
            else:  # the subplan that it belongs to is stopped itself
                self._inside[nesting.parents[index]] -= 1

    def _answers_failure(self, index: int, spared: set[int]) -> bool:
        """As `engine.core.survivors` has it."""
        special = self._view.graph.special_conditions
        answers = False
        for needed in self._view.graph.needs[index]:
            is_over = self._state(needed) in TERMINAL
            if is_over and self._is_met(needed, index):
                answers = answers or self._stems_from_failure(needed)
            elif needed in spared:
                answers = True
            elif is_over or special.get((needed, index)) is not Condition.FINISHED:
                return False
        return answers

    def _stems_from_failure(self, index: int) -> bool:
        while self._state(index) is TaskState.SKIPPED and (blocker := self._blocker(index)) is not None:
            index = blocker
        return self._state(index) is _FAILED

    def _blocker(self, index: int) -> int | None:
        """On whose account it was skipped or cancelled."""
        name = self._view.tasks[index].blocked_by
        if index in self._over or name is None:
            return self._blocked.get(index)
        return self._view.graph.index_of[name]


def _rest(seconds: float, deviation: float, elapsed: float) -> float:
    """What a task still takes that has taken `elapsed` seconds: the mean of a normal distribution beyond
    that, and never less than a part of the whole."""
    least = seconds * OVERTIME
    if not deviation:
        return seconds - elapsed if elapsed < seconds else least
    beyond = (elapsed - seconds) / deviation
    if beyond > BEYOND:
        return least
    tail = math.erfc(beyond / math.sqrt(2)) / 2
    density = math.exp(-(beyond**2) / 2) / math.sqrt(2 * math.pi)
    rest = seconds - elapsed + deviation * density / tail
    return rest if elapsed < seconds else max(rest, least)
