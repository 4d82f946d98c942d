"""A task prints all that a terminal obeys, and more than anybody can read: the screen stays whole, the keys
answer, and every byte is on disk."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

import pytest

from tests.support import attack
from tests.support.terminal import ALTERNATE_SCREEN, BRACKETED_PASTE, Terminal

ROOT = Path(__file__).parents[2]

SIDES = "│┐┘┤"
BESIDE = "│┌└├"


class Attacked(Terminal):
    """The console in which a task attacks. broken: frames whose borders were not where they belong."""

    def __init__(self, folder: Path, *, megabytes: int, columns: int = 80, rows: int = 24) -> None:
        task = [sys.executable, attack.__file__, str(folder), str(megabytes)]
        (folder / "plan.yaml").write_text(f"name: war\ntasks: {{attack: {{run: {task!r}}}}}\n")
        self.broken: list[str] = []
        argv = [sys.executable, "-m", "tui", "run", "plan.yaml"]
        super().__init__(argv, columns=columns, rows=rows, env={"PYTHONPATH": str(ROOT)}, cwd=folder)

    def frame_shown(self) -> None:
        lines = self.lines
        if "┌" not in self.text or "help" not in lines[-1]:
            return  # not the run's screen
        inside = lines[2:-2]
        if any(line[0] not in BESIDE or line[-1] not in SIDES for line in inside) or "war" not in lines[0]:
            self.broken.append(self.text)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 20)])
def test_the_screen_stays_whole(tmp_path: Path, columns: int, rows: int) -> None:
    with Attacked(tmp_path, megabytes=8, columns=columns, rows=rows) as console:
        console.wait_for("attack")
        console.press("3")
        console.wait_for("[3 Log: attack, attempt 1]")
        console.press("ww")
        console.wait_for("the attack is over")
        console.press("g")
        console.wait_for("control")
        for sought, sight in (
            ("markup", "[bold red]markup[/] [@click=app.quit]click[/]"),
            ("tower", "tower"),
            ("turned", " turned  round"),
        ):
            console.press("/")
            console.wait_for("find:")
            console.press(sought)
            console.wait_for(f"/{sought} 1")
            console.press("\r")
            console.wait_for(lambda: "follow" in console.lines[-1])
            console.wait_for(sight)
        console.press("t")
        console.wait_for(lambda: bool(re.search(r"\d\d:\d\d:\d\d  turned", console.text)))
        console.press("wG")
        console.wait_for("the attack is over")
        assert not console.broken, console.broken[0]
        assert b"pwned" not in console.output, "no title, no clipboard"
        assert b"\x1b[6n" not in console.output
        assert b"\x1b(0" not in console.output
        assert console.has_mode(ALTERNATE_SCREEN)
        assert console.has_mode(BRACKETED_PASTE)
        console.press("q")
        assert console.wait_for_exit() == 0
        console.read_rest()
        assert b"pwned" not in console.output, "nor in the summary"
    state = Path(os.environ["XDG_STATE_HOME"])
    [log] = state.glob("plandeck/runs/*/logs/*.log")
    kept = log.read_bytes()
    assert hashlib.sha256(kept).hexdigest() == (tmp_path / "digest").read_text(), "nothing is lost on disk"
