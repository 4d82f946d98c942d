"""From events, or from a view of them, back to a `Snapshot`: for those who know a run by its events alone."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.events import Event
from engine.core.records import ScopeSnapshot, Snapshot, TaskSnapshot
from engine.ground.collector import collector_paused
from engine.plan.graph import Graph
from engine.view.run_view import RunView


@collector_paused()
def snapshot_of(view: RunView, offset: float) -> Snapshot:
    """The run as the view has it, at `offset` seconds: `RunView.from_snapshot` makes an equal view of it."""
    return Snapshot(
        run_id=view.run_id,
        seq=view.last_seq,
        offset=offset,
        began=view.started_at or 0.0,
        phase=view.phase,
        outcome=view.outcome,
        failure_mode=view.failure_mode,
        max_parallel=view.max_parallel,
        tasks=tuple(
            TaskSnapshot(
                state=task.state,
                attempts=tuple(task.attempts),
                held=task.held,
                held_by=task.held_by,
                stalled_since=task.stalled_since,
                due=task.due,
                reason=task.reason,
                blocked_by=task.blocked_by,
                tolerated=task.tolerated,
                retries=task.retries,
                outputs=task.outputs,
                usual=view.pace.usual(task.index),
            )
            for task in view.tasks
        ),
        scopes=tuple(
            ScopeSnapshot(
                failure_mode=scope.failure_mode, max_parallel=scope.max_parallel, paused=scope.paused
            )
            for scope in view.scopes.all[1:]
        ),
        diagnosis=view.diagnosis,
        past=tuple(view.audit),
    )


def snapshot_after(graph: Graph, events: Sequence[Event], run_id: str = "") -> Snapshot:
    """The run as it stood right after the last of its events; PENDING without any.

    What was in the hands of a dispatcher then but had not been taken up is READY; a back-off that was
    over by then but not followed by an attempt is RETRYING still, with its `due` in the past. run_id:
    for a run without events.
    """
    view = RunView(graph, events[0].run_id if events else run_id)
    view.apply(events)
    return snapshot_of(view, events[-1].offset if events else 0.0)
