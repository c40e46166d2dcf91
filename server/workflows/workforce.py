"""How a workflow's workers stand: what each has, how busy it was, what it has shown (R-210)."""

from dataclasses import dataclass

from .. import clock, states
from ..store import Row, Transaction
from . import capacity, items, scaling, workers
from .pipeline import Pipeline
from .scaling import Queue

BUSY_SECONDS = (
    "SELECT coalesce(sum((julianday(coalesce(ended_at, :now)) - julianday(max(began_at, :since))) * 86400), 0) "
    "FROM work_spell WHERE worker_id = :worker AND (ended_at IS NULL OR ended_at > :since)"
)


@dataclass(frozen=True)
class Standing:
    """One worker. ``agent`` is the last one of what it works on, ``utilisation`` percent of the window, None of one
    that was not there."""

    row: Row
    item: Row | None
    task: Row | None
    agent: Row | None
    utilisation: float | None
    done: int
    failed: int

    @property
    def is_at_work(self) -> bool:
        """Whether its agent lives."""
        return self.agent is not None and self.agent["status"] in states.LIVE_AGENT


def of(tx: Transaction, line: Pipeline, workflow: str = "", *, now: str) -> list[Standing]:
    """Everyone who is there, of one workflow or of all. Raises WorkflowNotFound."""
    if workflow:
        line.stage(workflow)
    return [of_one(tx, line, row["worker_id"], now=now) for row in workers.present(tx, workflow or None)]


def of_one(tx: Transaction, line: Pipeline, worker_id: str, *, now: str) -> Standing:
    """Raises WorkerNotFound."""
    row = workers.get(tx, worker_id)
    item = items.of_worker(tx, row["worker_id"])
    given = (None if item is None else item["task_id"],)
    counts = tx.only(
        "SELECT coalesce(sum(outcome = 'done'), 0) AS done, coalesce(sum(outcome IN ('review', 'failed_over')), 0) "
        "AS failed FROM work_spell WHERE worker_id = ?",
        (row["worker_id"],),
    )
    return Standing(
        row,
        item,
        tx.one("SELECT * FROM specs_task WHERE task_id = ?", given),
        tx.one("SELECT * FROM agent_lifecycle WHERE task_id = ? ORDER BY rowid DESC LIMIT 1", given),
        _utilisation(tx, row, line.settings.window_minutes * scaling.MINUTE, now=now),
        counts["done"],
        counts["failed"],
    )


def crowds(tx: Transaction, line: Pipeline, workflow: str = "", *, now: str) -> dict[str, Queue]:
    """Each workflow as scaling sees it. Raises WorkflowNotFound."""
    names = [workflow] if workflow else line.names
    for name in names:
        line.stage(name)
    return {name: capacity.counted(tx, line, name, now=now) for name in names}


def _utilisation(tx: Transaction, row: Row, seconds: float, *, now: str) -> float | None:
    since = max(row["since"], clock.plus(now, -seconds))
    there = clock.seconds_between(since, row["retired_at"] or row["offline_since"] or now)
    if there <= 0:
        return None
    busy: float = tx.value(BUSY_SECONDS, {"worker": row["worker_id"], "now": now, "since": since})
    return min(100.0, 100.0 * busy / there)
