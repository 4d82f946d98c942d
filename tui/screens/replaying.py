"""`Replaying`: the buttons of a replay, and what the header says of it."""

from __future__ import annotations

from typing import Any, Final

from textual.screen import Screen

from engine.handle import RunHandle
from engine.view.timing import time_of_day

SPEEDS: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10_000)

NO_REPLAY: Final = "This run happens now: only a replay can be stepped through, hastened or slowed."


class Replaying:
    """screen: which is told where a button makes no sense."""

    def __init__(self, screen: Screen[Any], run: RunHandle) -> None:
        self._screen = screen
        self._run = run

    def words(self) -> str:
        """How fast it goes, and what time it is in it; "" where nothing is replayed."""
        playback = self._run.playback
        if playback is None:
            return ""
        at = time_of_day(self._run.now().utc)
        return f"replay paused, {at}" if playback.is_paused else f"replay {playback.speed:g}x, {at}"

    def toggle(self) -> bool:
        """Let time stand still, or go on; False where nothing is replayed."""
        playback = self._run.playback
        if playback is None:
            return False
        if playback.is_paused:
            playback.resume()
        else:
            playback.pause()
        return True

    def step(self, count: int) -> None:
        """So many events on, or back if negative, and stand still there."""
        playback = self._run.playback
        if playback is None:
            self._screen.notify(NO_REPLAY, severity="warning", markup=False, timeout=4)
        else:
            playback.step(count)

    def hasten(self, by: int) -> None:
        """To the next speed, or the one before if negative."""
        playback = self._run.playback
        if playback is None:
            self._screen.notify(NO_REPLAY, severity="warning", markup=False, timeout=4)
            return
        speed = playback.speed
        others = [other for other in SPEEDS if (other - speed) * by > 0]
        if others:
            playback.speed = others[0 if by > 0 else -1]
