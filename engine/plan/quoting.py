"""Values in shell text: how a reference stands in a script without its value ever becoming code.

A value is not written into the script. It goes into an environment variable, and the script gets an
expansion of that variable: what a shell has expanded it does not parse again. So whatever the value is,
and however this module reads the script, a value is no code. What is left to find out is which quotes the
expansion needs for the value to stay in one piece. Where none would do, and where a shell would compute
with the value, a reference is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from engine.plan.references import Reference, parse

VARIABLE: Final = "PLANDECK_VALUE_{}"
"""The environment variable for the first, second, ... value of a script."""

_HOLE: Final = "\0"
"""Stands for a reference while a script is read: no script can hold it."""

_RESERVED: Final = frozenset(("then", "do", "else", "elif", "if", "while", "until", "!", "{", "time"))
"""Words after which a command begins."""

_PARAMETER: Final = re.compile(r"[#!]?[A-Za-z0-9_@*#?$!-]*?(?P<pattern>##?|%%?)?(?=[^A-Za-z0-9_@*#?$!-]|$)")
_DELIMITER: Final = re.compile(
    r"""<<(?P<dash>-?)[ \t]*(?P<word>(?:'[^'\n]*'|"[^"\n]*"|\\.|[^\s'"\\;&|<>()])+)"""
)


class Place(Enum):
    """Where a reference stands; its value is the expansion that belongs there."""

    PLAIN = '"${%s}"'
    BETWEEN_SINGLE_QUOTES = "'\"${%s}\"'"
    AS_IT_IS = "${%s}"
    """Between double quotes, in a here-document, in a comment."""


class Unquotable(ValueError):
    """A reference stands where its value could not be kept in one piece. The message says where."""


class Script(NamedTuple):
    """Shell text without references, and the references whose values belong into `VARIABLE` 1, 2, ..."""

    text: str
    references: tuple[Reference, ...]


@lru_cache(2048)
def expand(text: str) -> Script:
    """The script with an expansion for each reference. Raises `Unquotable` and `MalformedReference`."""
    parts = parse(text)
    places = iter(find_places("".join(part if isinstance(part, str) else _HOLE for part in parts)))
    numbers: dict[Reference, int] = {}
    script = []
    for part in parts:
        if isinstance(part, str):
            script.append(part)
        else:
            number = numbers.setdefault(part, len(numbers) + 1)
            script.append(next(places).value % VARIABLE.format(number))
    return Script("".join(script), tuple(numbers))


def find_places(script: str) -> Sequence[Place]:
    """Where each NUL character of a script stands. Raises `Unquotable`."""
    if _HOLE not in script:
        return ()
    reader = _Reader(script)
    try:
        reader.commands(is_nested=False)
    except IndexError:
        raise Unquotable(
            "the quotes and brackets of this script cannot be followed, so no reference can stand in it;"
            " give the value to a variable in `env` and use that"
        ) from None
    return reader.places


