"""From what an operator asks for to the engine's commands, and to the question that comes first.

Knows no Textual. Each function answers with a `Wish`: commands to send at once, commands to send after
a question, or the reason why there is nothing to send.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from engine.core.inputs import (
    CancelPlan,
    CancelTask,
    Command,
    DrainPlan,
    HoldTask,
    KillTask,
    MarkSucceeded,
    PausePlan,
    ReleaseTask,
    ResumePlan,
    RetryFailed,
    RetryTask,
    SetFailureMode,
    SetMaxParallel,
    SkipTask,
)
from engine.core.state import TERMINAL, RunPhase, TaskState
from engine.ground.text import one_line
from engine.plan.model import MAX_PARALLEL, MIN_PARALLEL, FailureMode
from engine.view.foresight import names as names_of
from engine.view.foresight import reach, reach_of_failure
from engine.view.run_view import RunView
from engine.view.scope_view import ScopeView


class Question(NamedTuple):
    """What must be answered before the commands are sent. words: what they will do."""

    title: str
    words: tuple[str, ...]
    yes: str
    no: str


class Wish(NamedTuple):
    """What is to be done. refusal: why nothing is."""

    commands: tuple[Command, ...] = ()
    question: Question | None = None
    refusal: str = ""


THE_RUN: Final = 0
"""The number of the plan that is run, beside those of its subplans."""
WAITING: Final = frozenset({TaskState.PENDING, TaskState.READY, TaskState.RETRYING})
AT_WORK: Final = frozenset({TaskState.RUNNING, TaskState.STOPPING})


# ── the selected tasks ──────────────────────────────────────────────────────────────────────────


def retry(view: RunView, tasks: Sequence[int]) -> Wish:
    """Again. Only what has succeeded is asked about: nothing is lost by running the rest again."""
    chosen = _those(view, tasks, _can_retry)
    if not chosen:
        return _nothing(view, tasks, "only a task that is over can be retried")
    commands = [RetryTask(index=index) for index in chosen]
    if all(view.tasks[index].state is not TaskState.SUCCESS for index in chosen):
        return Wish(tuple(commands))
    return _ask(view, f"Run {names(view, chosen)} again?", commands, "Run it again", "Leave it as it is")


def retry_downstream(view: RunView, tasks: Sequence[int]) -> Wish:
    """Again, and everything after it."""
    chosen = _those(view, tasks, lambda state: state in TERMINAL)
    if not chosen:
        return _nothing(view, tasks, "only a task that is over can be retried")
    commands = [RetryTask(index=index, downstream=True) for index in chosen]
    title = f"Run {names(view, chosen)} and all after it again?"
    return _ask(view, title, commands, "Run all of it again", "Leave it as it is")


def cancel(view: RunView, tasks: Sequence[int]) -> Wish:
    """Stop, or never start."""
    chosen = _those(view, tasks, lambda state: state not in TERMINAL)
    if not chosen:
        return _nothing(view, tasks, "there is nothing to cancel")
    commands = [CancelTask(index=index) for index in chosen]
    it = "it" if len(chosen) == 1 else "them"
    return _ask(view, f"Cancel {names(view, chosen)}?", commands, f"Cancel {it}", f"Keep {it}")


def kill(view: RunView, tasks: Sequence[int]) -> Wish:
    """Stop at once."""
    chosen = _those(view, tasks, AT_WORK.__contains__)
    if not chosen:
        return _nothing(view, tasks, "only what runs can be killed")
    commands = [KillTask(index=index) for index in chosen]
    it = "it" if len(chosen) == 1 else "them"
    return _ask(view, f"Kill {names(view, chosen)} now?", commands, f"Kill {it} at once", f"Keep {it}")


def hold(view: RunView, tasks: Sequence[int]) -> Wish:
    """Hold what can start, and subplans that go on; if all of it is held already, release it."""
    chosen = [index for index in tasks if _can_hold(view, index)]
    if not chosen:
        return _nothing(view, tasks, "only a task that has not started can be held")
    free = [index for index in chosen if not view.tasks[index].held]
    if free:
        return Wish(tuple(HoldTask(index=index) for index in free))
    return Wish(tuple(ReleaseTask(index=index) for index in chosen))


def skip(view: RunView, tasks: Sequence[int]) -> Wish:
    """Do not run. The operator has chosen it in a dialog that said what it does."""
    chosen = _those(view, tasks, WAITING.__contains__)
    if not chosen:
        return _nothing(view, tasks, "only a task that has not started can be skipped")
    return Wish(tuple(SkipTask(index=index) for index in chosen))


def mark_succeeded(view: RunView, tasks: Sequence[int], reason: str) -> Wish:
    """Take as done, with a reason for the audit trail."""
    chosen = _those(view, tasks, _can_mark)
    if not chosen:
        return _nothing(view, tasks, "what runs must be cancelled first")
    return Wish(tuple(MarkSucceeded(index=index, reason=reason) for index in chosen))


def settlements(view: RunView, tasks: Sequence[int]) -> dict[str, str]:
    """What `S` can do for these tasks, "skip" or "mark", and what each will bring about."""
    offers: dict[str, str] = {}
    to_skip = _those(view, tasks, WAITING.__contains__)
    if to_skip:
        offers["skip"] = reach(view, *(SkipTask(index=index) for index in to_skip)).words()
    to_mark = _those(view, tasks, _can_mark)
    if to_mark:
        offers["mark"] = reach(view, *(MarkSucceeded(index=index, reason="-") for index in to_mark)).words()
    return offers


# ── the whole run ───────────────────────────────────────────────────────────────────────────────


def retry_failed(view: RunView) -> Wish:
    """All that failed, again."""
    if not view.failures:
        return Wish(refusal="No task has failed.")
    return _ask(view, "Run all that failed again?", [RetryFailed()], "Run it again", "Leave it as it is")


def cancel_plan(view: RunView) -> Wish:
    """Stop everything; asked again while that is under way, at once."""
    if view.phase is RunPhase.COMPLETE:
        return Wish(refusal="The run is complete: there is nothing to cancel.")
    if view.phase is RunPhase.CANCELLING:
        question = Question(
            "Stop what is left without its grace period?",
            (f"{_number(view.slots_used)} still stopping.",),
            "Kill now",
            "Wait for it",
        )
        return Wish((CancelPlan(kill=True),), question)
    return _ask(view, "Cancel the whole run?", [CancelPlan()], "Cancel the run", "Let it run")


def pause(view: RunView, scope: int = THE_RUN) -> Wish:
    """Pause, or go on. scope: a subplan, by its number."""
    if scope != THE_RUN:
        return Wish((ResumePlan(scope=scope) if view.scopes.all[scope].paused else PausePlan(scope=scope),))
    if view.phase in (RunPhase.PAUSED, RunPhase.DRAINING):
        return Wish((ResumePlan(),))
    if view.phase is RunPhase.RUNNING:
        return Wish((PausePlan(),))
    return Wish(refusal=f"The run is {view.phase}: there is nothing to pause.")


def slots(wanted: int, scope: int = THE_RUN) -> Wish:
    """So many at once. scope: in a subplan, by its number."""
    if not MIN_PARALLEL <= wanted <= MAX_PARALLEL:
        return Wish(refusal=f"Slots must be {MIN_PARALLEL} to {MAX_PARALLEL}.")
    return Wish((SetMaxParallel(slots=wanted, scope=scope),))


def failure_mode(view: RunView, mode: FailureMode, scope: int = THE_RUN) -> Wish:
    """Another failure mode; the one in force is nobody's wish. scope: of a subplan, by its number."""
    is_in_force = mode is view.scopes.all[scope].failure_mode
    return Wish() if is_in_force else Wish((SetFailureMode(mode=mode, scope=scope),))


