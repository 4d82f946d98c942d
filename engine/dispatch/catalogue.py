"""The dispatchers that there are: built in, and brought by other packages as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from engine.dispatch.base import TaskDispatcher
from engine.errors import ExecutorUnusable

GROUP: Final = "plandeck.dispatchers"
"""The group of the entry points: each names a class, or a function, that makes a dispatcher."""

_BUILT_IN: Final = {"dask": "engine.dispatch.dask.dispatcher:DaskDispatcher"}


def make_dispatcher(name: str, options: Mapping[str, Any]) -> TaskDispatcher | None:
    """The dispatcher for the executor of that name, or None if there is none of its kind.

    options: `kind` is the name of an entry point, by default that of the executor; the others are handed
    on as keyword arguments. Raises `ExecutorUnusable` if it cannot be made.
    """
    given = dict(options)
    kind = str(given.pop("kind", name))
    try:
        factory = _factory(kind)
        return None if factory is None else factory(**given)
    except ExecutorUnusable:
        raise
    except ImportError as error:
        hint = f"; try: pip install 'plandeck[{kind}]'" if kind in _BUILT_IN else ""
        raise ExecutorUnusable(f"the executor {name!r} cannot be loaded: {error}{hint}") from error
    except Exception as error:
        raise ExecutorUnusable(f"the executor {name!r} cannot be used: {error}") from error


def _factory(kind: str) -> Any:
    from importlib.metadata import entry_points  # with the parsers of e-mail, for plans that name another

    for entry in entry_points(group=GROUP, name=kind):
        return entry.load()
    if kind not in _BUILT_IN:
        return None
    module, _, attribute = _BUILT_IN[kind].partition(":")
    return getattr(import_module(module), attribute)
