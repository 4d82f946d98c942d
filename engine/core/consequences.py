"""What the end or the reset of one task means for the others."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.events import TaskCancelled, TaskCompleted, TaskReset, TaskSkipped
from engine.core.ledger import Ledger, Verdict
from engine.core.ready import ReadyQueue
from engine.core.recorder import Recorder
from engine.core.records import INTERRUPTED
from engine.core.state import CANCELLED, FAILED, PENDING, READY, RUNNING, SKIPPED, SUCCESS, TERMINAL
from engine.plan.model import Condition


class Consequences:
    """Ends tasks and brings them back, and carries on what follows from it through the graph.

    All of it in loops, never by recursion: a chain of ten thousand tasks is an ordinary plan.
    """

    def __init__(self, ledger: Ledger, recorder: Recorder, ready: ReadyQueue) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._ready = ready
        self._graph = ledger.graph
        self._subplans = ledger.graph.nesting.children
        self.to_begin: list[int] = []
        """The subplans that are READY: they wait for no slot, so they are in no queue."""

    # ── ends ────────────────────────────────────────────────────────────────────────────────────

    def succeed(self, index: int, exit_code: int | None, outputs: dict[str, str] | None) -> None:
        """SUCCESS by its own attempt, whose record is closed."""
        ledger, recorder = self._ledger, self._recorder
        ledger.enter(index, SUCCESS, recorder.offset)
        if outputs:
            ledger.outputs[index] = outputs
        records = ledger.history[index]
        recorder.seq += 1
        recorder.events.append(  # the one event that every task has: not through emit_task's keywords
            TaskCompleted(
                seq=recorder.seq,
                utc=recorder.utc,
                offset=recorder.offset,
                run_id=recorder.run_id,
                cause="attempt ended",
                task=ledger.names[index],
                index=index,
                attempt=ledger.attempt[index],
                state=SUCCESS,
                duration=recorder.offset - records[-1].started if records else 0.0,
                exit_code=exit_code,
                outputs=outputs or None,
            )
        )
        self.propagate(index)

    def mark_succeeded(self, index: int, cause: str, reason: str) -> None:
        """SUCCESS on a person's word, from any state in which nothing of it is in flight. What is inside of
        a subplan and has not come to an end is skipped."""
        ledger = self._ledger
        for inner in ledger.inside(index):
            if ledger.state[inner] not in TERMINAL:
                ledger.forget(inner)
                self._close_subplan(inner)
                name = ledger.names[index]
                self._enter_skipped(inner, index, f"{name} was marked as succeeded", f"{name} {SUCCESS}")
        ledger.forget(index)
        self._close_subplan(index)
        ledger.reasons[index] = reason
        ledger.enter(index, SUCCESS, self._recorder.offset)
        self._recorder.emit_task(TaskCompleted, index, cause, duration=0.0, reason=reason)
        self._recover([index], cause)

    def _close_subplan(self, index: int) -> None:
        """Close the attempt at a subplan that goes on; of no other task one does here."""
        if self._ledger.state[index] is RUNNING:
            self._ledger.close_record(index, self._recorder.offset, None, None)

    def skip(
        self,
        index: int,
        cause: str,
        reason: str,
        *,
        duration: float = 0.0,
        error: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        """SKIPPED on a person's word, or after a failure that is tolerated."""
        ledger = self._ledger
        ledger.reasons[index] = reason
        ledger.enter(index, SKIPPED, self._recorder.offset)
        self._recorder.emit_task(
            TaskSkipped,
            index,
            cause,
            reason=reason,
            duration=duration,
            error=error,
            exit_code=exit_code,
            tolerated=index in ledger.tolerated,
        )
        self.propagate(index)

    def cancel(
        self,
        index: int,
        cause: str,
        reason: str,
        culprit: int | None = None,
        *,
        duration: float = 0.0,
        exit_code: int | None = None,
    ) -> None:
        """CANCELLED with all that waits inside, and what can then not have its needs met is skipped."""
        self._enter_cancelled(index, cause, reason, culprit, duration, exit_code)
        self.cancel_all(self._ledger.waiting(self._ledger.inside(index)), cause, reason, culprit)
        self.propagate(index)

    def cancel_all(self, indices: Sequence[int], cause: str, reason: str, culprit: int | None = None) -> None:
        """CANCELLED for all of them at once: none is skipped on account of another."""
        for index in indices:
            self._ledger.forget(index)
            self._enter_cancelled(index, cause, reason, culprit, 0.0, None)
        for index in indices:
            self.propagate(index)

    def _enter_cancelled(
        self,
        index: int,
        cause: str,
        reason: str,
        culprit: int | None,
        duration: float,
        exit_code: int | None,
    ) -> None:
        ledger = self._ledger
        ledger.reasons[index] = reason
        if culprit is not None:
            ledger.blocked_by[index] = culprit
        ledger.enter(index, CANCELLED, self._recorder.offset)
        self._recorder.emit_task(
            TaskCancelled,
            index,
            cause,
            reason=reason,
            blocked_by=None if culprit is None else ledger.names[culprit],
            duration=duration,
            exit_code=exit_code,
        )

    # ── what follows from an end ────────────────────────────────────────────────────────────────

    def propagate(self, ended: int) -> None:
        """Tell the dependents of a task that is terminal now; those doomed by it are skipped in turn."""
        stack = [(dependent, ended) for dependent in reversed(self._tell(ended))]
        while stack:
            index, culprit = stack.pop()
            if self._ledger.state[index] is PENDING:  # else another need has doomed it before
                self._skip_doomed(index, culprit)
                stack.extend((dependent, index) for dependent in reversed(self._tell(index)))

    def make_ready(self, index: int) -> None:
        """READY, and into the queue."""
        self._ledger.enter(index, READY, self._recorder.offset)
        self.enqueue(index)

    def enqueue(self, index: int) -> None:
        """Into the queue, or among the subplans to begin."""
        if self._subplans and index in self._subplans:
            self.to_begin.append(index)
        else:
            self._ready.push(index)

    def go_on(self, index: int) -> None:
        """Let a task whose back-off is over, or which was refused, have its turn again: at once, or when
        a need of it that was reset in the meantime is met again."""
        ledger = self._ledger
        unmet = ledger.count_unmet(index)
        if unmet:
            ledger.enter(index, PENDING, self._recorder.offset)
            self.reconsider([index])
        elif ledger.state[index] is READY:
            self.enqueue(index)
        else:
            self.make_ready(index)

    def why_doomed(self, needed: int, dependent: int) -> str:
        """In words, what makes a need impossible."""
        ledger = self._ledger
        name, state = ledger.names[needed], ledger.state[needed]
        verb = {SUCCESS: "succeeded", FAILED: "failed"}.get(state, f"was {state}")
        condition = ledger.condition(needed, dependent)
        return f"{name} {verb}" if condition is Condition.SUCCESS else f"{name} {verb}, not {condition}"

    def _tell(self, ended: int) -> list[int]:
        """Count a met need for each dependent, and return the dependents whose need cannot be met."""
        ledger = self._ledger
        state, unmet = ledger.state, ledger.unmet
        is_plain = state[ended] is SUCCESS and not self._graph.special_conditions
        doomed: list[int] = []
        for dependent in self._graph.dependents[ended]:
            if state[dependent] is not PENDING:
                continue
            if is_plain or ledger.verdict(ended, dependent) is Verdict.MET:
                unmet[dependent] -= 1
                if not unmet[dependent]:
                    self.make_ready(dependent)
            else:
                doomed.append(dependent)
        if self._subplans:
            # what is inside is shut out by any end of its subplan
            doomed += [inner for inner in self._subplans.get(ended, ()) if state[inner] is PENDING]
        return doomed

    def _skip_doomed(self, index: int, culprit: int) -> None:
        ledger = self._ledger
        cause = f"{ledger.names[culprit]} {ledger.state[culprit]}"
        self._enter_skipped(index, culprit, self.why_doomed(culprit, index), cause)

    def _enter_skipped(self, index: int, culprit: int, reason: str, cause: str) -> None:
        ledger = self._ledger
        ledger.reasons[index] = reason
        ledger.blocked_by[index] = culprit
        ledger.enter(index, SKIPPED, self._recorder.offset)
        self._recorder.emit_task(TaskSkipped, index, cause, reason=reason, blocked_by=ledger.names[culprit])

    # ── bringing back ───────────────────────────────────────────────────────────────────────────

    def reset(self, indices: Sequence[int], cause: str) -> None:
        """Bring tasks that are over, or in back-off, back to PENDING, and with them whatever they alone
        had blocked."""
        for index in indices:
            self._bring_back(index, cause)
        self._recover(indices, cause)

    def interrupt(self, index: int) -> None:
        """Tell that a task is PENDING again because the engine ended under it."""
        records = self._ledger.history[index]
        was_cut_off = records is not None and records[-1].error == INTERRUPTED  # else it was in its back-off
        self._ledger.causes[index] = INTERRUPTED if was_cut_off else "resume"
        self._recorder.emit_task(TaskReset, index, "resume", interrupted=True)

    def _bring_back(self, index: int, cause: str) -> None:
        ledger = self._ledger
        ledger.forget(index)
        ledger.causes[index] = cause
        ledger.enter(index, PENDING, self._recorder.offset)
        self._recorder.emit_task(TaskReset, index, cause)

    def _recover(self, changed: Sequence[int], cause: str) -> None:
        """Bring back what was skipped or cancelled only on account of the tasks changed, then look
        again at the needs of all that this touches."""
        ledger = self._ledger
        touched = list(changed)
        for index in self._blocked_in_order():
            culprit = ledger.blocked_by[index]
            if ledger.state[index] is CANCELLED and ledger.state[culprit] is FAILED:
                continue  # the failure that set fail-fast off still stands
            if ledger.doomed_by(index) is None:
                self._bring_back(index, cause)
                touched.append(index)
        affected = dict.fromkeys(touched)
        for index in touched:
            affected.update(dict.fromkeys(self._graph.dependents[index]))
        self.reconsider(affected)

    def _blocked_in_order(self) -> list[int]:
        """What was skipped or cancelled on account of another, needed before needing."""
        blocked = self._ledger.blocked_by
        return [index for index in self._graph.order if index in blocked] if blocked else []

    def reconsider(self, affected: Sequence[int] | dict[int, None]) -> None:
        """Count the needs of these tasks afresh; one that was ready may have to wait again."""
        ledger = self._ledger
        state = ledger.state
        for index in affected:
            if ledger.is_waiting(index):
                ledger.unmet[index] = ledger.count_unmet(index)
                if state[index] is READY and ledger.unmet[index]:
                    ledger.enter(index, PENDING, self._recorder.offset)
        # every count first, every consequence after: consequences rely on counts that are right
        for index in affected:
            if state[index] is not PENDING:
                continue
            doomed_by = ledger.doomed_by(index)
            if doomed_by is not None:
                self._skip_doomed(index, doomed_by)
                self.propagate(index)
            elif not ledger.unmet[index]:
                self.make_ready(index)
