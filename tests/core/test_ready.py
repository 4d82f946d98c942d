"""The order in which ready tasks start, and the lanes that a full dispatcher holds up."""

from __future__ import annotations

from engine.core.ready import Executor, ReadyQueue


def queue(ranks: list[int], executors: list[str] | None = None) -> tuple[ReadyQueue, set[int]]:
    """A queue with everything pushed, and the set of what may be started."""
    startable = set(range(len(ranks)))
    ready = ReadyQueue(ranks, executors or ["local"] * len(ranks), startable.__contains__)
    for index in range(len(ranks)):
        ready.push(index)
    return ready, startable


def drain(ready: ReadyQueue, now: float = 0.0) -> list[int]:
    order = []
    while (index := ready.pop(now)) is not None:
        order.append(index)
    return order


def test_the_lowest_rank_comes_first() -> None:
    ready, _ = queue([2, 0, 3, 1])
    assert drain(ready) == [1, 3, 0, 2]


def test_what_ceased_to_be_startable_is_passed_over() -> None:
    ready, startable = queue([2, 0, 3, 1])
    startable -= {1, 0}
    assert drain(ready) == [3, 2]


def test_pushed_twice_it_comes_twice_unless_it_ceased_to_be_startable() -> None:
    ready, startable = queue([0, 1])
    ready.push(0)
    assert ready.pop(0.0) == 0
    startable.discard(0)
    assert drain(ready) == [1]


def test_the_order_holds_across_lanes() -> None:
    ready, _ = queue([3, 0, 2, 1], ["local", "dask", "local", "dask"])
    assert drain(ready) == [1, 3, 2, 0]


def test_a_full_dispatcher_holds_up_its_own_lane_only() -> None:
    ready, _ = queue([0, 1, 2, 3], ["dask", "local", "dask", "local"])
    assert ready.next_deadline(0.0) is None
    assert ready.executor(0) is ready.executor(2)
    assert ready.defer(0, 0.0) == 0.1
    assert drain(ready) == [1, 3]
    assert ready.next_deadline(0.0) == 0.1
    assert drain(ready, 0.1) == [0, 2]


def test_a_lane_with_nothing_in_it_has_no_deadline() -> None:
    ready, _ = queue([0])
    assert drain(ready) == [0]
    ready.defer(0, 0.0)
    assert ready.next_deadline(0.0) is None


def test_all_refusals_of_a_round_count_once() -> None:
    executor = Executor()
    assert [executor.defer(now) for now in (1.0, 1.0, 1.05)] == [1.1, 1.1, 1.1]
    assert [executor.defer(now) for now in (1.1, 1.2)] == [1.3, 1.3]
    executor.refusals = 0
    assert executor.defer(2.0) == 2.1
