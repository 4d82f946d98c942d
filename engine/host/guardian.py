"""The guardian: the parent of the engine, which ends what the engine leaves behind.

When a process ends, its children become those of the nearest ancestor that has asked for orphans. The
guardian has asked. So it need not be told what the engine starts: once the engine is gone, whatever it had
started, and whatever that has started, is a child of the guardian or below one, processes that moved to a
session of their own included. Until then it sleeps.

An engine that says that it is over before it ends has stopped its tasks itself. What the guardian has adopted
by then are daemons that a task has started on purpose; they are left alone.
"""

from __future__ import annotations

import os
import signal

from engine.host.prctl import be_signalled_when_parent_ends
from engine.host.remains import Remains
from engine.host.signals import GRACE, PASSED_ON, WAITED_FOR
from engine.host.words import ENDED, LAST_WORDS, LEFT, OVER, Ear, Mouth


class Guardian:
    """This process as the guardian of an engine, which is a child of it.

    said: what the engine says. launcher: to be told how it goes, to be stopped and continued with the engine,
    and missed when it ends; None if there is none, and every signal of `PASSED_ON` is for the engine. grace:
    seconds. The process must adopt orphans and must block `WAITED_FOR`; all its children are reaped. Raises
    ProcessLookupError if there is no such engine.
    """

    def __init__(
        self, engine: int, said: Ear | None, launcher: tuple[int, Mouth] | None, *, grace: float = GRACE
    ) -> None:
        self._engine = engine
        self._said = said
        self._launcher = launcher
        self._remains = Remains(spared=os.getpgid(engine), grace=grace)
        self._is_over = False
        self._is_stopped = False

    def guard(self, received: int | None = None) -> int:
        """Wait until the engine has ended and nothing of it is left; return its wait status.

        received: a signal for the engine that has come already.
        """
        if self._said is not None:
            self._said.wake()
        if self._launcher is not None:
            be_signalled_when_parent_ends(signal.SIGIO)
        while (status := self._reap()) is None:
            if received is not None:
                self._pass_on(received)
            self._listen()
            self._miss_launcher()
            info = signal.sigwaitinfo(WAITED_FOR)
            received = info.si_signo if self._is_for_engine(info) else None
        self._listen()
        if self._is_stopped:
            self._signal_launcher(signal.SIGCONT)
        if not self._is_over:
            # a signal that came too late for the engine is one for what it has left
            self._remains.end(hastened_by=self._is_for_engine, now=received is not None)
        if self._launcher is not None:
            self._launcher[1].say(b"%s%d" % (ENDED, status))
        return status

    # ── while it runs ───────────────────────────────────────────────────────────────────────────

    def _reap(self) -> int | None:
        """Bury who has ended; the wait status of the engine once that has."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return None
            if pid != self._engine:
                continue
            if os.WIFSTOPPED(status):
                self._is_stopped = True
                self._signal_launcher(signal.SIGSTOP)  # so that the shell sees it, and takes the terminal
            elif os.WIFCONTINUED(status):
                self._is_stopped = False
                self._signal_launcher(signal.SIGCONT)
            else:
                return status

    def _listen(self) -> None:
        for word in self._said.take() if self._said is not None else ():
            if word == OVER:
                self._is_over = True
            elif word.startswith(LEFT) and self._launcher is not None:
                _, mouth = self._launcher
                self._launcher = None  # first: it ends when it has heard
                mouth.say(word)
            elif word.startswith(LAST_WORDS) and self._launcher is not None:
                self._launcher[1].say(word)

    def _miss_launcher(self) -> None:
        """Who kills the launcher means the run. The signal that nobody can pass on is replaced by one."""
        if self._launcher is not None and os.getppid() != self._launcher[0]:
            self._launcher = None
            self._pass_on(signal.SIGTERM)
            self._pass_on(signal.SIGCONT)

    def _is_for_engine(self, received: signal.struct_siginfo) -> bool:
        if received.si_signo not in PASSED_ON:
            return False
        # what is sent to all that looks like plandeck reaches the engine without us
        return self._launcher is None or received.si_pid == self._launcher[0]

    def _pass_on(self, number: int) -> None:
        """The engine cannot have been reaped yet, so its number is its own."""
        if number != signal.SIGCONT or self._is_stopped:  # the shell continues the whole group at once
            os.kill(self._engine, number)

    def _signal_launcher(self, number: int) -> None:
        if self._launcher is not None and os.getppid() == self._launcher[0]:
            os.kill(self._launcher[0], number)
