"""``cleanup-worktrees``: remove worktrees and branches that nobody needs (R-138 to R-141)."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from .. import clock, worktrees
from ..errors import (
    BranchNotFound,
    CleanupFailed,
    GitError,
    NotFound,
    NotMerged,
    StillInUse,
    TaskNotFound,
    UncommittedChanges,
    WorktreeNotFound,
)
from ..identity import Caller
from ..store import Transaction
from ..worktrees import Candidate
from ..yard import Yard
from .base import Answer, Command, Example, Parameters, required

Action = Literal["cleanup", "cleanup_all", "list_candidates"]
OURS = (NotMerged, StillInUse, UncommittedChanges, NotFound)


class Given(Parameters):
    action: Annotated[Action, Field(description="what to do")] = "cleanup"
    task_id: Annotated[str | None, Field(description="cleanup: the task")] = None
    force_cleanup: Annotated[
        bool, Field(description="unmerged and uncommitted work too, kept under refs/crewyard/salvage")
    ] = False
    verify_merge: Annotated[bool, Field(description="false: as force_cleanup")] = True
    status_filter: Annotated[Literal["merged", "all"], Field(description="cleanup_all: which ones")] = "merged"


class Result(Answer):
    action: Action


class Cleaned(Result):
    task_id: str
    status: str
    disk_space_freed_mb: float
    cleaned_at: str
    salvage_refs: list[str]


class Seen(BaseModel):
    task_id: str
    worktree_path: str
    branch_name: str
    status: str
    disk_space_mb: float
    merged_at: str | None
    ready_for_cleanup: bool
    reason: str


class CleanedAll(Result):
    worktrees_cleaned: int
    cleaned: list[str]
    total_disk_space_freed_mb: float
    salvage_refs: list[str]
    left: list[Seen]


class Candidates(Result):
    candidates: list[Seen]
    total: int


async def run(yard: Yard, caller: Caller, given: Given) -> Result:
    force = given.force_cleanup or not given.verify_merge
    if given.action == "cleanup":
        task_id = required("cleanup-worktrees", given.action, "TASK_ID", given.task_id)
        return await _cleanup(yard, caller, task_id, force)
    if given.action == "list_candidates":
        done = await yard.operations.cleanup(None, force=False, dry_run=True, actor=caller.name)
        seen = await yard.read(caller, _seen, done.candidates)
        return Candidates(action="list_candidates", candidates=seen, total=len(seen))
    done = await yard.operations.cleanup(
        None, force=force and given.status_filter == "all", dry_run=False, actor=caller.name
    )
    left = [each for each in done.candidates if each.task_id not in done.cleaned_up]
    return CleanedAll(
        action="cleanup_all",
        worktrees_cleaned=len(done.cleaned_up),
        cleaned=done.cleaned_up,
        total_disk_space_freed_mb=round(done.disk_space_freed_mb, 2),
        salvage_refs=done.salvage_refs,
        left=await yard.read(caller, _seen, left),
    )


async def _cleanup(yard: Yard, caller: Caller, task_id: str, force: bool) -> Cleaned:
    row = await yard.read(caller, worktrees.newest, task_id)
    refs: list[str] = []
    if row is None or row["status"] != "cleaned":  # what is gone already is told as it is
        try:
            done = await yard.operations.cleanup(task_id, force=force, dry_run=False, actor=caller.name)
        except OURS:
            raise
        except GitError as error:
            raise CleanupFailed(error.message, hint=error.hint, **error.details) from error
        refs = done.salvage_refs
        row = await yard.read(caller, worktrees.newest, task_id)
    cleaned_at = row["cleaned_at"] if row is not None else clock.now()
    freed = (row["freed_mb"] if row is not None else None) or 0.0
    return Cleaned(
        action="cleanup",
        task_id=task_id,
        status="cleaned",
        disk_space_freed_mb=round(freed, 2),
        cleaned_at=cleaned_at or clock.now(),
        salvage_refs=refs,
    )


def _seen(tx: Transaction, found: list[Candidate]) -> list[Seen]:
    return [
        Seen(
            task_id=each.task_id,
            worktree_path=each.worktree_path,
            branch_name=each.branch_name,
            status=each.status,
            disk_space_mb=round(each.disk_space_mb, 2),
            merged_at=_merged_at(tx, each.task_id),
            ready_for_cleanup=each.ready,
            reason=each.reason,
        )
        for each in found
    ]


def _merged_at(tx: Transaction, task_id: str) -> str | None:
    at: str | None = tx.value("SELECT max(merged_at) FROM orchestrator_state WHERE task_id = ?", (task_id,))
    return at


COMMAND = Command(
    name="cleanup-worktrees",
    purpose="Remove worktrees and branches whose work is on the integration branch.",
    parameters=Given,
    answer=Result,
    run=run,
    acts=True,
    reads=("git_worktree_tracker", "orchestrator_state", "specs_task", "agent_lifecycle", "merge_request"),
    writes=("git_worktree_tracker", "supervisor_lease", "event"),
    rules=("CFR-013", "CFR-014"),
    errors=(
        TaskNotFound,
        WorktreeNotFound,
        BranchNotFound,
        NotMerged,
        UncommittedChanges,
        StillInUse,
        CleanupFailed,
    ),
    criteria=(
        "Worktree, branch and the branch's reflog are gone; orchestrator_state says `cleaned`.",
        "Nothing is removed that is not on the integration branch; what is forced is kept under a salvage ref first.",
        "A worktree in which an agent works stays.",
    ),
    related=("merge-completed-work", "create-worktree", "kill-stalled-agent"),
    differs=(
        "VERIFY_MERGE=false never loses work: it means FORCE_CLEANUP, which keeps it under a salvage ref.",
        "Garbage is collected by the supervisor, while no worktree and no merge is at work (C-36).",
        "A supervisor cleans up by itself after a merge; what is gone already is told as cleaned.",
    ),
    examples=(
        Example("What there is to clean up.", {"ACTION": "list_candidates"}),
        Example("A merged task's worktree.", {"TASK_ID": "{finished}"}),
        Example("All that are merged.", {"ACTION": "cleanup_all", "STATUS_FILTER": "merged"}),
        Example("A task without a worktree.", {"TASK_ID": "design"}),
    ),
)
