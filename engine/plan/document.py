"""What may stand in a plan file, as pydantic models, and the JSON Schema made from them.

The models hold what was written, checked but not resolved: None means that a key is absent, so that the
levels of settings can be laid over one another (`engine.plan.resolve`). Rules that span several keys
stand in `engine.plan.rules`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from engine.plan.matrix import SCHEMA as MATRIX_SCHEMA
from engine.plan.model import Condition, FailureMode, StallMeasure
from engine.plan.values import (
    Argv,
    CallableName,
    Chance,
    Command,
    Duration,
    Environment,
    Executor,
    ExitCodes,
    Factor,
    HookTime,
    Key,
    Labels,
    Limit,
    Name,
    PlanFile,
    Priority,
    Rate,
    Retries,
    SignalName,
    Slots,
    Text,
    Truth,
    VariableName,
)

KINDS: Final = ("run", "python", "plan", "simulate")
"""A task has exactly one of these."""

BRANCH: Final = "\0"
"""Begins the tags of unions, which pydantic puts among the keys when it says where a fault is."""


def _by_form(**expected: type) -> Discriminator:
    """Chooses a branch of a union by the form of the value, so that faults speak of what was meant."""

    def branch(value: object) -> str | None:
        for name, form in branches:
            if isinstance(value, form):
                return name
        return None

    branches = [(BRANCH + name, form) for name, form in expected.items()]
    names = " or ".join(expected).replace("_", " ")
    return Discriminator(
        branch,
        custom_error_type="mistake",
        custom_error_message=f"must be {names}",
    )


class Section(BaseModel):
    """A mapping in a plan file; keys that it does not know are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class RetrySection(Section):
    """How often and how soon a failed task is tried again."""

    limit: Retries | None = Field(default=None, description="Retries after the first attempt.")
    delay: Duration | None = Field(default=None, description="The back-off before the first retry.")
    backoff: Factor | None = Field(
        default=None, description="Each back-off is this many times the one before."
    )
    max_delay: Duration | None = Field(default=None, description="No back-off is longer.")
    jitter: Duration | None = Field(
        default=None, description="A random addition to each back-off, at most this long."
    )
    exit_codes: ExitCodes | None = Field(
        default=None, description="The only exit codes worth a retry; a negative one means that signal."
    )


class ShutdownSection(Section):
    """How a running task is stopped."""

    signal: SignalName | None = Field(
        default=None, description="Sent first, to the task's whole process group."
    )
    grace: Duration | None = Field(default=None, description="The time until what is left is killed.")


class SimulateSection(Section):
    """A pretended task, for demonstrations and tests."""

    duration: Duration | None = Field(default=None, description="How long it takes.")
    fail_rate: Chance | None = Field(default=None, description="The chance that an attempt fails.")
    output: Rate | None = Field(default=None, description="Lines of output: 5/s, 10/m.")


Retry = Annotated[
    Annotated[RetrySection, Tag(f"{BRANCH}a_mapping")]
    | Annotated[Retries, Tag(f"{BRANCH}a_number_of_retries")],
    _by_form(a_mapping=dict, a_number_of_retries=object),
]
Run = Annotated[
    Annotated[Command, Tag(f"{BRANCH}text_for_the_shell")]
    | Annotated[Argv, Tag(f"{BRANCH}a_list_of_arguments")],
    _by_form(text_for_the_shell=str, a_list_of_arguments=list),
]
Needs = Annotated[
    Annotated[list[Text], Tag(f"{BRANCH}a_list_of_tasks")]
    | Annotated[dict[str, Condition], Tag(f"{BRANCH}a_mapping_of_task_to_condition")],
    _by_form(a_list_of_tasks=list, a_mapping_of_task_to_condition=dict),
]


class DefaultsSection(Section):
    """What holds for every task that does not say otherwise."""

    retry: Retry | None = Field(default=None, description="Retries after a failure: a number, or a mapping.")
    timeout: Limit | None = Field(
        default=None, description="The time an attempt may take; `never` for no limit."
    )
    stall_after: Limit | None = Field(
        default=None,
        description="The time without a sign of life until it counts as stalled, or `never`.",
    )
    stall_measure: StallMeasure | None = Field(
        default=None, description="What a stall is measured by: silence, or the time elapsed."
    )
    skip_on_failure: Truth | None = Field(
        default=None, description="End as skipped instead of failed, and let dependents run."
    )
    priority: Priority | None = Field(
        default=None, description="Of two ready tasks the one with the higher priority starts first."
    )
    working_dir: Text | None = Field(
        default=None, description="Where it runs, relative to the plan's own directory."
    )
    shutdown: ShutdownSection | None = Field(default=None, description="How it is stopped.")
    interpreter: Text | None = Field(
        default=None,
        description="The Python that calls the functions of `python` tasks: a program, or a path.",
    )
    executor: Executor | None = Field(default=None, description="Where it is run.")


