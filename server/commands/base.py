"""What a command is: typed parameters and a typed answer, what it touches and keeps to, and the code that does it."""

import difflib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import CrewyardError, InvalidInput
from ..identity import Caller
from ..yard import Yard

T = TypeVar("T")


def from_json(text: str) -> Any:
    """Raises ValueError, which is pydantic's to tell."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("It is nested too deeply") from error


def _from_text(value: Any) -> Any:
    """A list or an object that was given as text: JSON, or names with commas between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        return from_json(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Listed = Annotated[list[T], BeforeValidator(_from_text)]


class Parameters(BaseModel):
    """What a command takes, by upper-case keys; text is read as the number, switch or list that it stands for."""

    model_config = ConfigDict(alias_generator=str.upper, extra="forbid", frozen=True, allow_inf_nan=False)

    orchestrator_instance_id: Annotated[
        str | None, Field(pattern=r"^orch-\d{8}-\d{3}$", description="recorded with what the command changes")
    ] = None


class Answer(BaseModel):
    """What a command found or did. ``success``, ``action`` and ``timestamp`` are added by whoever invokes it."""

    model_config = ConfigDict(frozen=True)


@contextmanager
def told_as(kind: type[CrewyardError], *, of: type[CrewyardError]) -> Iterator[None]:
    """What is refused with ``of`` bears the documents' name for it here."""
    try:
        yield
    except of as error:
        raise kind(error.message, hint=error.hint, **error.details) from error


def required(command: str, action: str, name: str, value: str | None) -> str:
    """The value of a parameter that this action cannot do without. Raises InvalidInput."""
    if not value:
        raise InvalidInput(f"{command} with ACTION={action} needs {name}.", hint=f"Give {name}=….", parameter=name)
    return value


@dataclass(frozen=True)
class Example:
    """A call for the documentation, which shows what it really answers."""

    shows: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """One of the fifteen. ``acts``: it needs git or processes, and so a supervisor while it runs.

    ``run(yard, caller, given)`` raises the ``errors``. ``reads`` and ``writes`` are tables, ``rules`` the documents'
    rules that it keeps (CFR-000 and so on).
    """

    name: str
    purpose: str
    parameters: type[Parameters]
    answer: type[Answer]
    run: Callable[[Yard, Caller, Any], Awaitable[Answer]]
    reads: tuple[str, ...]
    writes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    errors: tuple[type[CrewyardError], ...] = ()
    criteria: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()  # from the documents, and why
    examples: tuple[Example, ...] = ()
    acts: bool = False

    @property
    def action(self) -> str:
        return self.name.replace("-", "_")

    def given(self, parameters: Mapping[str, Any]) -> Parameters:
        """The parameters as this command takes them. Raises InvalidInput, naming the one that is wrong."""
        try:
            given = self.parameters.model_validate({str(key).upper(): value for key, value in parameters.items()})
        except ValidationError as error:
            raise self._refusal(error) from error
        try:
            json.dumps(given.model_dump(mode="json"), ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:  # what asks for a change is kept, with what it was asked with
            raise InvalidInput(
                f"The parameters of {self.name} cannot be written down: {error}.",
                hint="Give text in UTF-8, finite numbers, and lists and objects of these.",
            ) from error
        return given

    def _refusal(self, error: ValidationError) -> InvalidInput:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = [name.upper() for name in self.parameters.model_fields]
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(known)}."
            return InvalidInput(f"{self.name} takes no {where}.", hint=hint, parameter=where)
        if first["type"] == "missing":
            return InvalidInput(f"{self.name} needs {where}.", hint=f"Give {where}=….", parameter=where)
        return InvalidInput(f"{where}: {first['msg']}.", hint=f"It was {first['input']!r:.100}.", parameter=where)