def subplans_around(view: RunView, tasks: Sequence[int]) -> list[ScopeView]:
    """The subplans that all of these tasks stand for or belong to, the innermost first."""
    common: list[ScopeView] | None = None
    for index in tasks:
        around = [*filter(None, [view.scopes.subplan(index)]), *view.scopes.of(index).chain()]
        common = around if common is None else [scope for scope in common if scope in around]
    return common or []


def can_pause(view: RunView, scope: ScopeView) -> bool:
    """Whether a pause of the subplan makes sense, or its end."""
    return scope.paused or view.tasks[scope.task].state not in TERMINAL


def drain() -> Wish:
    """Finish what runs, start no more."""
    return Wish((DrainPlan(),))


# ── what is possible ────────────────────────────────────────────────────────────────────────────


def is_possible(view: RunView, key_id: str, tasks: Sequence[int]) -> bool:
    """Whether the action of a key makes sense now, for these tasks. What is not listed always does."""
    check = _POSSIBLE.get(key_id)
    return check is None or check(view, tasks)


def _any(test: Callable[[TaskState], bool]) -> Callable[[RunView, Sequence[int]], bool]:
    return lambda view, tasks: any(test(view.tasks[index].state) for index in tasks)


def _can_retry(state: TaskState) -> bool:
    return state in TERMINAL or state is TaskState.RETRYING


