"""A minimal program that is launched: it starts what it is told to, leaves the terminal, ends, or dies.

    python launched.py GRACE ORDERS ANSWERS

ORDERS and ANSWERS are named pipes with a line a message. What is started has the environment of the program,
so all of a test can be found by a variable, and can answer by itself: $ANSWERS names the pipe.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from engine.host.launcher import can_detach, detach, hold, launch, sign_off

HEEDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)


class Program:
    def __init__(self, orders: str, answers: str) -> None:
        os.environ["ANSWERS"] = answers
        self._orders = os.open(orders, os.O_RDWR)
        self._answers = os.open(answers, os.O_RDWR)
        self._signals, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken)
        for number in HEEDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)

    def run(self) -> None:
        self._say(f"engine {os.getpid()} {os.getppid()} {self._can_detach()}")
        rest = b""
        while True:
            ready, _, _ = select.select([self._orders, self._signals], [], [])
            if self._signals in ready:
                for number in os.read(self._signals, 64):
                    self._say(f"got {signal.Signals(number).name}")
            if self._orders in ready:
                *orders, rest = (rest + os.read(self._orders, 65536)).split(b"\n")
                for order in orders:
                    self._obey(*order.decode().partition(" ")[::2])

    def _obey(self, order: str, rest: str) -> None:
        match order:
            case "start":
                subprocess.Popen(["sh", "-c", rest], start_new_session=True, stdin=subprocess.DEVNULL)
            case "mask":
                self._say(f"blocked {sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))}")
            case "print":
                for fd in (1, 2):
                    os.write(fd, f"{rest}\n".encode())
                self._say("printed")
            case "lock":
                fd = os.open(rest, os.O_RDWR | os.O_CREAT)
                fcntl.flock(fd, fcntl.LOCK_EX)
                hold(fd)
                self._say("locked")
            case "detach":
                farewell, _, output = rest.partition(" > ")
                detach(f"{farewell}\n", output=Path(output) if output else None)
                self._say(f"detached {self._can_detach()}")
            case "exit":
                sign_off()
                sys.exit(int(rest))
            case "break":
                sys.exit(int(rest))
            case "die":
                if int(rest) != signal.SIGKILL:
                    signal.signal(int(rest), signal.SIG_DFL)
                os.kill(os.getpid(), int(rest))

    def _say(self, text: str) -> None:
        os.write(self._answers, f"{text}\n".encode())

    def _can_detach(self) -> str:
        return "can detach" if can_detach() else "cannot detach"


if __name__ == "__main__":
    launch(grace=float(sys.argv[1]))
    Program(*sys.argv[2:]).run()