class _Reader:
    """Reads a script from quote to quote, as far as it takes to know where it is.

    Each method begins at what opens its own part of the script and ends after what closes it. Where that
    is missing, IndexError comes from reading beyond the end.
    """

    def __init__(self, text: str) -> None:
        self.places: list[Place] = []
        self._text = text
        self._at = 0

    def commands(self, *, is_nested: bool) -> None:
        """To the end of the script, or to the `)` that ends a command substitution."""
        text = self._text
        open_: list[str] = []  # "(", "((" and "case" that are not closed yet
        documents: list[re.Match[str]] = []  # here-documents that begin on the next line
        is_command = True  # whether the next word is the name of a command, or a word of the shell's own
        word: str | None = ""  # the word so far, None if any of it is quoted
        while self._at < len(text) or is_nested:
            char = text[self._at]
            if word is not None and (char.isalpha() or char in "{}!"):
                word += char
                self._at += 1
                continue
            if char in " \t\n;&|()<>":
                if word != "":
                    if is_command and word == "case":
                        open_.append("case")
                    elif is_command and word == "esac" and open_[-1:] == ["case"]:
                        open_.pop()
                    is_command = word in _RESERVED and is_command
                    word = ""
            elif not (char == "#" and word == ""):
                word = None
            if char == "\n":
                self._at += 1
                for document in documents:
                    self._here_document(document)
                documents.clear()
                is_command = True
            elif char in ";&|":
                self._at += 1
                is_command = True
            elif char == "(":
                arithmetic = is_command and text.startswith("((", self._at)
                open_.append("((" if arithmetic else "(")
                self._at += len(open_[-1])
                is_command = True
            elif char == ")":
                self._at += 1
                is_command = True
                if open_[-1:] == ["(("] and not text.startswith(")", self._at):
                    open_[-1] = "("  # only two subshells, after all
                elif open_[-1:] == ["(("]:
                    self._at += 1
                    open_.pop()
                elif open_[-1:] == ["("]:
                    open_.pop()
                elif not open_ and is_nested:
                    if documents:
                        raise IndexError
                    return
            elif char == "#" and word == "":
                end = text.find("\n", self._at)
                self._skip(end if end >= 0 else len(text), Place.AS_IT_IS)
            elif char == "<" and (named := _DELIMITER.match(text, self._at)):
                if _HOLE in named[0]:
                    raise Unquotable("no reference can stand in the delimiter of a here-document")
                documents.append(named)
                self._at = named.end()
            elif char == "<" and text.startswith("<<<", self._at):
                self._at += 3
            elif char == _HOLE:
                if "((" in open_:
                    raise _computed("((")
                self.places.append(Place.PLAIN)
                self._at += 1
            elif char == "'":
                self._single_quotes()
            elif char == '"':
                self._double_quotes()
            elif text.startswith("$'", self._at):
                self._ansi_quotes()
            elif not self._expansion(in_quotes=False):
                self._at += 1

    def _single_quotes(self) -> None:
        end = self._find("'", self._at + 1)
        self._skip(end + 1, Place.BETWEEN_SINGLE_QUOTES)

    def _double_quotes(self) -> None:
        self._at += 1
        while (char := self._text[self._at]) != '"':
            if char == _HOLE:
                self.places.append(Place.AS_IT_IS)
                self._at += 1
            elif not self._expansion(in_quotes=True):
                self._at += 1
        self._at += 1

    def _ansi_quotes(self) -> None:
        """`$'...'`, which not every shell knows: in some of them it is a `$` before single quotes."""
        start = self._at
        self._at += 2
        while (char := self._text[self._at]) != "'":
            self._at += 2 if char == "\\" else 1
        self._at += 1
        self._refuse_holes(start, "between $' and '")

    def _expansion(self, *, in_quotes: bool) -> bool:
        """Whatever begins with a backslash, a backtick or a `$`; False if there is nothing of the kind."""
        text, start = self._text, self._at
        if text.startswith("\\", start):
            self._at += 2
            self._refuse_holes(start, "after a backslash")
        elif text.startswith("`", start):
            self._backticks()
        elif text.startswith("$((", start):
            self._arithmetic()
        elif text.startswith("$(", start):
            self._at = start + 2
            self.commands(is_nested=True)
        elif text.startswith("${", start):
            self._parameter(in_quotes=in_quotes)
        elif text.startswith("$$", start):
            self._at += 2
        else:
            return False
        return True

    def _backticks(self) -> None:
        start = self._at
        self._at += 1
        while (char := self._text[self._at]) != "`":
            self._at += 2 if char == "\\" else 1
        self._at += 1
        self._refuse_holes(start, "between backticks, but in $(...)")

    def _arithmetic(self) -> None:
        start, depth = self._at, 0
        self._at += 3
        while True:
            char = self._text[self._at]
            if char == ")" and not depth:
                break
            depth += (char == "(") - (char == ")")
            if not self._expansion(in_quotes=True):
                self._at += 1
        if not self._text.startswith("))", self._at):
            raise IndexError  # some shells take it as a subshell within $(...)
        self._at += 2
        if _HOLE in self._text[start : self._at]:
            raise _computed("$((")

    def _parameter(self, *, in_quotes: bool) -> None:
        start = self._at
        self._at += 2
        operator = _PARAMETER.match(self._text, self._at)
        has_pattern = operator is not None and operator["pattern"] is not None
        while (char := self._text[self._at]) != "}":
            if char == "'" and (has_pattern or not in_quotes):
                self._at = self._find("'", self._at + 1) + 1
            elif char == '"':
                self._double_quotes()
            elif not self._expansion(in_quotes=in_quotes):
                self._at += 1
        self._at += 1
        self._refuse_holes(start, "within ${...}")

    def _here_document(self, opening: re.Match[str]) -> None:
        """From the line after its delimiter was named to the line after it comes again."""
        text, start = self._text, self._at
        word = re.sub(r"""\\(.)|['"]""", r"\1", opening["word"])
        while True:
            end = text.find("\n", self._at)
            line = text[self._at : end if end >= 0 else len(text)]
            stop = self._at
            self._at = end + 1 if end >= 0 else len(text)
            if (line.lstrip("\t") if opening["dash"] else line) == word:
                break
            if end < 0:
                stop = self._at
                break
        body = text[start:stop]
        if word != opening["word"]:
            if _HOLE in body:
                raise Unquotable(
                    f"no reference can stand in a here-document after {opening[0]}: it is not expanded"
                )
            return
        inner = _Reader(body)
        while inner._at < len(body):
            if body[inner._at] == _HOLE:
                inner.places.append(Place.AS_IT_IS)
                inner._at += 1
            elif not inner._expansion(in_quotes=True):
                inner._at += 1
        self.places += inner.places

    def _find(self, sign: str, start: int) -> int:
        end = self._text.find(sign, start)
        if end < 0:
            raise IndexError
        return end

    def _skip(self, end: int, place: Place) -> None:
        self.places += [place] * self._text.count(_HOLE, self._at, end)
        self._at = end

    def _refuse_holes(self, start: int, where: str) -> None:
        if _HOLE in self._text[start : self._at]:
            raise Unquotable(f"no reference can stand {where}")


def _computed(opening: str) -> Unquotable:
    return Unquotable(
        f"no reference can stand within {opening}...)): a shell may run what it computes with;"
        " give the value to a variable first, and be sure that it is a number"
    )
