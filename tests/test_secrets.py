"""Secrets: masked in whatever spelling and however cut, and in no plan."""

from __future__ import annotations

import base64
import json
import shlex
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.inputs import (
    AttemptFinished,
    AttemptOutcome,
    AttemptRevived,
    AttemptStarted,
    MarkSucceeded,
    OutcomeKind,
)
from engine.errors import PlanInvalid
from engine.plan.load import load_plan, parse_plan
from engine.secrets import MASK, Mask, MaskedStream, mask_for

SECRET = 'pa\'ss "wörd"/+&%$\\'  # awkward in every spelling


def in_pieces(mask: Mask, data: bytes, cuts: list[int]) -> bytes:
    """What a stream makes of the data, cut at these places."""
    stream = MaskedStream(mask)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return b"".join([*(stream.feed(data[start:end]) for start, end in pairwise(places)), stream.finish()])


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        quote(SECRET, safe=""),
        f"https://host/?token={quote(SECRET)}&x",
        shlex.quote(SECRET),
        "'" + SECRET.replace("'", "'\\''") + "'",
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_it_is_masked_as_programs_spell_it(spelled: str) -> None:
    masked = Mask([SECRET]).text(f"before {spelled} after")
    assert MASK in masked
    assert spelled not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


def test_every_line_of_a_long_secret_is_masked_by_itself() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n}\n"
    mask = Mask([key])
    assert (
        mask.text("got:\r\n  MIIEvQIBADANBgkq\r\n  hkiG9w0BAQEFAASC\r\n}")
        == f"got:\r\n  {MASK}\r\n  {MASK}\r\n}}"
    )


def test_of_two_the_longer_goes_first() -> None:
    assert Mask(["token", "token-of-admin"]).text("token-of-admin, token") == f"{MASK}, {MASK}"


words = st.text(alphabet="ab", min_size=4, max_size=8)


@given(
    secrets=st.lists(words, min_size=1, max_size=3),
    pieces=st.lists(st.one_of(words, st.text(alphabet="abc", max_size=4))),
    cuts=st.lists(st.integers(min_value=0, max_value=100)),
)
@example(secrets=["abab", "ababbb"], pieces=["abab", "b"], cuts=[4])
@example(secrets=["xabcdy", "abcd"], pieces=["xabcdz"], cuts=[5])
def test_where_it_is_cut_makes_no_difference(secrets: list[str], pieces: list[str], cuts: list[int]) -> None:
    mask, data = Mask(secrets), "".join(pieces).encode()
    assert in_pieces(mask, data, cuts) == mask.data(data)
    assert not any(secret.encode() in in_pieces(mask, data, cuts) for secret in secrets)


def test_only_what_may_become_a_secret_is_held_back() -> None:
    stream = MaskedStream(Mask(["hunter22"]))
    assert stream.feed(b"password: hun") == b"password: "
    assert stream.feed(b"ger\nhunter") == b"hunger\n"
    assert stream.feed(b"22!") == MASK.encode() + b"!"
    assert stream.feed(b"hunt") == b""
    assert stream.finish() == b"hunt"
    assert stream.finish() == b""


def test_bytes_that_are_no_text_pass() -> None:
    assert Mask(["hunter22"]).data(b"\xff\0hunter22\xfe") == b"\xff\0***\xfe"


@pytest.mark.parametrize(
    ("given_", "masked"),
    [
        (
            AttemptFinished(
                index=0, attempt=1, outcome=AttemptOutcome(OutcomeKind.FAILED, "no: hunter22", 1)
            ),
            AttemptFinished(index=0, attempt=1, outcome=AttemptOutcome(OutcomeKind.FAILED, "no: ***", 1)),
        ),
        (
            AttemptFinished(
                index=0,
                attempt=1,
                outcome=AttemptOutcome(OutcomeKind.SUCCESS, outputs={"key": "hunter22", "a": "b"}),
            ),
            AttemptFinished(
                index=0, attempt=1, outcome=AttemptOutcome(OutcomeKind.SUCCESS, outputs={"a": "b"})
            ),
        ),
        (
            AttemptStarted(index=0, attempt=1, where="host hunter22"),
            AttemptStarted(index=0, attempt=1, where="host ***"),
        ),
        (MarkSucceeded(index=0, reason="hunter22 works"), MarkSucceeded(index=0, reason="*** works")),
    ],
)
def test_what_comes_in_is_masked(given_: object, masked: object) -> None:
    assert Mask(["hunter22"]).input(given_) == masked  # type: ignore[arg-type]


def test_what_hides_nothing_is_left_alone() -> None:
    revived = AttemptRevived(index=0, attempt=1)
    started = AttemptStarted(index=0, attempt=1)
    mask = Mask(["hunter22"])
    assert mask.input(revived) is revived
    assert mask.input(started) is started


