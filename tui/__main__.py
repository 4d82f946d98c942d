"""Where `plandeck` and `python -m tui` begin."""

from __future__ import annotations

import sys
from typing import Final

from engine.ground.collector import put_off_collector

GUARDED: Final = ("run", "demo", "resume", "retry")
"""The commands that start processes, which shall not outlive them."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    put_off_collector()
    arguments = sys.argv[1:]
    if arguments[:1] and arguments[0] in GUARDED:
        from engine.host.launcher import launch

        launch()  # forks, so before anything else is loaded

    from tui.cli.main import run_command_line

    code = run_command_line(arguments)
    if arguments[:1] and arguments[0] in GUARDED:
        from engine.host.launcher import sign_off

        sign_off()
    sys.exit(code)


if __name__ == "__main__":
    main()
