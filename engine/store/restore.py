"""From the events of a run back to the state it was in."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.events import Event
from engine.core.records import Snapshot
from engine.plan.graph import Graph
from engine.view import snapshot
from engine.view.run_view import RunView


def snapshot_of(graph: Graph, events: Sequence[Event], run_id: str = "") -> Snapshot:
    """The run as it stood right after the last of its events; PENDING without any.

    What was in the hands of a dispatcher then but had not been taken up is READY; a back-off that was
    over by then but not followed by an attempt is RETRYING still, with its `due` in the past. run_id:
    for a run without events.
    """
    view = RunView(graph, events[0].run_id if events else run_id)
    view.apply(events)
    return snapshot.snapshot_of(view, events[-1].offset if events else 0.0)
