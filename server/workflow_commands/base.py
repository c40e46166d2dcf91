"""What a slash command is: what is typed, and which calls of tools that is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..next_calls import call

# What a value names; it is checked before anything is done, and completed while it is typed.
Kind = Literal["text", "number", "queue", "workflow", "workflows", "project", "repository", "worker", "level", "choice"]

LEVELS = ("urgent", "high", "normal", "low")
EVERY = "all"
_VALUE = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Argument:
    """One that is typed in its place, or as ``name=value``.

    ``takes_rest``: it is the rest of the line, spaces and all. ``by_name_only``: it has no place. A prompt has no such
    arguments, since clients hand over what was typed by place. ``or_file``: a file's name there is that argument.
    """

    name: str
    description: str
    kind: Kind = "text"
    required: bool = False
    default: str = ""
    choices: tuple[str, ...] = ()
    takes_rest: bool = False
    by_name_only: bool = False
    or_file: str = ""


@dataclass(frozen=True)
class Step:
    """A call of a tool. ``"{name}"`` stands for an argument of the command; one that was not given is left out."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def filled(self, given: Mapping[str, Any]) -> dict[str, Any]:
        filled = {}
        for name, value in self.arguments.items():
            if not isinstance(value, str):
                filled[name] = value
            elif (asked := _VALUE.fullmatch(value)) is None:
                filled[name] = _VALUE.sub(lambda found: str(given.get(found[1], "")), value)
            elif (of_command := given.get(asked[1], "")) != "":
                filled[name] = of_command
        return filled

    def as_call(self, given: Mapping[str, Any]) -> str:
        return call(self.tool, **self.filled(given))


@dataclass(frozen=True)
class WorkflowCommand:
    """``is_emergency``: only the lead and administrators may give it, and each use is audited (G-20).

    ``opens_incident``: that leaves an incident behind besides, unless one of the steps reports one. A command with
    several steps does them in this order, each whatever came of the one before.
    """

    name: str
    title: str
    purpose: str
    requirement: str
    steps: tuple[Step, ...]
    arguments: tuple[Argument, ...] = ()
    only_looks: bool = False
    is_emergency: bool = False
    opens_incident: bool = False

    @property
    def usage(self) -> str:
        """As it is typed: what is needed in angle brackets, the rest in square ones."""
        words = [f"/{self.name}"]
        for each in sorted(self.arguments, key=lambda argument: argument.takes_rest):
            inner = f"{each.name}=…" if each.by_name_only else f"{each.name}…" if each.takes_rest else each.name
            words.append(f"<{inner}>" if each.required else f"[{inner}]")
        return " ".join(words)

    @property
    def placed(self) -> tuple[Argument, ...]:
        return tuple(each for each in self.arguments if not each.by_name_only)

    def argument(self, name: str) -> Argument | None:
        return next((each for each in self.arguments if each.name == name), None)

    def calls(self, given: Mapping[str, Any]) -> list[str]:
        return [step.as_call(given) for step in self.steps]
