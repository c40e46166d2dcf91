"""``merge-completed-work``: bring a task's proven work onto the integration branch (R-132 to R-137)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import merges, overview
from ..errors import (
    BranchNotFound,
    DirtyWorkingDirectory,
    GitError,
    IllegalTransition,
    MergeAlreadyDone,
    MergeCheckFailed,
    MergeConflicts,
    TaskNotCompleted,
    TaskNotFound,
)
from ..identity import Caller
from ..store import Transaction
from ..yard import MergeOutcome, Yard
from .base import Answer, Command, Example, Parameters, required

Action = Literal["merge", "resolve_conflicts", "status"]
WAITING = {"queued": "completed_awaiting_merge", "checking": "merging"}
SHOWN = 50


class Given(Parameters):
    action: Annotated[Action, Field(description="what to do")] = "merge"
    task_id: Annotated[str | None, Field(description="merge, resolve_conflicts: the task")] = None
    merge_strategy: Annotated[
        Literal["recursive", "ours"],
        Field(description="ours: where it conflicts, the integration branch's side is taken"),
    ] = "recursive"
    resolve_conflicts: Annotated[bool, Field(description="false: a conflict is refused, whatever merge_strategy")] = (
        True
    )
    force_merge: Annotated[bool, Field(description="approve it too, where merges wait for an approval")] = False
    conflict_strategy: Annotated[
        Literal["ours", "theirs", "abort"] | None,
        Field(description="resolve_conflicts: the integration branch's side, the task's, or your review"),
    ] = None


class Result(Answer):
    action: Action


class Merged(Result):
    task_id: str
    branch_name: str
    merge_strategy: str
    conflicts: int
    conflicts_settled: list[str]
    files_changed: int
    insertions: int
    deletions: int
    merge_commit: str | None
    merged_at: str | None
    position: int | None
    message: str | None


class Queued(BaseModel):
    task_id: str
    status: str
    position: int
    merge_commit: str | None


class Queue(Result):
    merge_queue: list[Queued]
    total_in_queue: int
    next_to_merge: str | None


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    if given.action == "status":
        return await yard.read(caller, _queue, auto_approve=yard.settings.merge.auto_approve)
    task_id = required("merge-completed-work", given.action, "TASK_ID", given.task_id)
    if given.action == "resolve_conflicts":
        required("merge-completed-work", given.action, "CONFLICT_STRATEGY", given.conflict_strategy)
        done = await yard.operations.resolve(task_id, strategy=given.conflict_strategy or "abort", actor=caller.name)
        return await _told(yard, caller, given, task_id, done, given.conflict_strategy or "abort")
    await yard.read(caller, _require_unmerged, task_id)
    return await _merge(yard, caller, given, task_id)


async def _merge(yard: Yard, caller: Caller, given: Given, task_id: str) -> Merged:
    approved_by = caller.name if given.force_merge else None
    try:
        done = await yard.operations.merge(task_id, approved_by=approved_by, actor=caller.name)
    except MergeConflicts as error:
        if given.merge_strategy != "ours" or not given.resolve_conflicts:
            error.details["conflicts_count"] = len(error.details.get("conflicted_files", ()))
            raise
        done = await yard.operations.resolve(task_id, strategy="ours", actor=caller.name)
    return await _told(yard, caller, given, task_id, done, given.merge_strategy)


async def _told(yard: Yard, caller: Caller, given: Given, task_id: str, done: MergeOutcome, strategy: str) -> Merged:
    row = await yard.read(caller, merges.get, done.merge_id)
    message = None
    if done.merge_commit is None:
        message = f"It waits for your review; branch {row['branch_name']} stays."
        if strategy != "abort":
            message = f"It waits in the queue; `crewyard why {task_id}` tells for what."
    return Merged(
        action=given.action,
        task_id=task_id,
        branch_name=row["branch_name"],
        merge_strategy=strategy,
        conflicts=len(done.settled),
        conflicts_settled=done.settled,
        files_changed=done.files_changed,
        insertions=done.insertions,
        deletions=done.deletions,
        merge_commit=done.merge_commit,
        merged_at=row["ended_at"] if done.merge_commit else None,
        position=done.position,
        message=message,
    )


def _require_unmerged(tx: Transaction, task_id: str) -> None:
    last = merges.latest(tx, task_id)
    if last is not None and last["status"] == "merged":
        raise MergeAlreadyDone(
            f"Task {task_id} was merged into {last['target_branch']} as {last['merge_commit'][:12]}.",
            hint="cleanup-worktrees removes what is left of it.",
            task_id=task_id,
            merge_commit=last["merge_commit"],
        )


def _queue(tx: Transaction, *, auto_approve: bool) -> Queue:
    views = overview.merge_views(merges.queue(tx))
    free = (view.task_id for view in views if auto_approve or view.approved_by or view.status == "checking")
    queue = [
        Queued(task_id=view.task_id, status=WAITING[view.status], position=view.position, merge_commit=None)
        for view in views[:SHOWN]
    ]
    return Queue(action="status", merge_queue=queue, total_in_queue=len(views), next_to_merge=next(free, None))


COMMAND = Command(
    name="merge-completed-work",
    purpose="Merge a task's proven work into the integration branch, one merge at a time.",
    parameters=Given,
    answer=Result,
    run=run,
    acts=True,
    reads=("merge_request", "orchestrator_task", "specs_task", "agent_lifecycle", "git_worktree_tracker"),
    writes=(
        "merge_request",
        "agent_lifecycle",
        "orchestrator_task",
        "specs_task",
        "specs_task_dependency",
        "git_worktree_tracker",
        "agent_message",
        "metrics",
        "supervisor_lease",
        "event",
        "agent_restart_log",
        "error_events",
    ),
    rules=("CFR-013", "CFR-014"),
    errors=(
        TaskNotFound,
        TaskNotCompleted,
        MergeAlreadyDone,
        MergeConflicts,
        MergeCheckFailed,
        BranchNotFound,
        DirtyWorkingDirectory,
        IllegalTransition,
        GitError,
    ),
    criteria=(
        "The integration branch has one more merge commit with two parents, and no other commit.",
        "The configured check passed on the merged tree before the branch was moved.",
        "merge_request and orchestrator_state say `merged`, when and as which commit; what waited for it is ready.",
        "One merge at a time for each target branch, in the order of completion.",
    ),
    related=("spawn-agent-session", "create-worktree", "cleanup-worktrees", "coordinate-dependencies"),
    differs=(
        "FORCE_MERGE gives the approval that is waited for; nothing skips evidence, order or check.",
        "Conflicts in which nothing can be lost are settled in any case, and named in conflicts_settled.",
        "MERGE_STRATEGY=ours takes the integration branch's side of what conflicts, not of the whole tree.",
    ),
    examples=(
        Example("What an agent has finished.", {"TASK_ID": "{finished}"}),
        Example("The queue is empty.", {"ACTION": "status"}),
        Example("It is merged already.", {"TASK_ID": "{finished}"}),
        Example("Nobody has worked on it.", {"TASK_ID": "docs"}),
    ),
)
