"""The scheduler: one input and a time go in, a decision comes out. It owns the state of a whole run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from engine.core import invariants
from engine.core.attempts import Attempts
from engine.core.consequences import Consequences
from engine.core.deadlines import Deadlines
from engine.core.effects import Effect
from engine.core.events import (
    Event,
    HookEnded,
    PlanCompleted,
    PlanPaused,
    PlanResumed,
    PlanStarted,
)
from engine.core.inputs import (
    AttemptFinished,
    AttemptRevived,
    AttemptStalled,
    AttemptStarted,
    Command,
    HookFinished,
    Input,
    Now,
    Start,
    Tick,
)
from engine.core.ledger import TIMED_OUT, InvariantBroken, Ledger, Stop, StopKind
from engine.core.ready import ReadyQueue
from engine.core.recorder import Recorder
from engine.core.records import Snapshot, retries_among
from engine.core.refusal import Refusal
from engine.core.resumption import Resumption
from engine.core.scopes import Scope
from engine.core.state import RETRYING, RUNNING, TERMINAL, Outcome, RunPhase
from engine.core.steering import obey
from engine.core.subplans import Subplans
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
    durations: seconds each task usually takes, to start long paths first, None where that is not known.
    """

    def __init__(
        self,
        graph: Graph,
        run_id: str,
        *,
        random: Random,
        max_parallel: int | None = None,
        failure_mode: FailureMode | None = None,
        durations: Sequence[float | None] | None = None,
        snapshot: Snapshot | None = None,
        adopted: Collection[int] = (),
    ) -> None:
        """snapshot: go on from there, as the engine that made it would have; then its failure mode and slots
        are in force where none are given. adopted: the tasks whose attempts of that time still go on."""
        plan = graph.plan
        self.graph = graph
        self.tasks = plan.tasks
        self.run_id = run_id
        self.phase = RunPhase.PENDING
        self.outcome: Outcome | None = None
        self.diagnosis: str | None = None
        self.is_interrupted = False
        self.ledger = Ledger(graph, durations or (), max_parallel=max_parallel, failure_mode=failure_mode)
        self._outermost = self.ledger.scopes.outermost
        self.recorder = Recorder(self.ledger, run_id)
        executors = [task.executor for task in plan.tasks]
        self.ready = ReadyQueue(
            graph.ranks(durations),
            executors,
            self.ledger.is_startable,
            self.ledger.scopes if plan.subplans else None,
        )
        self.consequences = Consequences(self.ledger, self.recorder, self.ready)
        self._deadlines = Deadlines(self.ledger)
        self.attempts = Attempts(
            plan.tasks,
            self.ledger,
            self.recorder,
            self.ready,
            self.consequences,
            self._deadlines,
            random,
            self._answer_failure,
        )
        self.subplans = Subplans(
            self.ledger, self.recorder, self.ready, self.consequences, self.attempts, lambda: self.phase
        )
        self._has_subplans = bool(plan.subplans)
        self._began = 0.0
        self._resumption: Resumption | None = None
        if snapshot is not None:
            self._restore(snapshot, adopted, max_parallel, failure_mode)
        self._handlers: dict[type, Callable[[Any], str | None]] = {
            Start: self._start,
            Tick: self._tick,
            AttemptStarted: self.attempts.started,
            AttemptFinished: self.attempts.finished,
            AttemptStalled: self.attempts.stalled,
            AttemptRevived: self.attempts.revived,
            HookFinished: self._note_hook,
        }

    def handle(self, given: Input, now: Now) -> Decision:
        """Take one input at one time. Raises `InvariantBroken` only for a defect of the scheduler."""
        events = self.recorder.begin(now)
        effects: list[Effect] = []
        self.attempts.effects = effects
        handler = self._handlers.get(type(given), self._obey)
        refusal = handler(given)
        if self._has_subplans:
            self.subplans.advance()
        in_flight, slots = self.ledger.in_flight, self._outermost.max_parallel
        if len(in_flight) < slots and self.phase is RunPhase.RUNNING:
            self.attempts.hand_out(slots)
        if not in_flight:
            self._settle()
        return Decision(events, effects, refusal)

    @property
    def max_parallel(self) -> int:
        """The slots of the plan that is run."""
        return self._outermost.max_parallel

    @property
    def failure_mode(self) -> FailureMode:
        """The failure mode of the plan that is run."""
        return self._outermost.failure_mode

    @property
    def stale_reports(self) -> int:
        """Reports dropped because they were about an attempt that is no longer the current one."""
        return self.attempts.stale_reports

    @property
    def outputs(self) -> Mapping[int, Mapping[str, str]]:
        """By the index of a task and by key, what the successes have left."""
        return self.ledger.outputs

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
            scopes=self.ledger.scopes.snapshots(),
            diagnosis=self.diagnosis,
        )

    def story(self, index: int) -> str:
        """A task's history, for error messages."""
        return self.ledger.story(index)

    def check_invariants(self) -> None:
        """Raise `InvariantBroken` if the state contradicts itself. Walks the whole graph."""
        if self.phase is RunPhase.PENDING:
            return
        invariants.check(self.ledger)
        complete = self.phase is RunPhase.COMPLETE
        if complete != (self.ledger.unfinished == 0):
            raise InvariantBroken(f"{self.phase} with {self.ledger.unfinished} unfinished tasks")
        if complete != (self.outcome is not None):
            raise InvariantBroken(f"{self.phase} with outcome {self.outcome}")
        if self.ledger.settled:
            raise InvariantBroken(f"{self.ledger.settled[0].name} has not been told that all in it is over")

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────

    def _restore(
        self,
        snapshot: Snapshot,
        adopted: Collection[int],
        max_parallel: int | None,
        failure_mode: FailureMode | None,
    ) -> None:
        self._resumption = Resumption(snapshot, self.ledger, adopted)
        self.recorder.seq = snapshot.seq
        self.recorder.offset = snapshot.offset
        self._began = snapshot.began
        self.ledger.scopes.restore(snapshot)
        if max_parallel is not None:
            self._outermost.max_parallel = max_parallel
        if failure_mode is not None:
            self._outermost.failure_mode = failure_mode
        self.attempts.retried = sum(map(retries_among, filter(None, self.ledger.history)))
        is_whole = all(task.state in TERMINAL for task in snapshot.tasks)  # else events are missing
        if snapshot.phase is RunPhase.COMPLETE and is_whole:
            self.phase, self.outcome = snapshot.phase, snapshot.outcome
            self.diagnosis = snapshot.diagnosis

    def _start(self, _: Start) -> None:
        if self._resumption is not None and self.recorder.seq:
            if self.phase is not RunPhase.COMPLETE:
                self.phase = RunPhase.RUNNING
                self.recorder.emit(PlanResumed, cause="resume", phase=self.phase)
                self._resumption.go_on(self.consequences, self.subplans, self.attempts)
            return
        if self.phase is not RunPhase.PENDING:
            raise InvariantBroken("started twice")
        self.phase = RunPhase.RUNNING
        self._began = self.recorder.offset
        self.recorder.emit(
            PlanStarted,
            cause="operator",
            phase=self.phase,
            plan=self.graph.plan.name,
            tasks=len(self.tasks) - len(self.graph.nesting.scopes),
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
                if ledger.is_subplan(index):
                    self.subplans.try_again(index)
                self.consequences.go_on(index)
            else:
                stop = Stop(StopKind.TIMEOUT, "timeout", f"{TIMED_OUT} after {self.tasks[index].timeout:g}s")
                (self.subplans if ledger.is_subplan(index) else self.attempts).stop(index, stop)

    def _note_hook(self, hook: HookFinished) -> None:
        self.recorder.emit(
            HookEnded, cause=f"{hook.hook} hook", phase=self.phase, **msgspec.structs.asdict(hook)
        )

    def _obey(self, command: Command) -> str | None:
        try:
            obey(self, command)
        except Refusal as refusal:
            return str(refusal)
        return None

    # ── failure modes ───────────────────────────────────────────────────────────────────────────

    def _answer_failure(self, index: int) -> None:
        """What the failure mode in force makes of a failure. Its dependents hear of it first."""
        self.consequences.propagate(index)
        cause = f"{self.ledger.names[index]} failed"
        scope = self.ledger.scopes.of(index)
        if scope.failure_mode is FailureMode.FAIL_FAST:
            self._fail_fast(scope, index, f"fail-fast: {cause}")
        elif scope.failure_mode is FailureMode.PAUSE_ON_FAILURE:
            self._pause_on_failure(scope, cause)

    def _pause_on_failure(self, scope: Scope, cause: str) -> None:
        if scope.outer is not None:
            if self.ledger.state[scope.task] is not RUNNING or scope.is_paused:
                return
            scope.is_paused = True
            self.subplans.shut(scope)
        elif self.phase is RunPhase.RUNNING:
            self.phase = RunPhase.PAUSED
        else:
            return
        scope.is_paused_by_failure = True
        self.recorder.emit(PlanPaused, cause=cause, phase=self.phase, scope=scope.number)

    def _fail_fast(self, scope: Scope, culprit: int, reason: str) -> None:
        """Stop what runs and cancel what has not started, except what is there to answer a failure."""
        ledger, nesting = self.ledger, self.graph.nesting
        among = None if scope.outer is None else ledger.inside(scope.task)
        spared = survivors(ledger, scope)
        ledger.answering -= {index for index in ledger.answering if among is None or index in among} - spared
        ledger.answering |= {
            index for index in spared if not nesting.parents or nesting.parents[index] == scope.task
        }
        stop = Stop(StopKind.FAIL_FAST, reason, reason, culprit, is_final=True)
        self.attempts.stop_all(stop, among, spared=spared)
        waiting = [index for index in ledger.waiting(among) if index not in spared]
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
            self.subplans.advance()
        if ledger.unfinished and self._is_stuck():
            diagnosis = self._diagnose()
            self.subplans.advance()
        if not ledger.unfinished:
            self._complete(diagnosis)

    def _is_stuck(self) -> bool:
        """Nothing runs and nothing ever will: no deadline to come, nobody to wait for."""
        ledger = self.ledger
        return (
            self.phase is not RunPhase.PAUSED
            and not ledger.due
            and self.ready.next_deadline(self.recorder.offset) is None
            and not any(ledger.state[index] not in TERMINAL for index in ledger.held)
            and not any(scope.is_paused and scope.unfinished for scope in ledger.scopes.all)
        )

    def _diagnose(self) -> str:
        """A defect, not a state of affairs: end the run, and say all that is known."""
        stuck = self.ledger.waiting()
        stories = [self.story(index) for index in stuck[:5]]
        self.consequences.cancel_all(stuck, "scheduler", "no runnable work was left")
        return "\n".join([f"{len(stuck)} tasks could neither run nor end:", *stories])

    def _complete(self, diagnosis: str | None) -> None:
        self.diagnosis = diagnosis
        tally = self.ledger.tally()
        if tally.failed or diagnosis:
            self.outcome = Outcome.FAILED
        elif tally.cancelled:
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
            **tally._asdict(),
            retried=self.attempts.retried,
            diagnosis=diagnosis,
        )
