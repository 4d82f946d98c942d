"""Process groups, where the kernel or /proc answer in unusual ways."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.dispatch import group

pytestmark = pytest.mark.anyio


class TestGroup:
    @pytest.fixture(autouse=True)
    def probed_anew(self) -> Iterator[None]:
        group._pidfd_reaches_groups.cache_clear()
        yield
        group._pidfd_reaches_groups.cache_clear()

    @pytest.mark.parametrize(
        ("error", "reaches"),
        [(None, True), (ProcessLookupError(), True), (OSError(errno.EINVAL, "not known"), False)],
    )
    def test_the_kernel_is_asked_once(
        self, monkeypatch: pytest.MonkeyPatch, error: OSError | None, reaches: bool
    ) -> None:
        asked = []

        def answer(*args: object) -> None:
            asked.append(args)
            if error is not None:
                raise error

        monkeypatch.setattr(signal, "pidfd_send_signal", answer)
        assert group._pidfd_reaches_groups() is reaches
        assert group._pidfd_reaches_groups() is reaches
        assert len(asked) == 1

    def test_without_pidfds_it_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "pidfd_open")
        assert not group._pidfd_reaches_groups()

    def test_a_process_that_goes_while_it_is_looked_at_is_passed_over(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "self").mkdir()
        (tmp_path / "self" / "stat").touch()
        (tmp_path / "17").mkdir()  # its stat is gone
        (tmp_path / "18").mkdir()
        (tmp_path / "18" / "stat").write_text("18 (a) b) S 1 4194303 17 0")
        monkeypatch.setattr(group, "_PROC", tmp_path)
        members = group.ProcessGroup(4194303, None).members()
        assert members == [group.Member(18, "a) b")]
