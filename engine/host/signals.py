"""The signals that launcher and guardian wait for, and those that they send."""

from __future__ import annotations

import signal
from typing import Final

PASSED_ON: Final = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTSTP,
        signal.SIGCONT,
    }
)
"""Those that reach the engine when they are sent to its launcher."""

WAITED_FOR: Final = PASSED_ON | {signal.SIGCHLD, signal.SIGIO}
"""Blocked in both processes, which take them one by one instead. SIGIO: there is something to be heard."""

GRACE: Final = 2.0
"""Seconds between TERM and KILL for what an engine leaves behind that was killed."""
