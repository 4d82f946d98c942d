"""A Dask scheduler or worker as a process of its own.

Called as `dask_node.py scheduler PORT FOLDER` or `dask_node.py worker ADDRESS NAME FOLDER`. It says on its
stdout where it is, and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import dask
from distributed import Scheduler, Worker

THREADS = 8


async def main(kind: str, where: str, *arguments: str) -> None:
    node: Any
    if kind == "scheduler":
        node = Scheduler(host="127.0.0.1", port=int(where), dashboard_address="127.0.0.1:0")  # type: ignore[no-untyped-call]
    else:
        name, folder = arguments
        node = Worker(where, host="127.0.0.1", nthreads=THREADS, name=name, local_directory=folder)
    async with node:
        print(node.address, flush=True)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        finished = asyncio.create_task(node.finished())
        await asyncio.wait([ended, finished], return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    dask.config.set({"temporary-directory": sys.argv[-1]})
    asyncio.run(main(*sys.argv[1:]))
