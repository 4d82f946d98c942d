"""The options of the commands that read a plan: its params, and its failure mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

FAILURE_MODES: Final = ("fail_fast", "continue_on_error", "pause_on_failure")

_Command = TypeVar("_Command", bound=Callable[..., Any])


class FailureModeChoice(click.Choice[str]):
    """A failure mode, spelled with underscores as in a plan or with hyphens as on screen."""

    name = "mode"

    def __init__(self) -> None:
        super().__init__(FAILURE_MODES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(str(value).replace("-", "_"), param, ctx)


def param_option(command: _Command) -> _Command:
    """The params of a plan."""
    return click.option(
        "-p",
        "--param",
        "params",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_params,
        help="Give a param of the plan a value.",
    )(command)


def _params(_: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise click.BadParameter(f"{text!r} must be NAME=VALUE", param=option)
        params[name] = value
    return params
