"""The levels at which the same thing can be set, laid over one another field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from engine.ground.spelling import Speller, quoted
from engine.plan.document import (
    DefaultsSection,
    HooksSection,
    PlanSection,
    ProfileSection,
    RetrySection,
    Section,
    ShutdownSection,
)
from engine.plan.model import Plan, Subplan, Task

COMMAND_LINE: Final = "command line"
PLAN: Final = "plan"
TASK: Final = "task"
ROUTE: Final = "route"
GLOBAL: Final = "global"
BUILT_IN: Final = "built-in"

NOTHING: Final = ProfileSection.model_construct()  # there is nothing to check, so no checks need be built

_PLAN_WIDE: Final = tuple(
    name for name in ProfileSection.model_fields if name not in DefaultsSection.model_fields
)

_OF_SUBPLANS: Final = ("failure_mode", "max_parallel")

PARTS: Final[dict[str, type[Section]]] = {
    "retry": RetrySection,
    "shutdown": ShutdownSection,
    "hooks": HooksSection,
}
"""The settings that are laid over one another part by part."""


class Route(NamedTuple):
    """A rule: tasks that have all these labels go to this executor."""

    labels: Mapping[str, str]
    executor: str


class Levels(NamedTuple):
    """What is set outside a plan's file. command_line: stands above the plan. profiles: by name; the plan
    chooses one. routes: for tasks whose plan names no executor, the first that fits. defaults: hold for
    every plan."""

    command_line: ProfileSection = NOTHING
    profiles: Mapping[str, ProfileSection] = {}
    defaults: ProfileSection = NOTHING
    routes: Sequence[Route] = ()


class Level(NamedTuple):
    """One level. name: as it is told to people, "profile cautious"."""

    name: str
    settings: ProfileSection


class Layered(NamedTuple):
    """What holds once all levels lie over one another. origins: the name of the level that each field comes
    from, by "timeout" or "retry.limit"; what is not among them is built in."""

    settings: ProfileSection
    origins: dict[str, str]


class UnknownProfile(ValueError):
    """A plan names a profile that there is not. Never replaced by another one in silence."""


def levels_of(document: PlanSection | None, elsewhere: Levels) -> list[Level]:
    """All the levels that concern a plan's file, the strongest first.

    document: None for a plan that sets nothing itself. Raises `UnknownProfile`.
    """
    levels = [Level(COMMAND_LINE, elsewhere.command_line)]
    if document is not None:
        levels.append(Level(PLAN, _own(document)))
        if document.profile is not None:
            levels.append(_profile(document.profile, {**elsewhere.profiles, **(document.profiles or {})}))
    return [*levels, Level(GLOBAL, elsewhere.defaults)]


def _profile(name: str, profiles: Mapping[str, ProfileSection]) -> Level:
    if name not in profiles:
        known = f"; there are {', '.join(map(quoted, profiles))}" if profiles else "; there are none"
        hint = Speller(profiles).hint(name) or known
        raise UnknownProfile(f"there is no profile {quoted(name)}{hint}")
    return Level(f"profile {name}", profiles[name])


def routed(labels: Mapping[str, str], routes: Sequence[Route]) -> int | None:
    """The number, from 1, of the first rule that fits."""
    for number, route in enumerate(routes, 1):
        if all(labels.get(name) == value for name, value in route.labels.items()):
            return number
    return None


def layered(levels: Sequence[Level]) -> Layered:
    """For each field what the first level says that says anything. levels: the strongest first."""
    fields: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, settings in levels:
        for field, value in flat(settings).items():
            if field not in fields:
                fields[field] = value
                origins[field] = name
    return Layered(_nested(fields), origins)


def flat(settings: DefaultsSection) -> dict[str, Any]:
    """The fields that are given, parts of fields by themselves: "retry.limit"."""
    fields: dict[str, Any] = {}
    for name, value in _given(settings, ProfileSection):
        if name in PARTS:
            section = value if isinstance(value, Section) else RetrySection(limit=value)
            fields |= {f"{name}.{part}": given for part, given in _given(section, PARTS[name])}
        else:
            fields[name] = value
    return fields


def _given(section: Section, known: type[Section]) -> Iterator[tuple[str, Any]]:
    """The fields that have a value, in the order of the models."""
    for name in known.model_fields:
        if name in section.model_fields_set and (value := getattr(section, name)) is not None:
            yield name, value


def plan_fields() -> list[str]:
    """The settings of a plan as a whole, by the names that `flat` gives them."""
    return _named(_PLAN_WIDE)


def task_fields() -> list[str]:
    """The settings of a task, by the names that `flat` gives them."""
    return _named(DefaultsSection.model_fields)


def _named(names: Iterable[str]) -> list[str]:
    return [
        field
        for name in names
        for field in ([f"{name}.{part}" for part in PARTS[name].model_fields] if name in PARTS else [name])
    ]


def origin(task: Task, origins: Mapping[str, str], field: str) -> str:
    """The level that a setting of a task comes from. origins: of the plan that the task belongs to."""
    level = origins.get(field, BUILT_IN)
    if field == "executor" and task.route is not None:
        return f"{ROUTE} {task.route}"
    return TASK if field in task.given and level != COMMAND_LINE else level


class Effective(NamedTuple):
    """A setting that holds. scope: the name of the subplan it belongs to, "" for the plan itself. task: None
    for what holds for the plan as a whole. value: durations in seconds."""

    scope: str
    task: str | None
    field: str
    value: Any
    level: str

    @property
    def is_own(self) -> bool:
        """Whether it is the task's own, not what all tasks of its plan have."""
        return self.level == TASK or self.level.startswith(f"{ROUTE} ")


def effective(plan: Plan) -> Iterator[Effective]:
    """Every setting of a plan and of its tasks, with the level that it comes from; scope by scope."""
    scopes: list[tuple[str, Plan | Subplan]] = [("", plan), *((each.name, each) for each in plan.subplans)]
    for number, (name, scope) in enumerate(scopes):
        for field in plan_fields():
            if scope is plan or field in _OF_SUBPLANS:
                yield Effective(name, None, field, _value(scope, field), scope.origins.get(field, BUILT_IN))
        for task in plan.tasks:
            if task.scope == number:
                for field in task_fields():
                    level = origin(task, scope.origins, field)
                    yield Effective(name, task.name, field, _value(task, field), level)


def _value(owner: object, field: str) -> Any:
    for name in field.split("."):
        owner = getattr(owner, name)
    return owner


def _nested(fields: Mapping[str, Any]) -> ProfileSection:
    """The other way round."""
    parts: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for field, value in fields.items():
        name, _, part = field.partition(".")
        if part:
            parts.setdefault(name, {})[part] = value
        else:
            plain[name] = value
    for name, values in parts.items():
        plain[name] = PARTS[name].model_construct(**values)
    return ProfileSection.model_construct(**plain)


def _own(document: PlanSection) -> ProfileSection:
    """What the plan says for all its tasks: the keys of its defaults, and those that stand beside them."""
    given = {name: value for name, value in document.defaults or () if value is not None}
    for name in (*_PLAN_WIDE, "skip_on_failure"):
        value = getattr(document, name)
        if value is not None:
            given.setdefault(name, value)
    return ProfileSection.model_construct(**given)
