"""The dispatcher for functions of the application itself that embeds the engine."""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt, Output
from engine.errors import Fault
from engine.ground.spelling import quoted
from engine.ground.text import one_line
from engine.plan.model import Plan


class CallableDispatcher:
    """Calls functions in this process: coroutine functions in the event loop, others in a thread.

    callables: by what the `python` of a task says. What a function returns are the task's outputs, a mapping
    by its keys, anything else as `result`; what it raises is the error. What it prints goes where the
    application's own prints go. A thread cannot be stopped: the cancellation of a function that is none for
    the event loop waits for its end.
    """

    def __init__(self, callables: Mapping[str, Callable[..., Any]]) -> None:
        self._callables = dict(callables)

    def has(self, name: str | None) -> bool:
        return name in self._callables

    def check(self, plan: Plan) -> list[Fault]:
        """The tasks whose arguments do not fit what they call."""
        faults = []
        for task in plan.tasks:
            if task.python in self._callables:
                try:
                    signature = inspect.signature(self._callables[task.python])
                    signature.bind(**(task.arguments or {}))
                except ValueError:  # not every function tells
                    continue
                except TypeError as error:
                    message = f"task {quoted(task.name)}: {task.python}{signature}: {error}"
                    faults.append(Fault(plan.file_of(task), task.line, int(task.line > 0), message))
        return faults

    async def run(self, attempt: Attempt, output: Output) -> AttemptOutcome:
        task = attempt.task
        output.started("this process")
        called = partial(self._callables[task.python or ""], **(task.arguments or {}))
        try:
            if inspect.iscoroutinefunction(called.func):
                value = await called()
            else:
                value = await anyio.to_thread.run_sync(called)
            outputs = _outputs(value)
        except Exception as raised:
            output.write("".join(traceback.format_exception(raised)).encode(errors="backslashreplace"))
            error = one_line(traceback.format_exception_only(raised)[-1].strip())
            return AttemptOutcome(OutcomeKind.FAILED, error)
        return AttemptOutcome(OutcomeKind.SUCCESS, outputs=outputs or None)


def _outputs(value: Any) -> dict[str, str]:
    """Raises TypeError for what cannot be written down."""
    if value is None:
        return {}
    outputs = value if isinstance(value, Mapping) else {"result": value}
    return {str(key): each if isinstance(each, str) else json.dumps(each) for key, each in outputs.items()}
