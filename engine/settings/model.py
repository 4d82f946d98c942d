"""What can be set in `config.toml`, section by section, and what holds where nothing is set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from engine.errors import Fault
from engine.settings.places import Places, nearest

When = Literal["never", "away", "always"]
"""away: unless the terminal says that it is being looked at."""

_FORBID: dict[str, Any] = {"extra": "forbid"}
"""For pydantic, which checks these classes, and need not be loaded where there is no file to check."""


@dataclass(frozen=True)
class ConsoleSettings:
    """`[console]`. theme: by its name; None for the usual one. ascii: None to find out. bell,
    notifications: when the terminal rings, and when the desktop is to show a notification, as a task
    fails or stalls and as the run ends."""

    theme: str | None = None
    ascii: bool | None = None
    mouse: bool = True
    bell: When = "away"
    notifications: When = "never"

    __pydantic_config__: ClassVar[Any] = _FORBID


@dataclass(frozen=True)
class RouteSettings:
    """`[[routes]]`: tasks that have all these labels go to this executor."""

    labels: dict[str, str]
    executor: str

    __pydantic_config__: ClassVar[Any] = _FORBID


@dataclass(frozen=True)
class Settings:
    """The whole file. defaults: for every plan. profiles: by name, what a plan can choose with `profile`.
    executors: by name, how they are made. routes: rules that choose an executor by a task's labels. keys:
    the keys of a binding by its id; ids with dots may also be written as tables within tables. Defaults,
    profiles, executors and keys stand here as they were written."""

    defaults: dict[str, Any] = field(default_factory=dict)
    profiles: dict[str, Any] = field(default_factory=dict)
    executors: dict[str, dict[str, Any]] = field(default_factory=dict)
    routes: list[RouteSettings] = field(default_factory=list)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    keys: dict[str, Any] = field(default_factory=dict)

    __pydantic_config__: ClassVar[Any] = _FORBID


class SettingsFile:
    """The settings, and where in the file each of them stands.

    settings: checked as far as that can be done here. What a value means only to its user, as the id of
    a binding does, that user checks, and makes a fault of it with `fault`.
    """

    def __init__(self, settings: Settings, name: str = "", places: Places | None = None) -> None:
        self.settings = settings
        self.name = name
        self._places = places or {}

    def fault(self, path: Sequence[str | int], message: str) -> Fault:
        """A mistake in the value that these keys lead to."""
        return Fault(self.name, *nearest(self._places, path), message)
