"""Dependencies as a plan wants them against those in the database, and the counters that follow from them.

``unmet_blockers`` of a task is the number of its hard edges that are not completed; it is never anything else.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from . import events
from .readers.draft import TaskDraft
from .states import TASK
from .store import Transaction

NOT_STARTED = ("pending", "ready")
Edges = dict[str, dict[str, str]]  # of each dependent: what it waits for, with the type of the edge


@dataclass
class Changes:
    """Edges to write, as (blocking, dependent, type), and to delete, as (blocking, dependent)."""

    added: list[tuple[str, str, str]] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)

    def dependents(self) -> set[str]:
        return {edge[1] for edge in self.added} | {edge[1] for edge in self.removed}


def wanted(task: TaskDraft) -> dict[str, str]:
    """What ``task`` waits for; a dependency that is given as both is hard."""
    return {**dict.fromkeys(task.soft_depends_on, "soft"), **dict.fromkeys(task.depends_on, "hard")}


def existing(tx: Transaction, dependents: Collection[str]) -> Edges:
    found: Edges = {}
    rows = tx.all(
        "SELECT dependent_task_id, blocking_task_id, dependency_type FROM specs_task_dependency "
        "WHERE dependent_task_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(dependents)),),
    )
    for dependent, blocking, kind in rows:
        found.setdefault(dependent, {})[blocking] = kind
    return found


def difference(drafts: Iterable[TaskDraft], have: Edges) -> Changes:
    """What must be written so that each of ``drafts`` waits for what it wants, and for nothing else."""
    changes = Changes()
    for task in drafts:
        old, new = have.get(task.task_id, {}), wanted(task)
        changes.added += ((other, task.task_id, kind) for other, kind in new.items() if old.get(other) != kind)
        changes.removed += ((other, task.task_id) for other, kind in old.items() if new.get(other) != kind)
    return changes


def write(tx: Transaction, changes: Changes, status_of: Mapping[str, str], *, now: str) -> None:
    """Write the edges; one whose blocker is completed comes in as completed."""
    tx.many("DELETE FROM specs_task_dependency WHERE blocking_task_id = ? AND dependent_task_id = ?", changes.removed)
    rows = [
        (blocking, dependent, kind, "completed", now, now)
        if status_of[blocking] == "completed"
        else (blocking, dependent, kind, "pending", now, None)
        for blocking, dependent, kind in changes.added
    ]
    tx.many(
        "INSERT INTO specs_task_dependency "
        "(blocking_task_id, dependent_task_id, dependency_type, dependency_status, created_at, resolved_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )


def unmet(task: TaskDraft, status_of: Mapping[str, str]) -> int:
    """What ``unmet_blockers`` of a new task must be."""
    return sum(status_of[other] != "completed" for other in task.depends_on)


def recount(tx: Transaction, task_ids: Collection[str], *, now: str, actor: str) -> None:
    """Bring the counters of tasks that have not started up to their edges, and ready or pending up to the counters."""
    rows = tx.all(
        "SELECT task_id, status, unmet_blockers, (SELECT count(*) FROM specs_task_dependency AS d "
        "WHERE d.dependent_task_id = t.task_id AND d.dependency_type = 'hard' AND d.dependency_status = 'pending') "
        "FROM specs_task AS t WHERE status IN ('pending', 'ready') AND task_id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(task_ids)),),
    )
    for task_id, status, before, count in rows:
        want = "pending" if count else "ready"
        if status != want:
            why = "its dependencies in the plan changed"
            columns = {"unmet_blockers": count, "updated_at": now}
            events.change(tx, TASK, task_id, want, now=now, actor=actor, why=why, **columns)
        elif before != count:
            tx.run("UPDATE specs_task SET unmet_blockers = ?, updated_at = ? WHERE task_id = ?", (count, now, task_id))
