"""Other keys for the actions of the keymap, as a user has written them, or what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from textual.keys import Keys, _character_to_key

from engine.ground.spelling import Speller, quoted
from tui.keymap import BY_ID, KEYMAP, SHOWN, TOGETHER, Key, Place, effective, shown

Complain = Callable[[tuple[str, ...], str], None]
"""Takes what is wrong with the keys of a binding: where they are written, and a message."""

_MODIFIERS: Final = ("ctrl", "alt", "shift")
_SPELLINGS: Final = {words.lower(): name for name, words in SHOWN.items() if len(words) > 1} | {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "ins": "insert",
}
_NAMES: Final = frozenset(key.value for key in Keys if "+" not in key.value and key.value.isalnum())
_TAKEN: Final = {
    "ctrl+i": "terminals send Tab for it",
    "ctrl+m": "terminals send Enter for it",
    "ctrl+left_square_bracket": "terminals send Esc for it",
}
NO_KEY: Final = "none"
"""What Textual is told of a binding without a key, for it takes an empty text for no change."""


def remap(written: Mapping[str, Any], complain: Complain) -> dict[str, str]:
    """The keys to use instead of those of the keymap, by the id of the binding, as Textual spells them.

    written: ids with a key or a list of keys; the parts of an id may also be tables within tables. What is
    wrong is told to `complain` and left as it is in the keymap.
    """
    speller = Speller(BY_ID)
    remapped: dict[str, str] = {}
    paths: dict[str, tuple[str, ...]] = {}
    for path, value in _flat(written):
        key_id = ".".join(path)
        entry = BY_ID.get(key_id)
        if entry is None:
            complain(path, f"there is no binding {quoted(key_id)}{speller.hint(key_id)}")
            continue
        keys = _keys(entry, value, path, complain)
        if keys is not None:
            remapped[key_id] = ",".join(keys)
            paths[key_id] = path
    while clashes := _clashes(remapped):
        for key_id, message in clashes.items():
            complain(paths[key_id], message)
            del remapped[key_id]
    return remapped


def _flat(written: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for part, value in written.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, part))
        else:
            yield (*path, part), value


def _keys(entry: Key, value: object, path: tuple[str, ...], complain: Complain) -> list[str] | None:
    """The keys as Textual names them; None if anything is wrong with one of them."""
    names: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        complain(path, f"the keys of {entry.id} must be text, or a list of texts")
        return None
    keys: list[str] = []
    for name in names:
        key = key_of(name)
        if key is None:
            complain(path, f"{quoted(name)} is no key{Speller([*_NAMES, *_SPELLINGS]).hint(name.lower())}")
        elif key in _TAKEN:
            complain(path, f"{name} cannot be used: {_TAKEN[key]}")
        elif entry.place is Place.ANYWHERE and _types_something(key):
            complain(
                path, f"{name} cannot be used for {entry.id}: it could not be typed into a text any more"
            )
        else:
            keys.append(key)
    return keys if len(keys) == len(names) else None


def key_of(name: str) -> str | None:
    """A key as Textual names it, of a name as people write it: "?", "Ctrl+R", "PgUp"; None if it is none."""
    is_plus = name == "+" or name.endswith("++")
    *modifiers, last = [*name[:-1].split("+")[:-1], "+"] if is_plus else name.split("+")
    modifiers = [modifier.strip().lower() for modifier in modifiers]
    last = last.strip() or last
    if any(modifier not in _MODIFIERS for modifier in modifiers) or len(set(modifiers)) < len(modifiers):
        return None
    if len(last) == 1 and last.isprintable() and last != " ":
        if modifiers == ["shift"]:
            return last.upper() if last.isalpha() else None
        letter = last.lower() if modifiers else last
        last = letter if letter.isascii() and letter.isalnum() else _character_to_key(letter)
    else:
        last = _SPELLINGS.get(last.lower(), last.lower())
        if last not in _NAMES and last not in SHOWN:
            return None
    order = sorted(modifiers, key=_MODIFIERS.index)
    return "+".join([*order, last])


def _types_something(key: str) -> bool:
    return "+" not in key and (len(key) == 1 or "_" in key or key in SHOWN) and key not in _NAMES - {"space"}


def _clashes(remapped: Mapping[str, str]) -> dict[str, str]:
    """Which of the remapped bindings have a key that means something else in a place where both are
    heard, with what is to be said of them."""
    keys = effective(remapped)
    found: dict[str, str] = {}
    for places in TOGETHER:
        here = [key for key in KEYMAP if key.place in places]
        used = Counter(one for key in here for one in keys[key.id].split(",") if one)
        for one, count in used.items():
            if count > 1:
                owners = [key.id for key in here if one in keys[key.id].split(",")]
                for key_id in owners:
                    if key_id in remapped:
                        others = " and ".join(other for other in owners if other != key_id)
                        found.setdefault(key_id, f"{shown(one)} is the key of {others} already")
    return found
