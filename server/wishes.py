"""What a lead wants done by the supervisor, recorded and then read back: merges and single agents."""

import json

from . import agents, assignments, holds, launches, merges, tasks, worktrees
from .errors import CrewyardError, GitError, MergeCheckFailed, MergeConflicts, NoAvailableWork, ResourceExhaustion
from .store import Row, Transaction


def request_merge(tx: Transaction, task_id: str, approved_by: str | None, now: str, actor: str) -> Row:
    """The task's open merge request with the approval given, or its last one where it is merged already."""
    assignment = assignments.require_proven(tx, task_id)
    last = merges.latest(tx, task_id)
    if last is None:
        raise GitError(f"Task {task_id} changed nothing; there is nothing to merge.", task_id=task_id)
    if assignment["status"] == "merged" or last["status"] not in ("queued", "checking"):
        return last
    return merges.enqueue_again(
        tx, assignment["orchestrator_task_id"], last, approved_by=approved_by, now=now, actor=actor
    )


def refusal(row: Row) -> CrewyardError:
    kinds: dict[str, type[CrewyardError]] = {"merge_conflicts": MergeConflicts, "merge_check_failed": MergeCheckFailed}
    return kinds.get(row["error_code"], GitError)(
        row["error_message"],
        hint=f"why(subject='{row['task_id']}') tells what happens now.",
        task_id=row["task_id"],
        conflicted_files=json.loads(row["conflicted_files"]),
    )


def assign(
    tx: Transaction,
    task_id: str,
    agent_type: str,
    limit: int | None,
    timeout_seconds: float | None,
    everywhere: bool,
    now: str,
    actor: str,
) -> Row:
    """Give one task to an agent now; ``everywhere``: one agent of the type in all worktrees together (C-15).

    Raises NoAvailableWork, SingletonViolation, ResourceExhaustion, AlreadyAssigned.
    """
    if blockers := tasks.open_blockers(tx, task_id):
        names = ", ".join(row["task_id"] for row in blockers)
        raise NoAvailableWork(
            f"Task {task_id} waits for {names}.",
            hint=f"why(subject='{blockers[0]['task_id']}') tells how that stands; assign(force=true) ignores it.",
            task_id=task_id,
        )
    worktree = worktrees.live(tx, task_id)
    if everywhere or worktree is not None:
        launches.require_single(tx, agent_type, None if everywhere or worktree is None else worktree.path)
    holds.lift_stop(tx, now=now, actor=actor)
    if (hold := holds.in_force(tx, agent_type, now)) is not None:
        raise ResourceExhaustion(
            f"No {agent_type} is started now: {hold['message']}.",
            hint=f"Call again after {hold['until'] or 'somebody has lifted that'}; assign(…) waits for it by itself.",
            reason=hold["reason"],
            until=hold["until"],
        )
    at_work = sum(row["agent_type"] == agent_type for row in agents.live(tx))
    if limit is not None and at_work >= limit:
        raise ResourceExhaustion(
            f"{at_work} agents of type {agent_type} are at work; max_instances is {limit}.",
            hint="Wait for one to end, or raise max_instances in crewyard.toml.",
        )
    row = assignments.create(tx, tasks.get(tx, task_id), agent_type=agent_type, dispatch_id=None, now=now, actor=actor)
    if timeout_seconds is not None:
        assignments.note(tx, row["orchestrator_task_id"], timeout_seconds=timeout_seconds)
    return row


def begun(tx: Transaction, assignment_id: str) -> Row | None:
    """The assignment's first agent, once it runs or has ended; or its error where none could start."""
    return tx.one(
        "SELECT a.agent_id, a.pid, a.workspace, coalesce(a.started_at, a.created_at) AS started_at, "
        "coalesce(a.error_message, o.error_message) AS error_message FROM orchestrator_task o "
        "LEFT JOIN agent_lifecycle a ON a.orchestrator_task_id = o.orchestrator_task_id AND a.pid IS NOT NULL "
        "WHERE o.orchestrator_task_id = ? AND (a.agent_id IS NOT NULL OR o.error_code IS NOT NULL) LIMIT 1",
        (assignment_id,),
    )
