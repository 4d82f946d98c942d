"""Goals on the command line: the list, one of them, and giving one up."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from engine.core.state import Outcome
from engine.ground.folders import run_directory, state_directory
from engine.plan.graph import Graph
from engine.store.journal import Journal
from engine.store.lock import RunLock
from tests.support.events import EventFactory
from tests.support.inside import Cli
from tests.support.journals import DIAMOND, broken_diamond, diamond, write_run

RELEASE = msgspec.structs.replace(DIAMOND, goal="Ship 2.4\x1b[31m")
REST = msgspec.structs.replace(DIAMOND, goal="rest")


@pytest.fixture
def state() -> Path:
    return state_directory()


def test_without_any_it_says_where_they_come_from(call: Cli) -> None:
    assert call("goals") == (0, "", "no goals yet: a plan with `goal:` has one\n")
    assert call("goals", "--json") == (0, "", "")


def test_the_list_says_how_each_stands_and_how_its_last_run_went(call: Cli, state: Path) -> None:
    write_run(state, broken_diamond("aaaaaaaa-1"), RELEASE)
    write_run(state, diamond("bbbbbbbb-2"), RELEASE)
    write_run(state, broken_diamond("cccccccc-3"), REST)
    code, out, _ = call("goals")
    head, *lines = out.splitlines()
    assert code == 0
    assert head.split() == ["STATE", "SINCE", "RUNS", "LAST", "RUN", "GOAL"]
    release, rest = sorted(lines, key=lambda line: "rest" in line)
    assert release.startswith("✔ achieved")
    assert "2     bbbbbbbb success  Ship 2.4" in release
    assert "\x1b" not in release
    assert rest.startswith("✖ failed")
    assert "1     cccccccc failed" in rest


def test_the_list_for_programs(call: Cli, state: Path) -> None:
    write_run(state, diamond("aaaaaaaa-1"), REST)
    _, out, _ = call("goals", "--json")
    goal = json.loads(out)
    assert {key: goal[key] for key in ("schema", "goal", "state", "runs")} == {
        "schema": 1,
        "goal": "rest",
        "state": "achieved",
        "runs": 1,
    }
    assert goal["last_run"]["run_id"] == "aaaaaaaa-1"
    assert goal["since"].endswith("+00:00")


def test_one_goal_shows_its_moves_its_runs_and_what_to_do_next(call: Cli, state: Path) -> None:
    write_run(state, broken_diamond("aaaaaaaa-1"), REST)
    code, out, _ = call("goals", "show", "re")
    assert code == 0
    title, *moves = out.split("\n\n")[0].splitlines()
    assert title == "✖ rest: failed"
    assert [line.split()[2:] for line in moves] == [
        ["pending", "run", "aaaaaaaa"],
        ["active", "run", "aaaaaaaa"],
        ["failed", "run", "aaaaaaaa"],
    ]
    assert "1 run:\n" in out
    assert out.endswith("Next: plandeck retry aaaaaaaa\n")


def test_what_to_do_next_depends_on_how_it_stands(call: Cli, state: Path) -> None:
    made = EventFactory(Graph(REST), run_id="aaaaaaaa-1")
    made.plan_started()
    with RunLock(run_directory(state, "aaaaaaaa-1")), Journal.create(state, "aaaaaaaa-1", REST) as journal:
        journal.commit(made.events)
        assert call("goals", "show", "rest")[1].endswith("Next: plandeck attach aaaaaaaa\n")
        made.cancelled("A")
        made.plan_completed(Outcome.CANCELLED)
        journal.commit(made.events[1:])
    assert call("goals", "show", "rest")[1].endswith("Next: plandeck resume aaaaaaaa\n")
    write_run(state, diamond("bbbbbbbb-2"), REST)
    assert "Next:" not in call("goals", "show", "rest")[1]


def test_giving_one_up(call: Cli, state: Path) -> None:
    write_run(state, broken_diamond("aaaaaaaa-1"), REST)
    assert call("goals", "abandon", "rest") == (0, "abandoned: rest\n", "")
    assert call("goals", "abandon", "rest") == (2, "", "Error: the goal is abandoned already\n")
    assert "abandoned by a person" in call("goals", "show", "rest")[1]


def test_giving_one_up_leaves_its_run_alone_and_says_so(call: Cli, state: Path) -> None:
    with RunLock(run_directory(state, "aaaaaaaa-1")), Journal.create(state, "aaaaaaaa-1", REST) as journal:
        journal.commit(diamond("aaaaaaaa-1")[:1])
        _, _, err = call("goals", "abandon", "rest")
    assert err == "run aaaaaaaa goes on; to stop it: plandeck cancel aaaaaaaa\n"


def test_mistakes_are_told(call: Cli) -> None:
    assert call("goals", "show", "x") == (
        2,
        "",
        "Error: no goal begins with 'x': `plandeck goals` lists them\n",
    )
    code, _, err = call("goals", "--json", "show", "x")
    assert (code, "--json goes with the list" in err) == (2, True)
