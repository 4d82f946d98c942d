"""What the footer names, wherever the operator is: keys of the one table, in the order of their weight."""

from __future__ import annotations

from typing import Final, NamedTuple


class Hint(NamedTuple):
    """What the footer says. ids: the entries named together. label: where theirs does not do."""

    ids: tuple[str, ...]
    label: str = ""


_ALWAYS: Final = (Hint(("help",)), Hint(("quit",)))

TASK_HINTS: Final = (
    Hint(("task.retry",)),
    Hint(("task.cancel",)),
    Hint(("plan.mode",), "mode"),
    Hint(("plan.slots-up", "plan.slots-down"), "slots"),
    Hint(("plan.pause",)),
    Hint(("find",)),
    Hint(("commands",), "more"),
    Hint(("find.trouble",)),
    Hint(("task.log",)),
    Hint(("task.details",)),
    Hint(("zoom",)),
    Hint(("task.hold",)),
    *_ALWAYS,
)
"""In tree and table, most important first; the last two are shown at any width."""

TROUBLE_HINTS: Final = (
    Hint(("find.trouble",)),
    Hint(("task.retry",)),
    Hint(("task.log",)),
    Hint(("plan.pause",)),
    Hint(("task.cancel",)),
    Hint(("task.stall",)),
    Hint(("plan.mode",), "mode"),
    Hint(("commands",), "more"),
    Hint(("task.retry-all",)),
    Hint(("task.details",)),
    Hint(("find",)),
    Hint(("plan.slots-up", "plan.slots-down"), "slots"),
    Hint(("zoom",)),
    *_ALWAYS,
)
"""The same once something has failed or stalled."""

OVER_HINTS: Final = (
    Hint(("find.trouble",)),
    Hint(("task.retry",)),
    Hint(("task.log",)),
    Hint(("task.details",)),
    Hint(("find",)),
    Hint(("plan.retry-failed",), "all failed"),
    Hint(("commands",), "more"),
    Hint(("task.retry-all",)),
    Hint(("zoom",)),
    *_ALWAYS,
)
"""The same once the run is over."""

TIMELINE_HINTS: Final = (
    Hint(("timeline.zoom-in", "timeline.zoom-out"), "zoom"),
    Hint(("timeline.left", "timeline.right"), "earlier, later"),
    Hint(("timeline.fit",)),
    Hint(("task.retry",)),
    Hint(("task.cancel",)),
    Hint(("find",)),
    Hint(("commands",), "more"),
    Hint(("task.details",)),
    Hint(("zoom",), "full"),
    *_ALWAYS,
)
"""In the timeline."""

EVENTS_HINTS: Final = (
    Hint(("events.show",)),
    Hint(("events.open",)),
    Hint(("find",)),
    Hint(("task.details",)),
    Hint(("commands",), "more"),
    Hint(("zoom",), "full"),
    *_ALWAYS,
)
"""In the events."""

REPLAY_HINTS: Final = (
    Hint(("plan.pause",)),
    Hint(("replay.step", "replay.step-back"), "step"),
    Hint(("replay.slower", "replay.faster"), "speed"),
    Hint(("find",)),
    Hint(("task.log",)),
    Hint(("task.details",)),
    Hint(("commands",), "more"),
    Hint(("find.trouble",)),
    Hint(("zoom",)),
    *_ALWAYS,
)
"""In tree and table of a run that happens again."""

LOG_HINTS: Final = (
    Hint(("log.follow",)),
    Hint(("log.wrap",)),
    Hint(("log.previous-attempt", "log.next-attempt"), "attempts"),
    Hint(("find",)),
    Hint(("find.next", "find.previous"), "next"),
    Hint(("log.times",)),
    Hint(("back",)),
    Hint(("commands",), "more"),
    Hint(("log.filter",)),
    Hint(("log.select",)),
    Hint(("log.pager",)),
    Hint(("log.merged",)),
    Hint(("zoom",)),
    Hint(("task.retry",)),
    Hint(("task.cancel",)),
    *_ALWAYS,
)
"""In the log."""

RUNS_HINTS: Final = (
    Hint(("home.open",)),
    Hint(("home.go-on",)),
    Hint(("home.log",)),
    Hint(("home.show",)),
    Hint(("home.plans",)),
    Hint(("home.cancel",)),
    Hint(("home.replay",)),
    Hint(("commands",), "more"),
    *_ALWAYS,
)
"""In the list of runs."""

PLANS_HINTS: Final = (
    Hint(("home.open",), "run it"),
    Hint(("home.runs",)),
    Hint(("commands",), "more"),
    *_ALWAYS,
)
"""In the list of plans."""
