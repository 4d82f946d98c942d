"""What can go wrong, as exceptions that carry a message for people."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class PlandeckError(Exception):
    """The base of all that the engine raises on purpose."""


class Fault(msgspec.Struct, frozen=True, order=True):
    """One mistake in a plan file or in the settings. line and column count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        if not self.line:
            return f"{self.file}: {self.message}"
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class PlanInvalid(PlandeckError):
    """The plan cannot be run. faults: every one found, in the order of the file."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class SettingsInvalid(PlandeckError):
    """The settings cannot be used. faults: every one found, in the order of the file."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class CommandRefused(PlandeckError):
    """A command makes no sense now; the message says why and what would."""


class RunFailed(PlandeckError):
    """Raised on request (`PlanResult.raise_for_outcome`) for a run that did not succeed."""


class SubplanExecutionError(RunFailed):
    """A subplan that stops at the first failure has failed. subplan, task, error: its name, the name of the
    task that failed first inside, and how."""

    def __init__(self, subplan: str, task: str, error: str) -> None:
        self.subplan = subplan
        self.task = task
        self.error = error
        super().__init__(f"{task} failed: {error}")


class AggregateSubplanError(RunFailed):
    """A subplan that goes on after failures has failed. subplan: its name. failures: (task, error) of each
    task that failed inside, in the order in which they failed."""

    def __init__(self, subplan: str, failures: Sequence[tuple[str, str]]) -> None:
        self.subplan = subplan
        self.failures = tuple(failures)
        number = "1 task" if len(failures) == 1 else f"{len(failures)} tasks"
        super().__init__(f"{number} failed: " + "; ".join(f"{task}: {error}" for task, error in failures))


class ExecutorUnusable(PlandeckError):
    """An executor that a plan names is known, but cannot be used; the message says why."""


class StoreError(PlandeckError):
    """What is kept of runs cannot be read or written; the message names the file and what to do."""


class MetricsUnusable(PlandeckError):
    """Metrics cannot be served; the message names the address and says why."""
