"""Lines of JSON, as the programs print their events."""

import json
from collections.abc import Iterator
from typing import Any


def of_line(line: str) -> dict[str, Any] | None:
    """The object that a line holds; None for any other text."""
    text = line.strip()
    if not text.startswith("{"):
        return None
    try:
        parsed = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # half of a pair, say, which no file and no database takes
            parsed = json.loads(json.dumps(parsed, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def lines(output: str) -> list[str]:
    """The lines of an output. JSON may hold any other sign that ``str.splitlines`` takes for a line's end."""
    return output.removesuffix("\n").split("\n")


def of_lines(output: str) -> Iterator[dict[str, Any]]:
    """The objects among the lines of an output; what else there is is passed over."""
    for line in lines(output):
        parsed = of_line(line)
        if parsed is not None:
            yield parsed


def besides(output: str) -> str:
    """What an output holds beside its events: the program's own words, for a model's stand in events.

    Half an event, as of a program that was ended in the middle of it, is an event.
    """
    return "\n".join(line for line in lines(output) if line.strip() and not line.lstrip().startswith("{"))


def text(value: object) -> str | None:
    """A text that says something; None for anything else that a program may have put in its place."""
    return value if isinstance(value, str) and value else None
