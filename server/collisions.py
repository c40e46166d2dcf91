"""Branches that would collide: what the radar last saw of each pair, and who is told of it (design 6).

A pair is of two unfinished branches, or of one and a task that was merged meanwhile and changed what the branch would
now conflict in. ``later`` is the one that has to deal with it: it began later, or is not merged while the other is.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from . import events, messages
from .store import Row, Transaction

MESSAGE_TYPE = "conflict_warning"
PRIORITY = 3
FILES_KEPT = 200
FILES_NAMED = 10
ABOUT_LENGTH = 500
# Whose work is still to be merged: in an agent's hands, or in the queue.
_UNFINISHED = (
    "w.status = 'active' AND EXISTS (SELECT 1 FROM orchestrator_task o "
    "WHERE o.task_id = w.task_id AND o.status IN ('assigned', 'running', 'completed'))"
)
# A row may be older than the last merge or clean-up: what it says of a branch that is gone counts no more.
_STANDING = (
    "SELECT c.* FROM branch_conflict c JOIN git_worktree_tracker w ON w.task_id = c.later_task "
    f"WHERE c.files <> '[]' AND {_UNFINISHED} AND (EXISTS (SELECT 1 FROM git_worktree_tracker w "
    f"WHERE w.task_id = c.earlier_task AND {_UNFINISHED}) "
    "OR EXISTS (SELECT 1 FROM specs_task t WHERE t.task_id = c.earlier_task AND t.status = 'completed'))"
)

_UNTOLD = (
    "SELECT s.*, l.agent_id AS reader, t.title, t.description, (SELECT agent_id FROM agent_lifecycle a "
    "WHERE a.task_id = s.earlier_task AND a.status IN ('starting', 'running')) AS other "
    f"FROM ({_STANDING}) s JOIN specs_task t ON t.task_id = s.earlier_task "
    "JOIN agent_lifecycle l ON l.task_id = s.later_task AND l.status IN ('starting', 'running') WHERE s.told_at IS NULL"
)


@dataclass(frozen=True)
class Branch:
    """The branch of an unfinished task."""

    task_id: str
    name: str
    base_commit: str


@dataclass(frozen=True)
class Finding:
    """How the heads of two tasks merge: the files in which they conflict, if any."""

    earlier: str
    later: str
    heads: tuple[str, str]
    files: Sequence[str]


@dataclass(frozen=True)
class Collision:
    """Two tasks whose work does not merge by itself, and the files in which it does not."""

    task_a: str
    task_b: str
    files: list[str]


def unfinished(tx: Transaction) -> list[Branch]:
    """Branches that are still to be merged, the one that began first in front."""
    rows = tx.all(f"SELECT w.* FROM git_worktree_tracker w WHERE {_UNFINISHED} ORDER BY w.worktree_id")
    return [Branch(row["task_id"], row["branch_name"], row["base_commit"]) for row in rows]


def pairs(tx: Transaction) -> list[Row]:
    """Every pair that was looked at; ``files`` is empty where it merges cleanly, ``is_merged`` tells of the earlier."""
    return tx.all(
        "SELECT c.*, t.status = 'completed' AS is_merged FROM branch_conflict c "
        "JOIN specs_task t ON t.task_id = c.earlier_task"
    )


def standing(tx: Transaction) -> list[Collision]:
    """The pairs that would collide now, as far as was looked."""
    rows = tx.all(f"{_STANDING} ORDER BY c.earlier_task, c.later_task")
    return [Collision(row["earlier_task"], row["later_task"], json.loads(row["files"])) for row in rows]


def merges_so_far(tx: Transaction) -> int:
    return int(tx.value("SELECT count(*) FROM merge_request WHERE status = 'merged'"))


def merged_as(tx: Transaction, commits: Collection[str]) -> dict[str, str]:
    """The tasks whose merges these commits are, by commit."""
    rows = tx.all(
        "SELECT merge_commit, task_id FROM merge_request WHERE status = 'merged' "
        "AND merge_commit IN (SELECT value FROM json_each(?))",
        (json.dumps(list(commits)),),
    )
    return {row["merge_commit"]: row["task_id"] for row in rows}


def take_down(
    tx: Transaction, found: Sequence[Finding], gone: Sequence[tuple[str, str]], *, now: str, actor: str
) -> None:
    """Record what a look found, forget the pairs that are none any more, and warn the agents concerned."""
    for earlier, later in gone:
        _forget(tx, earlier, later, now=now, actor=actor)
    for finding in found:
        _note(tx, finding, now=now, actor=actor)
    _warn(tx, now=now)


def has_untold(tx: Transaction) -> bool:
    """Whether a live agent is still to be warned; it may have started only now."""
    return bool(tx.all(_UNTOLD))


def sentence(tx: Transaction, task_id: str) -> str:
    """What ``why`` adds to a task's cause; nothing where its branch collides with no other."""
    found = [each for each in standing(tx) if task_id in (each.task_a, each.task_b)]
    if not found:
        return ""
    first = found[0]
    other = first.task_b if first.task_a == task_id else first.task_a
    more = f", and with {len(found) - 1} more (worktrees(action='conflicts'))" if len(found) > 1 else ""
    return f" Its work would conflict with that of task {other} in {named(first.files)}{more}."


