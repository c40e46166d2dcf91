"""What a lead wants done by the supervisor, recorded and then read back: merges and single agents."""

import json
from dataclasses import dataclass

from . import agents, assignments, holds, launches, merges, resolutions, tasks, worktrees
from .errors import (
    BranchNotFound,
    CrewyardError,
    DirtyWorkingDirectory,
    GitError,
    HookFailed,
    MergeCheckFailed,
    MergeConflicts,
    NoAvailableWork,
    ResourceExhaustion,
)
from .store import Row, Transaction


def request_merge(tx: Transaction, task_id: str, approved_by: str | None, now: str, actor: str) -> Row:
    """The task's open merge request with the approval given, or its last one where it is merged already."""
    if approved_by is not None and (held := merges.waits_for_a_word(tx, task_id)) is not None:
        return resolutions.take(tx, held, approved_by=approved_by, now=now, actor=actor)
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
    classes = (MergeConflicts, MergeCheckFailed, DirtyWorkingDirectory, HookFailed, BranchNotFound)
    kinds: dict[str, type[CrewyardError]] = {each.code: each for each in classes}
    return kinds.get(row["error_code"], GitError)(
        row["error_message"],
        hint=f"why(subject='{row['task_id']}') tells what happens now.",
        task_id=row["task_id"],
        conflicted_files=json.loads(row["conflicted_files"]),
    )


@dataclass(frozen=True)
class Session:
    """An agent that somebody wants on a task now. ``everywhere``: one of its type in all worktrees together (C-15).

    ``limit`` is the most of the type that may be at work; ``max_restarts`` None stands for the setting.
    """

    task_id: str
    agent_type: str
    limit: int | None
    everywhere: bool
    timeout_seconds: float | None = None
    max_restarts: int | None = None
    instance_id: str | None = None


def assign(tx: Transaction, want: Session, *, now: str, actor: str) -> Row:
    """Give one task to an agent now; a reserved one is taken up.

    Raises NoAvailableWork, SingletonViolation, ResourceExhaustion, AlreadyAssigned.
    """
    task_id, agent_type = want.task_id, want.agent_type
    if blockers := tasks.open_blockers(tx, task_id):
        names = ", ".join(row["task_id"] for row in blockers)
        raise NoAvailableWork(
            f"Task {task_id} waits for {names}.",
            hint=f"why(subject='{blockers[0]['task_id']}') tells how that stands; assign(force=true) ignores it.",
            task_id=task_id,
        )
    worktree = worktrees.live(tx, task_id)
    if want.everywhere or worktree is not None:
        launches.require_single(tx, agent_type, None if want.everywhere or worktree is None else worktree.path)
    holds.lift_stop(tx, now=now, actor=actor)
    if (hold := holds.in_force(tx, agent_type, now)) is not None:
        raise ResourceExhaustion(
            f"No {agent_type} is started now: {hold['message']}.",
            hint=f"Call again after {hold['until'] or 'somebody has lifted that'}; assign(…) waits for it by itself.",
            reason=hold["reason"],
            until=hold["until"],
        )
    at_work = sum(row["agent_type"] == agent_type for row in agents.live(tx))
    if want.limit is not None and at_work >= want.limit:
        raise ResourceExhaustion(
            f"{at_work} agents of type {agent_type} are at work; max_instances is {want.limit}.",
            hint="Wait for one to end, or raise max_instances in crewyard.toml.",
        )
    row = assignments.of_task(tx, task_id)
    if row is not None and assignments.is_reserved(row):
        row = assignments.take_up(tx, row, agent_type=agent_type, instance_id=want.instance_id, now=now, actor=actor)
    else:
        row = assignments.create(
            tx,
            tasks.get(tx, task_id),
            agent_type=agent_type,
            dispatch_id=None,
            instance_id=want.instance_id,
            now=now,
            actor=actor,
        )
    assignments.note(
        tx, row["orchestrator_task_id"], timeout_seconds=want.timeout_seconds, max_restarts=want.max_restarts
    )
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
