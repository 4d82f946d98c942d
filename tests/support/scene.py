"""One pane on a screen of its own, over a run that the test tells: events in, lines out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar

from textual.app import App, ComposeResult
from textual.events import Key
from textual.geometry import Region
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input

from engine.plan.graph import Graph
from engine.plan.model import Condition, Need, Plan, Retry, Task
from engine.view.run_view import RunView
from tests.support.events import EventFactory
from tui.present import Look
from tui.widgets.lines import LinePane
from tui.widgets.task_pane import TaskPane

ROUNDS: Final = 3
"""A key makes an action, that a message, that a layout: no chain is longer."""

P = TypeVar("P", bound=LinePane[Any])


def plan_of(
    needs: Mapping[str, str | Mapping[str, str]], *, retries: Mapping[str, int] | None = None
) -> Plan:
    """A plan from names: {"a": "", "b": "a", "c": "a b", "d": {"c": "failed"}}."""

    def task(name: str, wanted: str | Mapping[str, str]) -> Task:
        if isinstance(wanted, str):
            wanted = dict.fromkeys(wanted.split(), "success")
        return Task(
            name=name,
            run="true",
            needs=tuple(Need(needed, Condition(condition)) for needed, condition in wanted.items()),
            retry=Retry(limit=(retries or {}).get(name, 0)),
        )

    return Plan(name="plan", tasks=tuple(task(name, wanted) for name, wanted in needs.items()))


class Stage(App[None]):
    """An app with one pane and, to have somewhere else to go, a text field of no height."""

    CSS = "LinePane { height: 1fr; } Input { height: 0; border: none; }"

    def __init__(self, pane: LinePane[Any], look: Look) -> None:
        super().__init__()
        self.pane = pane
        self.look = look
        self.told: list[tuple[str, int]] = []

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Input()

    def on_task_pane_task_highlighted(self, message: TaskPane.TaskHighlighted) -> None:
        self.told.append(("highlighted", message.index))

    def on_task_pane_task_opened(self, message: TaskPane.TaskOpened) -> None:
        self.told.append(("opened", message.index))


class Scene(Generic[P]):
    """A pane, the view it shows, and the events that the test makes.

    now: what the next tick calls now; it follows the events. drawn: the lines drawn, and painted: the
    regions repainted, since `forget`.
    """

    def __init__(self, pane: P, view: RunView, app: Stage, pilot: Pilot[None]) -> None:
        self.pane = pane
        self.view = view
        self.app = app
        self.pilot = pilot
        self.events = EventFactory(view.graph, step=0.0)
        self.events.offset = 0.0
        self.drawn: list[int] = []
        self.painted: list[Region] = []
        self._shown = 0
        self._spy()

    def _spy(self) -> None:
        draw_line, refresh = self.pane.draw_line, self.pane.refresh

        def draw(line: int, *rest: Any) -> Any:
            self.drawn.append(line)
            return draw_line(line, *rest)

        def paint(*regions: Region, **how: Any) -> Any:
            self.painted.extend(regions or (self.pane.size.region,))
            return refresh(*regions, **how)

        self.pane.draw_line = draw  # type: ignore[method-assign]
        self.pane.refresh = paint  # type: ignore[method-assign, assignment]

    async def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, show the events made since the last tick, and paint."""
        self.events.wait(seconds)
        fresh = self.events.events[self._shown :]
        self._shown += len(fresh)
        self.view.apply(fresh)
        self.pane.update_from(self.view.drain_changes(), self.events.offset)
        await self.settle()

    async def press(self, *keys: str) -> None:
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 else key
            self.app.post_message(Key(name, key if len(key) == 1 else None))
            await self.settle()

    async def settle(self) -> None:
        """Let every widget have seen its messages, and those that came of them; and paint.

        Unlike the pilot's `pause` it does not wait for an idle processor, which a busy machine never has.
        """
        for _ in range(ROUNDS):
            await self.pilot._wait_for_screen()
            self.app.screen._on_timer_update()

    def forget(self) -> None:
        self.drawn.clear()
        self.painted.clear()

    def index(self, name: str) -> int:
        return self.view.graph.index_of[name]

    @property
    def selected(self) -> str | None:
        """The name of the selected task."""
        index = self.pane.selected
        return None if index is None else self.view.tasks[index].name

    @property
    def strips(self) -> list[Strip]:
        """The rows of the pane as the terminal shows them, without the scrollbar.

        This is what was painted, and not what the pane would paint if it were asked now.
        """
        width, height = self.pane.line_width, self.pane.size.height
        return [strip.crop(0, width) for strip in self.app.screen._compositor.render_strips()[:height]]

    @property
    def lines(self) -> list[str]:
        """Their text, without the blanks at the ends; empty rows at the end left out."""
        rows = [strip.text.rstrip() for strip in self.strips]
        while rows and not rows[-1]:
            rows.pop()
        return rows


@asynccontextmanager
async def scene_of(
    make: Callable[[RunView], P], plan: Plan, *, size: tuple[int, int] = (40, 10), look: Look | None = None
) -> AsyncIterator[Scene[P]]:
    """Put a pane over the plan on a screen of `size` columns and rows."""
    view = RunView(Graph(plan), "run")
    pane = make(view)
    app = Stage(pane, look or Look())
    async with app.run_test(size=size) as pilot:
        pane.focus()
        scene = Scene(pane, view, app, pilot)
        await scene.tick()
        yield scene


def messages(told: Sequence[tuple[str, int]], kind: str) -> list[int]:
    """The tasks that messages of a kind were about."""
    return [index for what, index in told if what == kind]
