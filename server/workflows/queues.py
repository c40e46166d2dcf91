"""The queues as they stand: how deep, how long things wait, in which state, for whom (R-202, R-204, R-205)."""

from dataclasses import dataclass

from ..store import Row, Transaction
from . import items, workers
from .pipeline import Pipeline

REVIEW = "review"
_SHOWN = "SELECT i.*, p.title, p.status AS project_status FROM queue_item i JOIN project p USING (project_id)"
_IN = (
    "CASE :workflow WHEN '' THEN i.status = 'waiting' WHEN 'review' THEN i.status = 'review' "
    f"ELSE i.workflow = :workflow AND i.status IN {items.OPEN} END"
)


@dataclass(frozen=True)
class Queue:
    """One workflow's. Waits are those of what waits now, in seconds, None where nothing does."""

    workflow: str
    waiting: int
    working: int
    held: int
    review: int
    average_wait_seconds: float | None
    longest_wait_seconds: float | None
    idle: int
    busy: int
    offline: int


def standing(tx: Transaction, line: Pipeline, *, now: str, workflow: str = "") -> list[Queue]:
    """Every workflow's, in their order, or that one's. Raises WorkflowNotFound."""
    if workflow:
        line.stage(workflow)
    counted = {
        (row["workflow"], row["status"]): row["n"]
        for row in tx.all(f"SELECT workflow, status, count(*) AS n FROM queue_item WHERE status IN {items.OPEN} "
                          "GROUP BY workflow, status")
    }  # fmt: skip
    waits = {
        row["workflow"]: row
        for row in tx.all(
            "SELECT workflow, avg(86400 * (julianday(:now) - julianday(queued_at))) AS mean, "
            "max(86400 * (julianday(:now) - julianday(queued_at))) AS most "
            "FROM queue_item WHERE status = 'waiting' GROUP BY workflow",
            {"now": now},
        )
    }
    return [_queue(tx, name, counted, waits.get(name)) for name in ([workflow] if workflow else line.names)]


def _queue(tx: Transaction, name: str, counted: dict[tuple[str, str], int], wait: Row | None) -> Queue:
    there = [row["status"] for row in workers.present(tx, name)]
    return Queue(
        name,
        waiting=counted.get((name, "waiting"), 0),
        working=counted.get((name, "working"), 0),
        held=counted.get((name, "held"), 0),
        review=counted.get((name, REVIEW), 0),
        average_wait_seconds=None if wait is None else round(wait["mean"], 1),
        longest_wait_seconds=None if wait is None else round(wait["most"], 1),
        idle=there.count("idle"),
        busy=there.count("busy"),
        offline=there.count("offline"),
    )


def backlog(tx: Transaction, *, workflow: str = "", limit: int = 1000) -> list[Row]:
    """What is in the queue of a workflow, or of review, in the order in which it is worked off; else all that waits."""
    return tx.all(
        f"{_SHOWN} WHERE {_IN} ORDER BY i.status = 'working' DESC, i.status <> 'waiting', {items.ORDER} LIMIT :limit",
        {"workflow": workflow, "limit": limit},
    )


def length(tx: Transaction, *, workflow: str = "") -> int:
    """How many ``backlog`` gives with no limit."""
    return int(tx.value(f"SELECT count(*) FROM queue_item i WHERE {_IN}", {"workflow": workflow}))


def one(tx: Transaction, item_id: int) -> Row:
    """An item as ``backlog`` gives it."""
    return tx.only(f"{_SHOWN} WHERE i.item_id = ?", (item_id,))
