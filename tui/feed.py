"""`Feed`: from a run's events to a view of it that is always up to date."""

from __future__ import annotations

from collections.abc import Callable

from engine.handle import RunHandle
from engine.stream import Missed
from engine.view.run_view import RunView


class Feed:
    """Folds batches as they arrive; drawing is not its business.

    view: the run as far as it is known. It is replaced, and `resynced` called with the new one, when
    events were missed because the console was too slow.
    """

    def __init__(self, run: RunHandle, resynced: Callable[[RunView], None] | None = None) -> None:
        self._run = run
        self._resynced = resynced
        self._subscription = run.subscribe()
        self.view = RunView.from_snapshot(run.graph, run.snapshot())
        self.is_fresh = True
        """Whether something came since this was last set to False."""

    async def follow(self) -> None:
        """Return when the stream ends."""
        subscription = self._subscription
        while await subscription.wait():
            try:
                self.view.apply(subscription.take())
            except Missed:
                self.view = RunView.from_snapshot(self._run.graph, self._run.snapshot())
                if self._resynced is not None:
                    self._resynced(self.view)
            self.is_fresh = True

    def close(self) -> None:
        """Stop listening."""
        self._subscription.close()
