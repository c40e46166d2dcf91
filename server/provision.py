"""Gives a task its worktree: the one that it has, one of the pool, or a new one from the integration branch's tip.

The wish is recorded before anything is done, so that whatever a crash leaves is recognised and used, or made anew.
"""

import logging
from dataclasses import replace
from pathlib import Path

from . import clock, events, hooks, outfit, pool, pooling, preparing, recycler, workspaces, worktrees
from .crew import ACTOR, Crew
from .errors import GitError
from .pool import Pooled
from .preparing import Prepared
from .store import Transaction
from .worktrees import Worktree

log = logging.getLogger(__name__)


def make_worktree(crew: Crew, task_id: str) -> None:
    """Carry out a recorded wish for a worktree; where git refuses, the reason stands in its record."""
    try:
        provide_worktree(crew, task_id)
    except GitError as error:
        log.warning("the worktree of %s cannot be made: %s", task_id, error.message)


def provide_worktree(crew: Crew, task_id: str) -> Worktree:
    """The task's worktree, fit for work; made from the integration branch's tip where it has none.

    Raises WrongBranch where one that is there is on another branch, GitError where none can be made; what was begun is
    taken back then.
    """
    present = crew.store.read(worktrees.live, task_id)
    pooled = None
    if present is None:
        present, pooled = crew.write(_intend, crew, task_id, _target_tip(crew), clock.now())
    elif present.status == "creating":
        recycler.give_up_taken(crew, present)  # by whoever was cut off
        pooled = crew.write(pool.claim, present.worktree_id, present.base_commit, now=clock.now(), actor=ACTOR)
    present = relocated(crew, present)
    if present.status == "creating":
        return _make_new(crew, present, pooled)
    if Path(present.path).exists():
        workspaces.require_branch(crew.repository, Path(present.path), present.branch)
    else:
        base = crew.repository.tip(present.branch) or present.base_commit
        crew.write(_made, present, _prepare(crew, present, base), clock.now())
    outfit.prepare(crew, task_id, Path(present.path))
    if present.kept_because is not None:
        crew.write(worktrees.keep, present.worktree_id, None, now=clock.now(), actor=ACTOR)
    return present


def relocated(crew: Crew, worktree: Worktree) -> Worktree:
    """The record of a worktree, with its new place where somebody has moved it."""
    if worktree.status == "creating" or Path(worktree.path).exists():
        return worktree
    place = workspaces.moved_to(crew.repository, Path(worktree.path), worktree.branch)
    if place is None:
        return worktree
    return crew.write(worktrees.moved, worktree.worktree_id, str(place), now=clock.now(), actor=ACTOR)


def _make_new(crew: Crew, worktree: Worktree, pooled: Pooled | None) -> Worktree:
    crew.require_lease()
    prepared = None
    try:
        prepared = _taken(crew, worktree, pooled) or _prepare(crew, worktree, worktree.base_commit)
        outfit.prepare(crew, worktree.task_id, Path(worktree.path))
    except (GitError, OSError) as error:
        if not crew.stopping.is_set():
            _give_up(crew, worktree, error, is_made=prepared is not None)
        raise
    # Nobody has worked there: what a power cut takes back is begun anew. The launch that follows waits for the disk.
    return crew.take_in(_made, worktree, prepared, clock.now())


def _prepare(crew: Crew, worktree: Worktree, base: str) -> Prepared:
    ref = workspaces.salvage_ref(worktree.task_id, clock.now())
    sparse = crew.settings.worktree.sparse
    return preparing.prepare(crew.repository, Path(worktree.path), worktree.branch, base, ref, sparse)


def _taken(crew: Crew, worktree: Worktree, pooled: Pooled | None) -> Prepared | None:
    """The worktree out of the pool; None where there is none, or none that could be had."""
    if pooled is None:
        return None
    if crew.settings.worktree.sparse:  # one of before that was set holds all folders
        recycler.give_up_taken(crew, worktree)
        return None
    try:
        made = pooling.take(
            crew.repository,
            Path(pooled.path),
            pooled.commit,
            path=Path(worktree.path),
            branch=worktree.branch,
            base=worktree.base_commit,
            salvage_ref=workspaces.salvage_ref(worktree.task_id, clock.now()),
        )
        if hooks.in_force(crew.repository, crew.git_config).runs("post-checkout"):
            complaint = preparing.run_post_checkout(crew.repository, made.path, worktree.base_commit)
            return replace(made, complaint=complaint)
        return made
    except (GitError, OSError) as error:
        log.warning("%s could not be used again: %s", pooled.path, error)
        recycler.give_up_taken(crew, worktree)
        return None


def _give_up(crew: Crew, worktree: Worktree, error: Exception, *, is_made: bool) -> None:
    """Take back what was made of a worktree that nobody has worked in (R-131), and note why."""
    recycler.give_up_taken(crew, worktree, is_made=is_made)
    try:
        preparing.roll_back(crew.repository, Path(worktree.path), worktree.branch, worktree.base_commit)
        workspaces.remove_empty_parent(Path(worktree.path))
    except GitError as second:
        log.warning("what was made of %s stays: %s", worktree.path, second.message)
    crew.write(_not_made, worktree, str(error), clock.now())


def _intend(tx: Transaction, crew: Crew, task_id: str, base: str, now: str) -> tuple[Worktree, Pooled | None]:
    planned = worktrees.plan(
        tx,
        task_id,
        path=str(preparing.free_path(crew.paths.worktree(task_id))),
        branch=crew.paths.branch(task_id),
        base_branch=crew.target,
        base_commit=base,
        now=now,
        actor=ACTOR,
    )
    return planned, pool.claim(tx, planned.worktree_id, base, now=now, actor=ACTOR)


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


def _not_made(tx: Transaction, worktree: Worktree, why: str, now: str) -> None:
    worktrees.change(tx, worktree.worktree_id, "cleaned", now=now, actor=ACTOR, why=why)
    worktrees.keep(tx, worktree.worktree_id, why, now=now, actor=ACTOR)


def _made(tx: Transaction, worktree: Worktree, made: Prepared, now: str) -> Worktree:
    if made.salvaged is not None:
        _note(tx, worktree, "leftover_branch_salvaged", now, ref=made.salvaged, branch=worktree.branch)
    if made.complaint is not None:
        _note(tx, worktree, "post_checkout_hook_failed", now, output=made.complaint)
    if worktree.status != "creating":
        return worktree
    taken = pool.taken_for(tx, worktree.worktree_id)
    if taken is not None:
        pool.forget(tx, taken, "it is a task's again", now=now, actor=ACTOR)
    return worktrees.change(tx, worktree.worktree_id, "active", now=now, actor=ACTOR, salvage_ref=made.salvaged)


def _note(tx: Transaction, worktree: Worktree, kind: str, now: str, **data: str) -> None:
    events.record(tx, now=now, actor=ACTOR, subject_type="worktree", subject_id=worktree.worktree_id, kind=kind, **data)
