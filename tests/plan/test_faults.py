"""What a plan file can get wrong, and the exact words in which it is told, each at its line and column."""

# ruff: noqa: E501 (messages stand in one piece, to be found by searching)
from __future__ import annotations

import pytest

from engine.errors import PlanInvalid
from engine.plan.load import parse_plan


def faults(text: str | bytes) -> list[str]:
    """The faults of a plan file named `f`."""
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(text, source="f")
    assert str(caught.value).isprintable() or "\n" in str(caught.value)
    return [str(fault) for fault in caught.value.faults]


A = "tasks: {a: {run: x}}\n"

NOT_A_PLAN = {
    "": "f: holds no plan: it is empty",
    "# only words\n": "f: holds no plan: it is empty",
    "---\n": "f: holds no plan: it is empty",
    "null": "f: holds no plan: it is empty",
    "hello": "f:1:1: a plan must be a mapping, with the key 'tasks'",
    "\n- a\n- b": "f:2:1: a plan must be a mapping, with the key 'tasks'",
    '"a"': "f:1:1: a plan must be a mapping, with the key 'tasks'",
    "name: x": "f:1:1: 'tasks' is missing",
    f"{A}---\n{A}": "f:2:1: a second document begins here, but a file holds one plan",
    "a: b: c": "f:1:5: a ':' cannot stand here; text that holds one needs quotes",
    "a:\n\tb: 1": "f:2:1: a tab cannot indent YAML; use spaces",
    "a: [b\nc: d": "f:2:2: not YAML: did not find expected ',' or ']' while parsing a flow sequence that begins on line 1",
    "a: 'b": "f:1:6: not YAML: found unexpected end of stream while scanning a quoted scalar that begins on line 1",
    "a: b\n  c: d\n e: f": "f:2:4: a ':' cannot stand here; text that holds one needs quotes",
    "a: x\n\x1b[31m: y": "f:2:1: character '\\x1b' cannot stand here; in double quotes it can be escaped",
    "a: \0": "f:1:4: character '\\x00' cannot stand here; in double quotes it can be escaped",
    "a: \ud800": "f:1:4: character '\\ud800' cannot stand here; in double quotes it can be escaped",
    "%YAML 9.9\n---\na: b": "f:1:1: not YAML: found incompatible YAML document",
    "{a: b}}": "f:1:7: the plan has ended, but the text goes on",
    "a: *b": "f:1:4: alias '*b' names no anchor above it",
    "a: &b [*b]": "f:1:8: alias '*b' stands inside what it names",
    "a: " + "[" * 65: "f:1:67: nested more than 64 deep",
}


@pytest.mark.parametrize(("text", "fault"), NOT_A_PLAN.items())
def test_what_is_no_plan_at_all(text: str, fault: str) -> None:
    assert faults(text) == [fault]


