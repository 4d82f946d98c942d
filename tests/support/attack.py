"""Output that does a terminal all the harm it can: `python attack.py FOLDER MEGABYTES` prints it.

First every escape sequence there is, whole and broken off, then what only looks like harm, then a long line
and a flood of lines. FOLDER/digest gets the digest of all that was printed.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

MEGABYTE = 1 << 20


def pieces(megabytes: int) -> Iterator[bytes]:
    for final in range(0x40, 0x7F):  # every control sequence, with and without parameters
        for parameters in (b"", b"?1049", b"999;999", b"5;20", b"?25", b">0", b"!", b"31;1;5;7"):
            yield b"\x1b[%s%c control\n" % (parameters, final)
            yield b"\xc2\x9b%s%c control\n" % (parameters, final)
    for final in range(0x20, 0x7F):  # every other escape; c resets, D E M move
        yield b"\x1b%c escape\n" % final
    for start in (b"]", b"P", b"X", b"^", b"_", b"k"):  # titles, clipboard, links, colours, device strings
        for words in (
            b"0;pwned",
            b"52;c;cHduZWQ=",
            b"8;;http://x.example",
            b"4;1;rgb:ff/ff/ff",
            b"q#0;2;0;0;0",
        ):
            for end in (b"\x07", b"\x1b\\", b"\xc2\x9c", b""):
                yield b"\x1b%s%s%s string\n" % (start, words, end)
    yield b"\x1b[6n\x1b[c\x1b[>q\x1b[?2026h\x1b[?1003h\x1b[?2004h\x1b(0\x0e\x1b[4i questions and modes\n"
    yield b"".join(b"%c" % code for code in range(32) if code != 10) + b"every control character\n"
    yield bytes(range(256)) + b"\n"
    yield b"[bold red]markup[/] [@click=app.quit]click[/] :smile: ${x} {{y}} %s %d\n"
    yield "\u202e\u2066\u200f turned \u202d\u2069 round\u202c \u2028\u2029 lines \ufeff\u200b\n".encode()
    yield ("Z" + "\u0301" * 5000 + " tower\n").encode()
    yield "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u65e5\u672c \u0e01\u0e33 \uff21 wide\n".encode() * 20
    yield b"\0" * 100_000 + b"\n" + b"\xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80" * 1000 + b"\n"
    yield b"\r".join(b"%d%%" % n for n in range(20_000)) + b"\n"
    yield b"\x08" * 5000 + b"\t" * 5000 + b"\x0b\x0c" * 500 + b"\n"
    yield b"\x1b[31ma\x1b[0m" * 20_000 + b"\n"
    yield b"\x1b[41;5;7;8;9m styles left switched on\n"
    yield b"x" * (4 * MEGABYTE) + b"\n"
    line = (
        b"\x1b[1;3%dm%07d \x1b[2J\x1b[H flood \x1b]0;pwned\x07 and more of it until the pane is full\x1b[K\n"
    )
    size = number = 0
    while size < megabytes * MEGABYTE:
        chunk = b"".join(line % (n % 8, n) for n in range(number, number + 1000))
        number += 1000
        size += len(chunk)
        yield chunk
    yield b"\x1b[0mthe attack is over\n"


def main() -> None:
    folder, megabytes = Path(sys.argv[1]), int(sys.argv[2])
    digest = hashlib.sha256()
    for piece in pieces(megabytes):
        digest.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(1, view) :]
    (folder / "digest").write_text(digest.hexdigest())


if __name__ == "__main__":
    main()
