"""A project whole: what was asked for, where it stood in each queue, what its stages handed over."""

import json
from typing import Any

from .. import events
from ..store import Row, Transaction
from . import projects

KEPT = (
    "item_id", "workflow", "status", "worker_id", "wanted_worker", "task_id", "rework_count", "queued_at", "started_at",
    "ended_at", "handed_over_at", "error_code", "error_message",
)  # fmt: skip


def whole(tx: Transaction, project_id: str) -> dict[str, Any]:
    """Raises ProjectNotFound."""
    row = projects.get(tx, project_id)
    places = tx.all("SELECT * FROM queue_item WHERE project_id = ? ORDER BY item_id", (project_id,))
    return {
        **_known(dict(row)),
        "level": projects.level_name(row["priority"]),
        "items": [_place(each) for each in places],
        "feedback": [
            dict(each)
            for each in tx.all("SELECT rating, comment, given_by, at FROM feedback WHERE project_id = ? "
                               "ORDER BY feedback_id", (project_id,))
        ],
        "history": [_event(each) for each in events.of(tx, "project", project_id)],
    }  # fmt: skip


def _place(item: Row) -> dict[str, Any]:
    shown = _known({key: item[key] for key in KEPT})
    return shown | ({"output": json.loads(item["output"])} if item["output"] else {})


def _event(event: Row) -> dict[str, Any]:
    why = json.loads(event["data"]).get("why")
    return _known({"at": event["at"], "actor": event["actor"], "kind": event["kind"], "why": why or None})


def _known(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if value not in (None, "")}