IN_THE_PLAN = {
    # YAML
    "name: x\nname: y\n": "2:1: duplicate key 'name', first on line 1",
    "name: !!str 5\ngoal: !x y": "2:7: tag '!x' means nothing here; values need no tags",
    "env: !x {A: b}": "1:6: tag '!x' means nothing here; values need no tags",
    "? [a]\n: b": "1:3: a key must be text",
    "? {a: b}\n: {c: d}": "1:3: a key must be text",
    "env: {<<: 5}": "1:11: '<<' takes a mapping, or a list of mappings",
    "env: {<<: [{A: b}, c]}": "1:11: '<<' takes a mapping, or a list of mappings",
    "env: {<<: {A: b}, <<: {C: d}}": "1:19: duplicate key '<<'; it takes a list of mappings, too",
    "env:": "1:5: nothing stands here; give it a value or take the line out",
    "goal: ~": "1:7: nothing stands here; give it a value or take the line out",
    # keys
    "nmae: x": "1:1: unknown key 'nmae', did you mean 'name'?",
    "colour: x": "1:1: unknown key 'colour'",
    '"\\e[31m": x': "1:1: unknown key '\\x1b[31m'",
    "params: [a]": "1:9: params must be a mapping, not a list",
    "params: {1a: b}": "1:10: params cannot have a key named '1a': letters, digits, '_' and '-' make one",
    "params: {a: [b]}": "1:13: params 'a' must be text or a mapping",
    "params: {a: {defualt: b}}": "1:14: unknown key 'defualt', did you mean 'default'?",
    "params: {a: '${{ params.b }}'}": "1:13: a reference cannot stand here: only in run, env, working_dir and with",
    "params: {a: {default: '${{ env.B }}'}}": "1:23: a reference cannot stand here: only in run, env, working_dir and with",
    "outputs: {a: '${{ matrix.b }}'}": "1:14: only env and params and tasks can be referred to here, not ${{ matrix.b }}",
    "outputs: {a: '${{ tasks.b.outputs.c }}'}": "1:14: unknown task 'b'",
    "outputs: {a b: c}": "1:11: outputs cannot have a key named 'a b': letters, digits, '_' and '-' make one",
    "env: {A: '${{ params.b }}'}": "1:10: there is no param 'b': the plan has no params",
    "params: {abc: x}\nenv: {A: '${{ params.abd }}'}": "2:10: there is no param 'abd', did you mean 'abc'?",
    "env: {A: '${{ tasks.a.outputs.b }}'}": "1:10: only env and params can be referred to here, not ${{ tasks.a.outputs.b }}",
    "defaults: {working_dir: '${{ matrix.a }}'}": "1:25: only env and params can be referred to here, not ${{ matrix.a }}",
    "secrets: A": "1:10: secrets must be a list, not 'A'",
    "secrets: [A=b]": "1:11: secrets[0] cannot hold a variable named 'A=b'",
    "profile: cautious": "1:10: there is no profile 'cautious'; there are none",
    "profile: cautios\nprofiles: {cautious: {}}": (
        "1:10: there is no profile 'cautios', did you mean 'cautious'?"
    ),
    "profile: x\nprofiles: {cautious: {}, bold: {}}": (
        "1:10: there is no profile 'x'; there are 'cautious', 'bold'"
    ),
    "profiles: {cautious: {max_paralel: 3}}": (
        "1:23: unknown key 'max_paralel', did you mean 'max_parallel'?"
    ),
    "profiles: {cautious: {max_parallel: 33}}": "1:37: max_parallel must be at most 32, not 33",
    "profiles: {cautious: {retry: {limt: 3}}}": "1:31: unknown key 'limt', did you mean 'limit'?",
    # values
    "name: ''": "1:7: name must not be empty",
    'name: "a\\tb"': "1:7: name must not hold control characters",
    "name: ' a'": "1:7: name must not begin or end with a blank",
    f"name: {'x' * 201}": "1:7: name must be at most 200 characters long, not 201",
    "name: [x]": "1:7: name must be text, not a list",
    "failure_mode: fail-fast": (
        "1:15: failure_mode must be one of fail_fast, continue_on_error, pause_on_failure, not 'fail-fast', "
        "did you mean 'fail_fast'?"
    ),
    "failure_mode: [x]": (
        "1:15: failure_mode must be one of fail_fast, continue_on_error, pause_on_failure, not a list"
    ),
    "max_parallel: 0": "1:15: max_parallel must be at least 1, not 0",
    "max_parallel: 33": "1:15: max_parallel must be at most 32, not 33",
    "max_parallel: 1.5": "1:15: max_parallel must be a whole number, not 1.5",
    "max_parallel: '4'": "1:15: max_parallel must be a whole number, not '4'",
    "max_parallel: many": "1:15: max_parallel must be a whole number, not 'many'",
    "max_parallel: true": "1:15: max_parallel must be a whole number, not true",
    "skip_on_failure: yes": "1:18: skip_on_failure must be true or false, not 'yes'",
    "skip_on_failure: 1": "1:18: skip_on_failure must be true or false, not 1",
    "env: [A=b]": "1:6: env must be a mapping, not a list",
    "env: {A=B: c}": "1:7: env cannot hold a variable named 'A=B'",
    "env: {A: [b]}": "1:10: env 'A' must be text, not a list",
    'env: {A: "b\\0"}': "1:10: env 'A' must be without NUL characters, not 'b\\x00'",
    "goal: ${{ params.x }}": "1:7: a reference cannot stand here: only in run, env, working_dir and with",
    "goal: ${{ x": "1:7: '${{' is never closed with '}}'; '$${{' writes it as it is",
    # hooks
    "hooks: {failuer: x}": "1:9: unknown key 'failuer', did you mean 'failure'?",
    "hooks: {failure: 5}": "1:18: failure must be a command, not a number; in quotes it is taken as one",
    "hooks: {stall: []}": "1:16: stall must begin with the program to run",
    "hooks: {success: {a: b}}": (
        "1:18: success must be text for the shell or a list of arguments"
    ),
    "hooks: {timeout: never}": (
        "1:18: timeout must be a duration with its unit, like 500ms, 30s, 10m or 1h30m"
    ),
    "hooks: {timeout: 0s}": "1:18: timeout must be more than 0s and at most 10m",
    "hooks: {timeout: 11m}": "1:18: timeout must be more than 0s and at most 10m",
    # defaults
    "defaults: 5": "1:11: defaults must be a mapping, not 5",
    "defaults: {run: x}": "1:12: unknown key 'run'",
    "defaults: {python: x}": "1:12: unknown key 'python'",
    "defaults: {timeout: 10}": (
        "1:21: timeout must be a duration with its unit, like 500ms, 30s, 10m or 1h30m"
    ),
    "defaults: {timeout: 0s}": "1:21: timeout must be more than 0s; `never` means no limit",
    "defaults: {timeout: 366d}": "1:21: timeout must be at most 365d",
    "defaults: {stall_measure: silent}": (
        "1:27: stall_measure must be one of silence, elapsed, not 'silent', did you mean 'silence'?"
    ),
    "defaults: {executor: a b}": (
        "1:22: executor must be the name of an executor, of letters, digits, '.', '_' and '-'"
    ),
    "defaults: {shutdown: {signal: TREM}}": (
        "1:31: signal must be one of TERM, INT, HUP, QUIT, USR1, USR2, KILL, did you mean 'TERM'?"
    ),
    "defaults: {shutdown: {signal: 15}}": (
        "1:31: signal must be one of TERM, INT, HUP, QUIT, USR1, USR2, KILL"
    ),
    "defaults: {retry: {limits: 1}}": "1:20: unknown key 'limits', did you mean 'limit'?",
}  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), IN_THE_PLAN.items())
def test_what_is_wrong_in_a_plan(text: str, fault: str) -> None:
    assert faults(f"{text}\n{A}") == [f"f:{fault}"]


