"""From what was written to what is run: defaults applied, paths made absolute, names made numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from engine.plan.compose import Plain
from engine.plan.document import (
    DefaultsSection,
    HooksSection,
    PlanSection,
    RetrySection,
    Section,
    ShutdownSection,
    TaskSection,
)
from engine.plan.levels import GLOBAL, Layered, Levels, flat, routed
from engine.plan.model import (
    DEFAULT_SHUTDOWN,
    NO_HOOKS,
    NO_RETRY,
    Condition,
    FailureMode,
    Hooks,
    Need,
    Plan,
    Retry,
    Shutdown,
    Simulation,
    StallMeasure,
    Task,
)
from engine.plan.references import OPENING

_SETTINGS: Final = frozenset(DefaultsSection.model_fields)
STALL_AFTER: Final = 30.0
PRIORITY: Final = 50
MAX_PARALLEL: Final = 4


def resolve(
    document: PlanSection,
    settings: Layered,
    elsewhere: Levels,
    *,
    name: str,
    directory: str,
    source: str | None,
    lines: Mapping[str, int],
) -> Plan:
    """The plan that `document` describes.

    settings: of all levels. elsewhere: what is set outside the plan. name: for a plan that gives itself
    none. directory: absolute; where relative paths begin. source: the plan's file. lines: where each task
    stands in it.
    """
    common, origins = settings
    defaults = _Defaults(settings, elsewhere, directory)
    return Plan(
        name=document.name or name,
        tasks=tuple([defaults.task(name, task, lines.get(name, 0)) for name, task in document.tasks.items()]),
        goal=document.goal,
        failure_mode=common.failure_mode or FailureMode.FAIL_FAST,
        max_parallel=common.max_parallel or MAX_PARALLEL,
        origins=origins,
        env=document.env or {},
        secrets=tuple(dict.fromkeys(document.secrets or ())),
        directory=directory,
        source=source,
        hooks=_hooks(common.hooks),
    )


class _Defaults:
    """Makes tasks. Equal parts of them are shared, so that ten thousand tasks stay small."""

    def __init__(self, settings: Layered, elsewhere: Levels, directory: str) -> None:
        given, origins = settings
        self.above = {name: value for name, value in elsewhere.command_line if value is not None}
        self.routes = elsewhere.routes if origins.get("executor", GLOBAL) == GLOBAL else ()
        self.directory = Path(directory)
        self.needs: dict[tuple[str, Condition], Need] = {}
        self.retries: dict[RetrySection | int | None, Retry] = {None: NO_RETRY}
        self.retries = {None: self.retry(given.retry)}
        self.default_shutdown = self.shutdown(given.shutdown, DEFAULT_SHUTDOWN)
        self.timeout = None if given.timeout is None else _limited(given.timeout)
        self.stall_after = STALL_AFTER if given.stall_after is None else _limited(given.stall_after)
        self.stall_measure = given.stall_measure or StallMeasure.SILENCE
        self.priority = PRIORITY if given.priority is None else given.priority
        self.working_dir = self.folder(given.working_dir, directory)
        self.interpreter = self.program(given.interpreter)
        self.executor = given.executor or "local"
        self.skip_on_failure = bool(given.skip_on_failure)

    def task(self, name: str, section: TaskSection, line: int) -> Task:
        own = section.model_fields_set & _SETTINGS
        given = tuple(flat(section)) if own else ()
        if self.above:
            section = section.model_copy(update=self.above)
        run, skip = section.run, section.skip_on_failure
        if section.plan is not None:
            return Task(
                name=name,
                plan=section.plan,
                needs=self.needed(section),
                stall_after=None,
                skip_on_failure=self.skip_on_failure if skip is None else skip,
                description=section.description or "",
                line=line,
                given=given,
            )
        route = None
        if self.routes and section.executor is None:
            route = routed(section.labels or {}, self.routes)
        executor = self.executor if route is None else self.routes[route - 1].executor
        return Task(
            name=name,
            run=tuple(run) if isinstance(run, list) else run,
            python=section.python,
            arguments=None if section.arguments is None else plain(section.arguments),
            simulate=None if section.simulate is None else Simulation(**_given(section.simulate)),
            needs=self.needed(section),
            retry=self.retry(section.retry),
            timeout=self.timeout if section.timeout is None else _limited(section.timeout),
            stall_after=self.stall_after if section.stall_after is None else _limited(section.stall_after),
            stall_measure=section.stall_measure or self.stall_measure,
            skip_on_failure=self.skip_on_failure if skip is None else skip,
            priority=self.priority if section.priority is None else section.priority,
            env=section.env,
            working_dir=self.folder(section.working_dir, self.working_dir),
            shutdown=self.shutdown(section.shutdown, self.default_shutdown),
            interpreter=self.program(section.interpreter) or self.interpreter,
            executor=section.executor or executor,
            labels=section.labels,
            route=route,
            description=section.description or "",
            line=line,
            given=given,
        )

    def needed(self, section: TaskSection) -> tuple[Need, ...]:
        given = section.depends_on if section.needs is None else section.needs
        if not given:
            return ()
        pairs = given.items() if isinstance(given, dict) else [(name, Condition.SUCCESS) for name in given]
        needs = self.needs
        row = []
        for pair in pairs:
            if pair not in needs:
                needs[pair] = Need(*pair)
            row.append(needs[pair])
        return tuple(row)

    def retry(self, given: RetrySection | int | None) -> Retry:
        """Laid over the default field by field."""
        if given not in self.retries:
            fields = {"limit": given} if isinstance(given, int) else _given(given)
            self.retries[given] = replace(self.retries[None], **fields)
        return self.retries[given]

    def shutdown(self, given: ShutdownSection | None, default: Shutdown) -> Shutdown:
        return default if given is None else replace(default, **_given(given))

    def program(self, given: str | None) -> str | None:
        """A bare name is looked for where programs are."""
        return str(self.directory / given) if given and "/" in given else given

    def folder(self, given: str | None, default: str) -> str:
        if given and OPENING in given:
            return given  # what it begins with is known only later
        return str(self.directory / given) if given else default


def plain(value: Any) -> Any:
    """As it is handed to a callable: what looks like a number or a truth value without quotes is one."""
    if type(value) is Plain:
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _hooks(given: HooksSection | None) -> Hooks:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in _given(given).items()
    }
    return Hooks(**fields) if fields else NO_HOOKS


def _given(section: Section | None) -> dict[str, Any]:
    fields = {} if section is None else {name: getattr(section, name) for name in section.model_fields_set}
    return {name: value for name, value in fields.items() if value is not None}


def _limited(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds
