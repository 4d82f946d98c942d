"""How a command on a run ends: with which exit code, and at which signals.

Apart from `tui.hosting.host`, so that who looks at a run does not load what runs one.
"""

from __future__ import annotations

import signal
import sys
from typing import Final

from engine.core.state import Outcome

EXIT_CODES: Final = {Outcome.SUCCESS: 0, Outcome.FAILED: 1, Outcome.CANCELLED: 130, Outcome.INTERRUPTED: 1}
SIGNAL_BASE: Final = 128
"""A process ended by signal n is reported as 128 + n by every shell; we leave with the same codes."""

UNLIMITED: Final = sys.maxsize
"""A report must be whole. What a run can say is bounded by its plan, so keeping it all is safe."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded_signals() -> list[signal.Signals]:
    """Those of `SIGNALS` that we were not started to ignore (by nohup, or as a job in the background)."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
