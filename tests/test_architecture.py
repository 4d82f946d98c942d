"""The walls of the house: who may import whom, how big a room may be, and what no room may be called."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path.relative_to(ROOT) for room in ("engine", "tui") for path in (ROOT / room).rglob("*.py"))
CORE = [path for path in MODULES if path.parts[:2] == ("engine", "core")]

LONGEST = 400
"""Lines. A module that needs more holds more than one thing."""

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}

RUN_IMPORT_LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"

CORE_MAY_IMPORT = {
    "__future__", "bisect", "collections", "dataclasses", "enum", "functools", "heapq", "itertools", "math",
    "operator", "typing", "msgspec", "random.Random",
    "engine.core", "engine.errors", "engine.plan.graph", "engine.plan.model", "engine.plan.nesting",
}  # fmt: skip


def test_import_contracts_hold() -> None:
    """The same contracts as in `make check`, so that a plain test run shows a breach too."""
    result = subprocess.run(
        [sys.executable, "-c", RUN_IMPORT_LINTER, "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", CORE, ids=str)
def test_core_imports_only_what_is_pure(path: Path) -> None:
    """A list of what is allowed, for a list of what is forbidden is never complete."""
    strangers = {name for name in _imported(path) if not _is_within(name, CORE_MAY_IMPORT)}
    assert not strangers


def test_modules_are_of_a_size_to_read() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in MODULES}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_module_has_a_name_and_a_docstring(path: Path) -> None:
    assert not EMPTY_NAMES & set(path.with_suffix("").parts)
    assert ast.get_docstring(ast.parse((ROOT / path).read_text()))


def _imported(path: Path) -> set[str]:
    """Dotted names: of modules, and of what is taken from modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _is_within(name: str, allowed: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:length]) in allowed for length in range(1, len(parts) + 1))
