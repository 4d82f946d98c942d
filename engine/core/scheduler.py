"""The scheduler: one input and a time go in, a decision comes out. It owns the state of a whole run."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from engine.core.effects import Effect, StartAttempt, StopAttempt
from engine.core.events import (
    DispatchDeferred,
    Event,
    PlanCompleted,
    PlanPaused,
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskReset,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    TaskStarted,
    TaskStopping,
)
from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptRevived,
    AttemptStalled,
    AttemptStarted,
    Command,
    Input,
    Now,
    OutcomeKind,
    Report,
    Start,
    Tick,
)
from engine.core.ledger import InvariantBroken, Ledger, Stop, StopKind, Verdict
from engine.core.ready import ReadyQueue
from engine.core.records import AttemptRecord, Snapshot
from engine.core.retry import back_off, is_worth_retrying
from engine.core.state import Outcome, RunPhase, TaskState
from engine.core.steering import Refusal, obey
from engine.core.survivors import survivors
from engine.plan.graph import Graph
from engine.plan.model import Condition, FailureMode

SCHEDULER = "scheduler"


class Decision(NamedTuple):
    """What one input led to. refusal: why a command was not carried out, None if it was."""

    events: Sequence[Event]
    effects: Sequence[Effect]
    refusal: str | None = None


class Scheduler:
    """Decides what starts, stops, retries and ends. Pure: the same inputs at the same times with the
    same random source give the same decisions.

    max_parallel: slots; a slot is taken from the hand-over of an attempt until its dispatcher is done.
    durations: seconds each task is expected to take, to start long paths first; None counts tasks.
    """

    def __init__(
        self,
        graph: Graph,
        run_id: str,
        *,
        random: Random,
        max_parallel: int | None = None,
        failure_mode: FailureMode | None = None,
        durations: Sequence[float] | None = None,
    ) -> None:
        plan = graph.plan
        self.graph = graph
        self.tasks = plan.tasks
        self.run_id = run_id
        self.ledger = Ledger(graph)
        self.phase = RunPhase.PENDING
        self.outcome: Outcome | None = None
        self.failure_mode = plan.failure_mode if failure_mode is None else failure_mode
        self.max_parallel = plan.max_parallel if max_parallel is None else max_parallel
        self.seq = 0
        self.stale_reports = 0
        """Reports dropped because they were about an attempt that is no longer the current one."""
        self.tripped_by: int | None = None
        """The task whose failure set fail-fast off, until it is run again."""
        self.is_paused_by_failure = False
        self.interrupted = False
        self._random = random
        self._ready = ReadyQueue(
            graph.ranks(durations), [task.executor for task in plan.tasks], self.ledger.is_startable
        )
        self._deadlines: list[tuple[float, int, int]] = []
        self._causes: dict[int, str] = {}
        self._retried = 0
        self._began = 0.0
        self._offset = 0.0
        self._utc = 0.0
        self._events: list[Event] = []
        self._effects: list[Effect] = []
        self._handlers: dict[type, Callable[[Any], None]] = {
            Start: self._start,
            Tick: self._tick,
            AttemptStarted: self._attempt_started,
            AttemptFinished: self._attempt_finished,
            AttemptStalled: self._attempt_stalled,
            AttemptRevived: self._attempt_revived,
        }

    # ── the one way in ──────────────────────────────────────────────────────────────────────────

    def handle(self, given: Input, now: Now) -> Decision:
        """Take one input at one time. Raises `InvariantBroken` only for a defect of the scheduler."""
        self._offset, self._utc = now
        handler = self._handlers.get(type(given))
        refusal = None
        if handler is not None:
            handler(given)
        elif isinstance(given, Command):
            refusal = self._obey(given)
        else:
            raise TypeError(f"not an input: {given!r}")
        if self.phase is not RunPhase.PENDING:
            self._fill_slots()
            if not self.ledger.in_flight:
                self._settle()
        events, effects = self._events, self._effects
        self._events, self._effects = [], []
        return Decision(events, effects, refusal)

    def next_deadline(self) -> float | None:
        """The offset at which a `Tick` is due: a retry, a time-out, a full dispatcher to ask again."""
        if len(self._deadlines) > 64 + 4 * (len(self.ledger.in_flight) + len(self.ledger.due)):
            # most attempts end long before their time-out: what they leave behind must not pile up
            self._deadlines = [entry for entry in self._deadlines if self._is_current(*entry)]
            heapq.heapify(self._deadlines)
        while self._deadlines and not self._is_current(*self._deadlines[0]):
            heapq.heappop(self._deadlines)
        deadline = self._deadlines[0][0] if self._deadlines else None
        if self.phase is RunPhase.RUNNING:
            deferred = self._ready.next_deadline(self._offset)
            if deferred is not None and (deadline is None or deferred < deadline):
                return deferred
        return deadline

    def snapshot(self) -> Snapshot:
        """The run as it stands after the last input."""
        return Snapshot(
            run_id=self.run_id,
            seq=self.seq,
            offset=self._offset,
            began=self._began,
            phase=self.phase,
            outcome=self.outcome,
            failure_mode=self.failure_mode,
            max_parallel=self.max_parallel,
            tasks=tuple(self.ledger.snapshot(index) for index in range(len(self.tasks))),
        )

    def story(self, index: int) -> str:
        """A task's history, for error messages."""
        return self.ledger.story(index)

    def check_invariants(self) -> None:
        """Raise `InvariantBroken` if the state contradicts itself. Walks the whole graph."""
        self.ledger.check()
        complete = self.phase is RunPhase.COMPLETE
        if self.phase is not RunPhase.PENDING and complete != (self.ledger.unfinished == 0):
            raise InvariantBroken(f"{self.phase} with {self.ledger.unfinished} unfinished tasks")
        if complete != (self.outcome is not None):
            raise InvariantBroken(f"{self.phase} with outcome {self.outcome}")

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────

    def _start(self, _: Start) -> None:
        if self.phase is not RunPhase.PENDING:
            raise InvariantBroken("started twice")
        self.phase = RunPhase.RUNNING
        self._began = self._offset
        self.emit(
            PlanStarted,
            cause="operator",
            phase=self.phase,
            plan=self.graph.plan.name,
            tasks=len(self.tasks),
            max_parallel=self.max_parallel,
            failure_mode=self.failure_mode,
        )
        for index, unmet in enumerate(self.ledger.unmet):
            if not unmet and self.ledger.state[index] is TaskState.PENDING:
                self._make_ready(index)

    def _tick(self, _: Tick) -> None:
        ledger = self.ledger
        while self._deadlines and self._deadlines[0][0] <= self._offset:
            due, index, attempt = heapq.heappop(self._deadlines)
            if not self._is_current(due, index, attempt):
                continue
            if ledger.state[index] is TaskState.RETRYING:
                del ledger.due[index]
                self._make_ready(index)
            else:
                timeout = self.tasks[index].timeout
                self.stop(index, Stop(StopKind.TIMEOUT, "timeout", f"timed out after {timeout:g}s"))

    def _attempt_started(self, report: AttemptStarted) -> None:
        if not self._is_fresh(report):
            return
        index = report.index
        if self.ledger.state[index] is TaskState.STOPPING:
            self._open_record(index, report.where)
        elif self.ledger.state[index] is TaskState.READY:
            self._take_up(index, report.where)

    def _attempt_finished(self, report: AttemptFinished) -> None:
        if not self._is_fresh(report):
            return
        index, outcome = report.index, report.outcome
        ledger = self.ledger
        kind = outcome.kind
        state = ledger.state[index]
        if state is TaskState.READY and kind is not OutcomeKind.REFUSED:
            self._take_up(index, "")
            state = TaskState.RUNNING
        if state is TaskState.STOPPING:
            self._end_stopped(index, outcome)
            return
        ledger.in_flight.discard(index)
        if kind is OutcomeKind.SUCCESS:
            self._close_record(index, outcome, None)
            self._ready.lane(index).refusals = 0
            self._succeed(index, outcome.exit_code)
        elif state is TaskState.READY:
            self._defer(index, outcome)
        else:
            self._fail(index, outcome.error or kind.value, outcome.exit_code)

    def _attempt_stalled(self, report: AttemptStalled) -> None:
        index = report.index
        if not self._is_fresh(report) or self.ledger.state[index] is not TaskState.RUNNING:
            return
        if index not in self.ledger.stalled:
            self.ledger.stalled[index] = self._offset - report.silent_for
            self.emit_task(
                TaskStalled, index, "stall watch", silent_for=report.silent_for, last_line=report.last_line
            )

    def _attempt_revived(self, report: AttemptRevived) -> None:
        if self._is_fresh(report):
            self._clear_stall(report.index, "stall watch")

    def _obey(self, command: Command) -> str | None:
        try:
            obey(self, command)
        except Refusal as refusal:
            return str(refusal)
        return None

    # ── how an attempt goes ─────────────────────────────────────────────────────────────────────

    def _fill_slots(self) -> None:
        if self.phase is not RunPhase.RUNNING:
            return
        ledger = self.ledger
        while len(ledger.in_flight) < self.max_parallel:
            index = self._ready.pop(self._offset)
            if index is None:
                return
            ledger.in_flight.add(index)
            ledger.attempt[index] = attempt = ledger.attempt[index] + 1
            self._effects.append(StartAttempt(index, attempt))

    def _take_up(self, index: int, where: str) -> None:
        """READY → RUNNING: the dispatcher has admitted the attempt."""
        ledger = self.ledger
        ledger.enter(index, TaskState.RUNNING, self._offset)
        self._open_record(index, where)
        attempt = ledger.attempt[index]
        cause = self._causes.pop(index, "needs met") if self._causes else "needs met"
        if attempt > 1:
            self._retried += 1
        self.seq += 1
        self._events.append(
            (TaskStarted if attempt == 1 else TaskRetried)(
                seq=self.seq,
                utc=self._utc,
                offset=self._offset,
                run_id=self.run_id,
                cause=cause,
                task=ledger.names[index],
                index=index,
                attempt=attempt,
                state=TaskState.RUNNING,
                where=where,
            )
        )
        timeout = self.tasks[index].timeout
        if timeout is not None:
            heapq.heappush(self._deadlines, (self._offset + timeout, index, attempt))

    def _defer(self, index: int, outcome: AttemptOutcome) -> None:
        """Still READY: the dispatcher had no capacity. The number is handed out again."""
        self.ledger.attempt[index] -= 1
        due = self._ready.lane(index).defer(self._offset)
        self.requeue(index)
        self.emit_task(DispatchDeferred, index, "dispatcher", due=due, reason=outcome.error)

    def _fail(self, index: int, error: str, exit_code: int | None) -> None:
        """An attempt failed: try again, tolerate it, or let it count."""
        ledger, task = self.ledger, self.tasks[index]
        self._clear_stall(index, "attempt ended")
        duration = self._close_record(index, AttemptOutcome(OutcomeKind.FAILED, error, exit_code), error)
        used = ledger.retries.get(index, 0)
        if is_worth_retrying(task.retry, used, exit_code) and self.phase is not RunPhase.CANCELLING:
            delay = back_off(task.retry, used + 1, self._random.random())
            due = self._offset + delay
            ledger.retries[index] = used + 1
            ledger.due[index] = due
            self._causes[index] = f"retry {used + 1}/{task.retry.limit}"
            heapq.heappush(self._deadlines, (due, index, ledger.attempt[index]))
            ledger.enter(index, TaskState.RETRYING, self._offset)
            self.emit_task(
                RetryScheduled, index, "attempt failed",
                due=due, delay=delay, duration=duration, error=error, exit_code=exit_code,
            )  # fmt: skip
        elif task.skip_on_failure:
            ledger.tolerated.add(index)
            self._end_skipped(
                index, "skip_on_failure", "its failure is tolerated",
                duration=duration, error=error, exit_code=exit_code,
            )  # fmt: skip
        else:
            ledger.enter(index, TaskState.FAILED, self._offset)
            self.emit_task(
                TaskFailed, index, "attempt failed",
                duration=duration, error=error, exit_code=exit_code,
                retry_count=used, max_retries=task.retry.limit,
            )  # fmt: skip
            self._answer_failure(index)

    def _end_stopped(self, index: int, outcome: AttemptOutcome) -> None:
        """STOPPING is over: what now depends on who had asked for it."""
        ledger = self.ledger
        stop = ledger.stops.pop(index)
        ledger.in_flight.discard(index)
        if outcome.kind is OutcomeKind.REFUSED:
            ledger.attempt[index] -= 1
        if stop.kind is StopKind.TIMEOUT:
            self._fail(index, stop.reason, None)
            return
        duration = self._close_record(index, outcome, stop.reason)
        self._end_cancelled(
            index, stop.cause, stop.reason, stop.culprit, duration=duration, exit_code=outcome.exit_code
        )
        culprit = stop.culprit
        if culprit is not None and ledger.state[culprit] is not TaskState.FAILED:
            # the failure that stopped it is being tried again, so it has its place in the run again
            self.reset([index], f"retry of {ledger.names[culprit]}")

    # ── ends, and what they mean for others ─────────────────────────────────────────────────────

    def _succeed(self, index: int, exit_code: int | None, cause: str = "attempt ended") -> None:
        ledger = self.ledger
        if ledger.stalled:
            self._clear_stall(index, "attempt ended")
        ledger.enter(index, TaskState.SUCCESS, self._offset)
        records = ledger.history[index]
        self.seq += 1
        self._events.append(
            TaskCompleted(
                seq=self.seq,
                utc=self._utc,
                offset=self._offset,
                run_id=self.run_id,
                cause=cause,
                task=ledger.names[index],
                index=index,
                attempt=ledger.attempt[index],
                state=TaskState.SUCCESS,
                duration=self._offset - records[-1].started if records else 0.0,
                exit_code=exit_code,
            )
        )
        self._propagate(index)

    def mark_succeeded(self, index: int, cause: str, reason: str) -> None:
        """SUCCESS on a person's word, from any state in which nothing of it is in flight."""
        self._forget(index)
        self.ledger.enter(index, TaskState.SUCCESS, self._offset)
        self.emit_task(TaskCompleted, index, cause, duration=0.0, reason=reason)
        if self.tripped_by == index:
            self.tripped_by = None
        self._recover([index], cause)

    def skip(self, index: int, cause: str, reason: str) -> None:
        """SKIPPED on a person's word; what needs its success is skipped with it."""
        self._forget(index)
        self._end_skipped(index, cause, reason)

    def cancel(self, index: int, cause: str, reason: str) -> None:
        """CANCELLED though nothing of it is in flight; what needs its success is skipped."""
        self._forget(index)
        self._end_cancelled(index, cause, reason, None)

    def _end_skipped(
        self,
        index: int,
        cause: str,
        reason: str,
        culprit: int | None = None,
        *,
        duration: float = 0.0,
        error: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        ledger = self.ledger
        ledger.reasons[index] = reason
        if culprit is not None:
            ledger.blocked_by[index] = culprit
        ledger.enter(index, TaskState.SKIPPED, self._offset)
        self.emit_task(
            TaskSkipped, index, cause,
            reason=reason, blocked_by=None if culprit is None else ledger.names[culprit],
            duration=duration, error=error, exit_code=exit_code, tolerated=index in ledger.tolerated,
        )  # fmt: skip
        self._propagate(index)

    def _end_cancelled(
        self,
        index: int,
        cause: str,
        reason: str,
        culprit: int | None,
        *,
        duration: float = 0.0,
        exit_code: int | None = None,
    ) -> None:
        ledger = self.ledger
        ledger.reasons[index] = reason
        if culprit is not None:
            ledger.blocked_by[index] = culprit
        ledger.enter(index, TaskState.CANCELLED, self._offset)
        self.emit_task(TaskCancelled, index, cause, reason=reason, duration=duration, exit_code=exit_code)
        self._propagate(index)

    def _propagate(self, ended: int) -> None:
        """Tell the dependents of a task that is terminal now; those doomed by it are skipped in turn."""
        ledger = self.ledger
        state, unmet = ledger.state, ledger.unmet
        plain = state[ended] is TaskState.SUCCESS and not self.graph.special_conditions
        doomed: list[int] = []
        for dependent in self.graph.dependents[ended]:
            if state[dependent] is not TaskState.PENDING:
                continue
            verdict = Verdict.MET if plain else ledger.verdict(ended, dependent)
            if verdict is Verdict.MET:
                unmet[dependent] -= 1
                if not unmet[dependent]:
                    self._make_ready(dependent)
            else:
                doomed.append(dependent)
        if doomed:
            self._skip_doomed(doomed, ended)

    def _skip_doomed(self, doomed: list[int], culprit: int) -> None:
        """Skip what can no longer have its needs met, and in turn what needs that.

        A loop, not a recursion: a chain of ten thousand tasks must not end in a RecursionError.
        """
        ledger = self.ledger
        pending = [(index, culprit) for index in reversed(doomed)]
        while pending:
            index, culprit = pending.pop()
            if ledger.state[index] is not TaskState.PENDING:
                continue  # a second need of it has doomed it already
            ledger.reasons[index] = reason = self.why_doomed(culprit, index)
            ledger.blocked_by[index] = culprit
            ledger.enter(index, TaskState.SKIPPED, self._offset)
            name = ledger.names[culprit]
            self.emit_task(
                TaskSkipped, index, f"{name} {ledger.state[culprit]}", reason=reason, blocked_by=name
            )
            further = []
            for dependent in self.graph.dependents[index]:
                if ledger.state[dependent] is not TaskState.PENDING:
                    continue
                if ledger.verdict(index, dependent) is Verdict.MET:
                    ledger.unmet[dependent] -= 1
                    if not ledger.unmet[dependent]:
                        self._make_ready(dependent)
                else:
                    further.append((dependent, index))
            pending.extend(reversed(further))

    def why_doomed(self, needed: int, dependent: int) -> str:
        """In words, what makes a need impossible."""
        name, state = self.ledger.names[needed], self.ledger.state[needed]
        verb = {TaskState.SUCCESS: "succeeded", TaskState.FAILED: "failed"}.get(state, f"was {state}")
        condition = self.ledger.condition(needed, dependent)
        return f"{name} {verb}" if condition is Condition.SUCCESS else f"{name} {verb}, not {condition}"

    def _answer_failure(self, index: int) -> None:
        """What the failure mode in force makes of a failure. Its dependents hear of it first."""
        self._propagate(index)
        cause = f"{self.ledger.names[index]} failed"
        if self.failure_mode is FailureMode.FAIL_FAST and self.tripped_by is None:
            self.tripped_by = index
            self._fail_fast(index, f"fail-fast: {cause}")
        elif self.failure_mode is FailureMode.PAUSE_ON_FAILURE and self.phase is RunPhase.RUNNING:
            self.phase = RunPhase.PAUSED
            self.is_paused_by_failure = True
            self.emit(PlanPaused, cause=cause, phase=self.phase)

    def _fail_fast(self, culprit: int, reason: str) -> None:
        """Stop what runs and cancel what has not started, except what is there to answer the failure."""
        ledger = self.ledger
        kept = survivors(ledger)
        cancelled = [
            index
            for index in range(len(self.tasks))
            if ledger.is_waiting(index) and index not in kept
        ]
        for index in sorted(ledger.in_flight):
            if ledger.state[index] is not TaskState.STOPPING:
                self.stop(index, Stop(StopKind.FAIL_FAST, reason, reason, culprit))
        # all first, their consequences after: none of them may be skipped on account of another
        for index in cancelled:
            self._forget(index)
            ledger.reasons[index] = reason
            ledger.blocked_by[index] = culprit
            ledger.enter(index, TaskState.CANCELLED, self._offset)
            self.emit_task(TaskCancelled, index, reason, reason=reason)
        for index in cancelled:
            self._propagate(index)

    def stop(self, index: int, stop: Stop, *, kill: bool = False) -> None:
        """Tell an attempt in flight to stop, or to hurry if it is stopping already."""
        ledger = self.ledger
        self._clear_stall(index, stop.cause)
        ledger.stops[index] = stop
        if ledger.state[index] is not TaskState.STOPPING:
            ledger.enter(index, TaskState.STOPPING, self._offset)
        self._effects.append(StopAttempt(index, ledger.attempt[index], kill))
        self.emit_task(TaskStopping, index, stop.cause, reason=stop.reason, kill=kill)

    def retry_at_once(self, index: int, cause: str) -> None:
        """Cut a back-off short."""
        self._forget(index)
        self._causes[index] = cause
        self._make_ready(index)
        self.emit_task(TaskReset, index, cause)

    def reset(self, indices: Sequence[int], cause: str) -> None:
        """Bring terminal tasks back to PENDING, then whatever was blocked by them alone."""
        for index in indices:
            self._bring_back(index, cause)
        self._recover(indices, cause)

    def _bring_back(self, index: int, cause: str) -> None:
        self._forget(index)
        self._causes[index] = cause
        self.ledger.enter(index, TaskState.PENDING, self._offset)
        self.emit_task(TaskReset, index, cause)
        if self.tripped_by == index:
            self.tripped_by = None

    def _recover(self, changed: Sequence[int], cause: str) -> None:
        """Bring back what was skipped or cancelled only on account of the tasks changed, then look
        again at the needs of all that this touches."""
        ledger = self.ledger
        touched = list(changed)
        for index in self._blocked_in_order():
            culprit = ledger.blocked_by[index]
            if ledger.state[index] is TaskState.CANCELLED and ledger.state[culprit] is TaskState.FAILED:
                continue  # the failure that set fail-fast off still stands
            if any(ledger.verdict(need, index) is Verdict.NEVER for need in self.graph.needs[index]):
                continue
            self._bring_back(index, cause)
            touched.append(index)
        affected = dict.fromkeys(touched)
        for index in touched:
            affected.update(dict.fromkeys(self.graph.dependents[index]))
        # every count first, every consequence after: a consequence counts on counts that are right
        for index in affected:
            self._recount(index)
        for index in affected:
            if ledger.state[index] is TaskState.PENDING:
                self._reconsider(index)

    def _blocked_in_order(self) -> list[int]:
        """What was skipped or cancelled on account of another, needed before needing."""
        blocked = self.ledger.blocked_by
        return [index for index in self.graph.order if index in blocked] if blocked else []

    def _recount(self, index: int) -> None:
        """Count a task's needs afresh; one that was ready may have to wait again."""
        ledger = self.ledger
        state = ledger.state[index]
        unmet = ledger.count_unmet(index)
        if state is TaskState.PENDING:
            ledger.unmet[index] = unmet
        elif state is TaskState.READY and unmet and index not in ledger.in_flight:
            ledger.enter(index, TaskState.PENDING, self._offset)
            ledger.unmet[index] = unmet

    def _reconsider(self, index: int) -> None:
        """Let a pending task go on if its needs are met, or end if one cannot be."""
        ledger = self.ledger
        for needed in self.graph.needs[index]:
            if ledger.verdict(needed, index) is Verdict.NEVER:
                self._skip_doomed([index], needed)
                return
        if not ledger.unmet[index]:
            self._make_ready(index)

    # ── the end of a run ────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Nothing is in flight: is the run over, drained, or stuck?"""
        ledger = self.ledger
        if self.phase is RunPhase.COMPLETE:
            return
        if ledger.unfinished and self.phase is RunPhase.DRAINING:
            self.cancel_waiting("drain", "the run was drained")
        diagnosis = None
        if ledger.unfinished and self._is_stuck():
            diagnosis = self._diagnose()
        if not ledger.unfinished:
            self._complete(diagnosis)

    def _is_stuck(self) -> bool:
        """Nothing runs and nothing ever will: no deadline to come, nobody to wait for."""
        if self.phase is RunPhase.PAUSED or self.ledger.due:
            return False
        if self._ready.next_deadline(self._offset) is not None:
            return False
        return all(self.ledger.state[index].is_terminal for index in self.ledger.held)

    def _diagnose(self) -> str:
        stuck = [index for index in range(len(self.tasks)) if self.ledger.is_waiting(index)]
        diagnosis = f"{len(stuck)} tasks could neither run nor end:\n" + "\n".join(
            self.story(index) for index in stuck[:5]
        )
        self.cancel_waiting(SCHEDULER, "no runnable work was left")
        return diagnosis

    def cancel_waiting(self, cause: str, reason: str) -> None:
        """CANCELLED for all that has not started; nothing is skipped on account of another."""
        ledger = self.ledger
        for index in range(len(self.tasks)):
            if ledger.is_waiting(index):
                self._forget(index)
                ledger.reasons[index] = reason
                ledger.enter(index, TaskState.CANCELLED, self._offset)
                self.emit_task(TaskCancelled, index, cause, reason=reason)

    def _complete(self, diagnosis: str | None) -> None:
        counts = self.ledger.counts
        if counts[TaskState.FAILED] or diagnosis:
            self.outcome = Outcome.FAILED
        elif counts[TaskState.CANCELLED]:
            self.outcome = Outcome.INTERRUPTED if self.interrupted else Outcome.CANCELLED
        else:
            self.outcome = Outcome.SUCCESS
        self.phase = RunPhase.COMPLETE
        self.emit(
            PlanCompleted,
            cause=SCHEDULER,
            phase=self.phase,
            outcome=self.outcome,
            duration=self._offset - self._began,
            success=counts[TaskState.SUCCESS],
            failed=counts[TaskState.FAILED],
            skipped=counts[TaskState.SKIPPED],
            cancelled=counts[TaskState.CANCELLED],
            retried=self._retried,
            diagnosis=diagnosis,
        )

    # ── small steps ─────────────────────────────────────────────────────────────────────────────

    def emit(self, kind: type[Event], *, cause: str, **detail: Any) -> None:
        """Add an event about the run to the decision."""
        self.seq += 1
        self._events.append(
            kind(
                seq=self.seq,
                utc=self._utc,
                offset=self._offset,
                run_id=self.run_id,
                cause=cause,
                **detail,
            )
        )

    def emit_task(self, kind: type[Event], index: int, cause: str, **detail: Any) -> None:
        """Add an event about one task, with the state that it is in now."""
        ledger = self.ledger
        self.emit(
            kind,
            cause=cause,
            task=ledger.names[index],
            index=index,
            attempt=ledger.attempt[index],
            state=ledger.state[index],
            **detail,
        )

    def _make_ready(self, index: int) -> None:
        self.ledger.enter(index, TaskState.READY, self._offset)
        self._ready.push(index)

    def requeue(self, index: int) -> None:
        """Put a READY task back into the queue, after it was held or refused."""
        self._ready.push(index)

    def _forget(self, index: int) -> None:
        """Drop what belongs to the state that a task leaves by a person's command or a reset."""
        ledger = self.ledger
        ledger.due.pop(index, None)
        ledger.retries.pop(index, None)
        ledger.reasons.pop(index, None)
        ledger.blocked_by.pop(index, None)
        ledger.tolerated.discard(index)
        self._causes.pop(index, None)

    def _is_fresh(self, report: Report) -> bool:
        """Whether a report is about the current attempt. One that is not is counted and dropped."""
        fresh = (
            report.index in self.ledger.in_flight
            and report.attempt == self.ledger.attempt[report.index]
        )
        if not fresh:
            self.stale_reports += 1
        return fresh

    def _is_current(self, due: float, index: int, attempt: int) -> bool:
        """Whether a deadline still means anything."""
        ledger = self.ledger
        if ledger.attempt[index] != attempt:
            return False
        state = ledger.state[index]
        return state is TaskState.RUNNING or (
            state is TaskState.RETRYING and ledger.due.get(index) == due
        )

    def _open_record(self, index: int, where: str) -> None:
        ledger = self.ledger
        record = AttemptRecord(ledger.attempt[index], self._offset, where=where)
        records = ledger.history[index]
        if records is None:
            ledger.history[index] = [record]
        else:
            records.append(record)

    def _close_record(self, index: int, outcome: AttemptOutcome, error: str | None) -> float:
        """Write down how the current attempt ended; return the seconds it took."""
        records = self.ledger.history[index]
        if not records or records[-1].number != self.ledger.attempt[index]:
            return 0.0  # stopped before its dispatcher had taken it up
        record = records[-1]
        record.ended = self._offset
        record.exit_code = outcome.exit_code
        record.error = error
        return record.ended - record.started

    def _clear_stall(self, index: int, cause: str) -> None:
        if self.ledger.stalled.pop(index, None) is not None:
            self.emit_task(StallCleared, index, cause)

