"""From plan files within one another to one plan: matrices fanned out, subplans set in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from engine.errors import Fault, PlanInvalid
from engine.ground.spelling import quoted
from engine.plan.matrix import member_name
from engine.plan.model import Need, Plan, Subplan, Task
from engine.plan.reading import Document
from engine.plan.references import escape

TASKS: Final = 100_000
"""In all, where matrices and subplans multiply. A plan that writes every task down may have more."""


NEEDS: Final = 2_000_000
"""In all: every task of a matrix may need every task of another."""


class UnknownNeed(ValueError):
    """A task needs one that its own file does not have."""


def flatten(document: Document) -> Plan:
    """The whole plan. Raises `UnknownNeed`, and `PlanInvalid` where it grows beyond all bounds."""
    if not document.matrices and not document.subplans:
        return document.plan
    flattening = _Flattening()
    flattening.scope(document, 0, "")
    secrets = [*document.plan.secrets, *flattening.secrets]
    return replace(
        document.plan,
        tasks=tuple(flattening.tasks),
        subplans=tuple(flattening.subplans),
        secrets=tuple(dict.fromkeys(secrets)),
    )


class _Flattening:
    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.subplans: list[Subplan] = []
        self.secrets: list[str] = []
        self._count = 0
        self._needs: dict[int, dict[str, list[Need]]] = {}

    def scope(self, document: Document, scope: int, prefix: str) -> None:
        """Add the tasks of a file. prefix: of their names."""
        needs = self._local_needs(document)
        for task in document.plan.tasks:
            members = list(_members(document, task))
            row = tuple([Need(prefix + need.task, need.condition) for need in needs[task.name]])
            for member in members:
                self._count += len(row)
                if len(self.tasks) == TASKS or self._count > NEEDS:
                    what = f"{TASKS:,} tasks" if len(self.tasks) == TASKS else f"{NEEDS:,} needs"
                    message = f"here the plan has grown to more than {what}"
                    raise PlanInvalid([Fault(document.file, task.line, int(task.line > 0), message)])
                name = prefix + member.name
                group = None if member.group is None else prefix + member.group
                self.tasks.append(replace(member, name=name, group=group, needs=row, scope=scope))
                if (inner := document.subplans.get(task.name)) is not None:
                    self._subplan(inner, name, document.given[task.name])

    def _subplan(self, inner: Document, name: str, given: dict[str, str]) -> None:
        """Add what the task that was added last stands for."""
        plan = inner.plan
        self.secrets += plan.secrets
        params = {key: "" if default is None else escape(default) for key, default in inner.params.items()}
        self.subplans.append(
            Subplan(
                name=name,
                task=len(self.tasks) - 1,
                parent=self.tasks[-1].scope,
                failure_mode=plan.failure_mode,
                max_parallel=plan.max_parallel,
                params=params | given,
                outputs=inner.outputs,
                origins=plan.origins,
                env=plan.env,
                directory=plan.directory,
                source=plan.source,
            )
        )
        self.scope(inner, len(self.subplans), f"{name}/")

    def _local_needs(self, document: Document) -> dict[str, list[Need]]:
        """By the name of a task, what it needs, with each matrix replaced by its members."""
        known = self._needs.get(id(document))
        if known is None:
            names = {
                task.name: [member.name for member in _members(document, task)]
                for task in document.plan.tasks
            }
            names |= {member: [member] for members in [*names.values()] for member in members}
            try:
                known = {
                    task.name: [
                        Need(name, need.condition) for need in task.needs for name in names[need.task]
                    ]
                    for task in document.plan.tasks
                }
            except KeyError as error:
                raise UnknownNeed(f"unknown task {quoted(str(error.args[0]))}") from None
            self._needs[id(document)] = known
        return known


def _members(document: Document, task: Task) -> Iterator[Task]:
    """The tasks that a task of a file stands for: itself, if it has no matrix."""
    rows = document.matrices.get(task.name)
    if rows is None:
        yield task
        return
    for values in rows:
        yield replace(task, name=member_name(task.name, values), group=task.name, matrix=values)