IN_A_TASK = {
    "{}": "4: task 'a' has nothing to do: give it `run`, `python`, `plan` or `simulate`",
    "5": "7: task 'a' must be a mapping, not 5",
    "[x]": "7: task 'a' must be a mapping, not a list",
    "make": "7: task 'a' must be a mapping, not 'make'",
    "{run: x, simulate: {}}": "16: a task has only one of run and simulate",
    "{run: x, python: 'm:f'}": "16: a task has only one of run and python",
    "{python: m}": "16: python must name a callable as module:callable, like ops.notify:send",
    "{python: 'm:f()'}": "16: python must name a callable as module:callable, like ops.notify:send",
    "{python: 'm:f', with: [a]}": "29: with must be a mapping, not a list",
    "{run: x, with: {a: b}}": "16: only a task with `python` or `plan` takes a `with`",
    "{plan: ''}": "14: plan must name a plan file, but it is empty",
    "{plan: '${{ params.a }}'}": "14: a reference cannot stand here: only in run, env, working_dir and with",
    "{plan: nowhere.yaml}": "14: 'nowhere.yaml': there is no such file",
    "{plan: nowhere.yaml, retry: 1}": ["14: 'nowhere.yaml': there is no such file", "28: a subplan has no retry of its own: give it to the tasks inside"],
    "{run: x, matrix: 5}": "24: matrix must be a mapping, not 5",
    "{run: x, matrix: {}}": "24: matrix must have at least one key with a list of values",
    "{run: x, matrix: {include: []}}": "24: matrix must have at least one key with a list of values",
    "{run: x, matrix: {a b: [c]}}": "25: matrix cannot have a key named 'a b'",
    "{run: x, matrix: {a: b}}": "28: matrix 'a' must be a list of values",
    "{run: x, matrix: {a: []}}": "28: matrix 'a' must be a list of values",
    "{run: x, matrix: {a: [[b]]}}": "29: matrix 'a' must have values that are text",
    "{run: x, matrix: {a: [' ']}}": "29: matrix 'a' must have values that can stand in a name: not empty, no control characters",
    "{run: x, matrix: {a: [b, b]}}": "24: matrix makes 'a[b]' twice",
    "{run: x, matrix: {a: [b], include: [{a: b}]}}": "24: matrix makes 'a[b]' twice",
    "{run: x, matrix: {a: [b], include: 5}}": "42: include must be a list of combinations",
    "{run: x, matrix: {a: [b], include: [5]}}": "43: include must list combinations, each a mapping of key to value",
    "{run: x, matrix: {a: [b], c: [d], include: [{a: e}]}}": "51: include must give every key; 'c' is missing",
    "{run: x, matrix: {abc: [b], exclude: [{abd: b}]}}": "46: matrix has no key 'abd', did you mean 'abc'?",
    "{run: x, matrix: {a: [b], exclude: [{a: [b]}]}}": "47: exclude 'a' must have values that are text",
    "{run: x, matrix: {a: [b], exclude: [{a: b}]}}": "24: matrix leaves nothing: every combination is excluded",
    f"{{run: x, matrix: {{a: [{'x' * 200}]}}}}": f"24: matrix makes a name of more than 200 characters: 'a[{'x' * 37}...{'x' * 38}]'",
    "{run: '${{ matrix.b }}', matrix: {a: [c]}}": "13: the matrix has no key 'b'",
    "{run: '${{ matrix.b }}'}": "13: task 'a' has no matrix",
    "{runs: x}": "8: unknown key 'runs', did you mean 'run'?",
    "{colour: x}": ["4: task 'a' has nothing to do: give it `run`, `python`, `plan` or `simulate`", "8: unknown key 'colour'"],
    "{run: 5}": "13: run must be a command, not a number; in quotes it is taken as one",
    "{run: ''}": "13: run must be a command, but it is empty",
    "{run: ' '}": "13: run must be a command, but it is empty",
    "{run: []}": "13: run must begin with the program to run",
    "{run: ['', x]}": "13: run must begin with the program to run",
    "{run: [x, [y]]}": "17: run[1] must be text, not a list",
    "{run: {x: y}}": "13: run must be text for the shell or a list of arguments",
    '{run: "x\\0"}': "13: run must be without NUL characters, not 'x\\x00'",
    "{run: 'echo ${{ tasks.b.outputs.c }}'}": "13: unknown task 'b'",
    "{run: 'echo ${{ tasks.a.outputs.c }}'}": "13: task 'a' is not among the needs of 'a', so it may not have ended",
    "{run: 'echo ${{ tasks.b }}'}": "13: 'tasks.b' must have the form tasks.TASK.outputs.KEY",
    "{run: 'echo ${{ parms.b }}'}": "13: 'parms.b' refers to nothing, did you mean 'params'?",
    "{run: 'echo `${{ env.b }}`'}": "13: no reference can stand between backticks, but in $(...)",
    "{run: [x, '${{ y }}']}": "17: 'y' refers to nothing; there are params.NAME, env.NAME, matrix.KEY, tasks.TASK.outputs.KEY",
    "{run: [x, '`${{ params.y }}`']}": "17: there is no param 'y': the plan has no params",
    "{run: x, working_dir: '${{ params.y }}'}": "29: there is no param 'y': the plan has no params",
    "{run: x, description: '${{ env.y }}'}": "29: a reference cannot stand here: only in run, env, working_dir and with",
    "{python: 'm:f', with: {a: [{b: '${{ params.y }}'}]}}": "38: there is no param 'y': the plan has no params",
    "{run: x, priority: 101}": "26: priority must be at most 100, not 101",
    "{run: x, priority: -1}": "26: priority must be at least 0, not -1",
    "{run: x, needs: b}": "23: needs must be a list of tasks or a mapping of task to condition",
    "{run: x, needs: [[b]]}": "24: needs[0] must be text, not a list",
    "{run: x, needs: [b]}": "24: unknown task 'b'",
    "{run: x, needs: [a]}": "24: task 'a' needs itself",
    "{run: x, depends_on: {b: failed}}": "29: unknown task 'b'",
    "{run: x, needs: [], depends_on: []}": "27: depends_on is another spelling of needs; give one of them",
    "{run: x, retry: x}": "23: retry must be a whole number, not 'x'",
    "{run: x, retry: 101}": "23: retry must be at most 100, not 101",
    "{run: x, retry: {delay: 1s}}": "16: retry without a limit would never retry; give it one",
    "{run: x, retry: {limit: -1}}": "31: limit must be at least 0, not -1",
    "{run: x, retry: {limit: 1, backoff: 0.5}}": "43: backoff must be at least 1, not 0.5",
    "{run: x, retry: {limit: 1, exit_codes: []}}": "46: exit_codes must have at least one item",
    "{run: x, retry: {limit: 1, exit_codes: [256]}}": "47: exit_codes[0] must be at most 255, not 256",
    "{run: x, retry: {limit: 1, exit_codes: 5}}": "46: exit_codes must be a list, not 5",
    "{run: x, shutdown: TERM}": "26: shutdown must be a mapping, not 'TERM'",
    "{simulate: 3s}": "18: simulate must be a mapping, not '3s'",
    "{simulate: {fail_rate: 1.1}}": "30: fail_rate must be at most 1, not 1.1",
    "{simulate: {fail_rate: often}}": "30: fail_rate must be a number, not 'often'",
    "{simulate: {output: 5}}": "27: output must be a number of lines a second, minute or hour, like 5/s or 10/m",
    "{simulate: {output: 2000000/s}}": "27: output must be at most 1000000/s",
}  # fmt: skip


