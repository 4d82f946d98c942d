"""Durations, and the JSON Schema that says of all values what the models say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

import engine.plan
from engine.plan.document import plan_schema
from engine.plan.values import duration, limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("1d2h3m4s5ms", 93784.005),
        ("0.1s", 0.1),
        ("365d", 31536000.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        5,
        None,
        "s",
        "5 s",
        "5S",
        "-5s",
        "30m1h",
        "1m1m",
        "1e3s",
        "\u0665s\n",
        "1s ",
        "1" * 60 + "s",
        [],
        {},
    ],
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="must be a duration with its unit"):
        duration(text)


def test_limits() -> None:
    assert limit("never") == math.inf
    assert limit("1ms") == 0.001
    with pytest.raises(PydanticCustomError, match="must be more than 0s"):
        limit("0h")


@given(st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any))
def test_a_duration_is_the_sum_of_its_parts(parts: list[int]) -> None:
    text = "".join(
        f"{part}{unit}" for part, unit in zip(parts, ("d", "h", "m", "s", "ms"), strict=True) if part
    )
    weights = (86400, 3600, 60, 1, 0.001)
    assert duration(text) == pytest.approx(sum(map(math.prod, zip(parts, weights, strict=True))))


# ── the schema ──────────────────────────────────────────────────────────────────────────────────


def test_the_shipped_schema_is_current() -> None:
    """If this fails: `plandeck schema > engine/plan/plan.schema.json`."""
    shipped = Path(engine.plan.__file__).with_name("plan.schema.json").read_text(encoding="utf-8")
    assert shipped == json.dumps(plan_schema(), indent=2) + "\n"


def test_the_schema_says_what_the_models_say() -> None:
    schema = plan_schema()
    task = schema["$defs"]["TaskSection"]
    assert schema["required"] == ["tasks"]
    assert schema["additionalProperties"] is task["additionalProperties"] is False
    assert (
        schema["properties"]["max_parallel"].items()
        >= {"type": "integer", "minimum": 1, "maximum": 32}.items()
    )
    assert task["oneOf"] == [{"required": [kind]} for kind in ("run", "python", "plan", "simulate")]
    assert [form["type"] for form in task["properties"]["run"]["oneOf"]] == ["string", "array"]
    param = schema["$defs"].pop("ParamSection")  # which has a key of that name
    assert {"null", "default"}.isdisjoint(json.dumps(schema).replace('"', " ").split())
    schema["$defs"]["ParamSection"] = param
    everything = [schema, *schema["$defs"].values()]
    assert all(
        field["description"] for section in everything for field in section.get("properties", {}).values()
    )
