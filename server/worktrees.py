"""Records of the worktrees: where each task's branch lives, from which commit, and what became of it (C-03, C-22).

The path that was used is stored once; every later step reads it here and never builds it again.
"""

from dataclasses import dataclass
from typing import Any

from . import events, states
from .errors import StillInUse, WorktreeNotFound
from .store import Row, Transaction


@dataclass(frozen=True)
class Worktree:
    """A task's worktree as recorded."""

    worktree_id: int
    task_id: str
    path: str
    branch: str
    base_branch: str
    base_commit: str
    status: str
    kept_because: str | None


@dataclass(frozen=True)
class Candidate:
    """A worktree that may be cleaned up, or why not; ``disk_space_mb`` is what that frees.

    With ``forcible`` nothing but work that would be lost is in the way, and force keeps that under a salvage ref.
    """

    task_id: str
    worktree_path: str
    branch_name: str
    status: str
    ready: bool
    reason: str
    disk_space_mb: float
    forcible: bool = False


def of_row(row: Row) -> Worktree:
    return Worktree(
        row["worktree_id"],
        row["task_id"],
        row["worktree_path"],
        row["branch_name"],
        row["base_branch"],
        row["base_commit"],
        row["status"],
        row["kept_because"],
    )


def get(tx: Transaction, worktree_id: int) -> Row:
    return tx.only("SELECT * FROM git_worktree_tracker WHERE worktree_id = ?", (worktree_id,))


def live(tx: Transaction, task_id: str) -> Worktree | None:
    """The task's worktree that is not cleaned up yet."""
    row = tx.one(
        "SELECT * FROM git_worktree_tracker WHERE task_id = ? AND status <> 'cleaned' "
        "ORDER BY worktree_id DESC LIMIT 1",
        (task_id,),
    )
    return None if row is None else of_row(row)


def require_live(tx: Transaction, task_id: str) -> Worktree:
    """As ``live``. Raises WorktreeNotFound."""
    worktree = live(tx, task_id)
    if worktree is None:
        raise WorktreeNotFound(
            f"Task {task_id} has no worktree.", hint="worktrees(action='create') makes one.", task_id=task_id
        )
    return worktree


def newest(tx: Transaction, task_id: str) -> Row | None:
    """The record of the task's last worktree, cleaned up or not."""
    return tx.one("SELECT * FROM git_worktree_tracker WHERE task_id = ? ORDER BY worktree_id DESC LIMIT 1", (task_id,))


def state_of(tx: Transaction, task_id: str) -> Row:
    """The newest worktree of a task as ``orchestrator_state`` shows it (R-051). Raises WorktreeNotFound."""
    row = tx.one(
        "SELECT * FROM orchestrator_state WHERE task_id = ? ORDER BY created_at DESC, cleaned_at IS NULL DESC LIMIT 1",
        (task_id,),
    )
    if row is None:
        require_live(tx, task_id)
        raise AssertionError(task_id)
    return row


def listed(tx: Transaction, *, status: str | None = None) -> list[Worktree]:
    """All worktrees that are not cleaned up, or all in one state."""
    rows = tx.all(
        "SELECT * FROM git_worktree_tracker WHERE (:status IS NULL AND status <> 'cleaned') OR status = :status "
        "ORDER BY worktree_id",
        {"status": status},
    )
    return [of_row(row) for row in rows]


def plan(
    tx: Transaction, task_id: str, *, path: str, branch: str, base_branch: str, base_commit: str, now: str, actor: str
) -> Worktree:
    """Record the intention to make a worktree, before git is asked to; an intention already there is returned."""
    present = live(tx, task_id)
    if present is not None:
        return present
    row = tx.only(
        "INSERT INTO git_worktree_tracker (task_id, branch_name, worktree_path, base_branch, base_commit, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
        (task_id, branch, path, base_branch, base_commit, now),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="worktree",
        subject_id=row["worktree_id"],
        kind="worktree_creating",
        to_state="creating",
        task_id=task_id,
        branch=branch,
        path=path,
    )
    return of_row(row)


