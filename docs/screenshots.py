"""Makes the pictures in the docs: the real console, over a real run of a sample plan, as SVG.

Run `python docs/screenshots.py`. The pictures show a run as it went, so they differ a little every time.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import anyio

from engine import FailureMode, load_plan, open_run
from engine.core.state import TaskState
from engine.session import Run
from tui.app import ConsoleApp

DOCS = Path(__file__).parent
PLANS = DOCS.parent / "sample_plans"
SIZE = (100, 30)


async def picture(name: str, plan: str, keys: str, moment: tuple[str, TaskState]) -> None:
    """Run a sample plan, press some keys once a task is in a state, and write docs/NAME.svg."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_plan(PLANS / f"{plan}.yaml")
        async with open_run(
            loaded, directory=Path(folder), failure_mode=FailureMode.CONTINUE_ON_ERROR, seed=7
        ) as run:
            app = ConsoleApp(run)
            async with app.run_test(size=SIZE) as pilot:
                await until(run, *moment)
                await pilot.press(*keys.split())
                await pilot.pause(0.5)
                svg = app.export_screenshot(title=f"plandeck run {plan}.yaml")
    # the fonts would be fetched from elsewhere by whoever looks at the picture
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    (DOCS / f"{name}.svg").write_text(svg, "utf-8")


async def until(run: Run, task: str, state: TaskState) -> None:
    subscription = run.subscribe()
    index = run.graph.index_of[task]
    while run.snapshot().tasks[index].state is not state and await subscription.wait():
        subscription.take()


async def main() -> None:
    await picture("console", "release", "j j", ("pack", TaskState.SUCCESS))
    await picture("failure", "continue-on-error", "e", ("test-mac", TaskState.FAILED))


if __name__ == "__main__":
    anyio.run(main)
