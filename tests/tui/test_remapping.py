"""Keys as a user has written them: what becomes of them, and what is said of those that will not do."""

from __future__ import annotations

from typing import Any

import pytest

from tui.keymap import KEYMAP, shown
from tui.remapping import key_of, remap


def remapped(written: dict[str, Any]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    complaints: list[tuple[str, str]] = []
    keys = remap(written, lambda path, message: complaints.append((".".join(path), message)))
    return keys, complaints


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("u", "u"),
        ("T", "T"),
        ("?", "question_mark"),
        ("+", "plus"),
        ("Ctrl+R", "ctrl+r"),
        ("ctrl++", "ctrl+plus"),
        ("shift+t", "T"),
        ("Shift+Tab", "shift+tab"),
        ("Esc", "escape"),
        ("PgUp", "pageup"),
        ("F5", "f5"),
        ("question_mark", "question_mark"),
        ("Space", "space"),
        ("shift+ctrl+up", "ctrl+shift+up"),
        ("é", "é"),
        ("", None),
        ("ab", None),
        ("hyper+x", None),
        ("ctrl+ctrl+x", None),
        ("ctrl+", None),
        ("shift+1", None),
        ("\x1b", None),
    ],
)
def test_a_key_is_known_by_the_name_that_people_write(name: str, key: str | None) -> None:
    assert key_of(name) == key


@pytest.mark.parametrize("key", [one for key in KEYMAP for one in key.keys.split(",") if one])
def test_every_key_can_be_written_as_it_is_shown(key: str) -> None:
    assert key_of(shown(key)) == key_of(key) == key


def test_ids_may_be_tables_within_tables() -> None:
    assert remapped({"task": {"retry": "u", "retry-all": ["T", "F5"]}, "find.next": "Ctrl+N"}) == (
        {"task.retry": "u", "task.retry-all": "T,f5", "find.next": "ctrl+n"},
        [],
    )


def test_two_may_change_places_and_a_binding_may_have_no_key() -> None:
    assert remapped({"task.retry": "x", "task.cancel": "r", "task.kill": []}) == (
        {"task.retry": "x", "task.cancel": "r", "task.kill": ""},
        [],
    )


def test_one_key_may_mean_two_things_in_two_panes() -> None:
    assert remapped({"tree.fold": "u", "log.left": "u"})[1] == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"task.rety": "u"}, ("task.rety", "there is no binding 'task.rety', did you mean 'task.retry'?")),
        ({"task.retry": 3}, ("task.retry", "the keys of task.retry must be text, or a list of texts")),
        ({"task.retry": "escap"}, ("task.retry", "'escap' is no key, did you mean 'escape'?")),
        ({"task.retry": "ctrl+z"}, ("task.retry", "Ctrl+Z is the key of suspend already")),
        ({"task.retry": ["u", "ctrl+i"]}, ("task.retry", "ctrl+i cannot be used: terminals send Tab for it")),
        ({"task.retry": "x"}, ("task.retry", "x is the key of task.cancel already")),
        ({"move.up": ["Up", "d"]}, ("move.up", "d is the key of task.details already")),
        (
            {"interrupt": "c"},
            ("interrupt", "c cannot be used for interrupt: it could not be typed into a text any more"),
        ),
        (
            {"interrupt": "?"},
            ("interrupt", "? cannot be used for interrupt: it could not be typed into a text any more"),
        ),
    ],
)
def test_what_will_not_do_is_said_and_left_as_it_was(written: dict[str, Any], said: tuple[str, str]) -> None:
    assert remapped(written) == ({}, [said])


def test_of_two_that_clash_each_is_told_of_the_other() -> None:
    keys, complaints = remapped({"task.retry": "u", "task.cancel": "u", "task.kill": "K"})
    assert keys == {"task.kill": "K"}
    assert complaints == [
        ("task.retry", "u is the key of task.cancel already"),
        ("task.cancel", "u is the key of task.retry already"),
    ]


def test_a_key_that_is_free_only_because_of_a_mistake_is_not_free() -> None:
    """`r` is given away by a binding that cannot move, so it stays where it is."""
    keys, complaints = remapped({"task.retry": "q", "task.cancel": "r"})
    assert keys == {}
    assert [path for path, _ in complaints] == ["task.retry", "task.cancel"]
