"""``crewyard.toml`` and its environment variables, checked whole before anything is used (contract 5).

Every key has a default. ``CREWYARD_<SECTION>_<KEY>`` overrides the file for the sections of fixed keys; a list is
given as JSON. An unknown key or a wrong value is a ConfigurationError that names file, key and the nearest
right key.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from . import names
from .errors import ConfigurationError

FILE_NAME = "crewyard.toml"
ONE_YEAR = 366 * 24 * 3600
Positive = Annotated[int, Field(gt=0)]
Delay = Annotated[float, Field(ge=0, le=ONE_YEAR)]
Timeout = Annotated[float, Field(gt=0, le=ONE_YEAR)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Crew(Section):
    """How a crew is run."""

    integration_branch: str = Field(
        "roadmap", description="Branch that the work is merged into; made from HEAD where it is missing."
    )
    max_parallel: Positive = Field(4, description="Agents of one dispatch that work at the same time.")
    default_agent: str = Field(
        "code_developer",
        description="Agent type of a task that names none. Where just one agent is configured, that one.",
    )
    data_dir: str = Field("data", description="Databases, logs and run files, relative to the repository's root.")
    worktree_path: str = Field(
        ".worktrees/implementation_task-{task_id}",
        description="Where a task's worktree lies, relative to the repository's root.",
    )
    branch_name: str = Field("roadmap-implementation_task-{task_id}", description="Name of a task's branch.")
    profile: Literal["task", "team"] = Field(
        "task", description="Delays before restarts: task 2, 4, 8 s (at most 120), team 60, 120, 240 s."
    )
    max_restarts: Annotated[int, Field(ge=0)] = Field(
        3, description="Restarts of a failed agent before its task goes to review."
    )
    restart_backoff_seconds: Delay | None = Field(
        None, description="First delay before a restart, in place of the profile's."
    )
    restart_backoff_cap_seconds: Delay | None = Field(
        None, description="Longest delay before a restart, in place of the profile's."
    )
    grace_period_seconds: Delay = Field(10.0, description="Time between SIGTERM and SIGKILL when an agent is ended.")
    on_exit: Literal["detach", "stop"] = Field(
        "detach", description="What a server that ends does with its agents: leave them running, or end them."
    )

    @field_validator("worktree_path", "branch_name")
    @classmethod
    def _has_the_task(cls, template: str, info: ValidationInfo) -> str:
        names.check_template(str(info.field_name), template)
        return template

    @field_validator("integration_branch", "branch_name")
    @classmethod
    def _is_a_branch(cls, name: str, info: ValidationInfo) -> str:
        names.check_branch(str(info.field_name), name.replace("{task_id}", "1"))
        if "integration_branch" in info.data:
            names.check_apart(info.data["integration_branch"], name.replace("{task_id}", "1"))
        return name

    @field_validator("data_dir")
    @classmethod
    def _lies_in_the_repository(cls, folder: str) -> str:
        path = Path(folder)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"{folder!r} is no folder below the repository's root")
        return folder


class Agent(Section):
    """One type of agent."""

    kind: Literal["claude", "codex", "gemini", "opencode", "command", "scripted"] = Field(
        "command", description="The program that it is. This version starts `command` and `scripted`."
    )
    command: list[str] = Field(
        default_factory=list, description="Kind `command`: the program and its arguments, with placeholders."
    )
    environment: list[str] = Field(
        default_factory=list, description="Environment variables that it gets from ours, beside the built-in few."
    )
    max_instances: Positive | None = Field(
        None, description="How many of this type work at the same time; no limit of its own where unset."
    )
    timeout_seconds: Timeout = Field(3600.0, description="After this time the agent is ended.")
    memory_limit_mb: Positive | None = Field(
        None, description="Beyond this resident memory of its whole process tree the agent is ended."
    )

    @model_validator(mode="after")
    def _command_is_there(self) -> "Agent":
        if self.kind == "command" and not self.command:
            raise ValueError("kind 'command' needs command = [program, argument, …]")
        if self.kind != "command" and self.command:
            raise ValueError(f"kind {self.kind!r} takes no command; kind = 'command' starts any program")
        return self


class Merge(Section):
    """What must hold before work reaches the integration branch."""

    check: list[str] = Field(
        default_factory=list, description="Command run on the merged tree; only what passes moves the branch."
    )
    check_timeout_seconds: Timeout = Field(1800.0, description="A check that takes longer has failed.")
    max_attempts: Positive = Field(
        3,
        description="How often a task is sent back by conflicts or failed checks, and how often a merge waits for a "
        "checkout that is in the way, before it goes to review.",
    )
    retry_seconds: Delay = Field(
        10.0, description="Wait before a merge is tried again that a checkout was in the way of."
    )
    authorized_roles: list[str] = Field(
        default_factory=lambda: ["architect"],
        description="Roles whose agents may approve merges where auto_approve is off. Not in use yet: for now only the "
        "lead approves, by worktrees(action='merge', approve=true).",
    )
    auto_approve: bool = Field(True, description="Merge what is complete without waiting for an approval.")
    union: list[str] = Field(
        default_factory=list, description="Files (patterns) whose conflicting additions are both kept."
    )


class Messages(Section):
    """The message queue."""

    lease_seconds: Timeout = Field(
        60.0, description="A polled message that is not acknowledged by then is delivered again."
    )
    max_queue: Positive = Field(1000, description="Messages waiting in all; beyond it `route send` answers queue_full.")


class Plans(Section):
    """Reading plans."""

    subtasks: Literal["auto", "tasks", "description"] = Field(
        "auto",
        description="Task Master's subtasks become tasks of their own, or part of their parent's description; "
        "auto: tasks where they have dependencies.",
    )


class Settings(Section):
    """The whole of ``crewyard.toml``."""

    crew: Crew = Crew()
    agents: dict[str, Agent] = Field(default_factory=dict)
    merge: Merge = Merge()
    messages: Messages = Messages()
    plans: Plans = Plans()

    @model_validator(mode="after")
    def _agent_names_are_safe(self) -> "Settings":
        for name in self.agents:
            names.check_agent_type(name)
        return self

    @property
    def default_agent(self) -> str:
        """The type of agent that a task without one gets."""
        if self.crew.default_agent not in self.agents and len(self.agents) == 1:
            return next(iter(self.agents))
        return self.crew.default_agent

    @property
    def built_in(self) -> dict[str, Agent]:
        """Agents that are there without being configured."""
        return {"scripted": Agent(kind="scripted")}

    def agent(self, name: str) -> Agent:
        """The agent type ``name``. Raises ConfigurationError, with the nearest name there is."""
        known = {**self.built_in, **self.agents}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"Did you mean {near[0]!r}?"
            if near
            else f"`crewyard init` writes a {FILE_NAME}; add [agents.{name}] to it."
        )
        raise ConfigurationError(
            f"There is no agent type {name!r}; configured: {', '.join(self.agents) or 'none'}.", hint=hint
        )

    @property
    def backoff(self) -> tuple[float, float]:
        """First delay and cap, in seconds, of restarts (C-01)."""
        base, cap = {"task": (2.0, 120.0), "team": (60.0, 240.0)}[self.crew.profile]
        own_base, own_cap = self.crew.restart_backoff_seconds, self.crew.restart_backoff_cap_seconds
        return (base if own_base is None else own_base, cap if own_cap is None else own_cap)


def load(root: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings of the repository at ``root``. Raises ConfigurationError."""
    path = root / FILE_NAME
    values = _read(path)
    origin = _apply_environment(values, environ)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _explained(error, path, origin) from error


