"""`Preferences`: how this user wants the console, from `config.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import click

from engine.errors import Fault, SettingsInvalid
from engine.ground.spelling import Speller, quoted
from engine.settings.model import ConsoleSettings
from engine.settings.reader import read_settings

EXIT_USAGE: Final = 2


@dataclass(frozen=True)
class Preferences:
    """remapped: other keys for bindings, by their id. faults: what was set in vain; the console opens all
    the same, for it may be needed now."""

    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    remapped: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def read_preferences(path: Path | None = None) -> Preferences:
    """path: of the settings, by default the user's own. Raises `SettingsInvalid` if they cannot be read at
    all; what only the console can judge are `faults`."""
    file = read_settings(path)
    faults: list[Fault] = []
    remapped: dict[str, str] = {}
    if file.settings.keys:
        from tui.remapping import remap  # loads Textual

        def complain(keys: tuple[str, ...], message: str) -> None:
            faults.append(file.fault(("keys", *keys), message))

        remapped = remap(file.settings.keys, complain)
    console = file.settings.console
    if console.theme is not None:
        from tui.present import themes

        names = themes()
        if console.theme not in names:
            hint = Speller(names).hint(console.theme) or f"; there are {', '.join(sorted(names))}"
            message = f"there is no theme {quoted(console.theme)}{hint}"
            faults.append(file.fault(("console", "theme"), message))
            console = replace(console, theme=None)
    return Preferences(console, remapped, tuple(sorted(faults)))


def users_preferences() -> Preferences:
    """The user's own, for a command. What was set in vain is said on stderr, where it is still to be read
    when the console has closed; where nothing can be read, the command ends."""
    try:
        preferences = read_preferences()
    except SettingsInvalid as invalid:
        _say(invalid.faults)
        raise click.exceptions.Exit(EXIT_USAGE) from None
    _say(preferences.faults)
    return preferences


def _say(faults: tuple[Fault, ...]) -> None:
    for fault in faults:
        click.echo(f"plandeck: {fault}", err=True)
