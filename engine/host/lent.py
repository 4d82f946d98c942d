"""`LentTerminal`: the terminal as the shell lent it, given back for an engine that was killed."""

from __future__ import annotations

import os
import termios
from contextlib import suppress
from typing import Any, Final

_STANDARD_STREAMS: Final = (0, 1, 2)

# An unfinished sequence is called off. Then: no colours, no mouse, no reports of focus, no bracketed paste,
# frames shown as they come, keys as ever, long lines wrapped, the normal screen, the cursor.
_MODES: Final = (
    b"\x18\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l\x1b[?2026l"
    b"\x1b[<u\x1b[?7h\x1b[?1049l\x1b[?25h"
)


class LentTerminal:
    """To be made before anything is done to it. Where there is no terminal, it does nothing."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self._settings: list[Any] = []
        for fd in _STANDARD_STREAMS:
            with suppress(termios.error, OSError):
                self._settings = termios.tcgetattr(fd)
                self._fd = fd
                return

    def give_back(self) -> None:
        """As it was, if it is not and if it is ours; what was typed for the engine is dropped."""
        if self._fd is None:
            return
        with suppress(termios.error, OSError):  # it may have gone
            is_ours = os.tcgetpgrp(self._fd) == os.getpgrp()
            if is_ours and termios.tcgetattr(self._fd) != self._settings:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._settings)
                termios.tcflush(self._fd, termios.TCIFLUSH)
                output = os.open(os.ttyname(self._fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                try:
                    os.write(output, _MODES)  # not waited for: a terminal that is stuck gets nothing
                finally:
                    os.close(output)
