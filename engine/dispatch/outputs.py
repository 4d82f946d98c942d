"""The outputs of a task: what it wrote, line by line, to the file that `PLANDECK_OUTPUT` names."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt
from engine.ground.folders import make_folder
from engine.ground.spelling import quoted

SIZE_LIMIT: Final = 1024 * 1024
"""Bytes that one attempt may leave in all."""

VALUE_LIMIT: Final = 64 * 1024
"""Bytes of one value: it must fit into an environment variable, with room to spare."""

KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class OutputsInvalid(ValueError):
    """What a task left cannot be understood, or is too much. The message says what and where."""


class OutputsFolder:
    """Makes room for what attempts may leave."""

    def __init__(self) -> None:
        self._made: str | None = None

    def file(self, attempt: Attempt) -> OutputsFile | None:
        """None if the attempt is not asked for any. Raises nothing: a task that cannot write its outputs
        will say so itself."""
        if attempt.outputs is None:
            return None
        folder = attempt.outputs.rpartition("/")[0]
        if folder != self._made or not os.path.isdir(folder):  # noqa: PTH112 -- once for every attempt
            self._made = folder
            with suppress(OSError):
                make_folder(Path(folder))
        outputs = OutputsFile(attempt.outputs)
        outputs.discard()  # what an attempt has left whose engine died before it could tell of it
        return outputs


class OutputsFile:
    """Where one attempt may leave outputs. The file is made by the task, if it has any."""

    def __init__(self, path: str) -> None:
        self.path = path

    def completed(self, outcome: AttemptOutcome) -> AttemptOutcome:
        """A success with what it left; a failure if that cannot be understood."""
        if outcome.kind is not OutcomeKind.SUCCESS:
            self.discard()
            return outcome
        try:
            left = self.take()
        except OutputsInvalid as invalid:
            return AttemptOutcome(OutcomeKind.FAILED, str(invalid), outcome.exit_code)
        return replace(outcome, outputs=left) if left else outcome

    def take(self) -> dict[str, str]:
        """What the task left; the file is gone then. Raises `OutputsInvalid`."""
        try:
            descriptor = os.open(self.path, _FLAGS)
        except (FileNotFoundError, NotADirectoryError):  # none left, or no place to leave them
            return {}
        except OSError as error:
            self.discard()
            raise OutputsInvalid(f"outputs: cannot read $PLANDECK_OUTPUT: {error.strerror}") from None
        self.discard()
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OutputsInvalid("outputs: $PLANDECK_OUTPUT is no longer a regular file")
            with open(descriptor, "rb", closefd=False) as opened:
                return parse_outputs(opened.read(SIZE_LIMIT + 1))
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        with suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108 -- on the way of every task


def parse_outputs(data: bytes) -> dict[str, str]:
    """By key, the values of lines `key=value`, and of several lines between `key<<END` and `END`.

    Of a key that comes twice the last value holds. Blank lines mean nothing. Raises `OutputsInvalid`.
    """
    if len(data) > SIZE_LIMIT:
        raise OutputsInvalid(f"outputs: more than {SIZE_LIMIT // 1024:,} KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data.count(b"\n", 0, error.start)
        raise OutputsInvalid(f"outputs, line {before + 1}: not UTF-8") from None
    outputs: dict[str, str] = {}
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line, place = lines[number], f"outputs, line {number + 1}"
        number += 1
        if not line.strip():
            continue
        head, sign, rest = _split(line)
        if not sign or not KEY.fullmatch(head):
            raise OutputsInvalid(f"{place}: must be key=value or key<<END, not {quoted(line)}")
        value = rest
        if sign == "<<":
            try:
                end = lines.index(rest, number)
            except ValueError:
                raise OutputsInvalid(f"{place}: no line {quoted(rest)} ends what begins here") from None
            value = "\n".join(lines[number:end])
            number = end + 1
        if "\0" in value:
            raise OutputsInvalid(f"{place}: a value cannot hold a NUL character")
        if len(value.encode()) > VALUE_LIMIT:
            raise OutputsInvalid(f"{place}: {quoted(head)} is more than {VALUE_LIMIT // 1024} KiB")
        outputs[head] = value
    return outputs


def _split(line: str) -> tuple[str, str, str]:
    """At the first sign, whichever it is: the value of `key=a<<b` is `a<<b`. The end of a text of several
    lines must be a word, or the empty line after the last one would be an end as well."""
    assignment, heredoc = line.find("="), line.find("<<")
    if heredoc >= 0 and (assignment < 0 or heredoc < assignment) and line[heredoc + 2 :].strip():
        return line[:heredoc], "<<", line[heredoc + 2 :]
    return line.partition("=")
