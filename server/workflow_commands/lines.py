"""A command as it is typed: ``/assign development P-7 dev-02``, ``/dispatch-genesis level=high A shop for tea``."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidInput
from . import named
from .base import Argument, WorkflowCommand

FILES = (".md", ".markdown", ".txt", ".rst", ".adoc")
_WORD = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[^\s"'])+|\S+)""")
_NAMED = re.compile(r"(\w+)=(.*)", re.DOTALL)


def read(line: str, stages: Sequence[str]) -> tuple[WorkflowCommand, dict[str, Any]]:
    """The command of a line and what was given with it. Raises InvalidInput."""
    words = line.split(maxsplit=1)
    if not words:
        raise InvalidInput("No command was given.", hint="`crewyard workflow` lists them.")
    command = named(words[0], stages)
    return command, filled(command, _given(command, "".join(words[1:])))


def filled(command: WorkflowCommand, given: Mapping[str, str]) -> dict[str, Any]:
    """What was given, with the defaults in it; blanks count as not given. Raises InvalidInput for what is missing."""
    found: dict[str, Any] = {name: text for name, value in given.items() if (text := value.strip())}
    for each in command.arguments:
        text = found.get(each.name, "")
        if each.or_file and len(text.split()) == 1 and text.lower().endswith(FILES) and "://" not in text:
            found[each.or_file] = found.pop(each.name)
        if each.name not in found and each.default:
            found[each.name] = each.default
        if each.required and each.name not in found and each.or_file not in found:
            raise InvalidInput(
                f"/{command.name} needs {each.name}: {each.description}.", hint=command.usage, argument=each.name
            )
        if each.kind == "number" and each.name in found:
            found[each.name] = _number(each.name, text)
    return found


def _given(command: WorkflowCommand, rest: str) -> dict[str, str]:
    given: dict[str, str] = {}
    free = list(command.placed)
    at = 0
    while (word := _WORD.match(rest, at)) is not None:
        by_name = _NAMED.fullmatch(word[1])
        known = command.argument(by_name[1]) if by_name else None
        if by_name and known is not None and known.name not in given:
            begin = word.start(1) + len(by_name[1]) + 1
            at = len(rest) if known.takes_rest else word.end()
            given[known.name] = _unquoted(rest[begin:at])
            free = [each for each in free if each is not known]
            continue
        if not free:
            raise _one_too_many(command, word[1])
        place: Argument = free.pop(0)
        at = len(rest) if place.takes_rest else word.end()
        given[place.name] = _unquoted(rest[word.start(1) : at])
    return given


def _unquoted(text: str) -> str:
    """Without the quotation marks around all of it."""
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]
    return text[1:-1] if is_quoted else text


def _one_too_many(command: WorkflowCommand, word: str) -> InvalidInput:
    what = "takes no arguments" if not command.arguments else "takes no more arguments"
    return InvalidInput(f"/{command.name} {what}; {word[:80]!r} is one too many.", hint=command.usage)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise InvalidInput(f"{name} is a number, not {text[:80]!r}.", hint="Give one.", argument=name) from error
    return int(number) if number.is_integer() else number
