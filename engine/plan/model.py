"""The plan as it is run: small immutable structs, every default resolved, durations in seconds."""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import Any, Final

import msgspec

MIN_PARALLEL: Final = 1
MAX_PARALLEL: Final = 32


class FailureMode(StrEnum):
    """What one failed task means for the rest of its scope."""

    FAIL_FAST = "fail_fast"
    CONTINUE_ON_ERROR = "continue_on_error"
    PAUSE_ON_FAILURE = "pause_on_failure"


class Condition(StrEnum):
    """What a need asks of the task it names.

    SUCCESS is also met by a failure tolerated under `skip_on_failure`; FINISHED by any end at all.
    """

    SUCCESS = "success"
    FAILED = "failed"
    FINISHED = "finished"
    SKIPPED = "skipped"


class StallMeasure(StrEnum):
    """What a stall is measured by: no new output, or time since the attempt started."""

    SILENCE = "silence"
    ELAPSED = "elapsed"


class Need(msgspec.Struct, frozen=True, gc=False):
    """One dependency. task: the name of the task needed."""

    task: str
    condition: Condition = Condition.SUCCESS


class Retry(msgspec.Struct, frozen=True, gc=False):
    """limit: *re*-tries after the first attempt. delay, max_delay, jitter: seconds.
    exit_codes: the only codes worth a retry; None means all."""

    limit: int = 0
    delay: float = 0.5
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.05
    exit_codes: tuple[int, ...] | None = None


class Shutdown(msgspec.Struct, frozen=True, gc=False):
    """How an attempt is stopped. signal: sent first, to the whole group. grace: seconds until KILL."""

    signal: int = signal.SIGTERM
    grace: float = 10.0


class Simulation(msgspec.Struct, frozen=True, gc=False):
    """A pretended task. duration: seconds. fail_rate: 0..1 an attempt. output: lines a second."""

    duration: float = 1.0
    fail_rate: float = 0.0
    output: float = 0.0


class Hooks(msgspec.Struct, frozen=True, gc=False):
    """Commands that are told how a run fares, each as `Task.run`. timeout: seconds that one may take."""

    success: str | tuple[str, ...] | None = None
    failure: str | tuple[str, ...] | None = None
    stall: str | tuple[str, ...] | None = None
    unhealthy: str | tuple[str, ...] | None = None
    timeout: float = 30.0


NO_HOOKS: Final = Hooks()
NO_RETRY: Final = Retry()
DEFAULT_SHUTDOWN: Final = Shutdown()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the plan. Exactly one of `run`, `python`, `plan` and `simulate` is set.

    run: a string is given to `sh -c`, a tuple is an argv. python: "module:callable". plan: the file of
    the subplan that it stands for, as it was written; it runs nothing itself. arguments: what the
    callable is called with. interpreter: the Python that calls it, None for the one that runs plandeck.
    timeout: seconds an attempt, None for no limit. stall_after: seconds, None for never. working_dir:
    absolute, unless it holds a reference: then from the directory of its scope. env: over that of its
    scope. labels: what rules go by that choose its executor. route: the number, from 1, of the rule that did.
    scope: number of the plan that it belongs to, 0 for the one that is run, n for
    `Plan.subplans[n - 1]`. group: the name that it shares with the other members of its matrix, None for a
    task of its own. matrix: by key, what this member of a matrix has. line: where it stands in its file, 0
    if it came from elsewhere. given: the settings that it has itself, "timeout" or "retry.limit"; the
    others come from the levels that the `origins` of its plan name.

    The text in run, arguments, working_dir and env may hold references (`engine.plan.references`); for
    each attempt a dispatcher is given a task without (`engine.plan.rendering`).
    """

    name: str
    run: str | tuple[str, ...] | None = None
    python: str | None = None
    plan: str | None = None
    simulate: Simulation | None = None
    arguments: dict[str, Any] | None = None
    needs: tuple[Need, ...] = ()
    retry: Retry = NO_RETRY
    timeout: float | None = None
    stall_after: float | None = 30.0
    stall_measure: StallMeasure = StallMeasure.SILENCE
    skip_on_failure: bool = False
    priority: int = 50
    env: dict[str, str] | None = None
    working_dir: str | None = None
    shutdown: Shutdown = DEFAULT_SHUTDOWN
    interpreter: str | None = None
    executor: str = "local"
    labels: dict[str, str] | None = None
    route: int | None = None
    description: str = ""
    scope: int = 0
    group: str | None = None
    matrix: dict[str, str] | None = None
    line: int = 0
    given: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """What kind of task it is, as it stands in its id."""
        if self.run is not None:
            return "run"
        if self.simulate is not None:
            return "simulate"
        return "python" if self.python is not None else "plan"


class Subplan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan within the plan. Its tasks stand in `Plan.tasks` as "parent/step", right after their parent.

    name: the name of the task that stands for it, and the prefix of those inside. task: that task's index.
    parent: number of the scope around it. params: by name, what it was given or has by itself, with
    references to values of the scope around it. outputs: of the task that stands for it, with references
    to values inside. env: over that of the scope around it, with references to params. The rest: as in
    `Plan`.
    """

    name: str
    task: int
    parent: int
    failure_mode: FailureMode = FailureMode.FAIL_FAST
    max_parallel: int = 4
    params: dict[str, str] = {}
    outputs: dict[str, str] = {}
    origins: dict[str, str] = {}
    env: dict[str, str] = {}
    directory: str = "."
    source: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole plan. params: by name, as they are. origins: by setting, the level that it comes from
    (`engine.plan.levels`). env: for every task, with references to params. directory: where relative paths
    begin. source: its file. secrets: names of environment variables whose values are neither shown nor
    kept. subplans: every scope but the outermost, each after the one around it. hooks: for the whole run."""

    name: str
    tasks: tuple[Task, ...]
    goal: str | None = None
    failure_mode: FailureMode = FailureMode.FAIL_FAST
    max_parallel: int = 4
    params: dict[str, str] = {}
    origins: dict[str, str] = {}
    env: dict[str, str] = {}
    directory: str = "."
    source: str | None = None
    secrets: tuple[str, ...] = ()
    subplans: tuple[Subplan, ...] = ()
    hooks: Hooks = NO_HOOKS

    def scope_of(self, task: Task) -> Plan | Subplan:
        """The plan within the run that a task belongs to."""
        return self.subplans[task.scope - 1] if task.scope else self

    def file_of(self, task: Task) -> str:
        """What `Task.line` is a line of; the name of the plan where there is no file."""
        return self.scope_of(task).source or self.name

    @property
    def total(self) -> int:
        """How many tasks there are to do: what stands for a subplan does nothing itself."""
        return len(self.tasks) - len(self.subplans)
