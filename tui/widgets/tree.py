"""`PlanTree`: the plan as a tree, each task once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Final, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType

from engine.core.state import TERMINAL, TaskState
from engine.ground.text import one_line
from engine.plan.model import Condition
from engine.view.run_view import Changes, RunView
from engine.view.task_view import TaskView
from engine.view.timing import clock
from tui.keymap import Place, bindings
from tui.present import Look
from tui.widgets.branches import NO_PARENT, URGENT, Branches
from tui.widgets.task_pane import URGENCY, TaskPane

NAME_ROOM: Final = 16
"""Cells that indentation leaves to the rest of a line, however deep the plan is."""
LEVELS: Final = range(2, 13)
"""The fewest and the most levels that are indented."""


class _Signs(NamedTuple):
    """What branches are drawn with; all but the last two are two cells wide, a level. several: after the name
    of a matrix."""

    fork: str
    end: str
    through: str
    below: str
    guest: str
    deeper: str
    folded: str
    several: str


_UNICODE: Final = _Signs("├ ", "└ ", "│ ", "  ", "┆ ", "⋯ ", "▸", "[…]")
_ASCII: Final = _Signs("|-", "`-", "| ", "  ", ": ", "~ ", ">", "[...]")


class Branch(NamedTuple):
    """What can change about a line. tail: what may stand at its right end, the first that fits.
    hidden: how many tasks of each state are folded into it; None if it is not folded. host: the node
    whose folded branch it is shown in all the same, if any."""

    cursor: bool
    focus: bool
    state: TaskState
    stalled: bool
    tail: tuple[str, ...]
    hidden: tuple[tuple[TaskState, int], ...] | None
    host: int | None


class PlanTree(TaskPane[Branch]):
    """The DAG as a tree: each task under its deciding parent, other needs as a dim reference.

    What is inside of a subplan stands under the task that stands for it, and is called by its name in it.
    Of a task's needs the deciding parent is the one with the longest path to it, of equal ones the last
    in topological order (see `Branches`). The tasks of a matrix stand under a line for all of them, at which
    actions are about each. Branches fold by hand, and by themselves if the plan has more lines than the
    pane: matrices at once, others once they are finished. Whatever is folded, tasks that failed or are
    at work stay in view. Levels too deep for the width are drawn without the outer ones.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.TREE)

    def __init__(
        self, view: RunView, *, name: str | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        self._branches = Branches(view.graph)
        self._folds_itself = False
        super().__init__(view, name=name, id=id, classes=classes)

    @property
    def title(self) -> str:
        return "Plan"

    # ── which lines ─────────────────────────────────────────────────────────────────────────────

    def adopt_view(self) -> None:
        if self._branches.graph is not self.view.graph:
            self._branches = Branches(self.view.graph)
        for members in self._branches.members.values():
            self.names.append(f"{self._group_name(members[0])}{_UNICODE.several}")
        for task in self.view.tasks:
            self._branches.enter(task.index, task.state)

    def order_tasks(self, keep: int | None) -> Sequence[int]:
        self._folds_itself = self._is_too_long
        return self._branches.rows(automatic=self._folds_itself, keep=keep)

    @property
    def _is_too_long(self) -> bool:
        return len(self._branches.order) > self.page > 0

    def note_changes(self, tasks: Iterable[int]) -> bool:
        branches, views = self._branches, self.view.tasks
        hides_urgent = False
        for index in tasks:
            state = views[index].state
            if branches.enter(index, state) or (state not in URGENT and index in branches.guest_of):
                self._unsettled = True
            hides_urgent = hides_urgent or (state in URGENT and self.line_of(index) is None)
        return hides_urgent

    def may_differ(self, index: int, changes: Changes) -> bool:
        if index in self._branches.members:
            return True
        # a folded line counts tasks that have no line of their own
        return super().may_differ(index, changes) or self._branches.is_folded(index)

    def within_reach(self) -> Sequence[int]:
        return self._branches.order

    def layout_lines(self) -> None:
        if self._folds_itself != self._is_too_long:
            self.rearrange()
        super().layout_lines()

    def task_of(self, node: int) -> int:
        """Of a matrix the task that needs a person first."""
        members = self._branches.members.get(node)
        if members is None:
            return node
        state = self._foremost(node)
        return next(index for index in members if self.view.tasks[index].state is state)

    def _foremost(self, group: int) -> TaskState:
        """Of the states of its members that which needs a person first."""
        tally = self._branches.tallies[group]
        return min((state for state in tally if tally[state]), key=URGENCY.__getitem__)

    @property
    def targets(self) -> list[int]:
        """The tasks that an action at the cursor is about: at the line of a matrix all of it."""
        members = None if self.node is None else self._branches.members.get(self.node)
        return super().targets if members is None else list(members)

    def select(self, index: int) -> None:
        """Put the cursor on a task, opening the folds that hide it; it stays on the line of the matrix that
        the task belongs to. Posts nothing."""
        if self.node is None or self.node != self._branches.group_of.get(index):
            self.select_node(index)

    def select_node(self, index: int) -> None:
        if self.line_of(index) is None:
            self._branches.unfold_to(index)
            self.rearrange(keep=index)
        super().select(index)

    def _named(self, text: str) -> Callable[[int], bool]:
        """What has `text` in its name; of a folded matrix that is called so its line alone."""
        matches, branches = super()._named(text), self._branches

        def wanted(node: int) -> bool:
            group = branches.group_of.get(node)
            stands_for_it = group is not None and branches.is_folded(group) and matches(group)
            return matches(node) and not stands_for_it

        return wanted

    # ── folding ─────────────────────────────────────────────────────────────────────────────────

    def action_fold(self) -> None:
        """Fold the branch under the cursor; if there is none to fold, go to its parent."""
        index = self.node
        if index is None:
            return
        if self._can_fold(index) and not self._branches.is_folded(index):
            self._fold(index, True)
            return
        parent = self._branches.guest_of.get(index, self._branches.parent[index])
        if parent != NO_PARENT:
            self.move_cursor(self._line_of[parent])

    def action_unfold(self) -> None:
        """Open the branch under the cursor; if it is open, go to its first task."""
        index = self.node
        if index is None or not self._can_fold(index):
            return
        if self._branches.is_folded(index):
            self._fold(index, False)
        else:
            self.action_cursor_down()

    def action_toggle_fold(self) -> None:
        """Fold the branch under the cursor, or open it."""
        index = self.node
        if index is not None and self._can_fold(index):
            self._fold(index, not self._branches.is_folded(index))

    def action_fold_all(self) -> None:
        """Fold every branch; the cursor goes to the line that its task is folded into."""
        selected = keep = self.node
        self._branches.fold_all(True)
        while keep is not None and not self._stays_in_view(keep):
            parent = self._branches.parent[keep]
            if parent == NO_PARENT:
                break
            keep = parent
        self.rearrange(keep=keep)
        if keep is not None and keep != selected:
            self.post_message(self.TaskHighlighted(self, self.task_of(keep)))

    def _stays_in_view(self, node: int) -> bool:
        """Whether no fold hides it, unless it is a line for several."""
        return node < len(self.view.tasks) and self.view.tasks[node].state in URGENT

    def action_unfold_all(self) -> None:
        """Open every branch."""
        self._branches.fold_all(False)
        self.rearrange()

    def action_open(self) -> None:
        """Open a folded branch, else the task; open or fold a matrix."""
        node = self.node
        if node is not None and (self._branches.is_folded(node) or node in self._branches.members):
            self._fold(node, not self._branches.is_folded(node))
        else:
            super().action_open()

    def _can_fold(self, index: int) -> bool:
        """Whether the task has a branch of its own here, and does not just visit a folded line."""
        return self._branches.has_branch(index) and index not in self._branches.guest_of

    def _fold(self, index: int, folded: bool) -> None:
        self._branches.fold(index, folded)
        self.rearrange()

    def on_click(self, event: events.Click) -> None:
        """One click on the glyph of a branch folds it."""
        line = self.line_at(event)
        if line is not None and event.chain == 1:
            offset = event.get_content_offset(self)
            glyph_at = 1 + cell_len(self._indent(self._rows[line], _UNICODE))
            if offset is not None and offset.x == glyph_at:
                event.stop()
                self.move_cursor(line)
                self.action_toggle_fold()
                return
        super().on_click(event)

    # ── a line ──────────────────────────────────────────────────────────────────────────────────

    def line_content(self, line: int) -> Branch:
        index = self._rows[line]
        if index in self._branches.members:
            return self._matrix_content(line)
        task = self.view.tasks[index]
        folded = self._branches.is_folded(index)
        return Branch(
            cursor=line == self.cursor,
            focus=self.has_focus,
            state=task.state,
            stalled=task.stalled_since is not None,
            tail=self._tail(task),
            hidden=tuple(self._branches.hidden_counts(index)) if folded else None,
            host=self._branches.guest_of.get(index),
        )

    def _matrix_content(self, line: int) -> Branch:
        group, branches = self._rows[line], self._branches
        tally = branches.tallies[group]
        failed = tally[TaskState.FAILED]
        return Branch(
            cursor=line == self.cursor,
            focus=self.has_focus,
            state=self._foremost(group),
            stalled=any(branches.group_of.get(index) == group for index in self.view.stalled),
            tail=(f"{sum(tally[state] for state in TERMINAL)}/{len(branches.members[group])}",),
            hidden=((TaskState.FAILED, failed),) * bool(failed) if branches.is_folded(group) else None,
            host=None,
        )

    def draw_line(self, line: int, content: Branch, look: Look) -> tuple[Sequence[Segment], Style]:
        index = self._rows[line]
        signs = _ASCII if look.plain else _UNICODE
        state = look.warning if content.stalled else look.states[content.state]
        waits = content.state is TaskState.PENDING
        indent = " " + self._indent(index, signs)
        room = self.line_width - cell_len(indent) - 2
        label = look.cut(self._label(index, signs), room)
        room -= cell_len(label)
        segments = [
            Segment(indent, look.line),
            Segment(look.glyph(content.state), state),
            Segment(f" {label}", look.muted if waits else look.text),
        ]
        if content.hidden is not None:
            parts = [(f"{count}{look.glyph(of)}", look.states[of]) for of, count in content.hidden]
            for text, style in [(signs.folded, look.accent), *parts]:
                if cell_len(text) < room:
                    segments.append(Segment(f" {text}", style))
                    room -= cell_len(text) + 1
        tail = next((text for text in content.tail if cell_len(text) < room), "")
        if tail:
            room -= cell_len(tail) + 1
        references = self._references(index, room - 1, signs)
        if references:
            segments.append(Segment(f" {references}", look.muted))
            room -= cell_len(references) + 1
        if tail:
            quiet = waits or content.state is TaskState.SUCCESS
            segments.append(Segment(" " * (room + 1)))
            segments.append(Segment(tail, look.muted if quiet else state))
        return segments, self.under(line, look)

    def _indent(self, index: int, signs: _Signs) -> str:
        levels = min(LEVELS[-1], max(LEVELS[0], (self.line_width - NAME_ROOM) // 2))
        host = self._branches.guest_of.get(index)
        if host is not None:
            ends, more = self._branches.ancestry(host, levels - 1)
            last = signs.guest
        else:
            ends, more = self._branches.ancestry(index, levels)
            if not ends:
                return ""
            last = signs.end if ends.pop() else signs.fork
        above = "".join(signs.below if ended else signs.through for ended in ends)
        return (signs.deeper if more else "") + above + last

    def _label(self, node: int, signs: _Signs) -> str:
        """What it is called where it stands: of a member of a matrix what it has of that."""
        name = self._inner_name(node, signs)
        if node not in self._branches.group_of:
            return name
        return self.names[node].removeprefix(self._group_name(node)) or name

    def _inner_name(self, node: int, signs: _Signs) -> str:
        """Its name within the plan that it belongs to: it stands under the task that stands for that."""
        members = self._branches.members.get(node)
        index = node if members is None else members[0]
        name = self.names[node] if members is None else self._group_name(index) + signs.several
        around = self.view.graph.nesting.around(index)
        return name.removeprefix(f"{self.names[around[0]]}/") if around else name

    def _group_name(self, index: int) -> str:
        return one_line(self.view.plan.tasks[index].group or "")

    def _tail(self, task: TaskView) -> tuple[str, ...]:
        """What stands at the right end of the line: the longest of these that fits."""
        state = task.state
        if task.held and not state.is_terminal:
            return ("held",)
        if task.stalled_since is not None:
            return (f"stalled {clock(self._now - task.stalled_since)}", "stalled")
        scope = self.view.scopes.subplan(task.index)
        if scope is not None and state is TaskState.RUNNING:
            done = f"{scope.finished}/{scope.total}"
            return (f"paused {done}", done) if scope.paused else (done,)
        if state is TaskState.RUNNING or state is TaskState.SUCCESS:
            elapsed = task.elapsed(self._now)
            return () if elapsed is None else (clock(elapsed),)
        if state is TaskState.PENDING:
            return ()
        return (str(state),)

    def _references(self, node: int, room: int, signs: _Signs) -> str:
        """What else it needs, by name; by number where that is too long. Of a matrix what all of it needs."""
        branches = self._branches
        special = branches.graph.special_conditions

        def first(node: int) -> int:
            return branches.members[node][0] if node in branches.members else node

        def asked(need: int) -> str:
            condition = special.get((first(need), first(node)), Condition.SUCCESS)
            return "" if condition is Condition.SUCCESS else f" if {condition}"

        if node in branches.group_of:
            return ""  # its matrix says it
        parent = branches.parent[node]
        others = branches.other_needs(node)
        wish = asked(parent).strip() if special and parent != NO_PARENT else ""
        if others:
            # every name takes a cell at least: no more are looked at than could be shown
            names = f"+ {', '.join(self._inner_name(need, signs) + asked(need) for need in others[:room])}"
            choices = [f"{wish} {names}", names, f"{wish} +{len(others)}", f"+{len(others)}"]
        else:
            choices = [wish]
        return next((text for text in map(str.strip, choices) if cell_len(text) <= room), "")
