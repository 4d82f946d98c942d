"""Every key of the console, in one table: bindings, footer, help and palette are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from textual.binding import Binding, BindingType


class Place(Enum):
    """Who carries the action out, and so where the key works."""

    ANYWHERE = "everywhere, in dialogs and text fields too"
    APP = "everywhere"
    RUN = "the run"
    HOME = "the list of runs"
    LIST = "wherever there are lines"
    TASKS = "tree, table and timeline"
    TREE = "tree"
    TABLE = "table"
    LOG = "log"
    TIMELINE = "timeline"
    EVENTS = "events"
    DIALOG = "dialogs"
    DETAILS = "details of a task"


TOGETHER: Final = (
    (Place.ANYWHERE, Place.APP, Place.RUN, Place.LIST, Place.TASKS, Place.TREE),
    (Place.ANYWHERE, Place.APP, Place.RUN, Place.LIST, Place.TASKS, Place.TABLE),
    (Place.ANYWHERE, Place.APP, Place.RUN, Place.LIST, Place.LOG),
    (Place.ANYWHERE, Place.APP, Place.RUN, Place.LIST, Place.TASKS, Place.TIMELINE),
    (Place.ANYWHERE, Place.APP, Place.RUN, Place.LIST, Place.EVENTS),
    (Place.ANYWHERE, Place.DIALOG, Place.LIST, Place.DETAILS),
    (Place.ANYWHERE, Place.APP, Place.HOME, Place.LIST),
)
"""The places whose keys are heard at the same time."""


class Group(StrEnum):
    """The headings of help and palette, in their order."""

    TASK = "The selected task, or all that are marked"
    PLAN = "The whole run"
    LOOK = "Look"
    FIND = "Find"
    LOG = "In the log"
    REPLAY = "In a replay"
    MOVE = "Move"
    HOME = "In the list of runs"
    CONSOLE = "Console"


class Key(NamedTuple):
    """One entry.

    id: by which the keys can be remapped. keys: comma-separated, the one to show first; empty for what
    only the palette offers. label: one or two words for the footer. tooltip: one sentence for the help
    and the palette.
    """

    id: str
    keys: str
    action: str
    label: str
    tooltip: str
    group: Group
    place: Place


# fmt: off
_TABLE: Final[tuple[tuple[Group, Place, tuple[tuple[str, str, str, str, str], ...]], ...]] = (
    (Group.MOVE, Place.LIST, (
        ("move.up", "up,k", "cursor_up", "up", "One line up."),
        ("move.down", "down,j", "cursor_down", "down", "One line down."),
        ("move.top", "g,home", "cursor_top", "top", "To the first line."),
        ("move.bottom", "G,end", "cursor_bottom", "end", "To the last line."),
        ("move.half-up", "ctrl+u", "cursor_half_up", "half up", "Half a page up."),
        ("move.half-down", "ctrl+d", "cursor_half_down", "half down", "Half a page down."),
        ("move.page-up", "pageup", "cursor_page_up", "page up", "A page up."),
        ("move.page-down", "pagedown", "cursor_page_down", "page down", "A page down."),
    )),
    (Group.MOVE, Place.TASKS, (
        ("open", "enter", "open", "open", "Open its log, or a folded branch."),
    )),
    (Group.MOVE, Place.EVENTS, (
        ("events.open", "enter", "open", "to the task", "Go to the task that the event is about."),
    )),
    (Group.MOVE, Place.TREE, (
        ("tree.fold", "left", "fold", "fold", "Fold the branch, or go to its parent."),
        ("tree.unfold", "right", "unfold", "unfold", "Unfold the branch."),
        ("tree.fold-all", "shift+left", "fold_all", "fold all", "Fold every branch that may be folded."),
        ("tree.unfold-all", "shift+right", "unfold_all", "unfold all", "Unfold every branch."),
    )),
    (Group.MOVE, Place.RUN, (
        ("back", "escape", "back", "back", "One step back. Never quits."),
    )),
    (Group.LOOK, Place.RUN, (
        ("view.tree", "1", "view('tree')", "plan", "Go to the plan as a tree."),
        ("view.table", "2", "view('table')", "tasks", "Go to the table of tasks."),
        ("view.log", "3", "view('log')", "log", "Go to the log pane."),
        ("view.timeline", "4", "view('timeline')", "timeline", "Go to the timeline: what ran when."),
        ("view.events", "5", "view('events')", "events", "Go to the events: who changed what."),
        ("pane.next", "tab", "pane(1)", "next pane", "To the next pane."),
        ("pane.previous", "shift+tab", "pane(-1)", "previous pane", "To the pane before."),
        ("zoom", "z", "zoom", "zoom", "Give the screen to this pane, and back."),
        ("stream", "s", "stream", "plain lines", "Plain lines of this run, and back with any key."),
        ("task.log", "l", "log", "log", "Show the log of the selected task."),
        ("task.details", "d", "details", "details", "Its needs, settings and attempts."),
        ("task.stall", "exclamation_mark", "stall", "why stalled", "What stalled tasks do, and what to do."),
        ("stall.dismiss", "a", "dismiss_stall", "dismiss", "Dismiss the stall alert until a new stall."),
    )),
    (Group.FIND, Place.RUN, (
        ("find", "slash", "find", "find", "Find: filters tasks, searches tree, log."),
        ("find.next", "n", "find_next(1)", "next", "To the next place found."),
        ("find.previous", "N", "find_next(-1)", "previous", "To the place found before."),
        ("find.failed-only", "F", "failed_only", "failed only", "Only failed tasks in the table, or all."),
        ("find.trouble", "e", "next_trouble", "next failure", "To the next task that failed or stalled."),
    )),
    (Group.LOOK, Place.TIMELINE, (
        ("timeline.zoom-in", "right_square_bracket", "zoom_in", "zoom in", "In the timeline: less time."),
        ("timeline.zoom-out", "left_square_bracket", "zoom_out", "zoom out", "In the timeline: more time."),
        ("timeline.fit", "0", "fit", "whole run", "In the timeline: the whole run."),
        ("timeline.left", "left", "pan_left", "earlier", "In the timeline: to what was earlier."),
        ("timeline.right", "right", "pan_right", "later", "In the timeline: to what was later, up to now."),
    )),
    (Group.FIND, Place.EVENTS, (
        ("events.show", "v", "show", "which", "Which events: all, what people did, failures, one task."),
    )),
    (Group.FIND, Place.TABLE, (
        ("table.sort", "O", "sort", "order", "Order the table by plan, state, time or name."),
    )),
    (Group.TASK, Place.TABLE, (
        ("task.mark", "space", "mark", "mark", "Mark it: keys then act on all marked tasks."),
    )),
    (Group.TASK, Place.RUN, (
        ("task.retry", "r", "retry", "retry", "Run the task again."),
        ("task.retry-all", "R", "retry_downstream", "retry all after", "Run it and all after it again."),
        ("task.cancel", "x", "cancel", "cancel", "Stop the task, or never start it."),
        ("task.kill", "X", "kill", "kill", "Stop the task at once, without grace."),
        ("task.hold", "H", "hold", "hold", "Hold it back from starting, or release it."),
        ("task.settle", "S", "settle", "skip", "Skip the task, or mark it succeeded."),
    )),
    (Group.PLAN, Place.RUN, (
        ("plan.retry-failed", "ctrl+r", "retry_failed", "retry failed", "Run every failed task again."),
        ("plan.cancel", "ctrl+x", "cancel_plan", "cancel run", "Stop all that runs and start no more."),
        ("plan.mode", "M", "failure_mode", "failure mode", "Choose what a failure means from now on."),
        ("plan.slots-up", "plus", "slots(1)", "more slots", "One more task at once."),
        ("plan.slots-down", "minus", "slots(-1)", "fewer slots", "One fewer at once; stops nothing."),
        ("plan.pause", "p", "pause", "pause", "Start nothing new, or go on."),
        ("plan.subplan", "P", "subplan", "subplan", "Slots, pause and failure mode of a subplan."),
    )),
    (Group.LOG, Place.RUN, (
        ("log.follow", "f", "log_follow", "follow", "Keep to the end of the log, or not."),
        ("log.wrap", "w", "log_wrap", "wrap", "Wrap long lines of the log, or cut them."),
        ("log.times", "t", "log_times", "times", "Times before the lines of the log, or none."),
        ("log.merged", "L", "log_merged", "all logs", "All logs in one, in the order of time."),
    )),
    (Group.LOG, Place.LOG, (
        ("log.filter", "ampersand", "log_filter", "only matches", "Only lines with what is sought, or all."),
        ("log.context", "c", "log_context", "context", "More lines around those that match, or none."),
        ("log.select", "v", "log_select", "select", "Select lines from here on, or none."),
        ("log.copy", "y", "log_copy", "copy", "Copy what is selected."),
        ("log.save", "W", "log_save", "save", "Save the log to a file."),
        ("log.pager", "o", "log_pager", "pager", "Open the log in $PAGER."),
        ("log.left", "left", "scroll_left", "left", "To the left in long lines."),
        ("log.right", "right", "scroll_right", "right", "To the right in long lines."),
        ("log.previous-attempt", "left_square_bracket", "previous_attempt", "previous attempt",
         "The log of the attempt before."),
        ("log.next-attempt", "right_square_bracket", "next_attempt", "next attempt",
         "The log of the attempt after."),
    )),
    (Group.HOME, Place.HOME, (
        ("home.open", "enter", "open", "open", "Open the run, or run the plan."),
        ("home.go-on", "r", "go_on", "go on", "Resume what was cut off, or retry what failed."),
        ("home.log", "l", "log", "log", "Open the run at the log of what failed."),
        ("home.show", "d", "show", "details", "What went wrong in it, and every task."),
        ("home.replay", "v", "replay", "replay", "Watch it again from its beginning."),
        ("home.cancel", "x", "cancel", "cancel", "Cancel a run that goes on."),
        ("home.runs", "1", "look_at('runs')", "runs", "The runs that go on or are kept."),
        ("home.plans", "2", "look_at('plans')", "plans", "Plans that can be run."),
        ("home.other", "tab", "look_at('')", "runs/plans", "From the runs to the plans, and back."),
    )),
    (Group.REPLAY, Place.RUN, (
        ("replay.step", "full_stop", "replay_step(1)", "step", "Stand still after the next event."),
        ("replay.step-back", "comma", "replay_step(-1)", "step back", "Stand still before the last event."),
        ("replay.faster", "greater_than_sign", "replay_speed(1)", "faster", "Let time go faster."),
        ("replay.slower", "less_than_sign", "replay_speed(-1)", "slower", "Let time go slower."),
    )),
    (Group.CONSOLE, Place.APP, (
        ("commands", "colon,ctrl+p", "command_palette", "commands", "Find any of these actions by name."),
        ("redraw", "ctrl+l", "redraw", "redraw", "Paint the whole screen again."),
        ("theme", "", "change_theme", "theme", "Choose the colours."),
        ("help", "question_mark,f1", "help", "help", "All keys, as they are set."),
        ("detach", "D", "detach", "detach", "Leave, and let the run go on."),
        ("quit", "q", "leave", "quit", "Leave; asks first while the run goes on."),
    )),
    (Group.CONSOLE, Place.ANYWHERE, (
        ("quit.anywhere", "ctrl+q", "leave", "quit", "The same, in dialogs and text fields too."),
        ("suspend", "ctrl+z", "suspend", "suspend", "Stop the console, as the shell does; `fg` goes on."),
        ("interrupt", "ctrl+c", "interrupt", "copy or quit",
         "Copy the selection, else quit. Twice within two seconds cancels the run."),
    )),
    (Group.MOVE, Place.DETAILS, (
        ("details.next", "tab", "light(1)", "next", "In the details: to the next line that leads somewhere."),
        ("details.previous", "shift+tab", "light(-1)", "previous", "In the details: to the one before."),
        ("details.open", "enter", "follow", "open", "In the details: to that task, or to that log."),
    )),
    (Group.CONSOLE, Place.DIALOG, (
        ("close", "escape,q", "close", "close", "Close a page; give the safe answer."),
    )),
)
# fmt: on

KEYMAP: Final[tuple[Key, ...]] = tuple(
    Key(*row, group, place) for group, place, rows in _TABLE for row in rows
)


BY_ID: Final[dict[str, Key]] = {key.id: key for key in KEYMAP}


def bindings(*places: Place) -> list[BindingType]:
    """The bindings that a widget, a screen or the app declares for its places."""
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            tooltip=key.tooltip,
            id=key.id,
            priority=key.place is Place.ANYWHERE,
            group=Binding.Group(key.group),
        )
        for key in KEYMAP
        if key.place in places and key.keys
    ]


def effective(remapped: Mapping[str, str] | None = None) -> dict[str, str]:
    """The keys of every entry after remapping, by id."""
    changed = remapped or {}
    return {key.id: changed.get(key.id, key.keys) for key in KEYMAP}


SHOWN: Final[dict[str, str]] = {
    "question_mark": "?",
    "exclamation_mark": "!",
    "colon": ":",
    "slash": "/",
    "plus": "+",
    "ampersand": "&",
    "full_stop": ".",
    "comma": ",",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "minus": "-",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "tab": "Tab",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "home": "Home",
    "end": "End",
    "f1": "F1",
    "ctrl": "Ctrl",
    "shift": "Shift",
}


def shown(keys: str) -> str:
    """Keys as people read them, blanks between them: "? F1", "Ctrl+R"."""
    return " ".join(_one(key.strip()) for key in keys.split(",") if key.strip())


def first(keys: str) -> str:
    """The key to name where there is room for one."""
    return shown(keys.partition(",")[0])


def _one(key: str) -> str:
    parts = [SHOWN.get(part, part) for part in key.split("+")]
    return "+".join([*parts[:-1], parts[-1].upper()] if len(parts) > 1 and len(parts[-1]) == 1 else parts)
