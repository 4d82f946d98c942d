"""The launcher: what the shell waits for, while a guardian and the engine run below it.

    shell → launcher → guardian → engine → tasks

All three are this program, forked before it has loaded anything to speak of. The launcher stays in the
foreground with the engine, in one process group: what the keyboard sends, and `fg`, reaches both at once, as
if there was one process. It passes on to the engine what is sent to itself alone, stops and continues with
it, and ends as it ended. When the engine leaves the terminal (`detach`), it gives the shell back.

The guardian is in a session of its own, so that nothing meant for the job ends it (`kill -9 %1`). Whoever is
killed, the others know what to do:

- the engine: the guardian ends all that is left of the run; the launcher gives the terminal back as it was
  lent, says what the engine wanted said, and ends by the same signal;
- the launcher, before the engine has left it: the guardian sends the engine TERM;
- the guardian: the kernel sends the engine TERM, and the launcher, if it is still there, takes its place.
"""

from __future__ import annotations

import os
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

from engine.host.prctl import adopt_orphans, be_signalled_when_parent_ends
from engine.host.signals import GRACE, PASSED_ON, WAITED_FOR
from engine.host.words import ENDED, ENGINE, HOLD, LAST_WORDS, LEFT, LONGEST, OVER, Ear, Mouth, word_link

# What only one of the three needs it loads itself, while the engine loads what that needs.
if TYPE_CHECKING:
    from pathlib import Path

FAREWELL: Final = LONGEST - len(LEFT) - len("255 ")
"""Bytes that a launcher can be told to say, in UTF-8."""

_FROM_KEYBOARD: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP})
_SIGNAL_BASE: Final = 128
_INIT: Final = 1
_STDIN, _STDOUT, _STDERR = range(3)

_guardian: Mouth | None = None
"""In an engine that was launched: where its guardian listens."""

_can_detach = False


