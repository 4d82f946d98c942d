"""What the footer offers: the keys that matter where the operator is, and what each would do now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from engine.core.state import RunPhase
from engine.view.run_view import RunView
from tui import commands
from tui.hints import (
    EVENTS_HINTS,
    LOG_HINTS,
    OVER_HINTS,
    REPLAY_HINTS,
    TASK_HINTS,
    TIMELINE_HINTS,
    TROUBLE_HINTS,
    Hint,
)
from tui.keymap import BY_ID, first
from tui.widgets.footer import Offer
from tui.widgets.frame import PaneId

_OF_PANES: Final[Mapping[PaneId, Sequence[Hint]]] = {
    PaneId.LOG: LOG_HINTS,
    PaneId.TIMELINE: TIMELINE_HINTS,
    PaneId.EVENTS: EVENTS_HINTS,
}


def offers(
    view: RunView,
    front: PaneId,
    targets: Sequence[int],
    keys: Mapping[str, str],
    way_out: str,
    *,
    is_replay: bool = False,
) -> list[Offer]:
    """front: where the operator is. targets: the tasks that an action would be about. keys: those in
    force, by the id of their entry; what has none is not offered. way_out: what leaving is called.
    is_replay: whether the run happens again."""
    made = (
        (hint, _offer(hint, view, targets, keys))
        for hint in _hints(view, front, is_replay)
        if keys[hint.ids[0]]
    )
    return [offer._replace(label=way_out) if hint.ids == ("quit",) else offer for hint, offer in made]


def _hints(view: RunView, front: PaneId, is_replay: bool) -> Sequence[Hint]:
    if front in _OF_PANES:
        return _OF_PANES[front]
    if is_replay:
        return REPLAY_HINTS
    if view.phase is RunPhase.COMPLETE:
        return OVER_HINTS
    return TROUBLE_HINTS if view.failures or view.stalled else TASK_HINTS


def _offer(hint: Hint, view: RunView, targets: Sequence[int], keys: Mapping[str, str]) -> Offer:
    label = hint.label or _label(hint.ids[0], view, targets)
    shown = "/".join(first(keys[key_id]) for key_id in hint.ids)
    return Offer(shown, label, any(commands.is_possible(view, key_id, targets) for key_id in hint.ids))


def _label(key_id: str, view: RunView, targets: Sequence[int]) -> str:
    """What a key would do now, where that changes."""
    if key_id == "plan.pause":
        return "resume" if view.phase in (RunPhase.PAUSED, RunPhase.DRAINING) else "pause"
    if key_id == "task.hold":
        return "release" if targets and all(view.tasks[index].held for index in targets) else "hold"
    return BY_ID[key_id].label
