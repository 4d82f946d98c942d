"""Where in a TOML file each of its values stands, which `tomllib` does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Final

Place = tuple[int, int]
"""Line and column, counted from 1."""

Path = tuple[str | int, ...]
"""The keys and the numbers of array elements that lead to a value."""

Places = dict[Path, Place]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRINGS: Final = (
    r'"""(?:\\.|[^\\])*?"{3,5}',
    r"'''.*?'{3,5}",
    r'"(?:\\.|[^"\\\n])*"',
    r"'[^'\n]*'",
)
_STRING: Final = re.compile("|".join(_STRINGS), re.DOTALL)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_OTHER: Final = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")  # a date and its time may have a blank between


def places_of(text: str) -> Places:
    """The places of all keys and array elements. text: TOML that `tomllib` has accepted."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.places


def nearest(places: Places, path: Sequence[str | int]) -> Place:
    """The place of the value, or of the innermost of those around it that has one; 0, 0 for the file."""
    for length in range(len(path), 0, -1):
        place = places.get(tuple(path[:length]))
        if place is not None:
            return place
    return 0, 0


class _Scanner:
    """Walks through a document once. It need not find mistakes: there are none."""

    def __init__(self, text: str) -> None:
        self.places: Places = {}
        self._text = text
        self._at = 0
        self._arrays: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._skip():
            if self._text.startswith("[[", self._at):
                self._at += 2
                self._blank()
                start, key = self._key()
                name = self._inside(key)
                number = self._arrays[name] = self._arrays.get(name, -1) + 1
                table = (*name, number)
                self._note(table, start)
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                self._blank()
                start, key = self._key()
                table = self._inside(key)
                self._note(table, start)
                self._at += 1
            else:
                self._pair(table)

    def _inside(self, key: Path) -> Path:
        """The path of a table: where a part names an array of tables, its last element is meant."""
        path: Path = ()
        for number, part in enumerate(key):
            path = (*path, part)
            if path in self._arrays and number < len(key) - 1:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: Path) -> None:
        start, key = self._key()
        self._note((*table, *key), start)
        self._blank()
        self._at += 1  # the equals sign
        self._value((*table, *key))

    def _key(self) -> tuple[int, Path]:
        """Where a key begins, and its parts. Goes on to what comes after it."""
        start = self._at
        parts: list[str] = []
        while True:
            self._blank()
            if quoted := _STRING.match(self._text, self._at):
                parts.append(tomllib.loads(f"key = {quoted[0]}")["key"])
                self._at = quoted.end()
            elif bare := _BARE.match(self._text, self._at):
                parts.append(bare[0])
                self._at = bare.end()
            self._blank()
            if not self._text.startswith(".", self._at):
                return start, tuple(parts)
            self._at += 1

    def _value(self, path: Path) -> None:
        self._skip()
        opening = self._text[self._at]
        if opening == "[":
            self._at += 1
            number = 0
            while self._skip() and self._text[self._at] != "]":
                if self._text[self._at] == ",":
                    self._at += 1
                    continue
                self._note((*path, number), self._at)
                self._value((*path, number))
                number += 1
            self._at += 1
        elif opening == "{":
            self._at += 1
            while self._skip() and self._text[self._at] != "}":
                if self._text[self._at] == ",":
                    self._at += 1
                    continue
                self._pair(path)
            self._at += 1
        else:
            found = _STRING.match(self._text, self._at) or _OTHER.match(self._text, self._at)
            self._at = found.end() if found else len(self._text)

    def _blank(self) -> None:
        while self._text.startswith((" ", "\t"), self._at):
            self._at += 1

    def _skip(self) -> bool:
        """Go on to what is neither blank nor a comment; whether there is any."""
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._at < len(self._text)

    def _note(self, path: Path, start: int) -> None:
        """What is written here for the first time, and the tables around it that are not written at all."""
        line = self._text.count("\n", 0, start) + 1
        place = line, start - self._text.rfind("\n", 0, start)
        for length in range(1, len(path) + 1):
            self.places.setdefault(path[:length], place)
