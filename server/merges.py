"""The merge queue's records. Its mutual exclusion is an index: one ``checking`` per target branch (design 3, 6)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import (
    alerts,
    assignments,
    attempts,
    clock,
    error_events,
    events,
    failures,
    notices,
    settlements,
    states,
    tasks,
    worktrees,
)
from .error_events import Note
from .errors import SteersAgents
from .settlements import Settlement
from .store import Row, Transaction

# In the order of completion; work that was sent back and has come again takes the place that it had.
_ORDER = "status <> 'checking', coalesce(queued_since, created_at), merge_id"


FILES_RECORDED = 50
# Of a request that ended so the work may be as good as it was proven to be.
NOT_THE_WORKS_FAULT = ("dirty_working_directory", "git_error", "hook_failed")


@dataclass(frozen=True)
class Merged:
    """A merge that has happened."""

    commit: str
    files_changed: int
    insertions: int
    deletions: int


def get(tx: Transaction, merge_id: int) -> Row:
    return tx.only("SELECT * FROM merge_request WHERE merge_id = ?", (merge_id,))


def has_refused(tx: Transaction, merge_id: int) -> bool | None:
    """Whether a request ended with a failed check, of which a message tells; None where there is none."""
    status = tx.value("SELECT status FROM merge_request WHERE merge_id = ?", (merge_id,))
    return None if status is None else status == "rejected"


def last_into(tx: Transaction, target: str) -> str | None:
    """The commit of the last merge into a branch."""
    commit: str | None = tx.value(
        "SELECT merge_commit FROM merge_request WHERE target_branch = ? AND status = 'merged' "
        "ORDER BY ended_at DESC, merge_id DESC LIMIT 1",
        (target,),
    )
    return commit


def latest(tx: Transaction, task_id: str) -> Row | None:
    """The task's newest merge request."""
    return tx.one("SELECT * FROM merge_request WHERE task_id = ? ORDER BY merge_id DESC LIMIT 1", (task_id,))


def last_approved(tx: Transaction, task_id: str) -> str | None:
    """The commit of a task's branch that somebody approved last."""
    head: str | None = tx.value(
        "SELECT head_commit FROM merge_request WHERE task_id = ? AND approved_by IS NOT NULL "
        "ORDER BY merge_id DESC LIMIT 1",
        (task_id,),
    )
    return head


def waits_for_a_word(tx: Transaction, task_id: str) -> Row | None:
    """The task's last request, where the work was given up only because somebody must say that it may be merged."""
    last = latest(tx, task_id)
    held = last is not None and last["status"] == "rejected" and last["error_code"] == SteersAgents.code
    return last if held and assignments.of_task(tx, task_id) is None else None


def enqueue(
    tx: Transaction,
    assignment_id: str,
    *,
    head: str,
    target: str,
    approved_by: str | None,
    now: str,
    actor: str,
    strategy: str | None = None,
) -> Row:
    """Put proven work into the queue of ``target``; a request that is open already is given the new head.

    ``strategy``: the side that is taken (``ours`` is the target's) where it conflicts. An approval is of the head that
    it was given for: with another head it counts no more (C-12).
    """
    assignment = assignments.get(tx, assignment_id)
    row = tx.only(
        "INSERT INTO merge_request (task_id, orchestrator_task_id, branch_name, target_branch, head_commit, "
        "approved_by, approved_at, created_at, strategy, queued_since) "
        "SELECT :task, :work, :branch, :target, :head, :by, iif(:by IS NULL, NULL, :now), :now, :strategy, "
        "coalesce(min(queued_since), :now) FROM merge_request WHERE orchestrator_task_id = :work "
        "ON CONFLICT (task_id) WHERE status IN ('queued', 'checking') DO UPDATE SET "
        "head_commit = excluded.head_commit, not_before = NULL, "
        "approved_by = coalesce(excluded.approved_by, iif(head_commit = excluded.head_commit, approved_by, NULL)), "
        "approved_at = coalesce(excluded.approved_at, iif(head_commit = excluded.head_commit, approved_at, NULL)) "
        "RETURNING *",
        {
            "task": assignment["task_id"],
            "work": assignment_id,
            "branch": assignment["branch_name"],
            "target": target,
            "head": head,
            "by": approved_by,
            "now": now,
            "strategy": strategy,
        },
    )
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="merge",
        subject_id=row["merge_id"],
        kind="merge_queued" if approved_by is None else "merge_approved",
        to_state=row["status"],
        task_id=row["task_id"],
        agent_id=assignment["assigned_agent"],
        assignment=assignment_id,
        dispatch=assignment["dispatch_id"],
        target=target,
        head=head,
        approved_by=row["approved_by"],
    )
    return row


