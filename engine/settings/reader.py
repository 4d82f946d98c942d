"""Reading `config.toml`: every mistake in it at once, each with its line and column."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

from engine.errors import Fault, PlanInvalid, SettingsInvalid
from engine.ground.spelling import Speller, escaped, quoted
from engine.plan.source import decoded
from engine.settings.model import Settings, SettingsFile
from engine.settings.places import nearest, places_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LIMIT: Final = 1024 * 1024
"""Bytes; nobody writes that much by hand."""

_SYNTAX: Final = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def settings_path() -> Path:
    """The file in the user's own config directory (`XDG_CONFIG_HOME`). It need not exist."""
    import platformdirs  # here as in `engine.ground.folders`

    return platformdirs.user_config_path("plandeck") / "config.toml"


def read_settings(path: Path | None = None) -> SettingsFile:
    """What is set; without a file, nothing is.

    path: by default the user's own file. Raises `SettingsInvalid` with every mistake in it.
    """
    path = path or settings_path()
    name = escaped(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except FileNotFoundError:
        return SettingsFile(Settings())
    except OSError as error:
        raise SettingsInvalid([Fault(name, 0, 0, error.strerror or str(error))]) from None
    if len(data) > LIMIT:
        raise SettingsInvalid([Fault(name, 0, 0, "this is too long for settings")])
    try:
        text = decoded(data, name)
    except PlanInvalid as invalid:
        raise SettingsInvalid(list(invalid.faults)) from None
    return parse_settings(text, name)


def parse_settings(text: str, name: str) -> SettingsFile:
    """The same, of a text. name: the file's, in faults."""
    text = text.replace("\r\n", "\n")
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid([_syntax(str(error), text, name)]) from None
    except RecursionError:
        raise SettingsInvalid([Fault(name, 0, 0, "this is nested too deeply")]) from None
    from pydantic import TypeAdapter, ValidationError

    places = places_of(text)
    try:
        return SettingsFile(TypeAdapter(Settings).validate_python(written), name, places)
    except ValidationError as invalid:
        faults = [
            Fault(name, *nearest(places, error["loc"]), _explained(error)) for error in invalid.errors()
        ]
        raise SettingsInvalid(faults) from None


def _syntax(message: str, text: str, name: str) -> Fault:
    found = _SYNTAX.match(message)
    if found is None:
        return Fault(name, 0, 0, message)
    last = text.count("\n") + 1
    line, column = (int(found[2]), int(found[3])) if found[2] else (last, len(text) - text.rfind("\n"))
    return Fault(name, line, column, f"{found[1][:1].lower()}{found[1][1:]}")


def _explained(error: ErrorDetails) -> str:
    path, kind, value = error["loc"], error["type"], error["input"]
    key = str(path[-1])
    if kind == "unexpected_keyword_argument":
        what = "section" if len(path) == 1 else "key"
        return f"unknown {what} {quoted(key)}{Speller(_known(path[:-1])).hint(key)}"
    if kind == "missing":
        return f"{quoted(key)} is missing"
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in re.findall(r"'[^']*'", error["ctx"]["expected"])]
        hint = Speller(choices).hint(value) if isinstance(value, str) else ""
        return f"{key} must be one of {', '.join(choices)}, not {_shown(value)}{hint}"
    return f"{key} must be {_MUST.get(kind, 'something else')}, not {_shown(value)}"


_MUST: Final = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a table",
    "dataclass_type": "a table",
}


def _known(path: Sequence[str | int]) -> list[str]:
    """The keys that a section knows."""
    kind: Any = Settings
    for step in path:
        kind = get_type_hints(kind)[str(step)]
        kind = next((one for one in (kind, *get_args(kind)) if is_dataclass(one)), kind)
    return [field.name for field in fields(kind)]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else str(value)
