"""Why a task stands where it stands, in words short enough for a column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.ground.text import one_line
from engine.plan.model import Condition
from engine.view.tally import Tally
from engine.view.task_view import TaskView
from engine.view.timing import short

NAMED_NEEDS: Final = 2
"""How many needs are named before the rest is only counted."""

_ASKED_TO: Final = {
    Condition.SUCCESS: "",
    Condition.FAILED: " to fail",
    Condition.FINISHED: " to finish",
    Condition.SKIPPED: " to be skipped",
}


def is_met(view: Tally, needed: int, dependent: int) -> bool:
    """Whether `dependent` has what it asks of `needed`."""
    condition = view.graph.special_conditions.get((needed, dependent), Condition.SUCCESS)
    return view.tasks[needed].meets(condition)


def why(view: Tally, task: TaskView, now: float, last_line: str = "") -> str:
    """One short phrase without control characters; "" if there is nothing to explain.

    last_line: what the task printed last; it is added where a failure does not say it already.
    """
    return one_line(_WHY[task.state](view, task, now, last_line))


def _pending(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    waits = _ending(view) or _waits_for(view, task) or _waits_inside(view, task)
    return f"{_held(task)}, {waits}" if task.held else waits


def _ready(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    if task.held:
        return _held(task)
    if view.phase is RunPhase.PENDING:
        return "the run has not begun"
    if view.phase is RunPhase.PAUSED:
        return f"plan is paused{_by(view.paused_by)}"
    ending = _ending(view)
    if ending:
        return ending
    inside = _shut_out(view, task)
    if inside:
        return inside
    if view.scopes.subplan(task.index) is not None:
        return "starting"
    if view.slots_used >= view.max_parallel:
        return f"no free slot ({view.slots_used}/{view.max_parallel} busy)"
    for scope in view.scopes.of(task.index).chain():
        if scope.used >= scope.max_parallel:
            return f"no free slot in {scope.name} ({scope.used}/{scope.max_parallel} busy)"
    executor = view.plan.tasks[task.index].executor
    due = max(task.due or 0.0, view.capacity_due.get(executor, 0.0))
    if due > now:
        why = view.capacity_reasons.get(executor)
        said = f"executor {executor}: {why}" if why else f"executor {executor} is full"
        return f"{said}, asked again in {short(due - now)}"
    return "starting"


def _running(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    scope = view.scopes.subplan(task.index)
    if scope is not None:
        held = "held, " if task.held else ""
        slots = f"{scope.used}/{scope.max_parallel} slots"
        return f"{'paused, ' if scope.paused else held}{scope.finished}/{scope.total} done, {slots}"
    return "" if task.stalled_since is None else f"silent {short(now - task.stalled_since)}"


def _retrying(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    if task.due is not None and task.due > now and not task.held:
        following = task.attempt + 1
        return f"retry in {short(task.due - now)} ({following}/{max(task.max_attempts, following)})"
    # the back-off is over; what it waits for now is what any other task would wait for
    return _pending(view, task, now, last_line) if task.unmet else _ready(view, task, now, last_line)


def _stopping(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    return _say("stopping", task.reason)


def _success(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    return _say("marked as done", task.reason) if task.reason else ""


def _failed(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    return _with_last_line(task.error or "failed", last_line)


def _skipped(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    if task.tolerated:
        return _say("tolerated", _with_last_line(task.error or "", last_line))
    return _say("skipped", task.reason)


def _cancelled(view: Tally, task: TaskView, now: float, last_line: str) -> str:
    return _say("cancelled", task.reason)


_WHY: Final[dict[TaskState, Callable[[Tally, TaskView, float, str], str]]] = {
    TaskState.PENDING: _pending,
    TaskState.READY: _ready,
    TaskState.RUNNING: _running,
    TaskState.RETRYING: _retrying,
    TaskState.STOPPING: _stopping,
    TaskState.SUCCESS: _success,
    TaskState.FAILED: _failed,
    TaskState.SKIPPED: _skipped,
    TaskState.CANCELLED: _cancelled,
}


def _held(task: TaskView) -> str:
    return f"held{_by(task.held_by)}"


def _by(whom: str) -> str:
    """ " by anna"; ": lint failed" where it was not a person."""
    if not whom:
        return ""
    return f": {whom}" if whom.endswith(" failed") else f" by {whom}"


def _ending(view: Tally) -> str:
    if view.phase is RunPhase.DRAINING:
        return "plan is draining: will not start"
    return "plan is being cancelled" if view.phase is RunPhase.CANCELLING else ""


def _waits_for(view: Tally, task: TaskView) -> str:
    """The needs not met yet, the first by name, each with what is asked of it where that is not success."""
    special = view.graph.special_conditions
    names: list[str] = []
    left = task.unmet
    scope = view.scopes.of(task.index)
    prefix = 0 if scope.outer is None else len(scope.name) + 1  # what it needs is in the same subplan
    for needed in view.graph.needs[task.index]:
        if is_met(view, needed, task.index):
            continue
        condition = special.get((needed, task.index), Condition.SUCCESS)
        need = view.tasks[needed]
        if need.state in TERMINAL:
            wish = "" if condition is Condition.SUCCESS else f", not {condition}"
            return f"can't be met: {need.name[prefix:]} is {need.state}{wish}"
        names.append(need.name[prefix:] + _ASKED_TO[condition])
        left -= 1
        if len(names) == NAMED_NEEDS:
            break
    if view.graph.nesting.parents and names:
        left -= not _is_open(view, task)  # the subplan around it is told of only when nothing else is missing
    more = f" and {left} more" if left > 0 else ""
    return f"waits for {', '.join(names)}{more}" if names else ""


def _is_open(view: Tally, task: TaskView) -> bool:
    """Whether the subplan that it belongs to, if it belongs to one, goes on."""
    around = view.graph.nesting.around(task.index)
    return not around or view.tasks[around[0]].state is TaskState.RUNNING


def _waits_inside(view: Tally, task: TaskView) -> str:
    """Nothing but its subplan is missing."""
    parent = view.tasks[view.graph.nesting.around(task.index)[0]]
    if parent.state is TaskState.RETRYING:
        return f"waits for the retry of {parent.name}"
    return f"waits for {parent.name} to start"


def _shut_out(view: Tally, task: TaskView) -> str:
    """The subplan around it in which nothing new starts now."""
    for scope in view.scopes.of(task.index).chain():
        if scope.paused:
            return f"{scope.name} is paused"
        if view.tasks[scope.task].held:
            return f"{scope.name} is {_held(view.tasks[scope.task])}"
    return ""


def _say(what: str, reason: str) -> str:
    """ "skipped: lint failed", but not "cancelled: cancelled by anna"."""
    if not reason:
        return what
    return reason if reason.startswith(what) else f"{what}: {reason}"


def _with_last_line(error: str, last_line: str) -> str:
    if not last_line or last_line in error:
        return error
    return f"{error}: {last_line}" if error else last_line
