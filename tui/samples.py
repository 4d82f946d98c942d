"""The sample plans that `plandeck demo` lists and runs."""

from __future__ import annotations

from pathlib import Path

import tui


def sample_plans() -> dict[str, Path]:
    """Every sample plan by its name, in alphabetical order."""
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def headline(path: Path) -> str:
    """What a sample plan is about: its first comment line."""
    with path.open(encoding="utf-8") as lines:
        return lines.readline().removeprefix("#").strip()


def _folder() -> Path:
    """Inside the package when installed, beside it in a checkout."""
    package = Path(tui.__file__).parent
    installed = package / "sample_plans"
    return installed if installed.is_dir() else package.parent / "sample_plans"