def enqueue_again(
    tx: Transaction,
    assignment_id: str,
    last: Row,
    *,
    approved_by: str | None,
    strategy: str | None = None,
    now: str,
    actor: str,
) -> Row:
    """Queue what a task's ``last`` request was to merge, as ``enqueue`` does."""
    return enqueue(
        tx,
        assignment_id,
        head=last["head_commit"],
        target=last["target_branch"],
        approved_by=approved_by,
        strategy=strategy,
        now=now,
        actor=actor,
    )


def queue(tx: Transaction, target: str | None = None) -> list[Row]:
    """Open requests in their order, with ``position``."""
    return tx.all(
        f"SELECT *, row_number() OVER (PARTITION BY target_branch ORDER BY {_ORDER}) AS position "
        "FROM merge_request WHERE status IN ('queued', 'checking') AND (? IS NULL OR target_branch = ?) "
        "ORDER BY target_branch, position",
        (target, target),
    )


def due(tx: Transaction, *, auto_approve: bool, now: str, target: str | None = None) -> list[Row]:
    """Requests that can be gone on with: interrupted ones first, then those approved whose time has come."""
    return tx.all(
        "SELECT * FROM merge_request WHERE (:target IS NULL OR target_branch = :target) AND (status = 'checking' OR "
        "(status = 'queued' AND (not_before IS NULL OR not_before <= :now) AND (:auto OR approved_by IS NOT NULL))) "
        f"ORDER BY {_ORDER}",
        {"target": target, "now": now, "auto": auto_approve},
    )


def claim(tx: Transaction, merge_id: int, *, now: str, actor: str) -> Row:
    """Begin to merge a request; the index refuses a second one of the same target."""
    return events.transition(tx, states.MERGE, merge_id, "checking", now=now, actor=actor, candidate_commit=None)


def checking(tx: Transaction) -> list[Row]:
    """Requests that are being merged, or were when their merger died."""
    return tx.all("SELECT * FROM merge_request WHERE status = 'checking' ORDER BY merge_id")


def next_due(tx: Transaction, *, now: str) -> str | None:
    due: str | None = tx.value(
        "SELECT min(not_before) FROM merge_request WHERE status = 'queued' AND not_before > ?", (now,)
    )
    return due


def note_settled(tx: Transaction, merge_id: int, settled: Sequence[Settlement]) -> None:
    """Keep which conflicts were settled without an agent."""
    tx.run("UPDATE merge_request SET settled = ? WHERE merge_id = ?", (settlements.to_json(settled), merge_id))


def settled_in(row: Row) -> list[str]:
    """What a person is told of the conflicts that were settled without an agent."""
    return [each.told(row["target_branch"]) for each in settlements.from_json(row["settled"])]


def of_dependencies(tx: Transaction, task_id: str) -> list[Row]:
    """The completed tasks that a task depended on, by id, each with its last merge where there is one."""
    return tx.all(
        "SELECT b.task_id, b.title, (SELECT merge_commit FROM merge_request m WHERE m.task_id = b.task_id "
        "AND m.status = 'merged' ORDER BY merge_id DESC LIMIT 1) AS merge_commit FROM specs_task_dependency d "
        "JOIN specs_task b ON b.task_id = d.blocking_task_id "
        "WHERE d.dependent_task_id = ? AND b.status = 'completed' ORDER BY b.task_id",
        (task_id,),
    )


