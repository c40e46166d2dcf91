"""What a command takes, in words: for the command line and for docs/commands/."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .base import Command

NAMES = {str: "text", bool: "true or false", int: "whole number", float: "number"}
BOUNDS = {"gt": "above {}", "ge": "at least {}", "le": "at most {}"}


@dataclass(frozen=True)
class Parameter:
    """``default`` as text; what is needed has none."""

    key: str
    kind: str
    default: str
    meaning: str
    is_needed: bool


def parameters_of(command: Command) -> list[Parameter]:
    """Its own parameters first, then what all commands take."""
    found = [
        Parameter(
            name.upper(),
            _kind(field.annotation, field.metadata),
            _default(field),
            field.description or ("what to do" if name == "action" else ""),
            field.is_required(),
        )
        for name, field in command.parameters.model_fields.items()
    ]
    shared = [each for each in found if each.key == "ORCHESTRATOR_INSTANCE_ID"]
    return [each for each in found if each not in shared] + shared


def _default(field: FieldInfo) -> str:
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    return "none" if value is None else json.dumps(value)


def _kind(annotation: Any, constraints: Iterable[object] = ()) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return _kind(*get_args(annotation)[:1])
    options = [each for each in get_args(annotation) if each is not NoneType]
    if get_origin(annotation) is list:
        inner = _kind(options[0])
        return f"list of {inner}s, as JSON or with commas between"
    if get_origin(annotation) is dict:
        return "object, as JSON"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    if options:
        return " or ".join(dict.fromkeys(_kind(each) for each in options)) + _bounds(constraints)
    return NAMES.get(annotation, "text") + _bounds(constraints)


def _bounds(constraints: Iterable[object]) -> str:
    told = [
        f", {phrase.format(getattr(constraint, name))}"
        for constraint in constraints
        for name, phrase in BOUNDS.items()
        if getattr(constraint, name, None) is not None
    ]
    return "".join(told)
