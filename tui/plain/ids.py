"""Ids of runs as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

ID_LENGTH: Final = 8
"""Characters of an id that tell one run from another in all but the strangest cases."""


def short_id(run_id: str, among: Sequence[str] = ()) -> str:
    """A beginning of the id that no other one has. among: the ids that matter."""
    length = ID_LENGTH
    while length < len(run_id) and len({other[:length] for other in among}) < len(set(among)):
        length += 1
    return run_id[:length]
