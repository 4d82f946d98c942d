"""The dispatcher for commands: processes of this machine, stopped with everything they have started."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, Output
from engine.dispatch.environment import AttemptEnvironment
from engine.dispatch.outputs import OutputsFolder
from engine.dispatch.readiness import Readiness
from engine.dispatch.running import RunningProcess
from engine.dispatch.spawn import Child, SpawnFailed
from engine.dispatch.spawner import Spawner
from engine.ground.spelling import quoted


class ProcessDispatcher:
    """Runs commands: a string in `sh -c`, a tuple as it is, each in a session and a group of its own.

    Stdin is empty; stdout and stderr arrive in the order in which they were written. What is left of
    the group when the command itself has ended is stopped as the task says, and is gone before `run`
    returns. The exception is a process that moves to a session of its own, as a daemon does: it is no
    longer of the group. Its environment is that of this process when the dispatcher was made, with the
    attempt's variables and PLANDECK_RUN_ID, _TASK, _TASK_ID, _ATTEMPT and _OUTPUT.
    """

    def __init__(self) -> None:
        self._readiness = Readiness()
        self._spawner = Spawner(self._readiness)
        self._environment = AttemptEnvironment()
        self._outputs = OutputsFolder()

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            child = self._child(attempt)
        except SpawnFailed as failed:
            output.started()
            return AttemptOutcome(OutcomeKind.FAILED, str(failed))
        outputs = self._outputs.file(attempt)
        process = RunningProcess(child, output, self._readiness)
        self._spawner.start(child, process.begin)
        try:
            await process.wait()
        except BaseException:  # above all the cancellation
            with anyio.CancelScope(shield=True):
                await process.stop(attempt.task.shutdown, attempt)
            if outputs is not None:
                outputs.discard()
            raise
        else:
            if process.leaves_something_behind():
                with anyio.CancelScope(shield=True):
                    await process.stop(attempt.task.shutdown, attempt)
        finally:
            process.close()
        return process.outcome() if outputs is None else outputs.completed(process.outcome())

    def _child(self, attempt: Attempt) -> Child:
        """Raises `SpawnFailed`."""
        task = attempt.task
        if task.run is None:
            raise SpawnFailed(f"{quoted(task.name)} has no command")
        common, own = self._environment.of(attempt)
        directory = task.working_dir or attempt.plan.directory
        return Child(task.run, common, own, None if directory == "." else directory)
