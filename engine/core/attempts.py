"""How an attempt goes: handed out, taken up, refused, stalled, stopped, ended, tried again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Final

from engine.core.consequences import Consequences
from engine.core.deadlines import Deadlines
from engine.core.effects import Effect, StartAttempt, StopAttempt
from engine.core.events import (
    DispatchDeferred,
    RetryScheduled,
    StallCleared,
    TaskFailed,
    TaskReset,
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
    OutcomeKind,
    Report,
)
from engine.core.ledger import Ledger, Stop, StopKind
from engine.core.ready import ReadyQueue
from engine.core.recorder import Recorder
from engine.core.records import INTERRUPTED
from engine.core.retry import back_off, is_worth_retrying
from engine.core.state import FAILED, PENDING, READY, RETRYING, RUNNING, STOPPING
from engine.plan.model import Task

LOSS_LIMIT: Final = 3
"""Attempts at one task in a row of which the last one counts as a failure if all were cut off: it may be what
it does that ends the machines it runs on."""


class Attempts:
    """Takes the reports about attempts, and decides what becomes of each.

    effects: what the runner must do on account of the input at hand. retried: attempts after the first
    that were taken up, but not in place of an interrupted one. stale_reports: reports dropped because they
    were about an attempt that is no longer the current one.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        ledger: Ledger,
        recorder: Recorder,
        ready: ReadyQueue,
        consequences: Consequences,
        deadlines: Deadlines,
        random: Random,
        answer_failure: Callable[[int], None],
    ) -> None:
        """answer_failure: called with the index of each task that has become FAILED."""
        self.effects: list[Effect] = []
        self.retried = 0
        self.stale_reports = 0
        self._tasks = tasks
        self._ledger = ledger
        self._recorder = recorder
        self._ready = ready
        self._consequences = consequences
        self._deadlines = deadlines
        self._random = random
        self._answer_failure = answer_failure
        self._has_subplans = bool(ledger.graph.nesting.scopes)

    def started(self, report: AttemptStarted) -> None:
        if not self._is_fresh(report):
            return
        index, state = report.index, self._ledger.state[report.index]
        if state is READY:
            self.take_up(index, report.where)
        elif state is STOPPING and not self._ledger.was_taken_up(index):
            # told to stop before it had said that it runs
            self._ledger.open_record(index, self._recorder.offset, report.where)

    def finished(self, report: AttemptFinished) -> None:
        if not self._is_fresh(report):
            return
        index, outcome = report.index, report.outcome
        ledger = self._ledger
        ledger.in_flight.discard(index)
        if self._has_subplans:
            self._ready.reconsider(ledger.scopes.give_back(index))
        if ledger.state[index] is STOPPING:
            self._end_stopped(index, outcome)
            return
        if ledger.state[index] is READY:
            if outcome.kind is OutcomeKind.REFUSED:
                self._defer(index, outcome)
                return
            self.take_up(index, "")  # over before its dispatcher had said that it runs
        if ledger.stalled:
            self._clear_stall(index, "attempt ended")
        if outcome.kind is OutcomeKind.SUCCESS:
            self._succeed(index, outcome)
        elif outcome.kind is OutcomeKind.LOST and ledger.interruptions(index) + 1 < LOSS_LIMIT:
            self._lose(index, outcome)
        else:
            error = outcome.error or outcome.kind.value
            self._fail(index, error, outcome.exit_code, is_final=outcome.is_final)

    def stalled(self, report: AttemptStalled) -> None:
        index = report.index
        if not self._is_fresh(report) or self._ledger.state[index] is not RUNNING:
            return
        if index not in self._ledger.stalled:
            self._ledger.stalled[index] = self._recorder.offset - report.silent_for
            self._recorder.emit_task(
                TaskStalled, index, "stall watch", silent_for=report.silent_for, last_line=report.last_line
            )

    def revived(self, report: AttemptRevived) -> None:
        if self._is_fresh(report):
            self._clear_stall(report.index, "stall watch")

    def hand_out(self, slots: int) -> None:
        """Fill the free slots with what is ready, in the order of the ranks."""
        ledger = self._ledger
        while len(ledger.in_flight) < slots:
            index = self._ready.pop(self._recorder.offset)
            if index is None:
                return
            ledger.in_flight.add(index)
            if self._has_subplans:
                self._ready.reconsider(ledger.scopes.take(index))
            ledger.deferred.pop(index, None)
            ledger.attempt[index] = attempt = ledger.attempt[index] + 1
            self.effects.append(StartAttempt(index, attempt))

    def take_up(self, index: int, where: str) -> None:
        """READY → RUNNING: the dispatcher has admitted the attempt, or the subplan begins."""
        ledger, recorder = self._ledger, self._recorder
        ledger.enter(index, RUNNING, recorder.offset)
        ledger.open_record(index, recorder.offset, where)
        attempt = ledger.attempt[index]
        recorder.seq += 1
        recorder.events.append(  # one of the two events that every task has: not through emit_task
            (TaskStarted if attempt == 1 else TaskRetried)(
                seq=recorder.seq,
                utc=recorder.utc,
                offset=recorder.offset,
                run_id=recorder.run_id,
                cause=ledger.causes.pop(index, "needs met"),
                task=ledger.names[index],
                index=index,
                attempt=attempt,
                state=RUNNING,
                where=where,
            )
        )
        if attempt > 1 and not ledger.stands_in(index):
            self.retried += 1
        timeout = self._tasks[index].timeout
        if timeout is not None:
            self._deadlines.add(recorder.offset + timeout, index)

    def _defer(self, index: int, outcome: AttemptOutcome) -> None:
        """Still READY: the dispatcher had no capacity. The number is handed out again: it shall count
        attempts that were taken up, and of each hand-over the runner makes exactly one report of its end."""
        ledger = self._ledger
        ledger.attempt[index] -= 1
        ledger.deferred[index] = due = self._ready.defer(index, self._recorder.offset)
        self._recorder.emit_task(DispatchDeferred, index, "dispatcher", due=due, reason=outcome.error)
        self._consequences.go_on(index)

    def adopt(self, index: int) -> None:
        """Hand an attempt of an engine that is gone to its dispatcher again, which still has it."""
        ledger, attempt = self._ledger, self._ledger.attempt[index]
        self.effects.append(StartAttempt(index, attempt, is_adopted=True))
        records, timeout = ledger.history[index], self._tasks[index].timeout
        if ledger.state[index] is STOPPING:
            self.effects.append(StopAttempt(index, attempt))
        elif ledger.state[index] is RUNNING and records and timeout is not None:
            self._deadlines.add(records[-1].started + timeout, index)

    def _lose(self, index: int, outcome: AttemptOutcome) -> None:
        """It ended with what it ran on, so it is made again, and no retry is used up."""
        ledger, recorder = self._ledger, self._recorder
        ledger.close_record(index, recorder.offset, None, INTERRUPTED)
        ledger.causes[index] = INTERRUPTED
        ledger.enter(index, RETRYING, recorder.offset)
        ledger.enter(index, PENDING, recorder.offset)
        recorder.emit_task(TaskReset, index, outcome.error, interrupted=True)
        self._consequences.reconsider([index])

    def _succeed(self, index: int, outcome: AttemptOutcome) -> None:
        self._ready.executor(index).refusals = 0
        self._ledger.close_record(index, self._recorder.offset, outcome.exit_code, None)
        self._consequences.succeed(index, outcome.exit_code, outcome.outputs)

    def end_subplan(self, index: int, outcome: AttemptOutcome) -> None:
        """All that is inside has ended. STOPPED: some of it was cancelled."""
        if self._ledger.state[index] is STOPPING:
            self._end_stopped(index, outcome)
        elif outcome.kind is OutcomeKind.SUCCESS:
            self._succeed_subplan(index)
        elif outcome.kind is OutcomeKind.FAILED:
            self._fail(index, outcome.error, None)
        else:
            self._end_cancelled(index, outcome, Stop(StopKind.CANCEL, "subplan", outcome.error))

    def _succeed_subplan(self, index: int) -> None:
        self._ledger.close_record(index, self._recorder.offset, None, None)
        self._consequences.succeed(index, None, None)

    def _fail(self, index: int, error: str, exit_code: int | None, *, is_final: bool = False) -> None:
        """An attempt failed: try again unless that is final, tolerate it, or let it count."""
        ledger, recorder, task = self._ledger, self._recorder, self._tasks[index]
        duration = ledger.close_record(index, recorder.offset, exit_code, error)
        used = ledger.retries.get(index, 0)
        if not is_final and is_worth_retrying(task.retry, used, exit_code):
            delay = back_off(task.retry, used + 1, self._random.random())
            due = recorder.offset + delay
            ledger.retries[index] = used + 1
            ledger.due[index] = due
            records = ledger.history[index]
            if records is not None:
                records[-1].retry_at = due
            ledger.causes[index] = f"retry {used + 1}/{task.retry.limit}"
            ledger.enter(index, RETRYING, recorder.offset)
            self._deadlines.add(due, index)
            recorder.emit_task(
                RetryScheduled, index, "attempt failed",
                due=due, delay=delay, duration=duration, error=error, exit_code=exit_code,
            )  # fmt: skip
        elif task.skip_on_failure:
            ledger.tolerated.add(index)
            self._consequences.skip(
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

    def stop_all(
        self,
        stop: Stop,
        among: range | None = None,
        *,
        spared: Collection[int] = (),
        kill: bool = False,
    ) -> None:
        """Stop all that goes on. among: of these tasks only. spared: but for these."""
        ledger = self._ledger
        for index in ledger.going(among):
            if index in spared:
                continue
            if ledger.state[index] is not STOPPING or kill:
                self.stop(index, stop, kill=kill)
            elif stop.kind is StopKind.CANCEL:
                ledger.stops[index] = stop  # a person's wish outranks the time-out or fail-fast before it
            elif ledger.stops[index].kind is StopKind.TIMEOUT:
                ledger.stops[index] = ledger.stops[index]._replace(is_final=True)

    def stop(self, index: int, stop: Stop, *, kill: bool = False) -> None:
        """Tell an attempt in flight to stop, or to hurry if it is stopping already. Of one at a subplan it
        is only noted: what is inside must be told besides."""
        ledger = self._ledger
        self._clear_stall(index, stop.cause)
        ledger.stops[index] = stop
        if ledger.state[index] is not STOPPING:
            ledger.enter(index, STOPPING, self._recorder.offset)
        ledger.note_stop(index, self._recorder.offset)
        if index in ledger.in_flight:
            self.effects.append(StopAttempt(index, ledger.attempt[index], kill))
        self._recorder.emit_task(TaskStopping, index, stop.cause, reason=stop.reason, kill=kill)

    def _end_stopped(self, index: int, outcome: AttemptOutcome) -> None:
        """STOPPING is over: what now depends on who had asked for it, and whether it came too late. An
        attempt that was stopped says STOPPED; one that says otherwise had ended by itself before."""
        ledger = self._ledger
        stop = ledger.stops.pop(index)
        has_succeeded = outcome.kind is OutcomeKind.SUCCESS
        has_failed = stop.kind is not StopKind.CANCEL and (
            stop.kind is StopKind.TIMEOUT or outcome.kind is OutcomeKind.FAILED
        )
        if (has_succeeded or has_failed) and not ledger.was_taken_up(index):
            ledger.open_record(index, self._recorder.offset, "")
        if has_succeeded and ledger.is_subplan(index):
            self._succeed_subplan(index)
        elif has_succeeded:
            self._succeed(index, outcome)
        elif has_failed:
            error = outcome.error if outcome.kind is OutcomeKind.FAILED else stop.reason
            self._fail(index, error, outcome.exit_code, is_final=stop.is_final or outcome.is_final)
        else:
            self._end_cancelled(index, outcome, stop)

    def _end_cancelled(self, index: int, outcome: AttemptOutcome, stop: Stop) -> None:
        ledger = self._ledger
        duration = ledger.close_record(index, self._recorder.offset, outcome.exit_code, stop.reason)
        records = ledger.history[index]
        if records is not None and ledger.was_taken_up(index):
            records[-1].is_cancelled = True
        else:
            ledger.attempt[index] -= 1  # it never began, so the number is handed out again
        self._consequences.cancel(
            index, stop.cause, stop.reason, stop.culprit, duration=duration, exit_code=outcome.exit_code
        )
        culprit = stop.culprit
        if culprit is not None and ledger.state[culprit] is not FAILED and ledger.doomed_by(index) is None:
            # the failure that stopped it is being tried again, so it has its place in the run again
            self._consequences.reset([index], f"retry of {ledger.names[culprit]}")

    def _is_fresh(self, report: Report) -> bool:
        """Whether a report is about the current attempt. One that is not is counted and dropped."""
        ledger = self._ledger
        fresh = report.index in ledger.in_flight and report.attempt == ledger.attempt[report.index]
        if not fresh:
            self.stale_reports += 1
        return fresh

    def _clear_stall(self, index: int, cause: str) -> None:
        if self._ledger.stalled.pop(index, None) is not None:
            self._recorder.emit_task(StallCleared, index, cause)
