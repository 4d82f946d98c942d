"""`SpanUpdate`: a partial frame that sends the columns that changed and none beside them."""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate


class SpanUpdate(ChopsUpdate):
    """Textual (8.2) sends every changed span from the left edge of its widget on: for a clock at the end
    of a row that is the whole row. This starts where the change starts."""

    @classmethod
    def of(cls, update: ChopsUpdate) -> SpanUpdate:
        """The same update, sent more sparingly."""
        return cls(update.chops, update.spans, update.chop_ends)

    def render_segments(self, console: Console) -> str:
        pieces: list[str] = []
        for y, start, stop in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= stop or end <= start:
                    continue
                left, right = max(x, start), min(end, stop)
                pieces.append(Control.move_to(left, y).segment.text)
                pieces.append(strip.crop(left - x, right - x).render(console))
        return "".join(pieces)