@pytest.mark.parametrize(("task", "expected"), IN_A_TASK.items())
def test_what_is_wrong_in_a_task(task: str, expected: str | list[str]) -> None:
    expected = [expected] if isinstance(expected, str) else expected
    assert faults(f"tasks:\n   a: {task}\n") == [f"f:2:{fault}" for fault in expected]


NAMES = {
    "''": "must not be empty: ''",
    "a/b": "must not hold a '/': 'a/b'",
    '"a\\e[2Jb"': "must not hold control characters: 'a\\x1b[2Jb'",
    '"a\\nb"': "must not hold control characters: 'a\\nb'",
    '"a\\u202Eb"': "must not hold U+202E, which is not seen: 'a\\u202eb'",
    "'a '": "must not begin or end with a blank: 'a '",
    "x" * 201: f"must be at most 200 characters long, not 201: '{'x' * 39}...{'x' * 39}'",
}


@pytest.mark.parametrize(("name", "fault"), NAMES.items())
def test_a_name_that_a_screen_or_a_subplan_could_not_bear(name: str, fault: str) -> None:
    assert faults(f"tasks:\n  {name}: {{run: x}}\n") == [f"f:2:3: the name of a task {fault}"]


def test_everything_is_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
nmae: x
max_parallel: 99
tasks:
  a: {run: x, needs: [b, c]}
  a: {run: y}
  b: {run: y, needs: {a: success, d: sucess}, timeout: 5}
  c: {needs: [c]}
