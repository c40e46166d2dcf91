"""Agent programs: one file each, chosen by ``kind`` in crewyard.toml."""

from ..errors import ConfigurationError
from ..sections import Agent
from ..settings import FILE_NAME
from . import permissions
from .base import Heard, Kind, Launch, Start
from .claude import Claude
from .codex import Codex
from .command import Command
from .gemini import Gemini
from .opencode import Opencode
from .program import Program
from .scripted import Scripted

__all__ = [
    "ANY",
    "KINDS",
    "Command",
    "Heard",
    "Kind",
    "Launch",
    "Program",
    "Start",
    "can_call",
    "goes_on",
    "is_kept_from_steering",
    "named",
    "of",
    "programs",
    "steers",
]

KINDS: dict[str, Kind] = {
    "claude": Claude(),
    "codex": Codex(),
    "command": Command(),
    "gemini": Gemini(),
    "opencode": Opencode(),
    "scripted": Scripted(),
}
ANY: Kind = KINDS["command"]  # what is said of agents whose kind another version knew


def of(name: str, kind: str) -> Kind:
    """The kind of agent type ``name``. Raises ConfigurationError where this version cannot start it."""
    try:
        return KINDS[kind]
    except KeyError:
        raise ConfigurationError(
            f"agents.{name}: agents of kind {kind!r} cannot be started by this version.",
            hint=f'Use kind = "command" with command = ["{kind}", …], which starts any program.',
        ) from None


def can_call(agent: Agent) -> bool:
    """Whether agents of this type can call Crewyard's tools, so that they are told of them and fetch their mail."""
    is_told_where = any("{mcp_config}" in word for word in (*agent.command, *agent.resume_command))
    return named(agent.kind).polls or is_told_where


def goes_on(agent: Agent) -> bool:
    """Whether agents of this type can go on with the conversation of the one before."""
    return bool(agent.resume_command) or agent.kind not in ("command", "scripted")


def named(kind: str) -> Kind:
    """The kind of an agent that is on record."""
    return KINDS.get(kind, ANY)


def steers(path: str) -> bool:
    """Whether an agent program, or Crewyard itself, executes a file of a repository or takes settings from it.

    Some file systems do not tell letters' cases apart, so neither does this.
    """
    names = {FILE_NAME, *(name for program in programs().values() for name in program.steered_by)}
    return not names.isdisjoint(path.casefold().split("/"))


def is_kept_from_steering(agent_type: str, kind: str, agent: Agent | None) -> bool:
    """Whether agents of this type may not run what they like; ``agent`` is None where the settings know it no more."""
    return named(kind).program is not None and (agent is None or permissions.of(agent_type, agent) != "run")


def programs() -> dict[str, Program]:
    """The programs that have a kind of their own, by its name."""
    return {name: kind.program for name, kind in KINDS.items() if kind.program is not None}
