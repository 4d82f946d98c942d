"""`config.toml`: what is set, and what is wrong with it, with line and column."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from engine.errors import SettingsInvalid
from engine.settings.model import ConsoleSettings, Settings
from engine.settings.places import nearest, places_of
from engine.settings.reader import LIMIT, parse_settings, read_settings, settings_path


def faults(text: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as invalid:
        parse_settings(text, "config.toml")
    return [str(fault) for fault in invalid.value.faults]


def test_the_file_is_in_the_config_directory_of_the_user() -> None:
    assert settings_path() == Path(os.environ["XDG_CONFIG_HOME"]) / "plandeck" / "config.toml"


def test_without_a_file_nothing_is_set() -> None:
    assert read_settings().settings == Settings()


def test_what_is_set() -> None:
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text(
        '[console]\ntheme = "plandeck-light"\nascii = true\nmouse = false\nbell = "never"\n'
        'notifications = "always"\n[keys]\n"task.retry" = "t"\n'
    )
    settings = read_settings().settings
    assert settings.console == ConsoleSettings("plandeck-light", True, False, "never", "always")
    assert settings.keys == {"task.retry": "t"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[console]\nbel = true\n", ["config.toml:2:1: unknown key 'bel', did you mean 'bell'?"]),
        ("\n[colsole]\n", ["config.toml:2:2: unknown section 'colsole', did you mean 'console'?"]),
        (
            "[[console]]\n",
            ["config.toml:1:3: console must be a table, not a list"],
        ),
        (
            '[console]\nbell = "awy"\nmouse = 3\n',
            [
                "config.toml:2:1: bell must be one of never, away, always, not 'awy', did you mean 'away'?",
                "config.toml:3:1: mouse must be true or false, not 3",
            ],
        ),
        ("[console]\ntheme = {}\n", ["config.toml:2:1: theme must be text, not a table"]),
        ("console = {mouse = 'x'}\n", ["config.toml:1:12: mouse must be true or false, not 'x'"]),
        ("keys = true\n", ["config.toml:1:1: keys must be a table, not true"]),
        ("[console]\nbell = \n", ["config.toml:2:8: invalid value"]),
        ("[console", ["config.toml:1:9: expected ']' at the end of a table declaration"]),
        ("a = " + "[" * 5000, ["config.toml: this is nested too deeply"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: list[str]) -> None:
    assert faults(text) == said


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for data, said in ((b'a = "\xff"', f"{file}:1:6: byte 0xff"), (b" " * (LIMIT + 1), "too long")):
        file.write_bytes(data)
        with pytest.raises(SettingsInvalid, match=said):
            read_settings(file)
    with pytest.raises(SettingsInvalid, match="Is a directory"):
        read_settings(tmp_path)


def test_every_form_of_toml_is_found_again() -> None:
    text = """\
# a comment = with an equals sign
title = "a \\"quoted\\" # title"
"odd key" . 'and more' = '''
[not.a.table]
x = 1
'''
when = 1979-05-27 07:32:00 # a date with a blank in it
[ keys ]  # more
find.next = ["n", [2, {deep = 1}], # and so on
  "m",
]
text = \"\"\"three "" quotes: \\\"\"\"\"\"\"
empty = { }
[[profiles.list]]
a = 1
[[profiles.list]]
[profiles.list.inner]
b = {c.d = 2, e = 3}
"""
    tomllib.loads(text)
    places = places_of(text)
    expected = {
        ("title",): (2, 1),
        ("odd key", "and more"): (3, 1),
        ("when",): (7, 1),
        ("keys",): (8, 3),
        ("keys", "find", "next"): (9, 1),
        ("keys", "find", "next", 1, 1, "deep"): (9, 24),
        ("keys", "find", "next", 2): (10, 3),
        ("keys", "text"): (12, 1),
        ("keys", "empty"): (13, 1),
        ("profiles", "list", 0, "a"): (15, 1),
        ("profiles", "list", 1, "inner", "b", "c", "d"): (18, 6),
        ("profiles", "list", 1, "inner", "b", "e"): (18, 15),
    }
    assert {path: places.get(path) for path in expected} == expected
    assert nearest(places, ("keys", "find", "gone")) == (9, 1)
    assert nearest(places, ("gone",)) == (0, 0)
