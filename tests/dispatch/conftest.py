"""For all dispatchers: both event loops, and processes with and without pidfds."""

from __future__ import annotations

import pytest

from engine.dispatch.process import ProcessDispatcher
from tests.support.commands import without_pidfds


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["pidfd", "portable"])
def dispatcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ProcessDispatcher:
    if request.param == "portable":
        without_pidfds(monkeypatch)
    return ProcessDispatcher()
