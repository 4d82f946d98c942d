"""Draws the state diagram of docs/design.md from the one table that the engine itself goes by.

Run `python docs/state_diagram.py` to bring the page up to date; a test fails when it is not.
"""

from __future__ import annotations

from pathlib import Path

from engine.core.state import TERMINAL, TRANSITIONS, TaskState

PAGE = Path(__file__).with_name("design.md")
BEGIN = "<!-- state diagram: made by docs/state_diagram.py -->\n"
END = "<!-- end of the state diagram -->\n"


def as_mermaid() -> str:
    """The diagram, in the order in which the states are declared."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {TaskState.PENDING}"]
    for old in TaskState:
        lines.extend(f"    {old} --> {new}" for new in TaskState if new in TRANSITIONS[old])
    lines.extend(f"    {state} --> [*]" for state in TaskState if state in TERMINAL)
    return "\n".join([*lines, "```", ""])


def with_diagram(page: str) -> str:
    """The page with the diagram between its marks made afresh."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + as_mermaid() + END + after


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text("utf-8")), "utf-8")
