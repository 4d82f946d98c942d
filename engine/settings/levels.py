"""What `config.toml` says about runs: its `[defaults]` and its `[profiles]`, as levels behind the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from engine.errors import Fault, SettingsInvalid
from engine.plan.document import ProfileSection
from engine.plan.levels import NOTHING, Levels, Route
from engine.plan.rules import explained
from engine.settings.model import SettingsFile


def levels_in(file: SettingsFile, command_line: ProfileSection = NOTHING) -> Levels:
    """The levels outside a plan. Raises `SettingsInvalid` with every mistake in the two sections."""
    faults: list[Fault] = []
    settings = file.settings
    defaults = _checked(file, ("defaults",), settings.defaults, faults)
    profiles = {
        name: _checked(file, ("profiles", name), given, faults) for name, given in settings.profiles.items()
    }
    if faults:
        raise SettingsInvalid(faults)
    routes = tuple(Route(each.labels, each.executor) for each in settings.routes)
    return Levels(command_line, profiles, defaults, routes)


def _checked(file: SettingsFile, path: tuple[str, ...], given: Any, faults: list[Fault]) -> ProfileSection:
    if not isinstance(given, dict):
        faults.append(file.fault(path, f"{path[-1]} must be a table"))
        return NOTHING
    if not given:  # as with most users: then no checks need be built
        return NOTHING
    try:
        return ProfileSection.model_validate(given)
    except ValidationError as invalid:
        faults.extend(_faults(file, path, invalid))
        return NOTHING


def _faults(file: SettingsFile, path: tuple[str, ...], invalid: ValidationError) -> Iterator[Fault]:
    for error in invalid.errors(include_url=False):
        finding = explained(error, ProfileSection)
        yield file.fault((*path, *finding.path), finding.message)
