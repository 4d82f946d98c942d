"""A real Dask cluster on loopback, of processes that are ended with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NODE = str(Path(__file__).with_name("dask_node.py"))


class Node:
    """A scheduler or a worker. address: known once it is ready."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, _NODE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("SHOW_DASK") else subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "PACE": "0"},
        )
        self.address = ""

    def wait_ready(self) -> Node:
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address
        return self

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Let it end in good order."""
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()


class DaskCluster:
    """A scheduler and two workers of eight threads each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler = Node("scheduler", "0", str(folder)).wait_ready()
        self.workers = [self.start_worker(name) for name in ("one", "two")]
        for worker in self.workers:
            worker.wait_ready()

    @property
    def address(self) -> str:
        return self.scheduler.address

    def start_worker(self, name: str) -> Node:
        return Node("worker", self.address, name, str(self.folder))

    def close(self) -> None:
        for node in (*self.workers, self.scheduler):
            if node.process.poll() is None:
                node.close()
