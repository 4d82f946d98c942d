"""The scheduler: one input and a time go in, a decision comes out. It owns the state of a whole run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from engine.core.consequences import Consequences
from engine.core.deadlines import Deadlines
from engine.core.effects import Effect, StartAttempt, StopAttempt
from engine.core.events import (
    DispatchDeferred,
    Event,
    PlanCompleted,
    PlanPaused,
    PlanStarted,
    RetryScheduled,
    StallCleared,
    TaskFailed,
    TaskRetried,
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
from engine.core.ledger import InvariantBroken, Ledger, Stop, StopKind
from engine.core.ready import ReadyQueue
from engine.core.recorder import Recorder
from engine.core.records import Snapshot
from engine.core.retry import back_off, is_worth_retrying
from engine.core.state import (
    CANCELLED,
    FAILED,
    READY,
    RETRYING,
    RUNNING,
    SKIPPED,
    STOPPING,
    SUCCESS,
    Outcome,
    RunPhase,
)
from engine.core.steering import Refusal, obey
from engine.core.survivors import survivors
from engine.plan.graph import Graph
from engine.plan.model import FailureMode


class Decision(msgspec.Struct, frozen=True, gc=False):
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
        self.phase = RunPhase.PENDING
        self.outcome: Outcome | None = None
        self.failure_mode = plan.failure_mode if failure_mode is None else failure_mode
        self.max_parallel = plan.max_parallel if max_parallel is None else max_parallel
        self.is_paused_by_failure = False
        self.is_interrupted = False
        self.stale_reports = 0
        """Reports dropped because they were about an attempt that is no longer the current one."""
        self.ledger = Ledger(graph)
        self.recorder = Recorder(self.ledger, run_id)
        executors = [task.executor for task in plan.tasks]
        self.ready = ReadyQueue(graph.ranks(durations), executors, self.ledger.is_startable)
        self.consequences = Consequences(self.ledger, self.recorder, self.ready)
        self._deadlines = Deadlines(self.ledger)
        self._effects: list[Effect] = []
        self._random = random
        self._retried = 0
        self._began = 0.0
        self._handlers: dict[type, Callable[[Any], str | None]] = {
            Start: self._start,
            Tick: self._tick,
            AttemptStarted: self._attempt_started,
            AttemptFinished: self._attempt_finished,
            AttemptStalled: self._attempt_stalled,
            AttemptRevived: self._attempt_revived,
        }

    def handle(self, given: Input, now: Now) -> Decision:
        """Take one input at one time. Raises `InvariantBroken` only for a defect of the scheduler."""
        events = self.recorder.begin(now)
        effects: list[Effect] = []
        self._effects = effects
        handler = self._handlers.get(type(given), self._obey)
        refusal = handler(given)
        in_flight = self.ledger.in_flight
        if len(in_flight) < self.max_parallel and self.phase is RunPhase.RUNNING:
            self._fill_slots()
        if not in_flight:
            self._settle()
        return Decision(events, effects, refusal)

    def next_deadline(self) -> float | None:
        """The offset at which a `Tick` is due: a retry, a time-out, a full dispatcher to ask again."""
        deadline = self._deadlines.next()
        if self.phase is RunPhase.RUNNING:
            deferred = self.ready.next_deadline(self.recorder.offset)
            if deferred is not None and (deadline is None or deferred < deadline):
                return deferred
        return deadline

    def snapshot(self) -> Snapshot:
        """The run as it stands after the last input."""
        return Snapshot(
            run_id=self.run_id,
            seq=self.recorder.seq,
            offset=self.recorder.offset,
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
        if self.phase is RunPhase.PENDING:
            return
        self.ledger.check()
        complete = self.phase is RunPhase.COMPLETE
        if complete != (self.ledger.unfinished == 0):
            raise InvariantBroken(f"{self.phase} with {self.ledger.unfinished} unfinished tasks")
        if complete != (self.outcome is not None):
            raise InvariantBroken(f"{self.phase} with outcome {self.outcome}")

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────

    def _start(self, _: Start) -> None:
        if self.phase is not RunPhase.PENDING:
            raise InvariantBroken("started twice")
        self.phase = RunPhase.RUNNING
        self._began = self.recorder.offset
        self.recorder.emit(
            PlanStarted,
            cause="operator",
            phase=self.phase,
            plan=self.graph.plan.name,
            tasks=len(self.tasks),
            max_parallel=self.max_parallel,
            failure_mode=self.failure_mode,
        )
        for index, unmet in enumerate(self.ledger.unmet):
            if not unmet:
                self.consequences.make_ready(index)

    def _tick(self, _: Tick) -> None:
        ledger = self.ledger
        for index in self._deadlines.pop_due(self.recorder.offset):
            if ledger.state[index] is RETRYING:
                del ledger.due[index]
                self.consequences.go_on(index)
            else:
                reason = f"timed out after {self.tasks[index].timeout:g}s"
                self.stop(index, Stop(StopKind.TIMEOUT, "timeout", reason))

    def _attempt_started(self, report: AttemptStarted) -> None:
        if not self._is_fresh(report):
            return
        index, state = report.index, self.ledger.state[report.index]
        if state is READY:
            self._take_up(index, report.where)
        elif state is STOPPING and not self.ledger.was_taken_up(index):
            # told to stop before it had said that it runs
            self.ledger.open_record(index, self.recorder.offset, report.where)

    def _attempt_finished(self, report: AttemptFinished) -> None:
        if not self._is_fresh(report):
            return
        index, outcome = report.index, report.outcome
        ledger = self.ledger
        ledger.in_flight.discard(index)
        if ledger.state[index] is STOPPING:
            self._end_stopped(index, outcome)
            return
        if ledger.state[index] is READY:
            if outcome.kind is OutcomeKind.REFUSED:
                self._defer(index, outcome)
                return
            self._take_up(index, "")  # over before its dispatcher had said that it runs
        if ledger.stalled:
            self._clear_stall(index, "attempt ended")
        if outcome.kind is OutcomeKind.SUCCESS:
            self._succeed(index, outcome)
        else:
            self._fail(index, outcome.error or outcome.kind.value, outcome.exit_code)

    def _attempt_stalled(self, report: AttemptStalled) -> None:
        index = report.index
        if not self._is_fresh(report) or self.ledger.state[index] is not RUNNING:
            return
        if index not in self.ledger.stalled:
            self.ledger.stalled[index] = self.recorder.offset - report.silent_for
            self.recorder.emit_task(
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
        ledger = self.ledger
        while len(ledger.in_flight) < self.max_parallel:
            index = self.ready.pop(self.recorder.offset)
            if index is None:
                return
            ledger.in_flight.add(index)
            ledger.deferred.pop(index, None)
            ledger.attempt[index] = attempt = ledger.attempt[index] + 1
            self._effects.append(StartAttempt(index, attempt))

    def _take_up(self, index: int, where: str) -> None:
        """READY → RUNNING: the dispatcher has admitted the attempt."""
        ledger, recorder = self.ledger, self.recorder
        ledger.enter(index, RUNNING, recorder.offset)
        ledger.open_record(index, recorder.offset, where)
        attempt = ledger.attempt[index]
        recorder.seq += 1
        recorder.events.append(  # one of the two events that every task has: not through emit_task
            (TaskStarted if attempt == 1 else TaskRetried)(
                seq=recorder.seq,
                utc=recorder.utc,
                offset=recorder.offset,
                run_id=self.run_id,
                cause=ledger.causes.pop(index, "needs met"),
                task=ledger.names[index],
                index=index,
                attempt=attempt,
                state=RUNNING,
                where=where,
            )
        )
        if attempt > 1:
            self._retried += 1
        timeout = self.tasks[index].timeout
        if timeout is not None:
            self._deadlines.add(recorder.offset + timeout, index)

    def _defer(self, index: int, outcome: AttemptOutcome) -> None:
        """Still READY: the dispatcher had no capacity. The number is handed out again: it shall count
        attempts that were taken up, and of each hand-over the runner makes exactly one report of its end."""
        ledger = self.ledger
        ledger.attempt[index] -= 1
        ledger.deferred[index] = due = self.ready.lane(index).defer(self.recorder.offset)
        self.consequences.go_on(index)
        self.recorder.emit_task(DispatchDeferred, index, "dispatcher", due=due, reason=outcome.error)

    def _succeed(self, index: int, outcome: AttemptOutcome) -> None:
        self.ledger.close_record(index, self.recorder.offset, outcome.exit_code, None)
        self.ready.lane(index).refusals = 0
        self.consequences.succeed(index, outcome.exit_code)

    def _fail(self, index: int, error: str, exit_code: int | None) -> None:
        """An attempt failed: try again, tolerate it, or let it count."""
        ledger, recorder, task = self.ledger, self.recorder, self.tasks[index]
        duration = ledger.close_record(index, recorder.offset, exit_code, error)
        used = ledger.retries.get(index, 0)
        if is_worth_retrying(task.retry, used, exit_code):
            delay = back_off(task.retry, used + 1, self._random.random())
            due = recorder.offset + delay
            ledger.retries[index] = used + 1
            ledger.due[index] = due
            ledger.causes[index] = f"retry {used + 1}/{task.retry.limit}"
            ledger.enter(index, RETRYING, recorder.offset)
            self._deadlines.add(due, index)
            recorder.emit_task(
                RetryScheduled, index, "attempt failed",
                due=due, delay=delay, duration=duration, error=error, exit_code=exit_code,
            )  # fmt: skip
        elif task.skip_on_failure:
            ledger.tolerated.add(index)
            self.consequences.skip(
                index, "skip_on_failure", "its failure is tolerated",
                duration=duration, error=error, exit_code=exit_code,
            )  # fmt: skip
        else:
            ledger.enter(index, FAILED, recorder.offset)
            recorder.emit_task(
                TaskFailed, index, "attempt failed",
                duration=duration, error=error, exit_code=exit_code,
                retry_count=used, max_retries=task.retry.limit,
            )  # fmt: skip
            self._answer_failure(index)

    def stop(self, index: int, stop: Stop, *, kill: bool = False) -> None:
        """Tell an attempt in flight to stop, or to hurry if it is stopping already."""
        ledger = self.ledger
        self._clear_stall(index, stop.cause)
        ledger.stops[index] = stop
        if ledger.state[index] is not STOPPING:
            ledger.enter(index, STOPPING, self.recorder.offset)
        self._effects.append(StopAttempt(index, ledger.attempt[index], kill))
        self.recorder.emit_task(TaskStopping, index, stop.cause, reason=stop.reason, kill=kill)

    def _end_stopped(self, index: int, outcome: AttemptOutcome) -> None:
        """STOPPING is over: what now depends on who had asked for it."""
        ledger = self.ledger
        stop = ledger.stops.pop(index)
        if outcome.kind is OutcomeKind.SUCCESS:
            # one that is stopped says STOPPED: this one had done its work before the word reached it
            if not ledger.was_taken_up(index):
                ledger.open_record(index, self.recorder.offset, "")
            self._succeed(index, outcome)
            return
        if stop.kind is StopKind.TIMEOUT:
            self._fail(index, stop.reason, None)
            return
        duration = ledger.close_record(index, self.recorder.offset, outcome.exit_code, stop.reason)
        if not ledger.was_taken_up(index):
            ledger.attempt[index] -= 1  # it never began, so the number is handed out again
        self.consequences.cancel(
            index, stop.cause, stop.reason, stop.culprit, duration=duration, exit_code=outcome.exit_code
        )
        culprit = stop.culprit
        if culprit is not None and ledger.state[culprit] is not FAILED:
            # the failure that stopped it is being tried again, so it has its place in the run again
            self.consequences.reset([index], f"retry of {ledger.names[culprit]}")

    # ── failure modes ───────────────────────────────────────────────────────────────────────────

    def _answer_failure(self, index: int) -> None:
        """What the failure mode in force makes of a failure. Its dependents hear of it first."""
        self.consequences.propagate(index)
        cause = f"{self.ledger.names[index]} failed"
        if self.failure_mode is FailureMode.FAIL_FAST:
            self._fail_fast(index, f"fail-fast: {cause}")
        elif self.failure_mode is FailureMode.PAUSE_ON_FAILURE and self.phase is RunPhase.RUNNING:
            self.phase = RunPhase.PAUSED
            self.is_paused_by_failure = True
            self.recorder.emit(PlanPaused, cause=cause, phase=self.phase)

    def _fail_fast(self, culprit: int, reason: str) -> None:
        """Stop what runs and cancel what has not started, except what is there to answer a failure."""
        ledger = self.ledger
        ledger.answering |= survivors(ledger)
        stop = Stop(StopKind.FAIL_FAST, reason, reason, culprit)
        for index in sorted(ledger.in_flight - ledger.answering):
            if ledger.state[index] is not STOPPING:
                self.stop(index, stop)
            elif ledger.stops[index].kind is StopKind.TIMEOUT:
                ledger.stops[index] = stop  # or it would be tried again
        waiting = [index for index in ledger.waiting() if index not in ledger.answering]
        self.consequences.cancel_all(waiting, reason, reason, culprit)

    # ── the end of a run ────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Nothing is in flight: is the run over, drained, or stuck?"""
        ledger = self.ledger
        if self.phase in (RunPhase.PENDING, RunPhase.COMPLETE):
            return
        diagnosis = None
        if ledger.unfinished and self.phase is RunPhase.DRAINING:
            self.consequences.cancel_all(ledger.waiting(), "drain", "the run was drained")
        if ledger.unfinished and self._is_stuck():
            diagnosis = self._diagnose()
        if not ledger.unfinished:
            self._complete(diagnosis)

    def _is_stuck(self) -> bool:
        """Nothing runs and nothing ever will: no deadline to come, nobody to wait for."""
        ledger = self.ledger
        return (
            self.phase is not RunPhase.PAUSED
            and not ledger.due
            and self.ready.next_deadline(self.recorder.offset) is None
            and not any(ledger.is_waiting(index) for index in ledger.held)
        )

    def _diagnose(self) -> str:
        """A defect, not a state of affairs: end the run, and say all that is known."""
        stuck = self.ledger.waiting()
        stories = [self.story(index) for index in stuck[:5]]
        self.consequences.cancel_all(stuck, "scheduler", "no runnable work was left")
        return "\n".join([f"{len(stuck)} tasks could neither run nor end:", *stories])

    def _complete(self, diagnosis: str | None) -> None:
        counts = self.ledger.counts
        if counts[FAILED] or diagnosis:
            self.outcome = Outcome.FAILED
        elif counts[CANCELLED]:
            self.outcome = Outcome.INTERRUPTED if self.is_interrupted else Outcome.CANCELLED
        else:
            self.outcome = Outcome.SUCCESS
        self.phase = RunPhase.COMPLETE
        self.recorder.emit(
            PlanCompleted,
            cause="scheduler",
            phase=self.phase,
            outcome=self.outcome,
            duration=self.recorder.offset - self._began,
            success=counts[SUCCESS],
            failed=counts[FAILED],
            skipped=counts[SKIPPED],
            cancelled=counts[CANCELLED],
            retried=self._retried,
            diagnosis=diagnosis,
        )

    # ── small steps ─────────────────────────────────────────────────────────────────────────────

    def _is_fresh(self, report: Report) -> bool:
        """Whether a report is about the current attempt. One that is not is counted and dropped."""
        ledger = self.ledger
        fresh = report.index in ledger.in_flight and report.attempt == ledger.attempt[report.index]
        if not fresh:
            self.stale_reports += 1
        return fresh

    def _clear_stall(self, index: int, cause: str) -> None:
        if self.ledger.stalled.pop(index, None) is not None:
            self.recorder.emit_task(StallCleared, index, cause)
