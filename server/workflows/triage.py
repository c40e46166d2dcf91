"""What is urgent goes first in crowded queues (R-225, R-230, R-247)."""

from dataclasses import dataclass

from .. import events
from ..store import Row, Transaction
from . import assignment, items, projects
from .pipeline import Pipeline

LOOKED_AT = 100_000


@dataclass(frozen=True)
class Triage:
    """``ahead`` are first in their queues now; ``stepped_back`` is how many items let them pass."""

    level: str
    ahead: list[Row]
    stepped_back: int


def raise_urgent(
    tx: Transaction, line: Pipeline, level: str = "urgent", *, workflow: str = "", now: str, actor: str
) -> Triage:
    """Put what waits at this level or above before all the rest, which waits from now on as if it had just come.

    Nothing steps back twice, nor where nobody needs to pass: so nothing starves, however often it is asked for. What
    is urgent waits no more for a worker that is busy. Raises InvalidInput, WorkflowNotFound.
    """
    priority = projects.level(level)
    if workflow:
        line.stage(workflow)
    ahead: list[Row] = []
    stepped_back = 0
    for name in [workflow] if workflow else line.names:
        first = [row for row in items.waiting(tx, name, limit=LOOKED_AT) if row["priority"] <= priority]
        if not first:
            continue
        passed = _step_back(tx, name, priority, now)
        freed = [row for row in first if _waits_for_busy(tx, row)]
        for row in freed:
            assignment.free(tx, row, now=now, actor=actor, why="triage")
        if passed or freed:
            events.record(
                tx, now=now, actor=actor, subject_type="queue", subject_id=name, kind="queue_triaged", level=level,
                ahead=len(first), stepped_back=passed,
            )  # fmt: skip
        ahead += first
        stepped_back += passed
    return Triage(projects.level_name(priority), ahead, stepped_back)


def _step_back(tx: Transaction, workflow: str, priority: int, now: str) -> int:
    return tx.run(
        "UPDATE queue_item SET stepped_back_at = ? WHERE workflow = ? AND status = 'waiting' AND priority > ? "
        "AND stepped_back_at IS NULL",
        (now, workflow, priority),
    )


def _waits_for_busy(tx: Transaction, item: Row) -> bool:
    wanted = item["wanted_worker"]
    return wanted is not None and tx.value("SELECT status FROM worker WHERE worker_id = ?", (wanted,)) == "busy"
