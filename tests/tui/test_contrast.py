"""Colours that tell something can be read on what they stand on (WCAG 2: 4.5 to 1)."""

from __future__ import annotations

import pytest
from textual.color import Color
from textual.theme import Theme

from engine.core.state import TaskState
from tui.plain.marks import MARKS
from tui.present import DARK, LIGHT, Look, variables_of

READABLE = 4.5


def contrast(one: Color, other: Color) -> float:
    """By the definition of WCAG 2: from 1, the same, to 21, black on white."""

    def luminance(colour: Color) -> float:
        parts = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_itself() -> None:
    assert contrast(Color.parse("#000"), Color.parse("#fff")) == pytest.approx(21)
    assert contrast(Color.parse("#777"), Color.parse("#fff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
@pytest.mark.parametrize("ground", ["background", "surface", "panel", "cursor"])
@pytest.mark.parametrize(
    "name", sorted({"foreground", "accent", *(MARKS[state].colour for state in TaskState)})
)
def test_what_states_are_written_in_can_be_read(theme: Theme, ground: str, name: str) -> None:
    colours = variables_of(theme)
    assert contrast(Color.parse(colours[name]), Color.parse(colours[ground])) >= READABLE


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_the_stall_alert_can_be_read(theme: Theme) -> None:
    colours = variables_of(theme)
    assert contrast(Color.parse(colours["background"]), Color.parse(colours["warning"])) >= READABLE


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_the_cursor_is_seen_where_there_are_sixteen_colours(theme: Theme) -> None:
    look = Look(variables_of(theme), few_colours=True)
    assert look.cursor.reverse
    assert look.cursor_blurred.underline
