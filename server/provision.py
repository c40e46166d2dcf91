"""Gives a task its worktree: the one that it has, or a new one from the integration branch's tip (design 6).

The wish is recorded before git is asked, so that whatever a crash leaves is recognised and used, or made anew.
"""

from pathlib import Path

from . import clock, events, workspaces, worktrees
from .crew import ACTOR, Crew
from .errors import GitError
from .store import Transaction
from .worktrees import Worktree


def make_worktree(crew: Crew, task_id: str) -> None:
    """Carry out a recorded wish for a worktree; where git refuses, the reason stands in its record."""
    try:
        provide_worktree(crew, task_id)
    except GitError as error:
        crew.write(_give_up_worktree, task_id, error.message)


def provide_worktree(crew: Crew, task_id: str) -> Worktree:
    """The task's worktree, made from the integration branch's tip where it has none. Raises GitError."""
    now = clock.now()
    present = crew.store.read(worktrees.live, task_id) or crew.write(
        worktrees.plan,
        task_id,
        path=str(workspaces.free_path(crew.paths.worktree(task_id))),
        branch=crew.paths.branch(task_id),
        base_branch=crew.target,
        base_commit=_target_tip(crew),
        now=now,
        actor=ACTOR,
    )
    path = Path(present.path)
    if present.status == "creating" or not path.exists():
        salvage_ref = workspaces.salvage_ref(task_id, now)
        base_commit = present.base_commit if present.status == "creating" else present.branch
        made = workspaces.prepare(crew.repository, path, present.branch, base_commit, salvage_ref)
        present = crew.write(_made, present, made, now)
    if present.kept_because is not None:
        crew.write(worktrees.keep, present.worktree_id, None, now=now, actor=ACTOR)
    return present


def _target_tip(crew: Crew) -> str:
    """The integration branch's tip; the branch is made from HEAD where it is missing."""
    tip = crew.repository.tip(crew.target)
    if tip is not None:
        return tip
    head = crew.repository.head(crew.root)
    if not crew.repository.create_branch(crew.target, head):
        return crew.repository.require_tip(crew.target)
    crew.write(
        events.record,
        now=clock.now(),
        actor=ACTOR,
        subject_type="branch",
        subject_id=crew.target,
        kind="integration_branch_made",
        commit=head,
    )
    return head


def _give_up_worktree(tx: Transaction, task_id: str, why: str) -> None:
    worktree = worktrees.require_live(tx, task_id)
    worktrees.change(tx, worktree.worktree_id, "cleaned", now=clock.now(), actor=ACTOR, why=why)
    worktrees.keep(tx, worktree.worktree_id, why, now=clock.now(), actor=ACTOR)


def _made(tx: Transaction, worktree: Worktree, made: workspaces.Prepared, now: str) -> Worktree:
    if made.salvaged is not None:
        events.record(
            tx,
            now=now,
            actor=ACTOR,
            subject_type="worktree",
            subject_id=worktree.worktree_id,
            kind="leftover_branch_salvaged",
            ref=made.salvaged,
            branch=worktree.branch,
        )
    if worktree.status != "creating":
        return worktree
    return worktrees.change(tx, worktree.worktree_id, "active", now=now, actor=ACTOR, salvage_ref=made.salvaged)
