"""A plan out of the database, in our own shape (contract 6); importing it again changes nothing."""

import json
from collections.abc import Collection
from typing import Any

from . import tasks
from .store import Row, Transaction

ENDED = ("completed", "cancelled")


def export_plan(tx: Transaction, task_ids: Collection[str] | None = None) -> dict[str, Any]:
    """The whole plan, or the given tasks with what they name. Raises TaskNotFound."""
    rows = tx.all("SELECT * FROM specs_task ORDER BY position, task_id")
    if task_ids is not None:
        tasks.require_all(tx, list(task_ids))
        wanted = set(task_ids)
        rows = [row for row in rows if row["task_id"] in wanted]
    waits: dict[tuple[str, str], list[str]] = {}
    for dependent, kind, blocking in tx.all(
        "SELECT dependent_task_id, dependency_type, blocking_task_id FROM specs_task_dependency ORDER BY dependency_id"
    ):
        waits.setdefault((dependent, kind), []).append(blocking)
    named = None if task_ids is None else rows
    plan = {
        "specs": _specs(tx, named),
        "priorities": _priorities(tx, named),
        "tasks": [_task(row, waits) for row in rows],
    }
    return {key: value for key, value in plan.items() if value or key != "priorities"}


def _task(row: Row, waits: dict[tuple[str, str], list[str]]) -> dict[str, Any]:
    task = {
        "task_id": row["task_id"],
        "title": row["title"],
        "description": row["description"],
        "spec_id": row["spec_id"],
        "priority_id": row["priority_id"],
        "priority": row["priority"],
        "estimated_hours": row["estimated_hours"],
        "depends_on": waits.get((row["task_id"], "hard"), []),
        "soft_depends_on": waits.get((row["task_id"], "soft"), []),
        "files": json.loads(row["files"]),
        "agent_type": row["agent_type"],
        "check": json.loads(row["check_command"]) if row["check_command"] else None,
        "status": row["status"] if row["status"] in ENDED else None,
    }
    return {key: value for key, value in task.items() if value is not None}


def _specs(tx: Transaction, named: list[Row] | None) -> list[dict[str, Any]]:
    wanted = None if named is None else {row["spec_id"] for row in named}
    return [
        {"spec_id": row["id"], "title": row["title"], "content": row["content"], "spec_type": row["spec_type"]}
        for row in tx.all("SELECT * FROM specs_specification ORDER BY id")
        if wanted is None or row["id"] in wanted
    ]


def _priorities(tx: Transaction, named: list[Row] | None) -> list[dict[str, Any]]:
    wanted = None if named is None else {row["priority_id"] for row in named}
    found = [
        {"priority_id": row["id"], "title": row["title"], "content": row["content"], "spec_id": row["spec_id"]}
        for row in tx.all("SELECT * FROM roadmap_priority ORDER BY priority_order, id")
        if wanted is None or row["id"] in wanted
    ]
    return [{key: value for key, value in each.items() if value is not None} for each in found]
