"""Whether what a command names is there: looked up before anything is done, so that a wrong name changes nothing."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidInput
from ..store import Row, Transaction
from ..workflows import projects, workers
from ..workflows.pipeline import Pipeline
from .base import EVERY, LEVELS, Argument, WorkflowCommand

REVIEW = "review"


def check(tx: Transaction, line: Pipeline, command: WorkflowCommand, given: Mapping[str, Any]) -> list[Row]:
    """The projects and workers that it names, as they stand.

    Raises WorkflowNotFound, ProjectNotFound, WorkerNotFound or InvalidInput, with the nearest name there is.
    """
    found = (_checked(tx, line, each, str(given[each.name])) for each in command.arguments if each.name in given)
    return [row for row in found if row is not None]


def _checked(tx: Transaction, line: Pipeline, argument: Argument, value: str) -> Row | None:
    match argument.kind:
        case "workflow":
            line.stage(value)
        case "workflows" if value != EVERY:
            line.stage(value)
        case "queue" if value != REVIEW:
            line.stage(value)
        case "project":
            return projects.get(tx, value)
        case "repository":
            return projects.by_repository(tx, value)
        case "worker":
            return workers.get(tx, value)
        case "level":
            projects.level(value)
        case "choice" if value not in argument.choices:
            raise _no_choice(argument.name, value, argument.choices)
    return None


def _no_choice(name: str, value: str, choices: Sequence[str]) -> InvalidInput:
    near = difflib.get_close_matches(value.lower(), choices, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Give {', '.join(choices)}."
    return InvalidInput(f"{name} has no value {value[:80]!r}.", hint=hint, argument=name)


def values(argument: Argument, stages: Sequence[str]) -> tuple[str, ...]:
    """What may be typed there, where that is known beforehand."""
    match argument.kind:
        case "workflow":
            return tuple(stages)
        case "workflows":
            return (EVERY, *stages)
        case "queue":
            return (*stages, REVIEW)
        case "level":
            return LEVELS
        case _:
            return argument.choices
