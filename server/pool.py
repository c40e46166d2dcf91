"""Records of the pool: clean worktrees of finished tasks, on no branch, for the next tasks (design 6).

A row is written before anything is done to a worktree, and goes when a task has it or when it is removed. Whoever finds
one ``filling`` or ``taken`` with nobody at work on it finds a step that was cut off.
"""

from dataclasses import dataclass

from . import dispatches, events, states, worktrees
from .store import Row, Transaction


@dataclass(frozen=True)
class Pooled:
    """A worktree of the pool. ``worktree_id`` is that of the task it was made for; ``taken``: of the one it goes to."""

    pool_id: int
    path: str
    status: str
    commit: str
    worktree_id: int


def entries(tx: Transaction, *, status: str | None = None) -> list[Pooled]:
    """Oldest first."""
    rows = tx.all("SELECT * FROM worktree_pool WHERE ? IS NULL OR status = ? ORDER BY pool_id", (status, status))
    return [_of_row(row) for row in rows]


def taken_for(tx: Transaction, worktree_id: int) -> Pooled | None:
    row = tx.one("SELECT * FROM worktree_pool WHERE status = 'taken' AND worktree_id = ?", (worktree_id,))
    return None if row is None else _of_row(row)


def wanted(tx: Transaction, most: int) -> int:
    """How many worktrees the tasks that nobody has begun could still use, at most ``most``."""
    begun = 0
    for dispatch in dispatches.listed(tx, status="active"):
        if begun < most and not dispatches.is_over(tx, dispatch["dispatch_id"]):
            begun += dispatches.not_begun(tx, dispatch["dispatch_id"], most - begun)
    return begun


def has_room(tx: Transaction, *, size: int, keep: bool) -> bool:
    """Whether the pool takes another worktree: unless it is kept, more than is still to be begun is of no use."""
    return len(entries(tx)) < (size if keep else wanted(tx, size))


def is_done_with(tx: Transaction, *, size: int, keep: bool) -> bool:
    """Whether no pool stands in the way of a run's end."""
    return keep or not entries(tx) or wanted(tx, size) > 0


def surplus(tx: Transaction, *, size: int, keep: bool) -> list[Pooled]:
    """What is to be removed from the pool: all of it once nobody wants it, and what is beyond its size."""
    resting = entries(tx, status="ready")
    if resting and not keep and not wanted(tx, size):
        return resting
    return resting[size:]


def fill(tx: Transaction, worktree_id: int, *, path: str, commit: str, now: str, actor: str) -> Pooled:
    """Record the intention to take a task's worktree into the pool, with the files of ``commit``."""
    present = tx.one("SELECT * FROM worktree_pool WHERE status = 'filling' AND path = ?", (path,))
    if present is not None:
        return _of_row(present)
    row = tx.only(
        "INSERT INTO worktree_pool (path, commit_id, worktree_id, since) VALUES (?, ?, ?, ?) RETURNING *",
        (path, commit, worktree_id, now),
    )
    _record(tx, row, "pooled_worktree_filling", now, actor, to_state="filling", path=path)
    return _of_row(row)


def filled(tx: Transaction, entry: Pooled, *, now: str, actor: str) -> None:
    """It is clean, on no branch, and in its place: the task that it was made for has it no more."""
    events.change(tx, states.POOL, entry.pool_id, "ready", now=now, actor=actor, since=now)
    if worktrees.get(tx, entry.worktree_id)["status"] != "cleaned":
        worktrees.freed(tx, entry.worktree_id, 0.0)
        worktrees.change(tx, entry.worktree_id, "cleaned", now=now, actor=actor, why="kept for the next task")


def refresh(tx: Transaction, commit: str, *, now: str, actor: str) -> tuple[Pooled, Pooled] | None:
    """Record the intention to bring a resting worktree to ``commit``; returns it as it is, and as it is to be."""
    behind = next((entry for entry in entries(tx, status="ready") if entry.commit != commit), None)
    return None if behind is None else (behind, _begin(tx, behind, commit, now=now, actor=actor))


def withdraw(tx: Transaction, *, size: int, keep: bool, now: str, actor: str) -> Pooled | None:
    """Record the intention to remove one that is too many; from then on no task is given it, whole or in part."""
    resting = surplus(tx, size=size, keep=keep)
    return _begin(tx, resting[0], resting[0].commit, now=now, actor=actor) if resting else None


def _begin(tx: Transaction, entry: Pooled, commit: str, *, now: str, actor: str) -> Pooled:
    return _of_row(
        events.transition(tx, states.POOL, entry.pool_id, "filling", now=now, actor=actor, commit_id=commit, since=now)
    )


def claim(tx: Transaction, worktree_id: int, base: str, *, now: str, actor: str) -> Pooled | None:
    """Give a resting worktree to the task whose worktree is to be made; best one whose files are those of ``base``."""
    resting = entries(tx, status="ready")
    if not resting:
        return None
    best = next((entry for entry in resting if entry.commit == base), resting[-1])
    return _of_row(
        events.transition(
            tx, states.POOL, best.pool_id, "taken", now=now, actor=actor, worktree_id=worktree_id, since=now
        )
    )


def forget(tx: Transaction, entry: Pooled, why: str, *, now: str, actor: str, salvage_ref: str | None = None) -> None:
    """Strike a worktree off: it is a task's, or it is gone, or it is left to a person."""
    row = tx.one("DELETE FROM worktree_pool WHERE pool_id = ? RETURNING *", (entry.pool_id,))
    if row is not None:
        kept = {} if salvage_ref is None else {"salvage_ref": salvage_ref}
        _record(tx, row, "pooled_worktree_gone", now, actor, from_state=row["status"], why=why, **kept)


def _record(tx: Transaction, row: Row, kind: str, now: str, actor: str, **data: str) -> None:
    events.record(
        tx, now=now, actor=actor, subject_type=states.POOL.subject, subject_id=row["pool_id"], kind=kind, **data
    )


def _of_row(row: Row) -> Pooled:
    return Pooled(row["pool_id"], row["path"], row["status"], row["commit_id"], row["worktree_id"])
