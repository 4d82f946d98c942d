"""How things are called where there is little room."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tui.present import cut_name


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("unit", 4, "unit"),
        ("integration", 6, "integ…"),
        ("rollout[eu]/warm-up[1]", 22, "rollout[eu]/warm-up[1]"),
        ("rollout[eu]/warm-up[1]", 13, "…/warm-up[1]"),
        ("rollout[eu]/warm-up[1]", 8, "…m-up[1]"),
        ("a/b/deploy", 9, "…/deploy"),
        ("a/b/deploy", 10, "a/b/deploy"),
        ("long/b/deploy", 10, "…/b/deploy"),
        ("integration[3.11,linux]", 13, "…[3.11,linux]"),
        ("eu/日本語", 6, "…本語"),
        ("eu/日本語", 1, "…"),
        ("eu/step", 0, ""),
    ],
)
def test_a_name_keeps_what_tells_it_from_its_neighbours(name: str, width: int, shown: str) -> None:
    assert cut_name(name, width) == shown
    assert cell_len(cut_name(name, width)) <= width