def sections() -> dict[str, type[Section]]:
    """The tables of fixed keys, by name; ``agents`` has a table for each type instead."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def variables() -> dict[str, tuple[str, str]]:
    """Each environment variable that is read, with the section and key that it sets."""
    return {
        f"CREWYARD_{section}_{key}".upper(): (section, key)
        for section, model in sections().items()
        for key in model.model_fields
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", hint="Make it a readable file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}", hint="Mend the file's TOML.") from error


def _apply_environment(values: dict[str, Any], environ: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Lay the environment over ``values``; returns which variable set which key."""
    known = variables()
    prefixes = tuple(f"CREWYARD_{section}_".upper() for section in sections())
    origin: dict[tuple[str, str], str] = {}
    for variable in sorted(name for name in environ if name.startswith(prefixes)):
        if variable not in known:
            raise ConfigurationError(f"{variable} sets nothing in Crewyard.", hint=_nearest(variable, list(known)))
        section, key = known[variable]
        table = values.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = _typed(environ[variable], sections()[section].model_fields[key].annotation)
            origin[section, key] = variable
    return origin


def _typed(text: str, annotation: object) -> Any:
    """A variable's text as the file would hold it. Text that is no JSON stays text, for the check to refuse."""
    if annotation is str or get_origin(annotation) is Literal:
        return text
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except json.JSONDecodeError:
        return text


def _explained(error: ValidationError, path: Path, origin: dict[tuple[str, str], str]) -> ConfigurationError:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    variable = origin.get((location[0], location[1])) if len(location) > 1 else None
    place = variable or (f"{path}: {key}" if key else str(path))
    if first["type"] == "extra_forbidden":
        hint = _nearest(location[-1], _known_keys(location[:-1]))
        return ConfigurationError(f"{place} is no setting of Crewyard.", hint=hint, key=key)
    message = first["msg"].removeprefix("Value error, ")
    hint = (
        'Write a list as ["a", "b"].' if first["type"] == "list_type" else "docs/configuration.md lists every setting."
    )
    return ConfigurationError(f"{place}: {message}", hint=hint, key=key)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."


def _known_keys(location: list[str]) -> list[str]:
    if not location:
        return list(Settings.model_fields)
    model = Agent if location[0] == "agents" else sections()[location[0]]
    return list(model.model_fields)
