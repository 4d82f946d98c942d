"""How things look: a glyph, a colour and a word for every state, and text cut to fit.

Every widget takes its glyphs and styles from the one `Look` of the app, so that a theme, `NO_COLOR`
or a terminal without Unicode changes all of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.style import Style
from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme
from textual.widget import Widget

from engine.core.state import TaskState
from tui.plain.marks import MARKS

HEALTHY: Final = 0.8
UNHEALTHY: Final = 0.5

DARK: Final = Theme(
    name="plandeck-dark",
    primary="#58a6ff",
    secondary="#7fb5c9",
    accent="#39c5cf",
    success="#56c271",
    warning="#e3b341",
    error="#ff7b7b",
    foreground="#d5dbe3",
    background="#0d1117",
    surface="#141a22",
    panel="#1c2430",
    variables={"muted": "#98a3b1", "cancelled": "#c58af9", "line": "#3b4552", "cursor": "#1b3556"},
)
LIGHT: Final = Theme(
    name="plandeck-light",
    dark=False,
    primary="#0a5cc2",
    secondary="#34697a",
    accent="#00646d",
    success="#146c2e",
    warning="#845600",
    error="#b71c26",
    foreground="#1b2026",
    background="#fbfbfa",
    surface="#f1f2f3",
    panel="#e4e7ea",
    variables={"muted": "#555e68", "cancelled": "#7a3fb0", "line": "#b4bbc3", "cursor": "#cfe2fb"},
)


def themes() -> set[str]:
    """The names of all themes, ours and Textual's."""
    return {DARK.name, LIGHT.name, *BUILTIN_THEMES}


def stand_ins(theme: Theme) -> dict[str, str]:
    """Our own variables, for a theme that does not know them."""
    variables = theme.to_color_system().generate()
    if theme.ansi:
        grey = "ansi_bright_black"
        return {"muted": grey, "line": grey, "cursor": grey, "cancelled": variables["secondary"]}
    text, ground = Color.parse(variables["foreground"]), Color.parse(variables["background"])
    return {
        "muted": text.blend(ground, 0.4).hex,
        "line": text.blend(ground, 0.75).hex,
        "cursor": Color.parse(variables["primary"]).blend(ground, 0.7).hex,
        "cancelled": variables["secondary"],
    }


def variables_of(theme: Theme) -> dict[str, str]:
    """Every variable that a `Look` is made from."""
    return stand_ins(theme) | theme.to_color_system().generate() | theme.variables


class Look:
    """The glyphs and styles in force.

    colours: the variables of the theme. plain: only characters that every terminal has. monochrome:
    no colour at all, so that what is selected is shown reversed. few_colours: sixteen, among which a shade
    of the background is the background itself: so reversed as well.
    """

    __slots__ = (
        "accent", "bar", "bold", "cursor", "cursor_blurred", "done", "ellipsis", "error", "found", "key",
        "line", "monochrome", "muted", "plain", "primary", "rest", "sparks", "states", "success", "text",
        "warning", "warning_block",
    )  # fmt: skip

    def __init__(
        self,
        colours: Mapping[str, str] | None = None,
        *,
        plain: bool = False,
        monochrome: bool = False,
        few_colours: bool = False,
    ) -> None:
        variables = variables_of(DARK) if colours is None else colours
        self.plain = plain
        self.monochrome = monochrome

        def style(name: str, *, on: str | None = None, bold: bool = False) -> Style:
            if monochrome:
                return Style(reverse=on is not None or None, bold=bold or None)
            background = _colour(variables, on) if on else None
            return Style(
                color=_colour(variables, name).rich_color,
                bgcolor=background.rich_color if background else None,
                bold=bold or None,
            )

        self.text = Style.null()
        self.bold = Style(bold=True)
        self.muted = style("muted") if not monochrome else Style(dim=True)
        self.line = style("line") if not monochrome else Style(dim=True)
        self.primary = style("primary")
        self.accent = style("accent", bold=True)
        self.key = style("accent", bold=True)
        self.success = style("success")
        self.warning = style("warning")
        self.error = style("error")
        self.warning_block = style("background", on="warning", bold=True)
        self.found = style("background", on="warning")
        # the row under the cursor: only the background, so that the colour of a state stays itself
        if monochrome or few_colours:
            self.cursor = Style(reverse=True)
            self.cursor_blurred = Style(underline=True)
        else:
            self.cursor = Style(bgcolor=_colour(variables, "cursor").rich_color, bold=True)
            self.cursor_blurred = Style(bgcolor=_colour(variables, "panel").rich_color)
        self.states: dict[TaskState, Style] = {
            state: style(mark.colour, bold=state in _LOUD) for state, mark in MARKS.items()
        }
        self.ellipsis = "~" if plain else "…"
        self.bar, self.done, self.rest = ("=", "=", "-") if plain else ("━", "█", "░")
        self.sparks = "_.-~=+*#" if plain else "▁▂▃▄▅▆▇█"

    def glyph(self, state: TaskState) -> str:
        """The shape of a state: one cell."""
        mark = MARKS[state]
        return mark.plain if self.plain else mark.glyph

    def health(self, health: float) -> Style:
        """Good, doubtful or bad."""
        if health >= HEALTHY:
            return self.success
        return self.warning if health >= UNHEALTHY else self.error

    def cut_name(self, name: str, width: int) -> str:
        return cut_name(name, width, self.ellipsis)

    def cut(self, text: str, width: int) -> str:
        """`text` in at most `width` cells, with a sign that something is missing."""
        return cut(text, width, self.ellipsis)


_LOUD: Final = frozenset({TaskState.FAILED, TaskState.RUNNING, TaskState.STOPPING, TaskState.RETRYING})


def _colour(variables: Mapping[str, str], name: str) -> Color:
    try:
        return Color.parse(variables[name])
    except ColorParseError:  # "auto 60%" and the like, which only mean something over a background
        return Color.parse(variables["foreground"])


PLAIN_LOOK: Final = Look()


def look_of(widget: Widget) -> Look:
    """The look of the app that the widget is in; the default one in an app that has none."""
    look = getattr(widget.app, "look", None)
    return look if isinstance(look, Look) else PLAIN_LOOK


def widest(texts: Sequence[str]) -> int:
    """The cells that the widest of these printable texts takes; 0 if there are none."""
    # nearly all plans are in ASCII, where a character is a cell, and this is asked of every task at once
    measure = len if all(map(str.isascii, texts)) else cell_len
    return max(map(measure, texts), default=0)


def cut_name(name: str, width: int, ellipsis: str = "…") -> str:
    """The name of a task in at most `width` cells. Of a task of a subplan or a matrix the end is kept, for by
    that it is told from its neighbours."""
    if cell_len(name) <= width or not ("/" in name or name.endswith("]")):
        return cut(name, width, ellipsis)
    if width <= 1:
        return ellipsis[:width]
    start = name.find("/")
    while start >= 0:
        if cell_len(name[start:]) < width:
            return ellipsis + name[start:]
        start = name.find("/", start + 1)
    end = name.rpartition("/")[2]
    while cell_len(end) >= width:
        end = end[1:]
    return ellipsis + end


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in at most `width` cells, never half a wide character."""
    if width <= 0:
        return ""
    if len(text) * 2 <= width or cell_len(text) <= width:
        return text
    room = width - 1
    kept: list[str] = []
    for character in text:
        room -= cell_len(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + ellipsis
