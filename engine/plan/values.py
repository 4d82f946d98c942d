"""The values that stand in a plan file: durations, rates, signals, and the text they are written as."""

from __future__ import annotations

import math
import re
import signal
import unicodedata
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, Strict, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from engine.ground.spelling import Speller, quoted
from engine.plan.compose import Plain
from engine.plan.model import MAX_PARALLEL, MIN_PARALLEL
from engine.plan.references import KEY

LONGEST: Final = 365 * 24 * 3600.0
LONGEST_HOOK: Final = 600.0
NAME_LENGTH: Final = 200

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION: Final = "".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in _UNITS)
_CALLABLE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_RATE: Final = r"(\d+(?:\.\d+)?)/([smh])"
_EXECUTOR: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_SIGNALS: Final = {
    name: getattr(signal, f"SIG{name}").value
    for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL")
}


def mistake(message: str) -> PydanticCustomError:
    """What a validator raises. message: goes on from the name of the field: "must be ..."."""
    return PydanticCustomError("mistake", "{message}", {"message": message})


def duration(text: object) -> float:
    """Seconds, of `500ms`, `30s`, `10m`, `1h30m` and the like."""
    seconds = _seconds(text) if isinstance(text, str) else None
    if seconds is None:
        raise mistake("must be a duration with its unit, like 500ms, 30s, 10m or 1h30m")
    if seconds > LONGEST:
        raise mistake("must be at most 365d")
    return seconds


@lru_cache(1000)
def _seconds(text: str) -> float | None:
    """Remembered, because a plan writes the same few durations again and again."""
    match = re.fullmatch(_DURATION, text)
    if match is None or not text or len(text) > 50:
        return None
    numbers = zip(match.groups("0"), _UNITS.values(), strict=True)
    return round(sum(float(number) * unit for number, unit in numbers), 6)


DURATIONS: Final = frozenset(
    (
        "timeout",
        "stall_after",
        "retry.delay",
        "retry.max_delay",
        "retry.jitter",
        "shutdown.grace",
        "hooks.timeout",
    )
)
"""The settings that are durations."""


def spelled_duration(seconds: float) -> str:
    """The other way round, exactly: 5400 seconds are `1h30m`."""
    left, spelled = round(seconds * 1000, 3), ""
    for unit, size in _UNITS.items():
        whole = left // (size * 1000) if unit != "ms" else left
        left -= whole * size * 1000
        if whole:
            spelled += f"{whole:.10g}{unit}"
    return spelled or "0s"


def limit(text: object) -> float:
    """Seconds more than none, or infinity for `never`."""
    if text == "never":
        return math.inf
    seconds = duration(text)
    if seconds == 0:
        raise mistake("must be more than 0s; `never` means no limit")
    return seconds


def _hook_time(text: object) -> float:
    seconds = duration(text)
    if not 0 < seconds <= LONGEST_HOOK:
        raise mistake("must be more than 0s and at most 10m")
    return seconds


def _rate(text: object) -> float:
    match = re.fullmatch(_RATE, text) if isinstance(text, str) and len(text) <= 50 else None
    if match is None:
        raise mistake("must be a number of lines a second, minute or hour, like 5/s or 10/m")
    rate = float(match[1]) / _UNITS[match[2]]
    if rate > 1_000_000:
        raise mistake("must be at most 1000000/s")
    return rate


def _signal(text: object) -> int:
    name = text.upper().removeprefix("SIG") if isinstance(text, str) else ""
    if name not in _SIGNALS:
        raise mistake(f"must be one of {', '.join(_SIGNALS)}{Speller(_SIGNALS).hint(name)}")
    return int(_SIGNALS[name])


def _executor(value: str) -> str:
    if not re.fullmatch(_EXECUTOR, value):
        raise mistake("must be the name of an executor, of letters, digits, '.', '_' and '-'")
    return value


