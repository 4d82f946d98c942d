"""Outputs: what may stand in the file, what is told of what may not, and files that are none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.inputs import AttemptOutcome, OutcomeKind
from engine.dispatch.base import Attempt
from engine.dispatch.contract import RecordedOutput
from engine.dispatch.outputs import KEY, SIZE_LIMIT, VALUE_LIMIT, OutputsInvalid, parse_outputs
from engine.dispatch.process import ProcessDispatcher
from engine.plan.model import Plan, Task
from tests.support.commands import HASTY

GOOD = {
    "": {},
    "\n \n": {},
    "tag=v1\n": {"tag": "v1"},
    "tag=v1": {"tag": "v1"},
    "tag=": {"tag": ""},
    "tag=a=b<<c": {"tag": "a=b<<c"},
    "tag= a \nother=b\n": {"tag": " a ", "other": "b"},
    "tag=1\ntag=2\n": {"tag": "2"},
    "tag<<EOF\none\n\ntwo=2\nEOF\nother=b\n": {"tag": "one\n\ntwo=2", "other": "b"},
    "tag<<EOF\nEOF": {"tag": ""},
    "tag<<a=b\nx\na=b\n": {"tag": "x"},
    "a-b_C9=\u00e6\r\n": {"a-b_C9": "\u00e6\r"},
}


@pytest.mark.parametrize(("text", "outputs"), GOOD.items())
def test_good(text: str, outputs: dict[str, str]) -> None:
    assert parse_outputs(text.encode()) == outputs


BAD = {
    b"tag": "outputs, line 1: must be key=value or key<<END, not 'tag'",
    b"a=b\n\n=c": "outputs, line 3: must be key=value or key<<END, not '=c'",
    b"1a=b": "outputs, line 1: must be key=value or key<<END, not '1a=b'",
    b"a b=c": "outputs, line 1: must be key=value or key<<END, not 'a b=c'",
    b"tag<<\nx\n\n": "outputs, line 1: must be key=value or key<<END, not 'tag<<'",
    b"tag<<EOF\nx\n": "outputs, line 1: no line 'EOF' ends what begins here",
    b"a=b\ntag<<EOF\n x EOF": "outputs, line 2: no line 'EOF' ends what begins here",
    b"a=b\nc=\xff": "outputs, line 2: not UTF-8",
    b"a=b\0": "outputs, line 1: a value cannot hold a NUL character",
    b"\x1b[2J": "outputs, line 1: must be key=value or key<<END, not '\\x1b[2J'",
    b"a=" + b"x" * VALUE_LIMIT + b"x": "outputs, line 1: 'a' is more than 64 KiB",
    b"\n" * (SIZE_LIMIT + 1): "outputs: more than 1,024 KiB",
    b"k" * 101 + b"=x": f"outputs, line 1: must be key=value or key<<END, not '{'k' * 39}...{'k' * 37}=x'",
}


@pytest.mark.parametrize(("data", "message"), BAD.items(), ids=range(len(BAD)))
def test_bad(data: bytes, message: str) -> None:
    with pytest.raises(OutputsInvalid) as caught:
        parse_outputs(data)
    assert str(caught.value) == message


@given(st.dictionaries(st.from_regex(KEY, fullmatch=True), st.text(st.characters(exclude_characters="\0"))))
def test_whatever_is_written_in_the_long_form_comes_back(values: dict[str, str]) -> None:
    end = "END"
    while any(end in value.split("\n") for value in values.values()):
        end += "D"
    text = "".join(f"{key}<<{end}\n{value}\n{end}\n" for key, value in values.items() if _fits(value))
    kept = {key: value for key, value in values.items() if _fits(value)}
    assert parse_outputs(text.encode("utf-8")) == kept


def _fits(value: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in value)


@given(st.binary(max_size=200))
def test_any_bytes_are_outputs_or_refused(data: bytes) -> None:
    outputs: dict[str, str] = {}
    with suppress(OutputsInvalid):
        outputs = parse_outputs(data)
    assert all(KEY.fullmatch(key) and "\0" not in value for key, value in outputs.items())


# ── a process ───────────────────────────────────────────────────────────────────────────────────


def attempt(command: str, path: Path) -> Attempt:
    task = Task(name="task", run=command, shutdown=HASTY)
    return Attempt(Plan(name="plan", tasks=(task,)), task, 0, 1, "run-1", str(path))


@pytest.mark.anyio
class TestProcess:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "run" / "outputs" / "000000-1"

    async def ended(self, command: str, path: Path) -> AttemptOutcome:
        outcome = await ProcessDispatcher().run(attempt(command, path), RecordedOutput())
        assert not path.exists() or path.is_dir()
        return outcome

    async def test_a_success_has_them(self, path: Path) -> None:
        outcome = await self.ended(
            """echo tag=v1 >> "$PLANDECK_OUTPUT"; echo n=2 >> "$PLANDECK_OUTPUT" """, path
        )
        assert outcome == AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0, outputs={"tag": "v1", "n": "2"})
        assert path.parent.stat().st_mode & 0o777 == 0o700

    async def test_a_folder_that_was_deleted_is_made_again(self, path: Path) -> None:
        dispatcher, told = ProcessDispatcher(), """echo tag=v1 >> "$PLANDECK_OUTPUT" """
        for _ in range(2):
            outcome = await dispatcher.run(attempt(told, path), RecordedOutput())
            assert outcome.outputs == {"tag": "v1"}
            path.parent.rmdir()

    async def test_none_without_a_word(self, path: Path) -> None:
        assert await self.ended("true", path) == AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)

    async def test_a_failure_leaves_none(self, path: Path) -> None:
        outcome = await self.ended("""echo tag=v1 >> "$PLANDECK_OUTPUT"; exit 3""", path)
        assert outcome == AttemptOutcome(OutcomeKind.FAILED, "exit 3", 3)

    async def test_what_cannot_be_understood_is_a_failure(self, path: Path) -> None:
        outcome = await self.ended("""echo tag >> "$PLANDECK_OUTPUT" """, path)
        error = "outputs, line 1: must be key=value or key<<END, not 'tag'"
        assert outcome == AttemptOutcome(OutcomeKind.FAILED, error, 0)

    @pytest.mark.parametrize(
        ("command", "error"),
        {
            "mkfifo": "is no longer a regular file",
            "mkdir": "is no longer a regular file",
            "ln -s /etc/passwd": "Too many levels of symbolic links",
        }.items(),
    )
    async def test_what_is_no_file_is_not_read(self, path: Path, command: str, error: str) -> None:
        outcome = await self.ended(f"""{command} "$PLANDECK_OUTPUT" """, path)
        assert outcome.kind is OutcomeKind.FAILED
        assert error in outcome.error

    async def test_what_a_dead_engine_left_does_not_count(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        path.write_text("tag=old\n")
        assert (await self.ended("true", path)).outputs is None

    async def test_a_stopped_attempt_leaves_none(self, path: Path) -> None:
        output = RecordedOutput()
        async with anyio.create_task_group() as tasks:
            started = attempt("""echo tag=v1 > "$PLANDECK_OUTPUT"; echo up; exec sleep 1000""", path)
            tasks.start_soon(ProcessDispatcher().run, started, output)
            await output.says(b"up\n")
            tasks.cancel_scope.cancel()
        assert list(path.parent.iterdir()) == []

    async def test_no_room_for_them_is_the_tasks_own_affair(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        outcome = await self.ended("true", tmp_path / "file" / "outputs" / "1")
        assert outcome == AttemptOutcome(OutcomeKind.SUCCESS, exit_code=0)

    async def test_the_variable_of_another_engine_is_not_inherited(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(os.environ, "PLANDECK_OUTPUT", "/elsewhere")
        task = Task(name="task", run='echo "${PLANDECK_OUTPUT-unset}"')
        output = RecordedOutput()
        await ProcessDispatcher().run(Attempt(Plan(name="p", tasks=(task,)), task, 0, 1, "r"), output)
        assert output.data == b"unset\n"
