"""Keeps the pool of clean worktrees: takes them in from finished tasks, keeps them up to date, removes them (design 6).

Each step is recorded before it is done. What was cut off is put back, or removed after what it holds was kept.
"""

import logging
from pathlib import Path

from . import clock, pool, pooling, workspaces, worktrees
from .crew import ACTOR, Crew
from .errors import GitError
from .pool import Pooled
from .worktrees import Worktree

log = logging.getLogger(__name__)


def recycle(crew: Crew, worktree: Worktree) -> bool:
    """Take a finished task's worktree into the pool; returns False where it is to be removed instead.

    The caller has proven that no commits would be lost by that, and no changes that git looks at.
    """
    git, path = crew.repository, Path(worktree.path)
    place = crew.paths.pooled(worktree.worktree_id)
    if place.exists() or not pooling.is_reusable(git, path):
        return False
    commit, tip = git.require_tip(crew.target), git.tip(worktree.branch)
    entry = crew.write(pool.fill, worktree.worktree_id, path=str(place), commit=commit, now=clock.now(), actor=ACTOR)
    try:
        crew.require_lease()
        pooling.empty(git, path, commit)
        crew.require_lease()  # it took a while, in which a successor may have dealt with the entry
        pooling.lock(git, path)
        pooling.move(git, path, place)
        if tip is not None:
            git.delete_branch(worktree.branch, tip)
    except (GitError, OSError) as error:
        log.warning("%s is not kept for the next task: %s", path, error)
        put_back(crew, entry)
        return False
    crew.write(pool.filled, entry, now=clock.now(), actor=ACTOR)
    workspaces.remove_empty_parent(path)
    return True


def takes_another(crew: Crew) -> bool:
    """Whether the pool has room for the worktree of a finished task."""
    return crew.store.read(pool.has_room, size=crew.settings.pool_size, keep=crew.settings.worktree.keep_pool)


def is_called_for(crew: Crew) -> bool:
    """Whether ``tend`` has something to do. Costs a process of git's only while there is a pool."""
    if _surplus(crew):
        return True
    resting = crew.store.read(pool.entries, status="ready")
    if not resting or not crew.store.read(pool.wanted, 1):
        return False
    tip = crew.repository.tip(crew.target)
    return tip is not None and any(entry.commit != tip for entry in resting)


def tend(crew: Crew) -> None:
    """Remove one worktree that is too many, or bring one up to date."""
    size, keep = crew.settings.pool_size, crew.settings.worktree.keep_pool
    surplus = crew.write(pool.withdraw, size=size, keep=keep, now=clock.now(), actor=ACTOR)
    if surplus is not None:
        discard(crew, surplus, "nothing is left to be begun")
        return
    tip = crew.repository.require_tip(crew.target)
    begun = crew.write(pool.refresh, tip, now=clock.now(), actor=ACTOR)
    if begun is None:
        return
    before, entry = begun
    try:
        crew.require_lease()
        if not pooling.is_untouched(crew.repository, Path(entry.path), before.commit):
            discard(crew, before, "somebody has worked in it")
            return
        pooling.empty(crew.repository, Path(entry.path), tip)
    except (GitError, OSError) as error:
        discard(crew, entry, f"it could not be brought up to date: {error}")
    else:
        crew.write(pool.filled, entry, now=clock.now(), actor=ACTOR)


def settle(crew: Crew) -> None:
    """Put back or remove what a supervisor was filling when it died. What it was taking is its task's affair."""
    for entry in crew.store.read(pool.entries, status="filling"):
        if crew.store.read(worktrees.get, entry.worktree_id)["status"] == "cleaned":
            discard(crew, entry, "its update was cut off")
        else:
            put_back(crew, entry)


def put_back(crew: Crew, entry: Pooled) -> None:
    """Undo ``recycle``: the worktree is its finished task's again, and is looked at anew."""
    crew.require_lease()
    home = Path(crew.store.read(worktrees.get, entry.worktree_id)["worktree_path"])
    place = pooling.found(crew.repository, [home, Path(entry.path)])
    if place is not None:
        if place != home and not home.exists():
            pooling.move(crew.repository, place, home)
            place = home
        pooling.unlock(crew.repository, place)
        if place != home:  # somebody has put something there meanwhile
            crew.write(worktrees.moved, entry.worktree_id, str(place), now=clock.now(), actor=ACTOR)
    crew.write(pool.forget, entry, "it is put back", now=clock.now(), actor=ACTOR)


def give_up_taken(crew: Crew, worktree: Worktree, *, is_made: bool = False) -> None:
    """Remove what was being taken out of the pool for a worktree; ``is_made``: it came to be that worktree."""
    entry = crew.store.read(pool.taken_for, worktree.worktree_id)
    if entry is not None and is_made:
        crew.write(pool.forget, entry, "it was its task's", now=clock.now(), actor=ACTOR)
    elif entry is not None:
        discard(crew, entry, "it could not be taken", Path(worktree.path))


def discard(crew: Crew, entry: Pooled, why: str, *others: Path) -> None:
    """Remove a worktree of the pool, which may have been on its way to another place.

    What somebody has put into it is kept under a salvage ref; where it cannot be removed it is left to the user.
    """
    crew.require_lease()
    now = clock.now()
    row = crew.store.read(worktrees.get, entry.worktree_id)
    ref, kept = workspaces.salvage_ref(row["task_id"], now), None
    try:
        place = pooling.found(crew.repository, [Path(entry.path), *others]) or Path(entry.path)
        kept = pooling.discard(crew.repository, place, {entry.commit, row["base_commit"]}, crew.target, ref)
        workspaces.remove_empty_parent(place)
    except (GitError, OSError) as error:
        log.warning("%s, a worktree of the pool, stays: %s", entry.path, error)
        why = f"left where it is: {error}"
    crew.write(pool.forget, entry, why, now=now, actor=ACTOR, salvage_ref=kept)


def _surplus(crew: Crew) -> list[Pooled]:
    keep = crew.settings.worktree.keep_pool
    return crew.store.read(pool.surplus, size=crew.settings.pool_size, keep=keep)
