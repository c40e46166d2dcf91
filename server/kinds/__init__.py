"""Agent programs: one file each, chosen by ``kind`` in crewyard.toml."""

from ..errors import ConfigurationError
from .base import Kind, Launch
from .command import Command
from .scripted import Scripted

__all__ = ["KINDS", "Kind", "Launch", "of"]

KINDS: dict[str, Kind] = {"command": Command(), "scripted": Scripted()}


def of(name: str, kind: str) -> Kind:
    """The kind of agent type ``name``. Raises ConfigurationError where this version cannot start it."""
    try:
        return KINDS[kind]
    except KeyError:
        raise ConfigurationError(
            f"agents.{name}: agents of kind {kind!r} cannot be started by this version.",
            hint=f'Use kind = "command" with command = ["{kind}", …], which starts any program.',
        ) from None
