"""Program output made safe to show: of all that a terminal obeys, only colour and style survive."""

from __future__ import annotations

import re
from typing import Final

# fmt: off
_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"                                # CSI, whole or broken off
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"                                                # all other escapes
)
_UNSEEN = (  # without the controls: what has no shape of its own but changes how its neighbours look
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u17b4-\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# fmt: on
_ANY_SEQUENCE: Final = re.compile(_SEQUENCE)
_SPACES: Final = re.compile(r"[\s]+")
_JUNK: Final = re.compile(f"{_SEQUENCE}|[\\x00-\\x1f\\x7f-\\x9f{_UNSEEN}]+")


def one_line(text: str, width: int | None = None) -> str:
    """A name or an error as one printable line. width: characters to cut it to, the last a "…"."""
    if not text.isprintable():
        text = _JUNK.sub("", _SPACES.sub(" ", text)).strip()
    if width is not None and len(text) > width:
        text = text[: max(0, width - 1)] + "…" if width > 0 else ""
    return text