def _not_empty(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value:
        raise mistake("must have at least one item")
    return value


def _looked_like(value: Any) -> Any:
    """The number or truth value, if it was written without quotes."""
    return value.value if type(value) is Plain else value


def _command(value: Any) -> Any:
    if type(value) is Plain and not isinstance(value.value, bool):
        raise mistake("must be a command, not a number; in quotes it is taken as one")
    if value.isspace() or not value:
        raise mistake("must be a command, but it is empty")
    return str(value)


def _argv(value: list[str]) -> tuple[str, ...]:
    if not value or not value[0]:
        raise mistake("must begin with the program to run")
    return tuple(value)


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a plan or a task, to go on from it; None if nothing is."""
    if not name.strip():
        return "must not be empty"
    unseen = next((sign for sign in name if not sign.isprintable()), None)
    if unseen is not None:
        if unicodedata.category(unseen) == "Cc":
            return "must not hold control characters"
        return f"must not hold U+{ord(unseen):04X}, which is not seen"
    if name != name.strip():
        return "must not begin or end with a blank"
    if len(name) > NAME_LENGTH:
        return f"must be at most {NAME_LENGTH} characters long, not {len(name)}"
    return None


def task_name_fault(name: str) -> str | None:
    """As `name_fault`; a `/` is kept for the tasks of subplans."""
    return "must not hold a '/'" if "/" in name else name_fault(name)


def _name(value: str) -> str:
    if fault := name_fault(value):
        raise mistake(fault)
    return value


def _variable(value: str) -> str:
    if not value or "=" in value or not value.isprintable():
        raise mistake(f"cannot hold a variable named {quoted(value)}")
    return value


def _key(value: str) -> str:
    if not KEY.fullmatch(value):
        raise mistake(f"cannot have a key named {quoted(value)}: letters, digits, '_' and '-' make one")
    return value


def _callable(value: str) -> str:
    if not _CALLABLE.fullmatch(value):
        raise mistake("must name a callable as module:callable, like ops.notify:send")
    return value


def _plan_file(value: str) -> str:
    if not value.strip():
        raise mistake("must name a plan file, but it is empty")
    return value


Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Name = Annotated[str, AfterValidator(_name)]
Priority = Annotated[int, Strict(), Field(ge=0, le=100), BeforeValidator(_looked_like)]
Retries = Annotated[int, Strict(), Field(ge=0, le=100), BeforeValidator(_looked_like)]
Slots = Annotated[int, Strict(), Field(ge=MIN_PARALLEL, le=MAX_PARALLEL), BeforeValidator(_looked_like)]
ExitCode = Annotated[int, Strict(), Field(ge=-64, le=255), BeforeValidator(_looked_like)]
ExitCodes = Annotated[
    tuple[ExitCode, ...], AfterValidator(_not_empty), Field(json_schema_extra={"minItems": 1})
]
Factor = Annotated[float, Strict(), Field(ge=1, le=10, allow_inf_nan=False), BeforeValidator(_looked_like)]
Chance = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_looked_like)]
Truth = Annotated[bool, Strict(), BeforeValidator(_looked_like)]
Command = Annotated[Text, BeforeValidator(_command)]
Argv = Annotated[list[Text], AfterValidator(_argv)]
VariableName = Annotated[str, AfterValidator(_variable)]
Environment = dict[VariableName, Text]
Key = Annotated[str, AfterValidator(_key), WithJsonSchema({"type": "string", "pattern": f"^{KEY.pattern}$"})]
CallableName = Annotated[Text, AfterValidator(_callable)]
PlanFile = Annotated[Text, AfterValidator(_plan_file)]
Executor = Annotated[
    Text, AfterValidator(_executor), WithJsonSchema({"type": "string", "pattern": f"^{_EXECUTOR}$"})
]
Labels = dict[Annotated[str, AfterValidator(_name)], Text]

_DURATION_SCHEMA: Final = r"\d+(?:\.\d+)?(?:d|h|m|s|ms)"
Duration = Annotated[
    float,
    BeforeValidator(duration),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_DURATION_SCHEMA})+$"}),
]
Limit = Annotated[
    float,
    BeforeValidator(limit),
    WithJsonSchema({"type": "string", "pattern": f"^(?:never|(?:{_DURATION_SCHEMA})+)$"}),
]
HookTime = Annotated[
    float,
    BeforeValidator(_hook_time),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_DURATION_SCHEMA})+$"}),
]
Rate = Annotated[float, BeforeValidator(_rate), WithJsonSchema({"type": "string", "pattern": f"^{_RATE}$"})]
SignalName = Annotated[
    int, BeforeValidator(_signal), WithJsonSchema({"enum": [*_SIGNALS, *(f"SIG{name}" for name in _SIGNALS)]})
]
