"""Output that waits on a worker: a ring in a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dispatch.dask import spool as spool_module
from engine.dispatch.dask.spool import Spool


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_SLACK", 10)


def whole(spool: Spool, offset: int) -> bytes:
    """All from an offset on."""
    data = b""
    while piece := spool.read(offset + len(data), 7):
        data += piece
    return data


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(0, 12))))
def test_what_was_written_is_read_until_it_is_released(steps: list[tuple[bytes, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "_SLACK", 12)
        spool = Spool("/tmp", room=20)
        written = b""
        for data, released in steps:
            if not spool.is_full:
                spool.write(data)
                written += data
            assert whole(spool, spool.begin) == written[spool.begin :]
            spool.release(spool.begin + released)
        assert spool.end == len(written)
        assert spool.lost == 0
        spool.close()


def test_what_comes_though_it_is_full_is_lost_and_counted(small: None, tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), room=20)
    spool.write(b"x" * 20)
    assert spool.is_full
    spool.write(b"y" * 15)
    assert (spool.end, spool.lost) == (30, 5)
    assert whole(spool, 0) == b"x" * 20 + b"y" * 10
    spool.close()


def test_it_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    assert whole(spool, 0) == b""
    spool.write(b"data")
    assert list(tmp_path.iterdir()) == []
    spool.close()
    spool.close()


def test_a_full_disk_loses_output_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.write(b"kept")

    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        spool.write(b"lost")
    spool.write(b" and kept")
    assert whole(spool, 0) == b"kept and kept"
    assert spool.lost == 4
    spool.close()


def test_a_folder_that_is_gone_loses_output_and_nothing_else(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "gone"))
    spool.write(b"data")
    assert (spool.end, spool.lost) == (0, 4)
