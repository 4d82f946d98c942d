"""Places where a database is hard to keep: a full disk, a folder that cannot be written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that does not exist yet."""
    return tmp_path / "state" / "plandeck"


class Disk(Protocol):
    """A disk that can be full. directory: a place on it."""

    directory: Path

    def fill(self) -> None: ...

    def free(self) -> None: ...


class _SmallDisk:
    """A file system of its own, with nearly all of its room taken by one file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._filler = directory / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        self._filler.unlink()


class _LimitedFiles:
    """No file may grow any further: for who may not mount. No file of the test run either, so it is to be
    freed within the test: what pytest itself writes to may be a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, self._limits[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@pytest.fixture
def limited_files(tmp_path: Path) -> Iterator[Disk]:
    limited = _LimitedFiles(tmp_path)
    yield limited
    limited.free()


@pytest.fixture
def small_disk(tmp_path: Path, limited_files: Disk) -> Iterator[Disk]:
    """A real one where that is allowed, else the next best."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "plandeck-test", str(place)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield limited_files
    else:
        yield _SmallDisk(place)
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Frozen:
    """A folder that can be read but not written, once it is frozen. Root may write anywhere, so for as long
    as it is frozen the tests are run by somebody else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._is_root = os.geteuid() == 0

    def freeze(self, mode: int = 0o555) -> None:
        """mode: of the folder."""
        for path in self.directory.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        self.directory.chmod(mode)
        if self._is_root:
            os.seteuid(NOBODY)

    def thaw(self) -> None:
        if self._is_root:
            os.seteuid(0)
        for path in [self.directory, *self.directory.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    directory = Path(tempfile.mkdtemp())  # not below tmp_path, where nobody else may look
    directory.chmod(0o755)
    place = Frozen(directory)
    yield place
    place.thaw()
    shutil.rmtree(directory)
