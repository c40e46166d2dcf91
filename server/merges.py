"""The merge queue's records. Its mutual exclusion is an index: one ``checking`` per target branch (design 3, 6)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from . import assignments, attempts, clock, events, states, tasks, worktrees
from .store import Row, Transaction


@dataclass(frozen=True)
class Merged:
    """A merge that has happened."""

    commit: str
    files_changed: int
    insertions: int
    deletions: int


def get(tx: Transaction, merge_id: int) -> Row:
    return tx.only("SELECT * FROM merge_request WHERE merge_id = ?", (merge_id,))


def latest(tx: Transaction, task_id: str) -> Row | None:
    """The task's newest merge request."""
    return tx.one("SELECT * FROM merge_request WHERE task_id = ? ORDER BY merge_id DESC LIMIT 1", (task_id,))


def enqueue(
    tx: Transaction, assignment_id: str, *, head: str, target: str, approved_by: str | None, now: str, actor: str
) -> Row:
    """Put proven work into the queue of ``target``; a request that is open already is given the new head."""
    assignment = assignments.get(tx, assignment_id)
    row = tx.only(
        "INSERT INTO merge_request (task_id, orchestrator_task_id, branch_name, target_branch, head_commit, "
        "approved_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (task_id) WHERE status IN ('queued', 'checking') DO UPDATE SET "
        "head_commit = excluded.head_commit, approved_by = coalesce(excluded.approved_by, approved_by), "
        "not_before = NULL RETURNING *",
        (assignment["task_id"], assignment_id, assignment["branch_name"], target, head, approved_by, now),
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="merge",
        subject_id=row["merge_id"],
        kind="merge_queued",
        to_state="queued",
        task_id=row["task_id"],
        head=head,
    )
    return row


def queue(tx: Transaction, target: str | None = None) -> list[Row]:
    """Open requests in their order, with ``position``."""
    return tx.all(
        "SELECT *, row_number() OVER (PARTITION BY target_branch ORDER BY status <> 'checking', merge_id) AS position "
        "FROM merge_request WHERE status IN ('queued', 'checking') AND (? IS NULL OR target_branch = ?) "
        "ORDER BY target_branch, position",
        (target, target),
    )


def due(tx: Transaction, *, auto_approve: bool, now: str, target: str | None = None) -> list[Row]:
    """Requests that can be gone on with: interrupted ones first, then those approved whose time has come."""
    return tx.all(
        "SELECT * FROM merge_request WHERE (:target IS NULL OR target_branch = :target) AND (status = 'checking' OR "
        "(status = 'queued' AND (not_before IS NULL OR not_before <= :now) AND (:auto OR approved_by IS NOT NULL))) "
        "ORDER BY status <> 'checking', merge_id",
        {"target": target, "now": now, "auto": auto_approve},
    )


def claim_next(tx: Transaction, target: str, *, auto_approve: bool, now: str, actor: str) -> Row | None:
    """The next request of ``target`` to be merged, now ``checking``; None where one is, or none is due and approved."""
    first = next(iter(due(tx, auto_approve=auto_approve, now=now, target=target)), None)
    if first is None or first["status"] == "checking":
        return None
    return events.transition(
        tx, states.MERGE, first["merge_id"], "checking", now=now, actor=actor, candidate_commit=None
    )


def checking(tx: Transaction) -> list[Row]:
    """Requests that are being merged, or were when their merger died."""
    return tx.all("SELECT * FROM merge_request WHERE status = 'checking' ORDER BY merge_id")


def next_due(tx: Transaction, *, now: str) -> str | None:
    due: str | None = tx.value(
        "SELECT min(not_before) FROM merge_request WHERE status = 'queued' AND not_before > ?", (now,)
    )
    return due


def propose(tx: Transaction, merge_id: int, candidate: str) -> None:
    """Record the commit before the branch is moved to it, so that a crash in between can be told apart."""
    tx.run(
        "UPDATE merge_request SET candidate_commit = ? WHERE merge_id = ? AND status = 'checking'",
        (candidate, merge_id),
    )


def succeeded(tx: Transaction, merge_id: int, result: Merged, *, now: str, actor: str) -> tasks.Completion:
    """The target holds the work: merge, assignment, task and worktree change together."""
    row = events.transition(
        tx,
        states.MERGE,
        merge_id,
        "merged",
        now=now,
        actor=actor,
        merge_commit=result.commit,
        files_changed=result.files_changed,
        insertions=result.insertions,
        deletions=result.deletions,
        ended_at=now,
        error_code=None,
        error_message=None,
        conflicted_files="[]",
    )
    worktree = worktrees.live(tx, row["task_id"])
    if worktree is not None and worktree.status == "active":
        worktrees.change(tx, worktree.worktree_id, "merged", now=now, actor=actor)
    return assignments.merged(tx, row["orchestrator_task_id"], merge_commit=result.commit, now=now, actor=actor)


def requeue(
    tx: Transaction,
    merge_id: int,
    *,
    now: str,
    actor: str,
    why: str,
    code: str | None = None,
    retry_seconds: float | None = None,
) -> Row:
    """Back into the queue. With ``retry_seconds`` something was in the way: it counts, and waits that long."""
    in_the_way = retry_seconds is not None
    row = events.transition(
        tx,
        states.MERGE,
        merge_id,
        "queued",
        now=now,
        actor=actor,
        why=why,
        candidate_commit=None,
        error_code=code,
        error_message=why if code else None,
        not_before=clock.plus(now, retry_seconds) if retry_seconds is not None else None,
    )
    if in_the_way:
        tx.run("UPDATE merge_request SET attempts = attempts + 1 WHERE merge_id = ?", (merge_id,))
    return row


def refused(
    tx: Transaction,
    merge_id: int,
    *,
    want: str,
    code: str,
    message: str,
    files: Sequence[str] = (),
    prompt: str,
    limit: int,
    now: str,
    actor: str,
) -> bool:
    """A conflict (``conflicted``) or a failed check (``rejected``): back to an agent, or to review.

    Returns whether an agent gets it.
    """
    row = events.transition(
        tx,
        states.MERGE,
        merge_id,
        want,
        now=now,
        actor=actor,
        why=message,
        error_code=code,
        error_message=message,
        conflicted_files=json.dumps(list(files)),
        ended_at=now,
    )
    return attempts.send_back(
        tx, row["orchestrator_task_id"], code=code, message=message, prompt=prompt, limit=limit, now=now, actor=actor
    )


def abandoned(tx: Transaction, merge_id: int, *, code: str, message: str, now: str, actor: str) -> None:
    """The merge cannot be done without a person: its task goes to review, its branch stays."""
    row = events.transition(
        tx,
        states.MERGE,
        merge_id,
        "rejected",
        now=now,
        actor=actor,
        why=message,
        error_code=code,
        error_message=message,
        ended_at=now,
    )
    assignments.give_up(tx, row["orchestrator_task_id"], code=code, message=message, review=True, now=now, actor=actor)
