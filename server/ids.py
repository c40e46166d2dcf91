"""Ids that begin in a given way, each with what there is to say of it: for shells and clients that complete them."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from .store import Transaction


@dataclass(frozen=True)
class Found:
    """The first of the ids as ``(id, remark)``, and how many there are in all."""

    shown: list[tuple[str, str]]
    total: int


@dataclass(frozen=True)
class Kind:
    """Where ids of one kind stand: who is still at work, or open, comes first. The rows are narrowed by ``among``."""

    table: str
    key: str
    remark: str
    order: str
    among: str = "1"


TASKS = Kind("specs_task", "task_id", "status", "status = 'completed', task_id")
AGENTS = Kind("agent_lifecycle", "agent_id", "status", "status NOT IN ('starting', 'running'), rowid DESC")
DISPATCHES = Kind("dispatch", "dispatch_id", "status", "created_at DESC")
MERGES = Kind("merge_request", "'merge-' || merge_id", "task_id || ' ' || status", "1")
MESSAGES = Kind(
    "agent_message",
    "message_id",
    "message_type || ' ' || status",
    "id DESC",
    among=":boxes IS NULL OR to_agent IN (SELECT value FROM json_each(:boxes))",
)
PROJECTS = Kind("project", "project_id", "status", "status IN ('completed', 'rejected'), rowid DESC")
REPOSITORIES = Kind(
    "project", "repository_url", "project_id || ' ' || status", "rowid DESC", among="repository_url IS NOT NULL"
)
WORKERS = Kind("worker", "worker_id", "workflow || ' ' || status", "status = 'retired', worker_id")


def among(values: Collection[str], begins: str) -> Found:
    """Those of values that are known beforehand, in their order."""
    fitting = [(each, "") for each in values if each.startswith(begins)]
    return Found(fitting, len(fitting))


def beginning(tx: Transaction, kind: Kind, begins: str, *, limit: int, boxes: Collection[str] | None = None) -> Found:
    """Ids that begin with ``begins``, taken word for word. ``boxes``: messages of these mailboxes alone."""
    source = f"FROM {kind.table} WHERE substr({kind.key}, 1, length(:begins)) = :begins AND ({kind.among})"
    given = {"begins": begins, "limit": limit, "boxes": None if boxes is None else json.dumps(list(boxes))}
    rows = tx.all(f"SELECT {kind.key}, {kind.remark} {source} ORDER BY {kind.order} LIMIT :limit", given)
    shown = [(str(row[0]), str(row[1]).replace("_", " ")) for row in rows]
    return Found(shown, len(shown) if len(shown) < limit else int(tx.value(f"SELECT count(*) {source}", given)))
