"""How the workflows stand at a glance, from what was recorded (R-202, R-204, R-265). What nobody measured is None."""

from dataclasses import dataclass, field
from typing import Any

from .. import clock
from ..store import Row, Transaction

DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class QueueView:
    """One workflow. ``longest_wait_seconds`` is that of the item that waits longest now."""

    workflow: str
    waiting: int = 0
    working: int = 0
    held: int = 0
    review: int = 0
    done_last_day: int = 0
    longest_wait_seconds: float | None = None
    workers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class AlertView:
    kind: str
    subject: str
    level: str
    cause: str
    begun_at: str


@dataclass(frozen=True)
class Standing:
    """``success_percent`` is of the items that ended or went to review within a day; ``pipeline_hours`` the average of
    the projects completed in it."""

    projects: dict[str, int]
    queues: list[QueueView]
    alerts: list[AlertView]
    success_percent: float | None
    pipeline_hours: float | None


def standing(tx: Transaction, *, now: str) -> Standing | None:
    """None where no workflow was ever at work here."""
    workers = _by_workflow(tx.all("SELECT workflow, status, count(*) AS n FROM worker GROUP BY workflow, status"))
    if not workers:
        return None
    since = clock.plus(now, -DAY_SECONDS)
    states = _by_workflow(
        tx.all(
            "SELECT workflow, status, count(*) AS n FROM queue_item WHERE status IN ('waiting', 'working', 'held', "
            "'review') GROUP BY workflow, status"
        )
    )
    done = tx.all(
        "SELECT workflow, 'done' AS status, count(*) AS n FROM queue_item WHERE ended_at > ? AND status = 'done' "
        "GROUP BY workflow",
        (since,),
    )
    waits = tx.all(
        "SELECT workflow, min(queued_at) AS since FROM queue_item WHERE status = 'waiting' GROUP BY workflow"
    )
    finished, longest = _by_workflow(done), {row["workflow"]: row["since"] for row in waits}
    return Standing(
        {row[0]: row[1] for row in tx.all("SELECT status, count(*) FROM project GROUP BY status")},
        [
            QueueView(
                name,
                **states.get(name, {}),
                done_last_day=finished.get(name, {}).get("done", 0),
                longest_wait_seconds=clock.seconds_between(longest[name], now) if name in longest else None,
                workers={state: many for state, many in workers[name].items() if state != "retired"},
            )
            for name in workers
        ],
        [
            AlertView(row["kind"], row["subject"], row["level"], row["cause"], row["begun_at"])
            for row in tx.all("SELECT * FROM workflow_alert WHERE ended_at IS NULL ORDER BY begun_at, alert_id")
        ],
        _success(tx, since),
        tx.value(
            "SELECT round(avg((julianday(completed_at) - julianday(created_at)) * 24), 2) FROM project "
            "WHERE status = 'completed' AND completed_at > ?",
            (since,),
        ),
    )


def _success(tx: Transaction, since: str) -> float | None:
    done, all_ended = tx.only(
        "SELECT sum(outcome = 'done'), count(*) FROM work_spell WHERE ended_at > ? AND outcome IN ('done', 'review')",
        (since,),
    )
    return round(100 * done / all_ended, 1) if all_ended else None


def _by_workflow(rows: list[Row]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["workflow"], {})[row["status"]] = row["n"]
    return found
