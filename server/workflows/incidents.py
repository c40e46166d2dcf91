"""Incidents: how things stood when somebody reported one, and what had been done about it (R-229, G-20)."""

import json
from collections.abc import Sequence
from typing import Any

from .. import clock, events
from ..errors import InvalidInput
from ..store import Row, Transaction
from ..wording import cut
from . import alarms, items, projects
from .pipeline import Pipeline

BEFORE_SECONDS = 3600.0
MOST = 20
LONGEST = 4_000
UNNAMED = "unnamed"
# What people and the foreman do when something is wrong; the everyday course of items is left out.
_DONE = (
    "SELECT at, actor, kind, subject_id, data FROM event WHERE event_id > :first AND at >= :since AND ("
    "(subject_type = 'worker' AND to_state IN ('offline', 'retired')) OR kind = 'worker_idle' AND "
    "coalesce(from_state, 'retired') IN ('retired', 'offline') OR kind IN ('project_held', 'project_priority', "
    "'administrators_told', 'item_review')) ORDER BY event_id DESC LIMIT :most"
)


def report(
    tx: Transaction, line: Pipeline, cause: str, details: str, *, now: str, actor: str, did: Sequence[str] = ()
) -> Row:
    """Keep how things stand, with what was done of late; ``did`` is what the caller has just done.

    Raises InvalidInput.
    """
    for text in (cause, details):
        if len(text) > LONGEST:
            raise InvalidInput(f"The report has {len(text)} characters; {LONGEST} is the limit.", hint="Keep it short.")
    facts = standing(tx, line, now) | {"did": list(did), "before": _before(tx, now)}
    row = tx.only(
        "INSERT INTO incident (cause, details, facts, opened_by, at) VALUES (?, ?, ?, ?, ?) RETURNING *",
        (cause.strip() or UNNAMED, details.strip(), json.dumps(facts), actor, now),
    )
    events.record(
        tx, now=now, actor=actor, subject_type="incident", subject_id=row["incident_id"], kind="incident_reported",
        cause=row["cause"],
    )  # fmt: skip
    return row


def standing(tx: Transaction, line: Pipeline, now: str) -> dict[str, Any]:
    """How the workflows stand at this moment."""
    return {
        "queues": {name: _queue(tx, name, now) for name in line.names},
        "review": [
            {key: row[key] for key in ("project_id", "workflow", "error_code")}
            | {"error_message": cut(row["error_message"] or "", 300)}
            for row in items.in_review(tx, limit=MOST)
        ],
        "stopped": [
            row["project_id"]
            for row in tx.all("SELECT project_id FROM project WHERE status = 'held' ORDER BY rowid LIMIT ?", (MOST,))
        ],
        "offline": [
            {"worker_id": row["worker_id"], "since": row["offline_since"]}
            for row in tx.all("SELECT * FROM worker WHERE status = 'offline' ORDER BY worker_id LIMIT ?", (MOST,))
        ],
        "alerts": [
            {key: row[key] for key in ("kind", "subject", "level", "cause", "begun_at")}
            for row in alarms.open_ones(tx)[:MOST]
        ],
    }


def told(row: Row) -> dict[str, Any]:
    """The report as it is read."""
    shown = {key: row[key] for key in ("incident_id", "at", "opened_by", "cause", "details") if row[key]}
    return shown | {key: value for key, value in json.loads(row["facts"]).items() if value}


def _queue(tx: Transaction, name: str, now: str) -> dict[str, Any]:
    of_status = {
        row[0]: row[1] for row in tx.all("SELECT status, count(*) FROM worker WHERE workflow = ? GROUP BY 1", (name,))
    }
    waiting = items.waiting(tx, name, limit=1)
    oldest = tx.value("SELECT min(queued_at) FROM queue_item WHERE workflow = ? AND status = 'waiting'", (name,))
    return {
        "waiting": items.depth(tx, name),
        "oldest_wait_seconds": 0.0 if oldest is None else clock.seconds_between(oldest, now),
        "next": waiting[0]["project_id"] if waiting else None,
        "first_level": projects.level_name(waiting[0]["priority"]) if waiting else None,
        "workers": of_status,
    }


def _before(tx: Transaction, now: str) -> list[dict[str, Any]]:
    """What was done in the last hour, oldest first."""
    rows = tx.all(_DONE, {"first": events.latest(tx) - 20_000, "since": clock.plus(now, -BEFORE_SECONDS), "most": MOST})
    return [
        {"at": row["at"], "actor": row["actor"], "what": row["kind"], "subject": row["subject_id"]}
        | ({"why": cut(why, 200)} if (why := json.loads(row["data"]).get("why")) else {})
        for row in reversed(rows)
    ]
