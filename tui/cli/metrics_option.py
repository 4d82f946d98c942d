"""`--metrics [HOST:]PORT`: an option that several commands share."""

from __future__ import annotations

import re
from typing import Any, Final

import click

LOOPBACK: Final = "127.0.0.1"
HIGHEST_PORT: Final = 65535
_ADDRESS: Final = re.compile(r"(?:(?P<host>[^\s:\[\]]+|\[[^\s\[\]]+\]):)?(?P<port>\d{1,5})")


class AddressType(click.ParamType[tuple[str, int]]):
    """A port, and before it a host name or an address: in brackets if it holds colons."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        match = _ADDRESS.fullmatch(str(value))
        if match is None or int(match["port"]) > HIGHEST_PORT:
            self.fail(
                f"{value!r} is no port, nor a host and a port: 9877, 0.0.0.0:9877, [::1]:9877", param, ctx
            )
        return (match["host"] or LOOPBACK).strip("[]"), int(match["port"])


metrics_option = click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    type=AddressType(),
    help="Serve metrics for Prometheus there, on this machine alone unless a HOST is given.",
)
