"""The page on the design shows what the code does."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def diagram_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("state_diagram", ROOT / "docs" / "state_diagram.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_state_diagram_is_the_table_of_transitions() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    assert diagram_module().with_diagram(page) == page, "run: python docs/state_diagram.py"


def test_every_file_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    named = set(re.findall(r"`((?:engine|tui|docs)/[\w/.]+\.\w+)`", page))
    assert named
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert not missing


def test_the_page_describes_every_module_of_the_core() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    modules = {path.name for path in (ROOT / "engine" / "core").glob("*.py")} - {"__init__.py"}
    missing = [name for name in sorted(modules) if f"`{name}`" not in page]
    assert not missing


def test_the_page_tells_of_every_room() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    rooms = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in ("engine", "tui")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    assert rooms
    assert not sorted(room for room in rooms if f"`{room}`" not in page)


def test_the_page_tells_of_every_wall() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    walls = [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]
    assert walls
    assert not [name for name in walls if f"- {name}.\n" not in page]