class HooksSection(Section):
    """Commands that are told how a run fares: by their environment, and by JSON on their stdin."""

    success: Run | None = Field(default=None, description="When the run has succeeded.")
    failure: Run | None = Field(default=None, description="When it has failed, or was interrupted.")
    stall: Run | None = Field(default=None, description="When a task has stalled.")
    unhealthy: Run | None = Field(
        default=None, description="When something has stalled and less than half of what began is well."
    )
    timeout: HookTime | None = Field(default=None, description="The time that a hook may take.")


class ProfileSection(DefaultsSection):
    """A set of settings under a name, that a plan can choose; also the defaults of `config.toml`."""

    failure_mode: FailureMode | None = Field(
        default=None, description="What one failed task means for the others."
    )
    max_parallel: Slots | None = Field(default=None, description="How many tasks run at the same time.")
    hooks: HooksSection | None = Field(default=None, description="Commands that are told how a run fares.")


class ParamSection(Section):
    """A param that plandeck, or the plan around this one, may be asked to give."""

    default: Text | None = Field(
        default=None, description="Its value if none is given; without it one must be."
    )
    description: Text | None = Field(default=None, description="For people.")


Param = Annotated[
    Annotated[ParamSection, Tag(f"{BRANCH}a_mapping")] | Annotated[Text, Tag(f"{BRANCH}text")],
    _by_form(text=str, a_mapping=dict),
]
Matrix = Annotated[dict[str, Any], WithJsonSchema(MATRIX_SCHEMA)]


class TaskSection(DefaultsSection):
    """One task: exactly one of run, python, plan and simulate."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]})

    run: Run | None = Field(
        default=None,
        description="A string for `sh -c`, or a list: a program and its arguments, without a shell.",
    )
    python: CallableName | None = Field(
        default=None, description="A callable, as module:callable; sync or async."
    )
    plan: PlanFile | None = Field(
        default=None, description="The file of a subplan, relative to the plan's own directory."
    )
    arguments: dict[Text, Any] | None = Field(
        default=None,
        alias="with",
        description="The params of the subplan, or the arguments by keyword of the callable.",
    )
    simulate: SimulateSection | None = Field(default=None, description="Only pretend to run.")
    matrix: Matrix | None = Field(
        default=None, description="One task for each combination of these values, ${{ matrix.KEY }}."
    )
    needs: Needs | None = Field(
        default=None,
        description="The tasks that must end before: a list, or a mapping to how they must end.",
    )
    depends_on: Needs | None = Field(default=None, description="Another spelling of needs.")
    env: Environment | None = Field(
        default=None, description="Environment variables, over those of the plan."
    )
    labels: Labels | None = Field(
        default=None, description="What the rules of the user go by, that choose executors."
    )
    description: Text | None = Field(default=None, description="For people.")


class PlanSection(Section):
    """A plan: a graph of tasks that plandeck runs."""

    name: Name | None = Field(
        default=None, description="What the plan is called; without it, the name of its file."
    )
    goal: Text | None = Field(default=None, description="What it is good for, beyond this run.")
    description: Text | None = Field(default=None, description="For people.")
    failure_mode: FailureMode | None = Field(
        default=None, description="What one failed task means for the others."
    )
    max_parallel: Slots | None = Field(default=None, description="How many tasks run at the same time.")
    skip_on_failure: Truth | None = Field(
        default=None, description="The same for every task that does not say otherwise."
    )
    params: dict[Key, Param] | None = Field(
        default=None, description="Values to be given from outside, ${{ params.NAME }}, with their defaults."
    )
    outputs: dict[Key, Text] | None = Field(
        default=None, description="What it leaves for a plan around it, ${{ tasks.TASK.outputs.KEY }}."
    )
    env: Environment | None = Field(default=None, description="Environment variables for every task.")
    secrets: list[VariableName] | None = Field(
        default=None, description="Environment variables whose values are neither shown nor kept."
    )
    profile: Text | None = Field(
        default=None, description="The profile whose settings hold where this plan has none of its own."
    )
    profiles: dict[str, ProfileSection] | None = Field(
        default=None, description="Profiles of this plan, beside those of the user."
    )
    defaults: DefaultsSection | None = Field(
        default=None, description="Settings for every task that has none of its own."
    )
    hooks: HooksSection | None = Field(default=None, description="Commands that are told how a run fares.")
    tasks: dict[str, TaskSection] = Field(description="The tasks by their names.")


SECTIONS: Final[dict[str, type[Section]]] = {
    "retry": RetrySection,
    "shutdown": ShutdownSection,
    "simulate": SimulateSection,
    "hooks": HooksSection,
}
"""The sections inside a plan, a task and the defaults, by their keys."""


def keys_of(section: type[Section]) -> list[str]:
    """What may stand in a section, as it is written."""
    return [field.alias or name for name, field in section.model_fields.items()]


class _PlanSchema(GenerateJsonSchema):
    """An absent key is absent: None does not appear in a file."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of a plan file, as it is printed by `plandeck schema`.

    A copy is shipped; `plandeck schema > engine/plan/plan.schema.json` renews it.
    """
    schema = PlanSection.model_json_schema(schema_generator=_PlanSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "plandeck plan"}