def named(files: Collection[str]) -> str:
    """The first of these files, and how many there are beside them."""
    shown = list(files)[:FILES_NAMED]
    return ", ".join(shown) + (f" and {len(files) - len(shown)} more" if len(files) > len(shown) else "")


def _note(tx: Transaction, finding: Finding, *, now: str, actor: str) -> None:
    """The later task is to be told again only where files are new to it."""
    pair = (finding.earlier, finding.later)
    before = tx.one("SELECT * FROM branch_conflict WHERE earlier_task = ? AND later_task = ?", pair)
    known = set(json.loads(before["files"])) if before is not None else set()
    kept = list(finding.files)[:FILES_KEPT]
    is_new = not set(kept) <= known
    tx.run(
        "INSERT INTO branch_conflict (earlier_task, later_task, earlier_head, later_head, files, found_at) "
        "VALUES (:earlier, :later, :earlier_head, :later_head, :files, :now) "
        "ON CONFLICT (earlier_task, later_task) DO UPDATE SET earlier_head = :earlier_head, later_head = :later_head, "
        "files = :files, found_at = iif(:new, :now, found_at), told_at = iif(:new, NULL, told_at)",
        {
            "earlier": finding.earlier,
            "later": finding.later,
            "earlier_head": finding.heads[0],
            "later_head": finding.heads[1],
            "files": json.dumps(kept),
            "now": now,
            "new": int(is_new),
        },
    )
    if is_new:
        _record(tx, "collision_found", pair, kept, now=now, actor=actor)
    elif known and not kept:
        _record(tx, "collision_over", pair, [], now=now, actor=actor)


def _forget(tx: Transaction, earlier: str, later: str, *, now: str, actor: str) -> None:
    gone = tx.one(
        "DELETE FROM branch_conflict WHERE earlier_task = ? AND later_task = ? RETURNING files", (earlier, later)
    )
    if gone is not None and gone["files"] != "[]":
        _record(tx, "collision_over", (earlier, later), [], now=now, actor=actor)


def _warn(tx: Transaction, *, now: str) -> None:
    """Write to the live agents of later tasks, to each once of the same files."""
    for row in tx.all(_UNTOLD):
        messages.notify(tx, row["reader"], MESSAGE_TYPE, _warning(tx, row), priority=PRIORITY, now=now)
        tx.run(
            "UPDATE branch_conflict SET told_at = ? WHERE earlier_task = ? AND later_task = ?",
            (now, row["earlier_task"], row["later_task"]),
        )


def _warning(tx: Transaction, row: Row) -> dict[str, object]:
    files, other, target = json.loads(row["files"]), row["earlier_task"], _target_of(tx, row["earlier_task"])
    about = f"Task {other} ({row['title']})"
    if target is not None:
        happened = f"{about} was merged into {target} and changed the same lines of {named(files)} as your branch."
        advice = (
            f"Commit what you have, then `git merge {target}` in your worktree and keep both sides' intentions; or "
            "finish first: whatever conflicts then comes back to you."
        )
    else:
        happened = f"{about} is changing the same lines of {named(files)} as your branch."
        ask = f" route(action='send', target_agent='{row['other']}') reaches its agent." if row["other"] else ""
        advice = (
            "Leave those lines as they were where your task does not need them changed, keep other changes to these "
            f"files small, and commit early. Whichever is merged second has to merge the other's lines.{ask}"
        )
    return {
        "title": f"Your work would conflict with that of task {other}",
        "message": f"{happened} {advice}",
        "task_id": row["later_task"],
        "other_task_id": other,
        "other_agent_id": row["other"],
        "other_task_is_merged": target is not None,
        "about": f"{row['title']}\n\n{row['description']}".strip()[:ABOUT_LENGTH],
        "files": files[:FILES_KEPT],
    }


def _target_of(tx: Transaction, task_id: str) -> str | None:
    """The branch that holds a task's work already; None while it is worked on."""
    found: str | None = tx.value(
        "SELECT m.target_branch FROM merge_request m JOIN specs_task t USING (task_id) "
        "WHERE t.task_id = ? AND t.status = 'completed' AND m.status = 'merged' ORDER BY m.merge_id DESC LIMIT 1",
        (task_id,),
    )
    return found


def _record(tx: Transaction, kind: str, pair: tuple[str, str], files: Sequence[str], *, now: str, actor: str) -> None:
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="collision",
        subject_id=pair[1],
        kind=kind,
        other=pair[0],
        files=list(files)[:FILES_NAMED],
    )
