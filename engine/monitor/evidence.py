"""`Evidence`: what is known of a task that shows no sign of life, and what might be done about it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from engine.ground.identity import task_id
from engine.ground.text import one_line
from engine.handle import RunHandle
from engine.logs.attempt import last_lines
from engine.plan.model import Plan
from engine.secrets import Mask
from engine.view.run_view import RunView
from engine.view.timing import short

_PROC: Final = Path("/proc")
_PID: Final = re.compile(r"pid (\d+)")
_CPU_TIMES: Final = slice(7, 9)
"""Where user and system time stand behind the session."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
COMMAND_LENGTH: Final = 200

_WAITS_FOR_DEVICE: Final = "D"
_STOPPED: Final = "T"


class ProcessInfo(msgspec.Struct, frozen=True, gc=False):
    """A process of a task. name: as the kernel has it, at most 15 bytes. state: the kernel's letter. cpu:
    seconds of processor time. command: its argv, masked, as one line; "" if it cannot be read."""

    pid: int
    parent: int
    name: str
    state: str
    cpu: float = 0.0
    command: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One stall. task_id: the same in every attempt. elapsed, silent_for: seconds of the attempt, and since
    its last sign of life. usual: seconds that the task took in past runs; None if they do not tell.
    last_lines: of its output. processes: parents before children; empty where the system does not tell.
    advice: one line."""

    task: str
    task_id: str
    attempt: int
    elapsed: float
    silent_for: float
    usual: float | None
    last_lines: tuple[str, ...]
    processes: tuple[ProcessInfo, ...]
    advice: str


def evidence_of(run: RunHandle, view: RunView, index: int, now: float) -> Evidence:
    """What is known at offset `now` of a task that is stalled in the view. Reads the end of the attempt's
    log, and the table of processes; can be called in any thread."""
    task = view.tasks[index]
    where = task.attempts[-1].where if task.attempts else ""
    leader = _PID.fullmatch(where)
    processes: tuple[ProcessInfo, ...] = ()
    if leader and not run.is_recording:
        processes = tuple(_with_command(each, run.plan) for each in _processes_below(int(leader[1])))
    elapsed = task.elapsed(now) or 0.0
    usual = view.pace.usual(index)
    return Evidence(
        task=task.name,
        task_id=task_id(run.run_id, run.plan.tasks[index].type, index),
        attempt=task.attempt,
        elapsed=round(elapsed, 3),
        silent_for=round(max(0.0, now - view.stalled.get(index, now)), 3),
        usual=usual,
        last_lines=tuple(last_lines(run.log_path(index, task.attempt))),
        processes=processes,
        advice=_advice(run.run_id[:8], task.name, elapsed, usual, processes),
    )


def _advice(
    run: str, task: str, elapsed: float, usual: float | None, processes: tuple[ProcessInfo, ...]
) -> str:
    for process in processes:
        if process.state == _STOPPED:
            return f"{process.name} is stopped by a signal; to let it go on: kill -CONT {process.pid}"
    for process in processes:
        if process.state == _WAITS_FOR_DEVICE:
            name = f"{process.name} (pid {process.pid})"
            return f"{name} waits for a disk or a network file system: see whether that answers"
    if usual is not None and elapsed <= usual:
        return f"it usually takes {short(usual)}: give it time, or raise its stall_after"
    log = shlex.join(["plandeck", "logs", run, task])
    return f"see what it waits for: {log}; to cancel or retry it: plandeck attach {run}"


def _processes_below(leader: int) -> tuple[ProcessInfo, ...]:
    """The processes of the session that `leader` leads, and all below it."""
    found: dict[int, ProcessInfo] = {}
    sessions: dict[int, int] = {}
    try:
        entries = [entry for entry in _PROC.iterdir() if entry.name.isdecimal()]
    except OSError:
        return ()
    for entry in entries:
        try:
            # the name, in parentheses, may hold any character
            head, _, rest = (entry / "stat").read_bytes().rpartition(b")")
        except OSError:  # gone meanwhile
            continue
        state, parent, _, session, *more = rest.split()
        name = head.partition(b"(")[2].decode("utf-8", "replace")
        pid = int(entry.name)
        ticks = sum(map(int, more[_CPU_TIMES]))
        found[pid] = ProcessInfo(pid, int(parent), name, state.decode(), ticks / _TICKS)
        sessions[pid] = int(session)
    below = {pid for pid, session in sessions.items() if session == leader}
    waiting = list(below)
    children: dict[int, list[int]] = {}
    for process in found.values():
        children.setdefault(process.parent, []).append(process.pid)
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in below:
                below.add(pid)
                waiting.append(pid)
    return tuple(_parents_first(below, found, children))


def _with_command(process: ProcessInfo, plan: Plan) -> ProcessInfo:
    """A command may hold a secret. Its values are looked for where the process has them: whoever looks may
    not be whoever runs it. Without them nothing but the name is told."""
    folder = _PROC / str(process.pid)
    try:
        command = b" ".join((folder / "cmdline").read_bytes().split(b"\0")).decode("utf-8", "replace")
        if plan.secrets:
            variables = (each.partition(b"=") for each in (folder / "environ").read_bytes().split(b"\0"))
            environment = {os.fsdecode(name): os.fsdecode(value) for name, _, value in variables}
            values = [environment[name] for name in plan.secrets if environment.get(name)]
            command = Mask(values).text(command) if values else ""
    except OSError:
        return process
    return msgspec.structs.replace(process, command=one_line(command, COMMAND_LENGTH))


def _parents_first(
    below: set[int], found: Mapping[int, ProcessInfo], children: Mapping[int, list[int]]
) -> list[ProcessInfo]:
    ordered: list[ProcessInfo] = []
    stack = sorted((pid for pid in below if found[pid].parent not in below), reverse=True)
    while stack:
        pid = stack.pop()
        ordered.append(found[pid])
        stack += sorted((child for child in children.get(pid, ()) if child in below), reverse=True)
    return ordered
