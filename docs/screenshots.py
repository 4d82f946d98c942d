"""Makes the pictures in the docs: the real console, over real runs of sample plans, as SVG.

Run `python docs/screenshots.py`; it takes about a minute. The pictures show runs as they went, so they
differ a little every time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import anyio

from engine import FailureMode, load_plan, open_run
from engine.core.state import TaskState
from engine.ground.folders import state_directory
from engine.session import Run
from tui.app import ConsoleApp
from tui.base import PlandeckApp
from tui.home import HomeApp

DOCS: Final = Path(__file__).parent
PLANS: Final = DOCS.parent / "sample_plans"
SIZE: Final = (100, 30)
SETTLING: Final = 0.5
"""Seconds until what was asked for is on the screen."""


async def picture_of_a_run(
    name: str, plan: str, keys: str, moment: tuple[str, TaskState], mode: FailureMode | None = None
) -> None:
    """Run a sample plan, press some keys once a task is in a state, and write docs/NAME.svg."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_plan(PLANS / f"{plan}.yaml")
        async with open_run(loaded, directory=Path(folder), failure_mode=mode, seed=7) as run:
            app = ConsoleApp(run)
            async with app.run_test(size=SIZE) as pilot:
                await until(run, *moment)
                await pilot.press(*keys.split())
                await pilot.pause(SETTLING)
                write(name, app, f"plandeck demo {plan}")


async def picture_of_the_list(name: str) -> None:
    """Make some runs, one of which goes on, and write docs/NAME.svg with the list of them."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder, "PACE": "0"}
        for plan in ("diamond", "matrix", "continue-on-error", "recovery"):
            plandeck("demo", plan, "--plain", "--speed", "20", "--seed", "7")
        os.environ["PACE"] = "1"
        plandeck("demo", "release", "--detach")
        try:
            async with anyio.create_task_group() as group:
                app = HomeApp(state_directory(), group)
                async with app.run_test(size=(SIZE[0], 16)) as pilot:
                    await pilot.pause(5)
                    write(name, app, "plandeck")
                group.cancel_scope.cancel()
        finally:
            plandeck("cancel", "last", "--kill")


def plandeck(*arguments: str) -> None:
    command = [sys.executable, "-m", "tui", *arguments]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


async def until(run: Run, task: str, state: TaskState) -> None:
    subscription = run.subscribe()
    index = run.graph.index_of[task]
    while run.snapshot().tasks[index].state is not state and await subscription.wait():
        subscription.take()


def write(name: str, app: PlandeckApp, title: str) -> None:
    svg = app.export_screenshot(title=title)
    # the fonts would be fetched from elsewhere by whoever looks at the picture
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    # not every program that shows SVG keeps blanks unless it is told to
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)
    (DOCS / f"{name}.svg").write_text(svg, "utf-8")


async def main() -> None:
    await picture_of_a_run("console", "release", "g j j", ("pack", TaskState.SUCCESS))
    failed = ("test-mac", TaskState.FAILED)
    await picture_of_a_run("failure", "continue-on-error", "e", failed, FailureMode.CONTINUE_ON_ERROR)
    await picture_of_a_run("timeline", "flaky", "4", ("index", TaskState.RUNNING))
    await picture_of_the_list("runs")


if __name__ == "__main__":
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}  # wherever they are taken
    anyio.run(main)
