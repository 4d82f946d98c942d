"""Properties of reading: what was written is what is read, places are right, and nothing ever surprises."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Fault, PlanInvalid
from engine.plan.compose import compose
from engine.plan.document import DefaultsSection, PlanSection, TaskSection
from engine.plan.load import parse_plan

# Without the line breaks of Unicode: PyYAML writes them so that nobody, itself included, reads them back.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=8)
NAMES = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters="/"),
    min_size=1,
    max_size=8,
)
VALUES = st.recursive(
    TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)


@given(st.dictionaries(TEXT, VALUES, min_size=1), st.booleans())
def test_what_pyyaml_writes_is_read_as_it_was(document: dict[str, Any], flow: bool) -> None:
    text = yaml.dump(document, Dumper=yaml.CSafeDumper, default_flow_style=flow, allow_unicode=True)
    tree = compose(text, "f")
    assert tree.root == document
    assert tree.faults == []


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_what_json_writes_is_read_as_it_was(document: dict[str, Any]) -> None:
    assert compose(json.dumps(document), "f").root == document


@given(st.dictionaries(TEXT, VALUES, min_size=1), st.integers(1, 9), st.booleans())
def test_every_value_is_placed_where_it_begins(document: dict[str, Any], indent: int, wide: bool) -> None:
    """PyYAML's own composer, slow and sure, is the witness."""
    text = yaml.safe_dump(document, indent=indent, default_flow_style=False, allow_unicode=wide)
    tree = compose(text, "f")

    def compare(node: yaml.Node, path: tuple[str | int, ...]) -> None:
        mark = node.start_mark
        assert tree.place(path) == (mark.line + 1, mark.column + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                compare(item, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                assert tree.place((*path, key.value), key=True) == (
                    key.start_mark.line + 1,
                    key.start_mark.column + 1,
                )
                compare(value, (*path, key.value))

    witness = yaml.compose(text, Loader=yaml.SafeLoader)
    assert witness is not None
    compare(witness, ())


def quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


@given(st.lists(NAMES, unique=True, min_size=1, max_size=8), st.data())
def test_the_line_of_a_fault_is_the_line_of_the_need(names: list[str], data: st.DataObject) -> None:
    """A plan written line by line, with one need that leads nowhere."""
    wrong = data.draw(st.sampled_from(names))
    lines, expected = ["tasks:"], 0
    for index, name in enumerate(names):
        lines += [f"  {quoted(name)}:", "    run: x", "    needs:"]
        earlier = data.draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        lines += [f"      - {quoted(other)}" for other in earlier]
        lines.append("      []" if not earlier else "")
        if name == wrong:
            lines[-1] = "      - no such task"
            expected = len(lines)
    with pytest.raises(PlanInvalid) as caught:
        parse_plan("\n".join(lines))
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [(expected, 9)]


@given(
    st.lists(
        st.text("ab:{}[]&*<-? \n\t\"'#|>!%\0\x1b\ufeff\ud800,0~", max_size=4)
        | st.sampled_from(["tasks: ", "run: x\n", "a: "])
    )
)
def test_any_text_is_a_plan_or_a_fault(parts: list[str]) -> None:
    _read_or_refused("".join(parts))


KEYS = sorted(
    {*PlanSection.model_fields, *TaskSection.model_fields, *DefaultsSection.model_fields, "a", "b", "limit"}
)
SCALARS = st.sampled_from(
    ["a", "b", "x", "", "5", "5s", "never", "failed", "${{ a }}", None, 0, 1, 99, -1, 0.5, True, float("nan")]
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.integers(), inner, max_size=5)
    ),
    max_leaves=30,
)
TASKS = st.dictionaries(
    st.sampled_from("abc"), st.dictionaries(st.sampled_from(KEYS), DOCUMENTS, max_size=4), max_size=3
)


@given(st.dictionaries(st.sampled_from(KEYS), DOCUMENTS), TASKS | DOCUMENTS)
def test_any_values_are_a_plan_or_a_fault(document: dict[str, Any], tasks: Any) -> None:
    _read_or_refused({**document, "tasks": tasks})
    _read_or_refused(yaml.safe_dump({**document, "tasks": tasks}))


def _read_or_refused(content: Any) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        parse_plan(content)
    except PlanInvalid as error:
        faults = error.faults or (Fault("", 0, 0, "\0"),)
    assert all(fault.message.isprintable() for fault in faults)
