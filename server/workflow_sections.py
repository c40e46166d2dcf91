"""``[workflows]`` in ``crewyard.toml``: the stages that projects go through, and who works there (document 003)."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from . import names
from .sections import Delay, NotEmpty, Percent, Positive, Section, Timeout

Routing = Literal["least_loaded", "specialised", "nearest", "round_robin"]
HourOfDay = Annotated[int, Field(ge=0, le=23)]


class Worker(Section):
    """One of a stage's roster (R-250 to R-252)."""

    name: str = Field(..., description="Its id, such as dev-02.")
    specialities: list[NotEmpty] = Field(
        default_factory=list,
        description="Kinds of projects and complexities (simple, standard, complex) that it gets before others.",
    )
    location: str = Field("", description="Where it is; a project that names the same place is near (R-239).")
    agent: str | None = Field(None, description="Its agent type, where it is not the stage's.")

    @field_validator("name")
    @classmethod
    def _is_safe(cls, name: str) -> str:
        if not names.is_safe_task_id(name) or name != name.lower():
            raise ValueError(f"{name!r} is no name for a worker: lower-case {names.TASK_ID_RULE}")
        return name


class Stage(Section):
    """One workflow: its queue, its workers, what it hands over."""

    agent: str = Field(..., description="The agent type of its workers, one of `[agents]`.")
    instructions: str = Field("", description="What each of its workers is told beside the project.")
    output: dict[str, Any] = Field(
        default_factory=dict,
        description="JSON Schema of what its worker reports with `complete`; empty: anything. The next stage is told.",
    )
    hands_over: Literal["completed", "deployed"] = Field(
        "completed",
        description="When the next stage gets the project: with the end of this one, or as soon as its worker reports "
        "a deployment_url.",
    )
    check: list[str] = Field(default_factory=list, description="Command that its work must pass, as a task's `check`.")
    min_workers: Annotated[int, Field(ge=0)] = Field(1, description="It never has fewer.")
    max_workers: Positive = Field(3, description="Scaling stops there.")
    emergency_max: Positive | None = Field(
        None, description="How far an emergency may go beyond that for a while; unset: twice max_workers."
    )
    routing: Routing | None = Field(None, description="How its workers are chosen, in place of the common `routing`.")
    target_per_hour: Annotated[float, Field(gt=0)] | None = Field(
        None, description="What it is meant to finish in an hour; of a stage with `per_worker`, each of its workers."
    )
    per_worker: bool = Field(False, description="target_per_hour is that of each worker.")
    counts: str = Field(
        "", description="Field of its output that target_per_hour counts, a number or a list; empty: finished items."
    )
    workers: list[Worker] = Field(
        default_factory=list, description="Its roster, in the order in which workers come and stay longest."
    )

    @field_validator("output")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        from jsonschema import Draft202012Validator, SchemaError
        from referencing import Registry
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import DRAFT202012

        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"it is no JSON Schema: {error.message}") from error
        for pointer in _references(schema):
            try:
                Registry().resolver_with_root(DRAFT202012.create_resource(schema)).lookup(pointer)
            except Unresolvable as error:
                raise ValueError(f"{pointer!r} leads nowhere in it") from error
        return schema

    @model_validator(mode="after")
    def _range_is_one(self) -> "Stage":
        if self.min_workers > self.max_workers:
            raise ValueError("min_workers is above max_workers")
        if self.emergency_max is not None and self.emergency_max < self.max_workers:
            raise ValueError("emergency_max is below max_workers")
        return self

    @property
    def most_in_emergency(self) -> int:
        return 2 * self.max_workers if self.emergency_max is None else self.emergency_max


class Workflows(Section):
    """Projects that flow through stages, over a scaling pool of workers (document 003). Off without this table."""

    stages: dict[str, Stage] = Field(..., description="The stages by name, in their order.")
    routing: Routing = Field("least_loaded", description="Which worker gets a project (R-237 to R-241).")
    routes: dict[str, str] = Field(
        default_factory=dict, description="Worker by kind of project: gets it before the strategy is asked (R-241)."
    )
    review_immediately: bool = Field(
        False, description="Failed work goes to the review queue at once, without restarts (C-26)."
    )
    watch_seconds: Timeout = Field(30.0, description="How often queues are looked at, beside every change (R-242).")
    scale_up_depth: Positive = Field(10, description="More items waiting in a queue: a worker more (R-243).")
    scale_up_wait_minutes: Timeout = Field(30.0, description="Longer average wait: a worker more (R-246).")
    scale_up_utilisation: Percent = Field(80.0, description="Busier than this while items wait: a worker more.")
    scale_down_utilisation: Percent = Field(30.0, description="Less busy than this: an idle worker less (R-244).")
    scale_down_depth: Annotated[int, Field(ge=0)] = Field(3, description="Only with fewer items waiting (R-246).")
    scale_down_wait_minutes: Delay = Field(5.0, description="Only where those wait less than this on the average.")
    window_minutes: Timeout = Field(10.0, description="What utilisation and waits are averaged over (G-12).")
    cool_down_seconds: Delay = Field(
        120.0, description="Rest of a queue after it was scaled; three times as long down."
    )
    overflow_depth: Positive = Field(
        20, description="More items waiting: alert, scale up, triage, notification (R-247)."
    )
    emergency_minutes: Timeout = Field(30.0, description="How long an emergency's workers stay at most (C-31).")
    heartbeat_minutes: Timeout = Field(5.0, description="A worker silent for longer has failed (R-248).")
    peak_hours: list[HourOfDay] = Field(
        default_factory=list,
        description="Hours of the day, UTC, with one worker more than the minimum from a quarter before; beside those "
        "learned of a week's arrivals (R-245).",
    )
    max_hours: Timeout = Field(6.0, description="A project is meant to take less from end to end (R-256).")
    administrators: list[str] = Field(
        default_factory=list,
        description="Agent types whose agents may use the emergency commands, beside the lead (G-20).",
    )
    shared_state: str = Field(
        "",
        description="Folder of the repository for the files that document 003 describes, such as shared-state; they "
        "are written for other programs and never read. Empty: none.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Workflows":
        if not self.stages:
            raise ValueError("stages is empty: [workflows.stages.NAME] describes one")
        for name in self.stages:
            if not names.AGENT_TYPE.fullmatch(name) or name == "review":
                raise ValueError(f"{name!r} is no name for a stage")
        roster = [worker.name for stage in self.stages.values() for worker in stage.workers]
        if twice := next((name for name, group in itertools.groupby(sorted(roster)) if len(list(group)) > 1), None):
            raise ValueError(f"the worker {twice} is there twice")
        if stranger := next((name for name in self.routes.values() if name not in roster), None):
            raise ValueError(f"routes names {stranger!r}, which is no worker of a stage")
        if self.scale_down_utilisation >= self.scale_up_utilisation:
            raise ValueError("scale_down_utilisation is not below scale_up_utilisation")
        if self.shared_state:
            names.check_folder(self.shared_state)
            if ".git" in self.shared_state.casefold().split("/"):
                raise ValueError("shared_state lies in git's own folder")
        return self


def _references(schema: object) -> Iterator[str]:
    """Every `$ref` in it; nothing is fetched from elsewhere, so each must lead to a part of the same schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)
