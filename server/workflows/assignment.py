"""Gives what waits to workers that are idle (R-206, R-207, R-237)."""

import json
from dataclasses import dataclass, replace

from .. import clock, events, holds
from ..errors import InvalidInput, NoAvailableWork
from ..store import Row, Transaction
from . import items, projects, workers
from .distribution import Hand, Need, match
from .pipeline import Pipeline

LOOKED_AT = 200
RECENT_SECONDS = 3600.0
# Neither for a worker who is busy, nor for the end of an agent that somebody had started for its task by hand.
IS_FREE = (
    "NOT EXISTS (SELECT 1 FROM worker w WHERE w.worker_id = i.wanted_worker AND w.status = 'busy') AND NOT EXISTS "
    "(SELECT 1 FROM specs_task t WHERE t.task_id = i.task_id AND t.status IN ('assigned', 'in_progress'))"
)


def is_called_for(tx: Transaction) -> bool:
    """Whether an item waits where a worker is idle, and for nothing else."""
    return bool(
        tx.value(
            f"SELECT 1 FROM queue_item i WHERE i.status = 'waiting' AND {IS_FREE} AND EXISTS "
            "(SELECT 1 FROM worker w WHERE w.workflow = i.workflow AND w.status = 'idle') LIMIT 1"
        )
    )


def distribute(tx: Transaction, line: Pipeline, *, now: str, actor: str) -> int:
    """Give each idle worker what suits it best, in the order of the queues; returns how many got something."""
    given = 0
    for item in _waiting_for(tx, None, "'offline', 'retired'"):
        free(tx, item, now=now, actor=actor, why=f"{item['wanted_worker']} is {item['worker_status']}")
    for name in line.names:
        found = items.waiting(tx, name, limit=LOOKED_AT, only=IS_FREE)
        hands = [_hand(tx, row, now) for row in workers.idle(tx, name, now=now)] if found else []
        needs = [
            Need(row["item_id"], row["kind"], row["complexity"], row["location"], row["wanted_worker"]) for row in found
        ]
        by_id = {row["item_id"]: row for row in found}
        for pair in match(needs, hands, line.routing(name), line.settings.routes):
            item, worker = by_id[pair.item_id], workers.get(tx, pair.worker_id)
            items.give(tx, line, item, worker, now=now, actor=actor, why=pair.why)
            given += 1
    return given


@dataclass(frozen=True)
class Rebalanced:
    """``freed`` waited for a worker that is not idle, and go to anyone now; ``given`` found one at once."""

    freed: list[Row]
    given: int


def rebalance(tx: Transaction, line: Pipeline, workflow: str = "", *, now: str, actor: str) -> Rebalanced:
    """Let nothing wait for one worker where others are idle, or will be first. Who works goes on (R-207).

    Raises WorkflowNotFound.
    """
    if workflow:
        line.stage(workflow)
    freed = _waiting_for(tx, workflow or None, "'busy', 'offline', 'retired'")
    for item in freed:
        free(tx, item, now=now, actor=actor, why="rebalanced")
    return Rebalanced(freed, distribute(tx, line, now=now, actor=actor))


def free(tx: Transaction, item: Row, *, now: str, actor: str, why: str) -> None:
    """Whoever is idle first gets it."""
    tx.run("UPDATE queue_item SET wanted_worker = NULL WHERE item_id = ?", (item["item_id"],))
    events.record(
        tx, now=now, actor=actor, subject_type="item", subject_id=item["item_id"], kind="item_freed",
        worker=item["wanted_worker"], project_id=item["project_id"], why=why,
    )  # fmt: skip


def _waiting_for(tx: Transaction, workflow: str | None, states: str) -> list[Row]:
    """What waits for a worker by name that is in one of these states."""
    return tx.all(
        "SELECT i.*, w.status AS worker_status FROM queue_item i JOIN worker w ON w.worker_id = i.wanted_worker "
        f"WHERE i.status = 'waiting' AND w.status IN ({states}) AND (:workflow IS NULL OR i.workflow = :workflow) "
        "ORDER BY i.item_id",
        {"workflow": workflow},
    )


def by_hand(
    tx: Transaction, line: Pipeline, workflow: str, project_id: str, worker_id: str, *, now: str, actor: str
) -> Row:
    """The project's item waits for that worker from now on, and is given to it at once where it is idle (R-206).

    Raises WorkflowNotFound, ProjectNotFound, WorkerNotFound, NoAvailableWork, InvalidInput.
    """
    line.stage(workflow)
    project, worker = projects.get(tx, project_id), workers.get(tx, worker_id)
    if worker["workflow"] != workflow:
        raise InvalidInput(
            f"{worker['worker_id']} works in {worker['workflow']}, not in {workflow}.",
            hint=f"workers(action='list', workflow={workflow!r}) names those who do.",
        )
    if worker["status"] in ("retired", "offline"):
        raise InvalidInput(
            f"{worker['worker_id']} is {worker['status']}.",
            hint=f"workers(action='restart', worker_id={worker['worker_id']!r}) brings it back."
            if worker["status"] == "offline"
            else f"workers(action='scale_up', workflow={workflow!r}) has the next of its roster come.",
        )
    item = items.of_workflow(tx, project_id, workflow)
    if item is None or item["status"] != "waiting":
        how = "is not in the queue of" if item is None else f"is {item['status']} in"
        raise NoAvailableWork(
            f"{project['project_id']} {how} {workflow}.",
            hint=f"projects(action='status', project_id={project_id!r}) tells where it is.",
        )
    holds.lift_stop(tx, now=now, actor=actor)
    tx.run("UPDATE queue_item SET wanted_worker = ? WHERE item_id = ?", (worker["worker_id"], item["item_id"]))
    events.record(
        tx, now=now, actor=actor, subject_type="item", subject_id=item["item_id"], kind="item_assigned",
        worker=worker["worker_id"], project_id=project_id,
    )  # fmt: skip
    if worker["status"] == "idle":
        items.give(tx, line, item, worker, now=now, actor=actor, why=f"assigned by {actor}")
    return items.get(tx, item["item_id"])


def _hand(tx: Transaction, worker: Row, now: str) -> Hand:
    since = clock.plus(now, -RECENT_SECONDS)
    busy = tx.value(
        "SELECT coalesce(sum((julianday(coalesce(ended_at, :now)) - julianday(max(began_at, :since))) * 86400), 0) "
        "FROM work_spell WHERE worker_id = :worker AND coalesce(ended_at, :now) > :since",
        {"worker": worker["worker_id"], "now": now, "since": since},
    )
    shown = tx.all(
        "SELECT p.complexity, sum(s.outcome = 'done') AS done, sum(s.outcome IN ('review', 'failed_over')) AS failed "
        "FROM work_spell s JOIN queue_item i USING (item_id) JOIN project p USING (project_id) "
        "WHERE s.worker_id = ? AND s.ended_at IS NOT NULL GROUP BY p.complexity",
        (worker["worker_id"],),
    )
    hand = Hand(worker["worker_id"], tuple(json.loads(worker["specialities"])), worker["location"], busy)
    return replace(
        hand,
        last_assigned_at=worker["last_assigned_at"] or "",
        done=tuple((row["complexity"], row["done"]) for row in shown),
        failed=tuple((row["complexity"], row["failed"]) for row in shown),
    )
