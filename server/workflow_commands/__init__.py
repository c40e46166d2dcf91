"""The slash commands of document 003 (R-203 to R-229), by what they are about; each is defined once.

A definition says what is typed and which calls of tools that is. MCP prompts and ``crewyard workflow`` are two faces
over it. Beside the document's are those that its rules need (G-10, G-11, R-205, R-216, R-262) and its two procedures.
"""

import difflib
from collections.abc import Sequence

from ..errors import InvalidInput
from . import analysing, dispatching, emergencies, queueing, staffing, watching
from .base import Argument, Kind, Step, WorkflowCommand

__all__ = ["Argument", "Kind", "Step", "WorkflowCommand", "commands", "is_emergency", "named"]


def commands(stages: Sequence[str]) -> tuple[WorkflowCommand, ...]:
    """Those of a pipeline of these stages."""
    return (
        *watching.COMMANDS,
        *queueing.COMMANDS,
        *staffing.COMMANDS,
        *dispatching.commands(stages),
        *analysing.COMMANDS,
        *emergencies.COMMANDS,
    )


def is_emergency(line: str) -> bool:
    """Whether a line as it is typed gives an emergency command, whatever the stages are."""
    return line.split(maxsplit=1)[0].removeprefix("/") in _EMERGENCIES if line.strip() else False


_EMERGENCIES = {each.name for each in commands(("first",)) if each.is_emergency}


def named(name: str, stages: Sequence[str]) -> WorkflowCommand:
    """The command of this name, with or without its slash. Raises InvalidInput, with the nearest name there is."""
    known = {each.name: each for each in commands(stages)}
    if (found := known.get(name.removeprefix("/"))) is not None:
        return found
    near = difflib.get_close_matches(name.removeprefix("/").lower(), known, n=1)
    hint = f"Did you mean '/{near[0]}'?" if near else f"There are: {', '.join(f'/{each}' for each in known)}."
    raise InvalidInput(f"There is no command {name[:80]!r}.", hint=hint, command=name[:80])