def settled(tx: Transaction, *, asked_only: bool = False) -> list[Worktree]:
    """Worktrees to be cleaned up: asked for, or left by a settled task and not looked at yet; nobody works in them."""
    rows = tx.all(
        "SELECT w.* FROM git_worktree_tracker w JOIN specs_task t USING (task_id) "
        "WHERE w.status IN ('active', 'merged') AND w.kept_because IS NULL "
        "AND (w.cleanup IS NOT NULL OR (NOT ? AND t.status IN ('completed', 'failed', 'cancelled'))) "
        "AND NOT EXISTS (SELECT 1 FROM agent_lifecycle a "
        "WHERE a.task_id = w.task_id AND a.status IN ('starting', 'running')) ORDER BY w.worktree_id",
        (asked_only,),
    )
    return [of_row(row) for row in rows]


def ask_for_cleanup(tx: Transaction, task_id: str, *, force: bool, now: str, actor: str) -> Worktree:
    """Record the wish to remove a task's worktree. Raises NotFound, StillInUse."""
    worktree = require_live(tx, task_id)
    agent = tx.one(
        "SELECT agent_id FROM agent_lifecycle WHERE task_id = ? AND status IN ('starting', 'running')", (task_id,)
    )
    if agent is not None:
        raise StillInUse(
            f"{agent['agent_id']} works in {worktree.path}.",
            hint="agents(action='kill') ends it first.",
            task_id=task_id,
            agent_id=agent["agent_id"],
        )
    wanted = "force" if force else "safe"
    tx.run(
        "UPDATE git_worktree_tracker SET cleanup = ?, kept_because = NULL WHERE worktree_id = ?",
        (wanted, worktree.worktree_id),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="worktree",
        subject_id=worktree.worktree_id,
        kind="worktree_cleanup_requested",
        how=wanted,
    )
    return worktree


def moved(tx: Transaction, worktree_id: int, path: str, *, now: str, actor: str) -> Worktree:
    """Note where somebody has moved a worktree."""
    tx.run("UPDATE git_worktree_tracker SET worktree_path = ? WHERE worktree_id = ?", (path, worktree_id))
    row = get(tx, worktree_id)
    events.record(
        tx, now=now, actor=actor, subject_type="worktree", subject_id=worktree_id, kind="worktree_moved", path=path
    )
    return of_row(row)


def wish(tx: Transaction, worktree_id: int) -> str | None:
    """How its cleanup was asked for: ``safe``, ``force`` or not at all."""
    asked: str | None = tx.value("SELECT cleanup FROM git_worktree_tracker WHERE worktree_id = ?", (worktree_id,))
    return asked


def freed(tx: Transaction, worktree_id: int, megabytes: float) -> None:
    """Note the disk space that its removal freed, in MiB."""
    tx.run("UPDATE git_worktree_tracker SET freed_mb = ? WHERE worktree_id = ?", (megabytes, worktree_id))


def keep(tx: Transaction, worktree_id: int, because: str | None, *, now: str, actor: str) -> None:
    """Note why cleanup left a worktree standing; with None, that it is in use again."""
    changed = tx.run(
        "UPDATE git_worktree_tracker SET kept_because = ? WHERE worktree_id = ? AND kept_because IS NOT ?",
        (because, worktree_id, because),
    )
    if changed and because is not None:
        events.record(
            tx,
            now=now,
            actor=actor,
            subject_type="worktree",
            subject_id=worktree_id,
            kind="worktree_kept",
            why=because,
        )


def change(
    tx: Transaction, worktree_id: int, want: str, *, now: str, actor: str, why: str = "", salvage_ref: str | None = None
) -> Worktree:
    """Move a worktree's record to ``active``, ``merged`` or ``cleaned``."""
    columns: dict[str, Any] = {}
    if want == "merged":
        columns["completed_at"] = now
    if want == "cleaned":
        columns["cleaned_at"] = now
    if salvage_ref is not None:
        columns["salvage_ref"] = salvage_ref
    return of_row(events.transition(tx, states.WORKTREE, worktree_id, want, now=now, actor=actor, why=why, **columns))
