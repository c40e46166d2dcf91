"""Removes worktrees and branches that nobody needs; nothing before its work is proven to be elsewhere (design 6)."""

from dataclasses import dataclass
from pathlib import Path

from . import (
    alerts,
    clock,
    environment,
    garbage,
    hidden,
    journals,
    pooling,
    provision,
    recycler,
    saving,
    workspaces,
    worktrees,
)
from .crew import ACTOR, Crew
from .errors import GitError, NotMerged, UncommittedChanges
from .store import Transaction
from .worktrees import Candidate, Worktree

GC_SECONDS = 3600.0
GC_SAYS = "Auto packing the repository"  # where it has something to do
WORDS_KEPT = 500


@dataclass(frozen=True)
class Cleaned:
    """What a clean-up freed, and under which ref it kept what was not merged."""

    freed_mb: float
    salvage_ref: str | None


def tidy(crew: Crew, worktree: Worktree) -> None:
    """Clean up after a settled task, or as asked; where it may not be, note why the worktree stays.

    Nothing is lost with one that the pool can use: it is kept for the next task.
    """
    wish = crew.store.read(worktrees.wish, worktree.worktree_id)
    try:
        worktree = provision.relocated(crew, worktree)
        _refuse_elsewhere(crew, worktree)
        workspaces.mend_pointer(crew.repository, Path(worktree.path))
        workspaces.refuse_inner(crew.repository, Path(worktree.path))
        if wish is None and _is_spare(crew, worktree) and recycler.recycle(crew, worktree):
            return
        done = clean(crew, worktree, force=wish == "force" or worktree.status == "merged")
    except (GitError, NotMerged, OSError) as error:
        crew.write(worktrees.keep, worktree.worktree_id, str(error), now=clock.now(), actor=ACTOR)
    else:
        crew.write(worktrees.freed, worktree.worktree_id, done.freed_mb)


def unmerged(crew: Crew, worktree: Worktree) -> list[str]:
    """The commits that would be lost with this worktree: its branch's, and its HEAD's where that is elsewhere."""
    path = Path(worktree.path)
    tips = {crew.repository.tip(worktree.branch)}
    if path.exists():
        tips.add(crew.repository.commit_at(path))
    return [
        tip
        for tip in sorted(filter(None, tips))
        if tip != worktree.base_commit and not crew.repository.is_ancestor(tip, crew.target)
    ]


def _is_spare(crew: Crew, worktree: Worktree) -> bool:
    """Whether nothing would be lost with it, and the pool has room; what git was told not to look at, that refuses."""
    git, path = crew.repository, Path(worktree.path)
    if not path.exists() or not recycler.takes_another(crew):
        return False
    return not unmerged(crew, worktree) and git.operation_in_progress(path) is None and not git.has_changes(path)


def clean(crew: Crew, worktree: Worktree, *, force: bool) -> Cleaned:
    """Remove a worktree and its branch. What is not on the integration branch, or uncommitted, stops it; with
    ``force`` it is kept under a salvage ref first. Raises NotMerged, UncommittedChanges, GitError.
    """
    git, path = crew.repository, Path(worktree.path)
    workspaces.refuse_locked(git, path)
    lost, tip = unmerged(crew, worktree), git.tip(worktree.branch)
    dirty = path.exists() and hidden.is_dirty(git, path)
    _refuse(crew, worktree, lost=bool(lost), dirty=dirty, force=force)
    crew.require_lease()
    now = clock.now()
    ref = workspaces.salvage_ref(worktree.task_id, now)
    saved = workspaces.salvage(git, path, ref) if dirty else None
    apart = [commit for commit in lost if saved is None or not git.is_ancestor(commit, saved)]
    for number, commit in enumerate(apart):
        git.keep(f"{ref}-{number}" if dirty or number else ref, commit)
    freed = workspaces.size_in_mb(path) if path.exists() else 0.0
    workspaces.remove(git, path, force=dirty)
    workspaces.remove_empty_parent(path)
    if tip is not None:
        git.delete_branch(worktree.branch, tip)
    kept = ref if dirty or lost else None
    crew.write(_cleaned, worktree, kept, has_commits=bool(lost), now=now)
    return Cleaned(freed, kept)


