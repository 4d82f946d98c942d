"""The command line, carried out by the process of the tests: for what one of its own proves no better."""

from __future__ import annotations

from collections.abc import Callable

Cli = Callable[..., tuple[int, str, str]]
"""What the fixture `call` gives: takes the arguments, returns exit code, stdout and stderr."""
