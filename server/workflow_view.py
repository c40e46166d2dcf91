"""The answer of a tool as lines for a person: its facts, and its lists as tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .wording import cut

FRAME = ("action", "status", "timestamp", "unread", "note")
CELL, LAST_CELL = 48, 200
GAP = "  "


def lines_of(answer: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """What is not there is left out; a note comes last."""
    tables = {name: value for name, value in answer.items() if _is_table(value)}
    for name, value in answer.items():
        if name in tables or (not indent and name in FRAME) or value in (None, "", [], {}):
            continue
        if isinstance(value, Mapping) and not _is_flat(value):
            yield f"{indent}{_worded(name)}:"
            yield from lines_of(value, indent + GAP)
        else:
            yield f"{indent}{_worded(name)}: {_said(value)}"
    for name, rows in tables.items():
        yield f"{indent}{_worded(name)}:"
        yield from (f"{indent}{GAP}{line}" for line in table(rows))
    if not indent and answer.get("note"):
        yield str(answer["note"])


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line each, under the names of what they hold; what none of them holds has no column."""
    columns = list(
        dict.fromkeys(name for row in rows for name, value in row.items() if value not in (None, "", [], {}))
    )
    limits = [CELL] * (len(columns) - 1) + [LAST_CELL]
    cells = [
        [cut(_said(row.get(name, "")), limit) for name, limit in zip(columns, limits, strict=True)] for row in rows
    ]
    widths = [max(len(name), *(len(row[at]) for row in cells)) for at, name in enumerate(columns)]
    for row in [[_worded(name).upper() for name in columns], *cells]:
        yield GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _is_flat(value: Mapping[str, Any]) -> bool:
    return all(not isinstance(each, Mapping | list) for each in value.values())


def _worded(name: str) -> str:
    return name.replace("_", " ")


def _said(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_worded(name)} {_said(each)}" for name, each in value.items() if each not in (None, ""))
    if isinstance(value, list):
        return ", ".join(_said(each) for each in value)
    return " ".join(str(value).split())