class TestPlan:
    def test_names_of_variables_that_are_not_set_hide_nothing(self) -> None:
        plan = parse_plan("secrets: [TOKEN, EMPTY]\ntasks: {a: {run: make}}")
        assert plan.secrets == ("TOKEN", "EMPTY")
        assert mask_for(plan, {"EMPTY": "", "OTHER": "x"}) is None

    def test_values_come_from_the_environment(self) -> None:
        plan = parse_plan("secrets: [TOKEN]\ntasks: {a: {run: make}}")
        mask = mask_for(plan, {"TOKEN": "hunter22"})
        assert mask is not None
        assert mask.text("hunter22") == MASK

    def test_one_too_short_to_be_masked_is_refused(self) -> None:
        plan = parse_plan("secrets: [PIN]\ntasks: {a: {run: make}}")
        with pytest.raises(PlanInvalid, match="plan: the value of the secret PIN is too short to be masked"):
            mask_for(plan, {"PIN": "123"})

    def test_a_plan_that_holds_its_value_is_refused_without_showing_it(self) -> None:
        text = "secrets: [TOKEN]\nenv: {A: xhunter22}\ntasks:\n  a:\n    run: [login, --password, hunter22]\n"
        plan = parse_plan(text)
        with pytest.raises(PlanInvalid) as refused:
            mask_for(plan, {"TOKEN": "hunter22"})
        assert [str(fault) for fault in refused.value.faults] == [
            "plan: env.A holds the value of the secret TOKEN: use ${{ env.TOKEN }}",
            "plan:4:1: task 'a': run holds the value of the secret TOKEN: use ${{ env.TOKEN }}",
        ]

    def test_a_plan_may_give_it_the_value_of_another_variable(self) -> None:
        plan = parse_plan(
            "secrets: [TOKEN]\nenv: {TOKEN: '${{ env.CI_TOKEN }}'}\n"
            "tasks: {a: {run: make}, b: {run: make, env: {TOKEN: '${{ env.OTHER }}${{ env.MORE }}'}}}"
        )
        environment = {"TOKEN": "hunter22", "CI_TOKEN": "swordfish", "OTHER": "open", "MORE": "sesame"}
        mask = mask_for(plan, environment)
        assert mask is not None
        assert mask.text("hunter22 swordfish opensesame") == f"{MASK} {MASK} {MASK}"

    @pytest.mark.parametrize("value", ["hunter22", "x${{ env.A }}", "${{ params.p }}"])
    def test_it_comes_from_nowhere_else(self, value: str) -> None:
        plan = parse_plan(
            {
                "secrets": ["TOKEN"],
                "params": {"p": "hunter22"},
                "tasks": {"a": {"run": "make", "env": {"TOKEN": value}}},
            }
        )
        with pytest.raises(PlanInvalid, match="the secret TOKEN must come from the environment"):
            mask_for(plan, {"A": "abc"})

    def test_what_holds_it_inside_of_a_subplan_is_told_with_its_own_file(self, tmp_path: Path) -> None:
        outer = "secrets: [TOKEN]\ntasks:\n  roll:\n    plan: inner.yaml\n    with: {key: hunter22}\n"
        inner = "params: {key: {}}\nenv: {A: hunter22}\ntasks:\n  go:\n    run: [login, hunter22]\n"
        (tmp_path / "outer.yaml").write_text(outer)
        (tmp_path / "inner.yaml").write_text(inner)
        plan = load_plan(str(tmp_path / "outer.yaml"))
        with pytest.raises(PlanInvalid) as refused:
            mask_for(plan, {"TOKEN": "hunter22"})
        told = [str(fault).removeprefix(f"{tmp_path}/") for fault in refused.value.faults]
        assert [fault.partition(" holds")[0] for fault in told] == [
            "inner.yaml: subplan 'roll': env.A",
            "inner.yaml:4:1: task 'roll/go': run",
            "outer.yaml:3:1: subplan 'roll': params.key",
        ]

    def test_where_it_comes_from_elsewhere_is_told_with_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "outer.yaml").write_text("secrets: [TOKEN]\ntasks: {roll: {plan: inner.yaml}}\n")
        (tmp_path / "inner.yaml").write_text(
            "env: {TOKEN: shared}\ntasks:\n  go: {run: make, env: {TOKEN: mine}}\n"
        )
        with pytest.raises(PlanInvalid) as refused:
            mask_for(load_plan(str(tmp_path / "outer.yaml")), {})
        assert [str(fault).partition(": ")[0] for fault in refused.value.faults] == [
            f"{tmp_path}/inner.yaml",
            f"{tmp_path}/inner.yaml:3:1",
        ]

    def test_so_is_one_whose_task_is_called_so_and_still_it_is_not_shown(self) -> None:
        plan = parse_plan("secrets: [TOKEN]\ntasks: {hunter22: {run: make}}")
        with pytest.raises(PlanInvalid) as refused:
            mask_for(plan, {"TOKEN": "hunter22"})
        assert "hunter22" not in str(refused.value)