def launch(*, grace: float = GRACE) -> None:
    """Go on as an engine with a guardian and a launcher above it. To be called first of all, in a process
    with one thread; returns in the engine alone, and nowhere else.

    grace: seconds that the tasks of an engine which was killed have between TERM and KILL. Where the system
    gives orphans to nobody but process 1 (all but Linux), nothing happens: the engine then runs without.
    Raises OSError if no process can be made.
    """
    global _guardian, _can_detach
    if not adopt_orphans():
        return
    guardian_hears, engine_says = word_link()
    launcher_hears, guardian_says = word_link()
    launcher = os.getpid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever ignores it never learns how a child has ended
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    guardian = os.fork()
    if guardian:
        for link in (guardian_hears, engine_says, guardian_says):
            link.close()
        from engine.host.lent import LentTerminal

        terminal = LentTerminal()
        waiting = Launcher(guardian, launcher_hears, grace=grace)
        status = waiting.wait()
        if os.WIFSIGNALED(status):
            terminal.give_back()
            _write_at_once(_STDERR, waiting.last_words)
        leave_as(status)
    guardian = os.getpid()
    engine = os.fork()
    if engine:
        launcher_hears.close()
        engine_says.close()
        adopt_orphans()
        os.setsid()
        _let_go_of_standard_streams(None)
        from engine.host.guardian import Guardian

        Guardian(engine, guardian_hears, (launcher, guardian_says), grace=grace).guard()
        os._exit(0)
    guardian_says.say(b"%s%d" % (ENGINE, os.getpid()))
    for link in (launcher_hears, guardian_says, guardian_hears):
        link.close()
    be_signalled_when_parent_ends(signal.SIGTERM)
    if os.getppid() != guardian:
        os._exit(_SIGNAL_BASE + signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _guardian = engine_says
    _can_detach = launcher != _INIT  # whose end is that of everything: it is the first of a container


def can_detach() -> bool:
    """Whether this process is an engine with a launcher that waits for it."""
    return _can_detach


def detach(farewell: str, *, output: Path | None = None, hung_up: bool = False) -> None:
    """Leave the terminal and its session. The launcher writes `farewell` to its stdout and ends with 0, so
    that the shell is back; this process goes on under its guardian, and SIGHUP is nothing to it any more.

    farewell: what to say, its last newline included; cut to `FAREWELL` bytes. output: a file, 0600, to which
    stdout and stderr are appended from now on, instead of being lost. hung_up: it is the terminal that has
    left. Then the farewell goes to stderr and the launcher ends with 129, for nobody has asked for less than
    the whole run; and what is written to files goes there still. The terminal must have its modes back by
    now. To be called in the main thread. Raises RuntimeError if not `can_detach`, and OSError for `output`;
    then nothing has changed.
    """
    global _can_detach
    if not _can_detach or _guardian is None:
        raise RuntimeError("there is no launcher to detach from")
    log = None if output is None else os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    _can_detach = False
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _let_go_of_standard_streams(log, keeping_files=hung_up)
    text = farewell.replace("\0", "").encode(errors="replace")
    code = _SIGNAL_BASE + signal.SIGHUP if hung_up else 0
    _guardian.say(b"%s%d %s" % (LEFT, code, text[:FAREWELL]))


def bequeath(text: str) -> None:
    """Have the launcher, if there is one, say this on stderr should this process be killed before it leaves,
    if it can be said at once.

    text: its last newline included, "" to say nothing any more; cut to what a word may hold.
    """
    if _guardian is not None:
        _guardian.say(
            LAST_WORDS + text.replace("\0", "").encode(errors="replace")[: LONGEST - len(LAST_WORDS)]
        )


def hold(fd: int) -> None:
    """Have the guardian, if there is one, keep what is open here as `fd` open too, until nothing of the run
    is left. So an flock that this process has is not free before: should this process be killed, nobody
    starts again what has not ended yet."""
    if _guardian is not None:
        _guardian.say(HOLD, fd)


def sign_off() -> None:
    """Tell the guardian, if there is one, that all tasks have ended: daemons that they have left are not to
    be ended. To be called last."""
    if _guardian is not None:
        _guardian.say(OVER)


class Launcher:
    """This process as the launcher above a guardian, which is its child. hears: what the guardian says."""

    def __init__(self, guardian: int, hears: Ear, *, grace: float = GRACE) -> None:
        self._guardian = guardian
        self._hears = hears
        self._grace = grace
        self._engine: int | None = None
        self.last_words = b""
        """What the engine wants said should it be killed."""

    def wait(self) -> int:
        """Pass signals on until the engine has ended or left; return the wait status to end with."""
        self._hears.wake()
        received = None
        while True:
            is_guarded = os.waitpid(self._guardian, os.WNOHANG) == (0, 0)
            for word in self._hears.take():
                if word.startswith(ENGINE):
                    self._engine = int(word.removeprefix(ENGINE))
                elif word.startswith(LAST_WORDS):
                    self.last_words = word.removeprefix(LAST_WORDS)
                elif word.startswith(LEFT):
                    code, _, farewell = word.removeprefix(LEFT).partition(b" ")
                    _write(_STDERR if int(code) else _STDOUT, farewell)
                    return int(code) << 8
                elif word.startswith(ENDED):
                    if is_guarded:
                        os.waitpid(self._guardian, 0)  # it has nothing left to do but to end
                    return int(word.removeprefix(ENDED))
            if not is_guarded:
                return self._guard(received)
            if received is not None:
                os.kill(self._guardian, received)
            info = signal.sigwaitinfo(WAITED_FOR)
            received = info.si_signo if self._is_for_engine(info) else None

    def _is_for_engine(self, info: signal.struct_siginfo) -> bool:
        if info.si_signo not in PASSED_ON:
            return False
        if info.si_signo == signal.SIGCONT:  # a shell continues the whole group
            return self._engine is not None and _is_stopped(self._engine)
        from_keyboard = info.si_code > 0 and info.si_signo in _FROM_KEYBOARD
        return not from_keyboard  # that comes to the whole group as well

    def _guard(self, received: int | None) -> int:
        """The guardian was killed, and what it had is now ours."""
        from engine.host.guardian import Guardian
        from engine.host.remains import Remains

        if self._engine is not None:
            with suppress(ProcessLookupError):  # killed when it had reaped the engine already
                return Guardian(self._engine, None, None, grace=self._grace).guard(received)
        Remains(spared=None, grace=self._grace).end(hastened_by=lambda info: info.si_signo in PASSED_ON)
        return signal.SIGKILL


def leave_as(status: int) -> NoReturn:
    """End this process as one that ended with this wait status did: with its code, or by its signal."""
    if os.WIFSIGNALED(status):
        import resource

        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core worth having is that of the engine
        with suppress(OSError):  # KILL has no handler
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os._exit(_SIGNAL_BASE + number)  # process 1 is not ended by signals
    os._exit(os.WEXITSTATUS(status))


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as status:  # noqa: PTH123 -- pathlib is not loaded here
            return status.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False


def _let_go_of_standard_streams(output: int | None, *, keeping_files: bool = False) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if output is None:
        output = nothing
    for standard, fd in enumerate((nothing, output, output)):
        if standard == _STDIN or not (keeping_files and _is_file(standard)):
            os.dup2(fd, standard)
    for fd in {nothing, output} - {0, 1, 2}:
        os.close(fd)


def _is_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def _write_at_once(fd: int, text: bytes) -> None:
    """As far as there is room: nobody waits for a terminal or a pipe that is not read."""
    import select

    with suppress(OSError):
        if os.isatty(fd):
            terminal = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                os.write(terminal, text)
            finally:
                os.close(terminal)
        elif select.select([], [fd], [], 0)[1]:
            os.write(fd, text)


def _write(fd: int, text: bytes) -> None:
    with suppress(OSError):  # the terminal may have gone
        while text:
            text = text[os.write(fd, text) :]
