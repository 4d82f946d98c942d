"""Writes the table of keys of docs/console.md from the one table that the console itself goes by.

Run `python docs/key_table.py` to bring the page up to date; a test fails when it is not.
"""

from __future__ import annotations

from pathlib import Path

from tui.keymap import KEYMAP, shown

PAGE = Path(__file__).with_name("console.md")
BEGIN = "<!-- keys: made by docs/key_table.py -->\n"
END = "<!-- end of the keys -->\n"


def as_table() -> str:
    """The keys, in the order of the help."""
    lines = ["| id | key | what it does |", "|---|---|---|"]
    for key in KEYMAP:
        keys = " ".join(f"`{shown(one)}`" for one in key.keys.split(",") if one) or "in the palette"
        lines.append(f"| `{key.id}` | {keys} | {key.tooltip} |")
    return "\n".join([*lines, ""])


def with_table(page: str) -> str:
    """The page with the table between its marks made afresh."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + as_table() + END + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
