"""`Companions`: what goes along with a run, its hooks and its metrics, and is waited for at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from engine.host.kept import KeptRun
from engine.view.timing import short
from tui.plain.teller import Teller

if TYPE_CHECKING:
    from engine.monitor.publication import Publication

MOMENT: Final = 1.0
"""Seconds that the hooks of the end may take before it is said what is waited for."""


class Companions:
    """publication: where metrics are served; None if they are not. The run must not have begun yet."""

    def __init__(self, kept: KeptRun, publication: Publication | None, teller: Teller) -> None:
        self._hooks = kept.hooks
        self._publication = publication
        self._teller = teller
        self._wait: anyio.CancelScope | None = None
        if publication is not None:
            publication.follow(kept.run)

    def start(self, group: TaskGroup) -> None:
        if self._publication is not None:
            group.start_soon(self._publication.last)
            self._teller.tell(f"metrics are at {self._publication.url}")

    async def finish_hooks(self) -> list[str]:
        """Wait for those that are told of the end, which takes no longer than each of them may take. What
        went wrong with any, a line each."""
        hooks = self._hooks
        if hooks is None:
            return []
        with anyio.CancelScope() as self._wait:
            with anyio.move_on_after(MOMENT) as moment:
                await hooks.finish()
            if moment.cancelled_caught:
                self._teller.tell("waiting for the hooks of this run; ctrl+c stops them")
                await hooks.finish()
        if self._wait.cancelled_caught:
            await hooks.stop()
        self._wait = None
        return hooks.notes()

    @property
    def is_waiting(self) -> bool:
        """Whether it is hooks that are waited for now."""
        return self._wait is not None

    def hurry(self) -> None:
        """Do not wait for hooks any longer."""
        if self._wait is not None:
            self._wait.cancel()

    def announce_reading(self) -> None:
        """Say so if `read` is going to wait."""
        if self._publication is not None and (patience := self._publication.patience):
            self._teller.tell(
                f"waiting up to {short(patience)} for the end to be scraped; ctrl+c leaves at once"
            )

    async def read(self) -> None:
        """Return when the end of the run has been scraped, or nobody is likely to."""
        if self._publication is not None:
            await self._publication.read()