def _can_mark(state: TaskState) -> bool:
    return state not in AT_WORK and state is not TaskState.SUCCESS


_POSSIBLE: Final[dict[str, Callable[[RunView, Sequence[int]], bool]]] = {
    "task.retry": _any(_can_retry),
    "task.retry-all": _any(lambda state: state in TERMINAL),
    "task.cancel": _any(lambda state: state not in TERMINAL),
    "task.kill": _any(AT_WORK.__contains__),
    "task.hold": lambda view, tasks: any(_can_hold(view, index) for index in tasks),
    "task.settle": _any(lambda state: state in WAITING or _can_mark(state)),
    "plan.retry-failed": lambda view, tasks: bool(view.failures),
    "plan.cancel": lambda view, tasks: view.phase is not RunPhase.COMPLETE,
    "plan.pause": lambda view, tasks: view.phase not in (RunPhase.COMPLETE, RunPhase.CANCELLING),
    "plan.subplan": lambda view, tasks: bool(subplans_around(view, tasks)),
    "task.stall": lambda view, tasks: bool(view.stalled),
    "find.trouble": lambda view, tasks: bool(view.failures or view.stalled),
}


# ── words ───────────────────────────────────────────────────────────────────────────────────────


def foretell(view: RunView, *commands: Command) -> str:
    """What the commands will do together, as a sentence."""
    words = reach(view, *commands).words()
    return f"{words[0].upper()}{words[1:]}."


def foretell_failure(view: RunView, scope: int = THE_RUN) -> str:
    """What the next failure would do under fail-fast, as a sentence. scope: in a subplan, by its number."""
    found = reach_of_failure(view, scope)
    if not found.stops:
        return "Nothing runs that a failure could stop now."
    waiting = f"cancel {len(found.cancels)} that wait" if found.cancels else ""
    others = "stop the others that run" if len(found.stops) > 1 else ""
    would = " and ".join(filter(None, (others, waiting))) or "stop nothing else"
    return f"Under fail-fast a failure now would {would}. Now runs: {names_of(view.graph, found.stops)}."


def _ask(view: RunView, title: str, commands: Sequence[Command], yes: str, no: str) -> Wish:
    return Wish(tuple(commands), Question(title, (foretell(view, *commands),), yes, no))


def _can_hold(view: RunView, index: int) -> bool:
    state = view.tasks[index].state
    goes_on = state is TaskState.RUNNING and view.scopes.subplan(index) is not None
    return goes_on or state in WAITING


def _those(view: RunView, tasks: Sequence[int], test: Callable[[TaskState], bool]) -> list[int]:
    return [index for index in tasks if test(view.tasks[index].state)]


def _nothing(view: RunView, tasks: Sequence[int], why: str) -> Wish:
    if not tasks:
        return Wish(refusal="No task is selected.")
    if len(tasks) > 1:
        words = f"{names(view, tasks)}: {why}."
        return Wish(refusal=f"{words[0].upper()}{words[1:]}")
    task = view.tasks[tasks[0]]
    return Wish(refusal=f"{one_line(task.name)} is {task.state}: {why}.")


def names(view: RunView, tasks: Sequence[int]) -> str:
    """ "unit", "3 tasks"; of a matrix "all 3 of unit", or "2 of unit"."""
    if len(tasks) == 1:
        return one_line(view.tasks[tasks[0]].name)
    groups = {view.plan.tasks[index].group for index in tasks}
    group = groups.pop()
    if groups or group is None:
        return f"{len(tasks)} tasks"
    whole = "all " if len(tasks) == len(view.graph.group(group)) else ""
    return f"{whole}{len(tasks)} of {one_line(group)}"


def _number(tasks: int) -> str:
    return "1 task is" if tasks == 1 else f"{tasks} tasks are"