def _cleaned(tx: Transaction, worktree: Worktree, kept: str | None, *, has_commits: bool, now: str) -> None:
    """Record it. Of commits that a merged branch got after what was merged of it nobody knows yet: they are told."""
    if has_commits and kept and worktree.status == "merged":
        message = (
            f"Branch {worktree.branch} held commits that are not in what was merged of task {worktree.task_id}. "
            f"They are kept: git log {kept}"
        )
        alerts.alert(tx, "high", "Commits were left out of a merge", message, now=now, task_id=worktree.task_id)
    worktrees.change(tx, worktree.worktree_id, "cleaned", now=now, actor=ACTOR, salvage_ref=kept)


def remove_orphan(crew: Crew, candidate: Candidate) -> Cleaned:
    """Remove a worktree and a branch that no database knows; all that is in them is kept under a salvage ref first.

    Raises GitError, UncommittedChanges.
    """
    git, path = crew.repository, Path(candidate.worktree_path)
    workspaces.refuse_inner(git, path)
    ref = workspaces.salvage_ref(candidate.task_id, clock.now())
    if not candidate.branch_name:  # of a pool
        return Cleaned(candidate.disk_space_mb, pooling.discard(git, path, set(), crew.target, ref))
    inner = saving.unsalvageable(git, path) if path.exists() else []
    if inner:
        raise _holds_repositories(path, inner)
    tip = git.require_tip(candidate.branch_name)
    kept = workspaces.salvage(git, path, ref) if path.exists() else tip
    git.keep(ref if kept == tip else f"{ref}-0", tip)
    workspaces.remove(git, path, force=True)
    workspaces.remove_empty_parent(path)
    git.delete_branch(candidate.branch_name, tip)
    return Cleaned(candidate.disk_space_mb, ref)


def collect_garbage(crew: Crew) -> None:
    """Have git collect garbage, if its settings find that there is enough; whoever stops the supervisor ends it."""
    crew.write(garbage.begin, now=clock.now(), actor=ACTOR)
    log, child = crew.paths.garbage_log, environment.for_child([])
    done = crew.runners.check(
        crew.repository.collecting(),
        cwd=crew.root,
        log=log,
        timeout_seconds=GC_SECONDS,
        environment={
            **{name: value for name, value in child.items() if name not in environment.NO_GARBAGE_COLLECTION},
            "LC_ALL": "C",  # for the words that it is known by
        },
    )
    words = journals.tail(log).strip()
    log.unlink(missing_ok=True)
    if crew.stopping.is_set():
        return
    if done.code != 0:
        crew.write(garbage.failed, words[-WORDS_KEPT:], now=clock.now(), actor=ACTOR)
    elif GC_SAYS in words:
        crew.write(garbage.collected, done.seconds, now=clock.now(), actor=ACTOR)


def _refuse(crew: Crew, worktree: Worktree, *, lost: bool, dirty: bool, force: bool) -> None:
    if lost and not force:
        raise NotMerged(
            f"Branch {worktree.branch} holds commits that are not on {crew.target}.",
            hint="Merge it, or clean up with force=true, which keeps it under refs/crewyard/salvage.",
            branch=worktree.branch,
        )
    if dirty and not force:
        raise UncommittedChanges(f"{worktree.path} holds changes that are not committed.", path=worktree.path)
    inner = saving.unsalvageable(crew.repository, Path(worktree.path)) if dirty else []
    if inner:  # not even a salvage ref would hold what is in there
        raise _holds_repositories(Path(worktree.path), inner)


def _refuse_elsewhere(crew: Crew, worktree: Worktree) -> None:
    """A branch that a person has checked out elsewhere, in their own checkout say, is not removed under them."""
    if not crew.repository.may_be_checked_out_elsewhere(worktree.branch, Path(worktree.path)):
        return
    for checkout in crew.repository.checkouts():
        if checkout.branch == worktree.branch and checkout.path != Path(worktree.path) and not checkout.prunable:
            raise GitError(
                f"Branch {worktree.branch} is checked out in {checkout.path}.",
                hint=f"git -C {checkout.path} switch to another branch, then clean up again.",
            )


def _holds_repositories(path: Path, inner: list[str]) -> UncommittedChanges:
    return UncommittedChanges(
        f"{path} holds {', '.join(inner)}, a git repository of its own with work in it.",
        hint="Move it elsewhere, then clean up again.",
        path=str(path),
    )
