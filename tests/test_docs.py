"""What the pages say is true: their plans are sound, their commands and options exist, their program runs."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from engine import open_run
from engine.core.state import Outcome
from engine.plan.load import parse_plan
from engine.settings.reader import parse_settings
from tui.cli.main import cli
from tui.remapping import remap

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language; "" for those that name none."""
    return [text for name, text in FENCED.findall(page.read_text()) if name == language]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every plandeck command in a block, without comments, pipes and redirections: (page, argv)."""
    for page in PAGES:
        for block in blocks(page, ""):
            for command in re.findall(r"(?<![\w./-])plandeck ([^|>#)\n]+)", block):
                yield page.name, shlex.split(command.split("   ")[0])


def every_command(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from every_command(command, f"{prefix}{name} ")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_nothing_is_left_of_a_merge(page: Path) -> None:
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text(), re.MULTILINE)


def headings(page: Path) -> set[str]:
    """Of a page, as a link names them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", FENCED.sub("", page.read_text())):
        path, _, heading = target.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), target
        assert not heading or heading in headings(other), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_plans_are_sound(page: Path) -> None:
    for text in blocks(page, "yaml"):
        assert parse_plan(text).tasks


@pytest.mark.parametrize(("page", "arguments"), commands())
def test_command_and_its_options_exist(page: str, arguments: list[str]) -> None:
    if arguments == ["--version"]:
        return
    command: click.Command = cli
    rest = arguments
    while isinstance(command, click.Group) and rest:
        command, rest = command.commands[rest[0]], rest[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in rest if argument.startswith("-")} <= options


def test_every_command_and_option_is_on_the_page() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    for name, command in every_command(cli):
        assert f"plandeck {name}" in page
        assert all(
            option in page for parameter in command.params for option in parameter.opts if option[0] == "-"
        )


def test_embedding_example_runs(tmp_path: Path) -> None:
    (program,) = blocks(ROOT / "README.md", "python")
    (tmp_path / "release.yaml").write_text("tasks: {one: {run: 'true'}}")
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    types = [line.split()[1] for line in result.stdout.splitlines()]
    assert types == ["PLAN_STARTED", "TASK_STARTED", "TASK_COMPLETED", "PLAN_COMPLETED"]


@pytest.mark.anyio
async def test_the_example_of_a_dispatcher_runs_a_plan(tmp_path: Path) -> None:
    (program,) = [block for block in blocks(ROOT / "docs" / "dispatchers.md", "py") if "class Echo" in block]
    (tmp_path / "echo.py").write_text(program)
    make = runpy.run_path(str(tmp_path / "echo.py"))["EchoDispatcher"]
    plan = parse_plan("{defaults: {executor: echo}, tasks: {a: {run: one}, b: {run: two}, c: {run: three}}}")
    async with open_run(plan, dispatchers={"echo": make(limit=1)}) as run:
        assert (await run.wait()).outcome is Outcome.SUCCESS


def test_the_page_of_the_console_lists_every_key() -> None:
    page = (ROOT / "docs" / "console.md").read_text()
    made = runpy.run_path(str(ROOT / "docs" / "key_table.py"))["with_table"](page)
    assert page == made, "run: python docs/key_table.py"


def test_the_settings_on_the_page_are_sound() -> None:
    (example,) = blocks(ROOT / "docs" / "console.md", "toml")
    file = parse_settings(example, "config.toml")
    complaints: list[str] = []
    remapped = remap(file.settings.keys, lambda path, message: complaints.append(message))
    assert complaints == []
    assert remapped == {"task.retry": "u", "plan.slots-up": "plus,ctrl+up", "detach": ""}