def tasks_behind(tx: Transaction, commits: Sequence[str]) -> list[Row]:
    """The tasks that these commits of the integration branch have merged."""
    return tx.all(
        "SELECT t.* FROM merge_request m JOIN specs_task t USING (task_id) "
        "WHERE m.merge_commit IN (SELECT value FROM json_each(?)) ORDER BY m.merge_id DESC",
        (json.dumps(list(commits)),),
    )


def propose(tx: Transaction, commits: Mapping[int, tuple[str, str]]) -> bool:
    """Record, by request, the head that was merged and the commit, before the branch is moved to the last of them.

    So a crash in between can be told apart. Returns False, and the branch may not be moved, where one of them is open
    no more or has another head.
    """
    changed = [
        tx.run(
            "UPDATE merge_request SET candidate_commit = ? WHERE merge_id = ? AND head_commit = ? "
            "AND status IN ('queued', 'checking')",
            (commit, merge_id, head),
        )
        for merge_id, (head, commit) in commits.items()
    ]
    return all(changed)


def all_succeeded(tx: Transaction, done: Sequence[tuple[int, Merged]], *, now: str, actor: str) -> None:
    """The target holds the work of all of them. Those that were merged along with the first were only queued."""
    for merge_id, result in done:
        if get(tx, merge_id)["status"] == "queued":
            claim(tx, merge_id, now=now, actor=actor)
        succeeded(tx, merge_id, result, now=now, actor=actor)
    notices.merged(tx, [get(tx, merge_id) for merge_id, _ in done], now=now)


def note_flaky(tx: Transaction, merge_ids: Sequence[int], check: str, *, now: str, actor: str) -> None:
    """The check failed and passed on one and the same tree: it counts as passed, and the lead is told."""
    rows = [get(tx, merge_id) for merge_id in merge_ids]
    tx.many("UPDATE merge_request SET flaky = 1 WHERE merge_id = ?", [(merge_id,) for merge_id in merge_ids])
    for row in rows:
        events.record(
            tx,
            now=now,
            actor=actor,
            subject_type="merge",
            subject_id=row["merge_id"],
            kind="merge_check_flaky",
            task_id=row["task_id"],
            check=check,
        )
    names = ", ".join(row["task_id"] for row in rows)
    message = f"`{check}` failed and then passed on the very same files, while merging {names}. It counted as passed."
    alerts.alert(tx, "warning", "The merge check is flaky", message, now=now, tasks=[row["task_id"] for row in rows])


def succeeded(tx: Transaction, merge_id: int, result: Merged, *, now: str, actor: str) -> tasks.Completion:
    """The target holds the work: merge, assignment, task and worktree change together."""
    row = events.transition(
        tx,
        states.MERGE,
        merge_id,
        "merged",
        now=now,
        actor=actor,
        facts={
            "commit": result.commit,
            "files_changed": result.files_changed,
            "insertions": result.insertions,
            "deletions": result.deletions,
        },
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
        worktrees.keep(tx, worktree.worktree_id, None, now=now, actor=actor)
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
        facts={"code": code, "retry_seconds": retry_seconds},
        candidate_commit=None,
        error_code=code,
        error_message=why if code else None,
        not_before=clock.plus(now, retry_seconds) if retry_seconds is not None else None,
    )
    if in_the_way:
        tx.run("UPDATE merge_request SET attempts = attempts + 1 WHERE merge_id = ?", (merge_id,))
    if code is not None:
        error = Note(failures.named(code, why), why, "recovering", row["task_id"], attempt=row["attempts"] + 1)
        error_events.note(tx, error, now=now, actor=actor)
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
        facts={"code": code, "files": list(files)[:FILES_RECORDED] or None},
        error_code=code,
        error_message=message,
        conflicted_files=json.dumps(list(files)),
        ended_at=now,
    )
    return attempts.send_back(
        tx, row["orchestrator_task_id"], code=code, message=message, prompt=prompt, limit=limit, files=files, now=now,
        actor=actor,
    )  # fmt: skip


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
        facts={"code": code},
        error_code=code,
        error_message=message,
        ended_at=now,
    )
    assignments.give_up(tx, row["orchestrator_task_id"], code=code, message=message, review=True, now=now, actor=actor)
