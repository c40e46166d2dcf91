"""``crewyard.toml`` and its environment variables, checked whole before anything is used (contract 5).

Every key has a default. ``CREWYARD_<SECTION>_<KEY>`` overrides the file for the sections of fixed keys; a list is
given as JSON. An unknown key or a wrong value is a ConfigurationError that names file, key and the nearest
right key.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import Field, ValidationError, model_validator

from . import names
from .errors import ConfigurationError
from .sections import Agent, Crew, Health, Http, Launch, Merge, Messages, Monitoring, Plans, Section, Worktree
from .workflow_sections import Stage, Worker, Workflows

FILE_NAME = "crewyard.toml"
FAILED_STARTS_FACTOR = 5

_BUILT_IN = {kind: Agent.model_validate({"kind": kind}) for kind in names.BUILT_IN}

HTTP_TOKEN = "CREWYARD_HTTP_TOKEN"  # noqa: S105  (a variable's name: a secret has no place in a file of settings)


class Settings(Section):
    """The whole of ``crewyard.toml``."""

    crew: Crew = Crew()
    agents: dict[str, Agent] = Field(default_factory=dict)
    health: Health = Health()
    launch: Launch = Launch()
    worktree: Worktree = Worktree()
    merge: Merge = Merge()
    messages: Messages = Messages()
    monitoring: Monitoring = Monitoring()
    http: Http = Http()
    plans: Plans = Plans()
    workflows: Workflows | None = None

    @model_validator(mode="after")
    def _agent_names_are_safe(self) -> "Settings":
        for name in self.agents:
            names.check_agent_type(name)
        return self

    @model_validator(mode="after")
    def _stages_have_agents(self) -> "Settings":
        for name, stage in self.workflows.stages.items() if self.workflows else ():
            for agent in (stage.agent, *(worker.agent for worker in stage.workers if worker.agent)):
                if agent not in {**self.agents, **self.built_in}:
                    raise ValueError(f"workflows.stages.{name}: there is no agent type {agent!r} in [agents]")
        return self

    @property
    def stages(self) -> list[str]:
        """The workflows in their order."""
        return list(self.workflows.stages) if self.workflows else []

    @property
    def default_agent(self) -> str:
        """The type of agent that a task without one gets."""
        if self.crew.default_agent not in self.agents and len(self.agents) == 1:
            return next(iter(self.agents))
        return self.crew.default_agent

    @property
    def built_in(self) -> dict[str, Agent]:
        """Agents that are there without being configured.

        A program that is configured goes by the names that it was given there: no task gets it without its settings.
        """
        taken = {agent.kind for agent in self.agents.values()} - {"scripted"}
        return {kind: agent for kind, agent in _BUILT_IN.items() if kind not in taken}

    def agent(self, name: str) -> Agent:
        """The agent type ``name``. Raises ConfigurationError, with the nearest name there is."""
        known = {**self.built_in, **self.agents}
        if name in known:
            return known[name]
        of_kind = [each for each, agent in self.agents.items() if agent.kind == name]
        if of_kind:
            raise ConfigurationError(
                f"There is no agent type {name!r}: {name} is configured as {', '.join(of_kind)}.",
                hint=f"Name {of_kind[0]!r}, or add [agents.{name}] to {FILE_NAME}.",
            )
        near = difflib.get_close_matches(name, [*known, *(agent.kind for agent in self.agents.values())], n=1)
        hint = (
            f"Did you mean {near[0]!r}?"
            if near
            else f"`crewyard init` writes a {FILE_NAME}; add [agents.{name}] to it."
        )
        raise ConfigurationError(
            f"There is no agent type {name!r}; configured: {', '.join(self.agents) or 'none'}; "
            f"there without a table: {', '.join(self.built_in)}.",
            hint=hint,
        )

    @property
    def instance_limits(self) -> dict[str, int]:
        """How many agents of a type may work at the same time; a type that is not in it has no bound (C-15)."""
        if self.launch.singleton_scope == "type":
            return dict.fromkeys({**self.built_in, **self.agents}, 1)
        return {name: agent.max_instances for name, agent in self.agents.items() if agent.max_instances}

    @property
    def backoff(self) -> tuple[float, float]:
        """First delay and cap, in seconds, of restarts (C-01)."""
        base, cap = {"task": (2.0, 120.0), "team": (60.0, 240.0)}[self.crew.profile]
        own_base, own_cap = self.crew.restart_backoff_seconds, self.crew.restart_backoff_cap_seconds
        return (base if own_base is None else own_base, cap if own_cap is None else own_cap)

    @property
    def pool_size(self) -> int:
        """How many clean worktrees are kept; a sparse one is quickly made anew."""
        return 0 if self.worktree.sparse else self.worktree.pool

    @property
    def failed_starts_pause(self) -> float:
        """Seconds of the first hold after repeated failed starts."""
        own = self.launch.failed_starts_pause_seconds
        return FAILED_STARTS_FACTOR * self.backoff[0] if own is None else own

    @property
    def restarts_stalled(self) -> bool:
        """Whether a stalled agent is ended and started again (C-09)."""
        return (self.health.on_stalled or {"task": "restart", "team": "warn"}[self.crew.profile]) == "restart"


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
    for variable in sorted(name for name in environ if name.startswith(prefixes) and name != HTTP_TOKEN):
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
    if first["type"] == "literal_error":
        hint = _nearest(str(first["input"]), re.findall(r"'([^']+)'", first["ctx"]["expected"]))
        return ConfigurationError(f"{place}: {first['msg']}, not {first['input']!r}", hint=hint, key=key)
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
    if location[0] == "workflows":
        model: type[Section] = Workflows if len(location) == 1 else Worker if "workers" in location else Stage
    else:
        model = Agent if location[0] == "agents" else sections()[location[0]]
    return list(model.model_fields)
