"""Python's garbage collector, and when it need not run."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_START: Final = 1_000_000
"""More objects than a plan of ten thousand tasks and all that shows it are made of."""

_USUAL: Final = gc.get_threshold()


def put_off_collector() -> None:
    """For a process that begins, and has everything still to load: let the collector come so seldom that
    it looks at next to nothing of that. To be followed by `settle_collector`, if the process goes on."""
    gc.set_threshold(_START, *_USUAL[1:])


def settle_collector() -> None:
    """What has been made stays, and is never looked at again; for what comes the collector is as usual.
    Does nothing where it was not put off: this concerns the whole process, which may be somebody else's."""
    if gc.get_threshold()[0] == _START:
        gc.freeze()
        gc.set_threshold(*_USUAL)


@contextmanager
def collector_paused() -> Iterator[None]:
    """For the making of very many objects that all stay: the collector would look at each again and again,
    and find nothing. Never around an `await`: others would have it paused too."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
