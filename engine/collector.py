"""Python's garbage collector, and when it need not run."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
