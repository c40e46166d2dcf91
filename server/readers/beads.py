"""Beads' ``issues.jsonl``: one issue a line, edges under ``dependencies`` (contract 9)."""

from dataclasses import dataclass, field
from typing import Any

from .draft import PlanDraft, TaskDraft
from .fields import ANSI, Fields, hours_of, shown
from .notes import Notes
from .syntax import parse_json

FORMAT = "beads"
PRIORITIES = {0: 1, 1: 2, 2: 5, 3: 7, 4: 8}
STATUSES = {"closed": "completed", "cancelled": "cancelled", "canceled": "cancelled"}
TOMBSTONE = "tombstone"
SOFT_TYPES = ("related", "discovered-from")
TEXTS = (("design", "Design"), ("acceptance_criteria", "Acceptance criteria"), ("notes", "Notes"))


@dataclass
class _Edges:
    """What one task waits for."""

    hard: dict[str, None] = field(default_factory=dict)
    soft: dict[str, None] = field(default_factory=dict)


def is_issue(data: Any) -> bool:
    """Whether one line's data is an issue of Beads."""
    return (
        isinstance(data, dict) and "id" in data and "tasks" not in data and bool({"title", "issue_type"} & data.keys())
    )


def read(text: str, notes: Notes) -> PlanDraft:
    """A plan from the lines of an issues.jsonl."""
    issues = _issues(text, notes)
    gone = {key for key, fields, _ in issues if fields.text("status") == TOMBSTONE}
    for key in sorted(gone):
        notes.warn("a tombstone is left out", key)
    live = [issue for issue in issues if issue[0] not in gone]
    edges = _edges(live, gone, notes)
    return PlanDraft(
        tuple(_draft(key, fields, edges[key], source) for key, fields, source in live), format=FORMAT, name=notes.name
    )


def _issues(text: str, notes: Notes) -> list[tuple[str, Fields, str]]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        data = parse_json(line, notes, line=number)
        if not isinstance(data, dict):
            notes.problem(f"line {number}: an issue is an object, not {shown(data)}")
            continue
        fields = Fields(data, f"line {number}", notes)
        key = fields.identifier("id")
        if not key:
            notes.problem(f"line {number}: an issue has no id")
            continue
        fields.where = f"issue {shown(key)} (line {number})"
        found.append((key, fields, f"line {number}"))
    return found


def _edges(live: list[tuple[str, Fields, str]], gone: set[str], notes: Notes) -> dict[str, _Edges]:
    edges = {key: _Edges() for key, _, _ in live}
    epics = {key for key, fields, _ in live if fields.text("issue_type") == "epic"}
    for key, fields, _ in live:
        for other, kind in _dependencies(fields, notes):
            if other in gone:
                notes.warn(f"a dependency on the tombstone {shown(other)} is left out", key)
            elif kind == "blocks":
                edges[key].hard[other] = None
            elif kind == "parent-child" and other in edges:
                parent = edges[other]
                (parent.hard if other in epics else parent.soft)[key] = None
            elif kind == "parent-child":
                notes.problem(f"{fields.where}: its parent {shown(other)} is not in the plan")
            else:
                if kind not in SOFT_TYPES:
                    notes.warn(f"a dependency of type {shown(kind)} is taken as a soft one", key)
                edges[key].soft[other] = None
    return edges


def _dependencies(fields: Fields, notes: Notes) -> list[tuple[str, str]]:
    value = fields.get("dependencies")
    if value is not None and not isinstance(value, list):
        fields.wrong("dependencies", "a list of objects", value)
    found = []
    for index, each in enumerate(value if isinstance(value, list) else []):
        where = f"{fields.where}: dependencies[{index}]"
        if not isinstance(each, dict):
            notes.problem(f"{where} must be an object, not {shown(each)}")
            continue
        edge = Fields(each, where, notes)
        other = edge.identifier("depends_on_id")
        if other:
            found.append((other, edge.text("type") or "blocks"))
        else:
            notes.problem(f"{where} has no depends_on_id")
    return found


def _draft(key: str, fields: Fields, edges: _Edges, source: str) -> TaskDraft:
    draft = TaskDraft(
        key,
        fields.line("title") or key,
        description=_description(fields),
        priority=_priority(fields),
        estimated_hours=_hours(fields),
        depends_on=tuple(edges.hard),
        soft_depends_on=tuple(each for each in edges.soft if each not in edges.hard),
        status=_status(fields),
        source=source,
    )
    fields.leftovers()
    return draft


def _status(fields: Fields) -> str:
    status = fields.text("status") or "open"
    if status not in STATUSES and status != "open":
        fields.notes.warn(f"an issue that is {shown(status)} comes in as pending", fields.where)
    return STATUSES.get(status, "pending")


def _priority(fields: Fields) -> int:
    value = fields.get("priority")
    if value is None:
        return PRIORITIES[2]
    if isinstance(value, bool) or not isinstance(value, int) or value not in PRIORITIES:
        fields.wrong("priority", "0 (highest) to 4", value)
        return PRIORITIES[2]
    return PRIORITIES[value]


def _hours(fields: Fields) -> float:
    minutes = fields.get("estimated_minutes")
    if minutes is None or minutes == 0:
        return 1.0
    hours = hours_of(minutes / 60) if isinstance(minutes, (int, float)) and abs(minutes) < 10**9 else None
    if hours is None or isinstance(minutes, bool):
        fields.wrong("estimated_minutes", "a number above 0", minutes)
        return 1.0
    return hours


def _description(fields: Fields) -> str:
    parts = [ANSI.sub("", fields.text("description"))]
    for key, heading in TEXTS:
        text = ANSI.sub("", fields.text(key))
        parts += [f"{heading}:\n\n{text}"] if text.strip() else []
    return "\n\n".join(filter(None, parts))