"""
    assert faults(text) == [
        "f:1:1: unknown key 'nmae', did you mean 'name'?",
        "f:2:15: max_parallel must be at most 32, not 99",
        "f:4:23: cycle: a -> b -> a (each needs the next)",
        "f:5:3: duplicate key 'a', first on line 4",
        "f:6:35: unknown task 'd'",
        "f:6:38: needs 'd' must be one of success, failed, finished, skipped, not 'sucess', did you mean 'success'?",
        "f:6:56: timeout must be a duration with its unit, like 500ms, 30s, 10m or 1h30m",
        "f:7:3: task 'c' has nothing to do: give it `run`, `python`, `plan` or `simulate`",
        "f:7:15: task 'c' needs itself",
    ]


def test_a_syntax_error_comes_with_what_was_found_before_it() -> None:
    assert faults("name: a\nname: b\ntasks: ]") == [
        "f:2:1: duplicate key 'name', first on line 1",
        "f:3:8: not YAML: did not find expected node content while parsing a block node that begins on line 3",
    ]


def test_every_cycle_is_printed_at_the_need_that_closes_it() -> None:
    text = """\
tasks:
  a: {run: x, needs: [b]}
  b: {run: x, needs: [c]}
  c:
    run: x
    needs:
      - a
      - b
"""
    assert faults(text) == [
        "f:2:23: cycle: a -> b -> c -> a (each needs the next)",
        "f:3:23: cycle: b -> c -> b (each needs the next)",
    ]


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    assert faults("\n".join(lines)) == ["f:6:45: aliases stand for more than 1,000,000 values"]


def test_more_values_than_any_plan_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.plan.compose.VALUES", 10)
    assert faults("a: [1, 2, 3, 4]\nb: [1, 2, 3, 4]") == ["f:2:14: more than 10 values in one plan"]


def test_a_thousand_mistakes_are_enough() -> None:
    many = "".join(f"  t{index}: {{run: 5, needs: [x]}}\n" for index in range(1500))
    told = faults(f"tasks:\n{many}")
    assert len(told) == 1001
    assert told[:2] == [
        "f: 3,000 mistakes; these are 1,000 of them",
        "f:2:13: run must be a command, not a number; in quotes it is taken as one",
    ]
    unknown = faults("tasks:\n" + "".join(f"  t{index}: {{run: x, needs: [x]}}\n" for index in range(1001)))
    assert unknown[:2] == ["f: 1,001 mistakes; these are 1,000 of them", "f:2:24: unknown task 'x'"]


def test_bytes_that_are_not_utf8() -> None:
    text = "name: bl\u00e5b\u00e6r\ngoal: \u00e6".encode()
    assert faults(text + b"\xff\n") == ["f:2:8: byte 0xff is not UTF-8; a plan is written in UTF-8"]
    assert faults(b"\xfe\xff") == ["f:1:1: byte 0xfe is not UTF-8; a plan is written in UTF-8"]


def test_the_name_of_the_source_cannot_play_with_the_terminal() -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan("", source="\x1b[2Jx")
    assert str(caught.value) == "\\x1b[2Jx: holds no plan: it is empty"


VALUES = {
    "a plan": ({5: "x", "tasks": {}}, "f: a key must be text, not 5"),
    "tasks": ({"tasks": {5: {"run": "x"}}}, "f: a key must be text, not 5"),
    "tasks in a list": ({"tasks": [5]}, "f: tasks must be a mapping, not a list"),
    "a number": ({"env": {"A": 5}, "tasks": {}}, "f: env 'A' must be text, not 5"),
    "half a character": ({"goal": "\ud800", "tasks": {}}, "f: goal must be valid text, not '\\ud800'"),
    "not a number": (
        {"tasks": {"a": {"simulate": {"fail_rate": float("nan")}}}},
        "f: fail_rate must be a finite number, not nan",
    ),
    "a reference": (
        {"tasks": {"a": {"run": ["echo", "${{ x }}"]}}},
        "f: 'x' refers to nothing; there are params.NAME, env.NAME, matrix.KEY, tasks.TASK.outputs.KEY",
    ),
}


@pytest.mark.parametrize(("values", "fault"), VALUES.values(), ids=VALUES.keys())
def test_values_that_come_without_a_file(values: dict[str, object], fault: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(values, source="f")
    assert str(caught.value) == fault
