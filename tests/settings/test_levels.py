"""Defaults and profiles in `config.toml`: what they come to, and what is wrong with them."""

from __future__ import annotations

import pytest

from engine.errors import SettingsInvalid
from engine.plan.document import ProfileSection
from engine.plan.levels import Levels, Route
from engine.plan.load import parse_plan
from engine.settings.levels import levels_in
from engine.settings.model import Settings, SettingsFile
from engine.settings.reader import parse_settings

FILE = """\
[defaults]
timeout = "10m"
retry = 1
max_parallel = 8
working_dir = "work"
hooks.failure = ["page-me", "--now"]

[profiles.cautious]
max_parallel = 1
retry = { limit = 3, delay = "1s" }
"""


def faults(text: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as invalid:
        levels_in(parse_settings(text, "config.toml"))
    return [str(fault) for fault in invalid.value.faults]


def test_without_a_file_there_is_nothing_behind_the_plan() -> None:
    assert levels_in(SettingsFile(Settings())) == Levels()


def test_they_stand_behind_the_plan() -> None:
    levels = levels_in(parse_settings(FILE, "config.toml"), ProfileSection(max_parallel=2))
    plan = parse_plan(
        {"profile": "cautious", "tasks": {"a": {"run": "true", "retry": {"delay": "2s"}}}},
        directory="/plans",
        levels=levels,
    )
    (task,) = plan.tasks
    assert (plan.max_parallel, task.timeout, task.retry.limit, task.retry.delay) == (2, 600.0, 3, 2.0)
    assert task.working_dir == "/plans/work"
    assert plan.hooks.failure == ("page-me", "--now")
    assert plan.origins == {
        "max_parallel": "command line",
        "retry.limit": "profile cautious",
        "retry.delay": "profile cautious",
        "timeout": "global",
        "working_dir": "global",
        "hooks.failure": "global",
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    {
        "[defaults]\nmax_parallel = 33": "config.toml:2:1: max_parallel must be at most 32, not 33",
        "[defaults]\nmax_parallel = 0": "config.toml:2:1: max_parallel must be at least 1, not 0",
        "[profiles.x]\na = 1\nmax_parallel = 99": "config.toml:3:1: max_parallel must be at most 32, not 99",
        "[defaults]\ntimout = '1s'": "config.toml:2:1: unknown key 'timout', did you mean 'timeout'?",
        "[profiles.x.retry]\nlimt = 1": "config.toml:2:1: unknown key 'limt', did you mean 'limit'?",
        "[defaults]\nretry.limit = 101": "config.toml:2:1: limit must be at most 100, not 101",
        "[profiles]\nx = 3": "config.toml:2:1: x must be a table",
        "[[routes]]\nlabels = {a = 'b'}": "config.toml:1:3: 'executor' is missing",
        "[[routes]]\nexecutor = 'x'\nlabels = {a = 3}": "config.toml:3:11: a must be text, not 3",
        "[executors]\nx = 3": "config.toml:2:1: x must be a table, not 3",
    }.items(),
)
def test_what_is_wrong(text: str, fault: str) -> None:
    assert fault in faults(text)


def test_everything_wrong_is_told_at_once() -> None:
    assert len(faults("[defaults]\npriority = 101\n[profiles.x]\npriority = -1\nstall_after = 3")) == 3


def test_rules_and_executors() -> None:
    file = parse_settings(
        "[[routes]]\nlabels = {gpu = 'yes'}\nexecutor = 'cluster'\n"
        "[executors.cluster]\nkind = 'dask'\naddress = 'tcp://10.0.0.1:8786'\n",
        "config.toml",
    )
    assert levels_in(file).routes == (Route({"gpu": "yes"}, "cluster"),)
    assert file.settings.executors == {"cluster": {"kind": "dask", "address": "tcp://10.0.0.1:8786"}}
