"""Bytes to text, and text to JSON data: what may come from anywhere, and must never bring us down."""

import json
import re
from typing import Any

from .fields import is_encodable, shown
from .notes import Notes

MAX_BYTES = 32 * 1024 * 1024


def decode(content: str | bytes, notes: Notes) -> str:
    """Text with ``\\n`` line ends. Refuses what is empty, binary or too large."""
    if len(content) > MAX_BYTES:
        notes.refuse(f"the plan is larger than {MAX_BYTES >> 20} MiB", hint="Split it into several plans.")
    if isinstance(content, bytes):
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            where = f"line {content.count(bytes([10]), 0, error.start) + 1}"
            notes.refuse(f"{where}: the file is not UTF-8 text", hint="Save it as UTF-8.")
    else:
        text = content.removeprefix("\ufeff")
    if "\0" in text or not is_encodable(text):
        notes.refuse("the file is binary, not text", hint="Give a plan in JSON, YAML, Markdown or JSON lines.")
    if not text.strip():
        notes.refuse("the file is empty", hint="A plan holds at least one task.")
    return re.sub(r"\r\n?", "\n", text)


def parse_json(text: str, notes: Notes, *, line: int | None = None) -> Any:
    """JSON without doubled keys; ``line`` is where the text stands in its file. Refuses anything else."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        at = f"line {line or error.lineno}, column {error.colno}"
        notes.refuse(f"{at}: broken JSON: {error.msg}", hint="Mend the JSON at that place.")
    except RecursionError:
        notes.refuse(_at(line) + "the JSON is nested too deeply", hint="A plan needs five levels.")
    except ValueError as error:
        notes.refuse(_at(line) + str(error), hint="Mend the JSON.")


def _at(line: int | None) -> str:
    return f"line {line}: " if line else ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        doubled = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        ids = [found[key] for key in ("task_id", "id", "spec_id") if isinstance(found.get(key), (str, int))]
        of = f" (in {shown(ids[0])})" if ids else ""
        raise ValueError(f"the key {shown(doubled)} stands twice in one object{of}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
