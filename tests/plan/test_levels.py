"""Settings at several levels: for every field the strongest level that says anything holds."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PlanInvalid
from engine.plan.document import ProfileSection
from engine.plan.levels import Levels, Route, origin, plan_fields, task_fields
from engine.plan.load import load_plan, parse_plan
from engine.plan.model import Plan

LEVELS = ("command line", "task", "plan", "profile cautious", "global")

# for each field a value a level, as it is written, and as it is in the plan that is run
SETTINGS: dict[str, list[tuple[object, object]]] = {
    "failure_mode": [
        ("continue_on_error", "continue_on_error"),
        ("pause_on_failure", "pause_on_failure"),
        ("continue_on_error", "continue_on_error"),
        ("pause_on_failure", "pause_on_failure"),
        ("continue_on_error", "continue_on_error"),
    ],
    "max_parallel": [(number, number) for number in (5, 6, 7, 8, 9)],
    "hooks.success": [(f"tell {number}", f"tell {number}") for number in range(5)],
    "hooks.failure": [(["tell", str(number)], ("tell", str(number))) for number in range(5)],
    "hooks.stall": [(f"tell {number}", f"tell {number}") for number in range(5)],
    "hooks.unhealthy": [(f"tell {number}", f"tell {number}") for number in range(5)],
    "hooks.timeout": [(f"{number}s", float(number)) for number in (1, 2, 3, 4, 5)],
    "retry.limit": [(number, number) for number in (1, 2, 3, 4, 5)],
    "retry.delay": [(f"{number}s", float(number)) for number in (1, 2, 3, 4, 5)],
    "retry.backoff": [(number, float(number)) for number in (3, 4, 5, 6, 7)],
    "retry.max_delay": [(f"{number}m", number * 60.0) for number in (2, 3, 4, 5, 6)],
    "retry.jitter": [(f"{number}ms", number / 1000) for number in (1, 2, 3, 4, 5)],
    "retry.exit_codes": [([number], (number,)) for number in (1, 2, 3, 4, 5)],
    "timeout": [(f"{number}h", number * 3600.0) for number in (1, 2, 3, 4)] + [("never", None)],
    "stall_after": [("never", None)] + [(f"{number}s", float(number)) for number in (1, 2, 3, 4)],
    "stall_measure": [
        ("elapsed", "elapsed"),
        ("silence", "silence"),
        ("elapsed", "elapsed"),
        ("silence", "silence"),
        ("elapsed", "elapsed"),
    ],
    "skip_on_failure": [(True, True), (False, False), (True, True), (False, False), (True, True)],
    "priority": [(number, number) for number in (1, 0, 3, 4, 5)],
    "working_dir": [(f"sub{number}", f"/plans/sub{number}") for number in range(5)],
    "shutdown.signal": [
        (name, number) for name, number in (("INT", 2), ("HUP", 1), ("QUIT", 3), ("USR1", 10), ("INT", 2))
    ],
    "shutdown.grace": [(f"{number}s", float(number)) for number in (1, 2, 3, 4, 5)],
    "interpreter": [(f"bin/python{number}", f"/plans/bin/python{number}") for number in range(5)],
    "executor": [(name, name) for name in ("dask", "local", "gpu", "local-2", "a.b")],
}

BUILT_IN: dict[str, object] = {
    "failure_mode": "fail_fast",
    "max_parallel": 4,
    "hooks.success": None,
    "hooks.failure": None,
    "hooks.stall": None,
    "hooks.unhealthy": None,
    "hooks.timeout": 30.0,
    "retry.limit": 0,
    "retry.delay": 0.5,
    "retry.backoff": 2.0,
    "retry.max_delay": 60.0,
    "retry.jitter": 0.05,
    "retry.exit_codes": None,
    "timeout": None,
    "stall_after": 30.0,
    "stall_measure": "silence",
    "skip_on_failure": False,
    "priority": 50,
    "working_dir": "/plans",
    "shutdown.signal": 15,
    "shutdown.grace": 10.0,
    "interpreter": None,
    "executor": "local",
}


def nested(field: str, value: object) -> dict[str, Any]:
    name, _, part = field.partition(".")
    return {name: {part: value}} if part else {name: value}


def section(field: str, value: object) -> ProfileSection:
    return ProfileSection.model_validate(nested(field, value))


def found(plan: Plan, field: str) -> object:
    value: object = plan if field in plan_fields() else plan.tasks[0]
    for name in field.split("."):
        value = getattr(value, name)
    return value


def test_every_setting_is_tried() -> None:
    assert [*SETTINGS] == [*plan_fields(), *task_fields()] == [*BUILT_IN]


@pytest.mark.parametrize("field", SETTINGS)
def test_every_combination_of_levels(field: str) -> None:
    plan_wide = field in plan_fields()
    for said in product((False, True), repeat=len(LEVELS)):
        written = {
            level: value for level, value, yes in zip(LEVELS, SETTINGS[field], said, strict=True) if yes
        }
        if plan_wide:
            written.pop("task", None)
        document: dict[str, Any] = {
            "profile": "cautious",
            "profiles": {"cautious": {}},
            "tasks": {"a": {"run": "true"}},
        }
        if "plan" in written:
            beside = nested(field, written["plan"][0])
            document |= beside if plan_wide else {"defaults": beside}
        if "profile cautious" in written:
            document["profiles"]["cautious"] = nested(field, written["profile cautious"][0])
        if "task" in written:
            document["tasks"]["a"] |= nested(field, written["task"][0])
        elsewhere = Levels()
        if "command line" in written:
            elsewhere = elsewhere._replace(command_line=section(field, written["command line"][0]))
        if "global" in written:
            elsewhere = elsewhere._replace(defaults=section(field, written["global"][0]))
        if field.startswith("retry.") and field != "retry.limit":
            document.setdefault("defaults", {}).setdefault("retry", {})["limit"] = 1
        plan = parse_plan(document, directory="/plans", levels=elsewhere)
        strongest = next((level for level in LEVELS if level in written), "built-in")
        expected = written[strongest][1] if strongest in written else BUILT_IN[field]
        assert found(plan, field) == expected, said
        if plan_wide:
            assert plan.origins.get(field, "built-in") == strongest
        else:
            assert origin(plan.tasks[0], plan.origins, field) == strongest


def test_a_profile_of_the_plan_hides_the_users_of_the_same_name() -> None:
    document = {
        "profile": "bold",
        "profiles": {"bold": {"max_parallel": 7}},
        "tasks": {"a": {"run": "true"}, "b": {"run": "true"}},
    }
    users = {"bold": ProfileSection(max_parallel=3, priority=1), "other": ProfileSection(priority=2)}
    plan = parse_plan(document, levels=Levels(profiles=users))
    assert plan.max_parallel == 7
    assert plan.tasks[0].priority == 50
    assert parse_plan({**document, "profile": "other"}, levels=Levels(profiles=users)).tasks[1].priority == 2


def test_an_unknown_profile_is_never_replaced_by_another() -> None:
    users = Levels(profiles={"cautious": ProfileSection()})
    with pytest.raises(PlanInvalid, match="did you mean 'cautious'"):
        parse_plan({"profile": "cautios", "tasks": {"a": {"run": "true"}}}, levels=users)


def test_a_limit_of_retries_may_come_from_any_level() -> None:
    document = {"tasks": {"a": {"run": "true", "retry": {"delay": "1s"}}}}
    levels = Levels(defaults=ProfileSection.model_validate({"retry": 2}))
    assert parse_plan(document, levels=levels).tasks[0].retry.limit == 2
    with pytest.raises(PlanInvalid, match="retry without a limit"):
        parse_plan(document)


def test_the_plan_wide_skip_on_failure_gives_way_to_the_defaults() -> None:
    document = {"skip_on_failure": True, "tasks": {"a": {"run": "true"}}}
    assert parse_plan(document).tasks[0].skip_on_failure
    assert not parse_plan({**document, "defaults": {"skip_on_failure": False}}).tasks[0].skip_on_failure


def test_a_recorded_workflow_takes_what_concerns_the_run(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(
        '{"name": "w", "schemaVersion": "1.5", "workflow": {"specification": {"tasks": '
        '[{"name": "a", "id": "a", "parents": [], "children": []}]}, '
        '"execution": {"tasks": [{"id": "a", "runtimeInSeconds": 1}]}}}'
    )
    levels = Levels(
        command_line=ProfileSection(max_parallel=2), defaults=ProfileSection(max_parallel=3, priority=1)
    )
    plan = load_plan(path, levels=levels)
    assert plan.max_parallel == 2
    assert plan.origins == {"max_parallel": "command line"}


class TestRoutes:
    ROUTES = (Route({"gpu": "yes", "size": "big"}, "cluster"), Route({"gpu": "yes"}, "gpu"))

    def executor(self, labels: dict[str, str], levels: Levels, **more: object) -> tuple[str, str]:
        document = {"tasks": {"a": {"run": "true", "labels": labels}}, **more}
        plan = parse_plan(document, levels=levels)
        (task,) = plan.tasks
        return task.executor, origin(task, plan.origins, "executor")

    @pytest.mark.parametrize(
        ("labels", "found"),
        [
            ({}, ("local", "built-in")),
            ({"gpu": "no"}, ("local", "built-in")),
            ({"gpu": "yes"}, ("gpu", "route 2")),
            ({"gpu": "yes", "size": "big", "more": "x"}, ("cluster", "route 1")),
        ],
    )
    def test_the_first_rule_that_fits_holds(self, labels: dict[str, str], found: tuple[str, str]) -> None:
        assert self.executor(labels, Levels(routes=self.ROUTES)) == found

    def test_they_stand_above_the_defaults_of_the_user_alone(self) -> None:
        gpu = {"gpu": "yes"}
        user = Levels(routes=self.ROUTES, defaults=ProfileSection(executor="usual"))
        assert self.executor(gpu, user) == ("gpu", "route 2")
        assert self.executor({}, user) == ("usual", "global")
        assert self.executor(gpu, user, defaults={"executor": "own"}) == ("own", "plan")
        line = user._replace(command_line=ProfileSection(executor="line"))
        assert self.executor(gpu, line) == ("line", "command line")
        profile = {"profile": "p", "profiles": {"p": {"executor": "chosen"}}}
        assert self.executor(gpu, user, **profile) == ("chosen", "profile p")
        document = {"tasks": {"a": {"run": "true", "labels": gpu, "executor": "mine"}}}
        assert parse_plan(document, levels=user).tasks[0].executor == "mine"
