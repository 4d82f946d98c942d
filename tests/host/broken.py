"""`plandeck` with a defect in it, which shows once there is a file `defect` in the working directory.

    python -m tests.host.broken widget|engine ARGUMENT...

widget: the table of tasks cannot be drawn. engine: the scheduler cannot take an input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from engine.host import launcher
from tui.__main__ import main

DEFECT = Path("defect")


def broken(function: Any) -> Any:
    """The function, which fails from the moment on that the file is there."""

    def call(*arguments: Any, **more: Any) -> Any:
        if DEFECT.exists():
            raise ZeroDivisionError("a defect")
        return function(*arguments, **more)

    return call


def break_widget() -> None:
    from tui.widgets.table import TaskTable

    TaskTable.render_line = broken(TaskTable.render_line)  # type: ignore[method-assign]


def break_engine() -> None:
    from engine.core.scheduler import Scheduler

    Scheduler.handle = broken(Scheduler.handle)  # type: ignore[method-assign]


if __name__ == "__main__":
    put_in = {"widget": break_widget, "engine": break_engine}[sys.argv.pop(1)]
    launch = launcher.launch

    def launch_and_break() -> None:
        launch()  # first of all, as ever
        put_in()

    if sys.argv[1] == "run":
        launcher.launch = launch_and_break  # type: ignore[assignment]
    else:
        put_in()
    main()
