"""A real Dask cluster: a scheduler and two workers of four threads each, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from engine.dispatch.contract import DispatcherContract, Subject
from engine.dispatch.dask.dispatcher import DaskDispatcher
from tests.support.commands import STUBBORN, task_for
from tests.support.dask_cluster import DaskCluster

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


@pytest.fixture
async def dask(cluster: DaskCluster) -> AsyncIterator[DaskDispatcher]:
    async with DaskDispatcher(cluster.address) as dispatcher:
        yield dispatcher


class TestContract(DispatcherContract):
    @pytest.fixture
    def subject(self, dask: DaskDispatcher) -> Subject:
        return Subject(
            dask,
            task_for("true"),
            task_for(("sh", "-c", "exit 3")),
            task_for("exec sleep 1000"),
            task_for(STUBBORN),
        )
