"""Removes worktrees and branches that nobody needs; nothing before its work is proven to be elsewhere (design 6)."""

from dataclasses import dataclass
from pathlib import Path

from . import clock, workspaces, worktrees
from .crew import ACTOR, Crew
from .errors import GitError, NotMerged, UncommittedChanges
from .worktrees import Worktree


@dataclass(frozen=True)
class Cleaned:
    """What a clean-up freed, and under which ref it kept what was not merged."""

    freed_mb: float
    salvage_ref: str | None


def tidy(crew: Crew, worktree: Worktree) -> None:
    """Clean up after a settled task, or as asked; where it may not be, note why the worktree stays."""
    wish = crew.store.read(worktrees.wish, worktree.worktree_id)
    try:
        done = clean(crew, worktree, force=wish == "force" or worktree.status == "merged")
    except (GitError, NotMerged, OSError) as error:
        crew.write(worktrees.keep, worktree.worktree_id, str(error), now=clock.now(), actor=ACTOR)
    else:
        crew.write(worktrees.freed, worktree.worktree_id, done.freed_mb)


def holds_nothing_new(crew: Crew, worktree: Worktree, tip: str | None) -> bool:
    """Whether every commit of the branch is on the integration branch, or the branch has none of its own."""
    return tip is None or tip == worktree.base_commit or crew.repository.is_ancestor(tip, crew.target)


def clean(crew: Crew, worktree: Worktree, *, force: bool) -> Cleaned:
    """Remove a worktree and its branch. What is not on the integration branch, or uncommitted, stops it; with
    ``force`` it is kept under a salvage ref first. Raises NotMerged, UncommittedChanges, GitError.
    """
    git, path = crew.repository, Path(worktree.path)
    tip = git.tip(worktree.branch)
    merged = holds_nothing_new(crew, worktree, tip)
    dirty = path.exists() and git.has_changes(path)
    if not force and not merged:
        raise NotMerged(
            f"Branch {worktree.branch} holds commits that are not on {crew.target}.",
            hint="Merge it, or clean up with force=true, which keeps it under refs/crewyard/salvage.",
            branch=worktree.branch,
        )
    if not force and dirty:
        raise UncommittedChanges(f"{path} holds changes that are not committed.", path=str(path))
    now = clock.now()
    salvage_ref = workspaces.salvage_ref(worktree.task_id, now)
    kept = None
    if dirty:
        workspaces.salvage(git, path, kept := salvage_ref)
    elif tip is not None and not merged:
        git.keep(kept := salvage_ref, tip)
    freed = workspaces.size_in_mb(path) if path.exists() else 0.0
    workspaces.remove(git, path, force=dirty)
    workspaces.remove_empty_parent(path)
    if tip is not None:
        git.delete_branch(worktree.branch, tip)
    crew.write(worktrees.change, worktree.worktree_id, "cleaned", now=now, actor=ACTOR, salvage_ref=kept)
    return Cleaned(freed, kept)
