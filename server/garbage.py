"""When git may collect garbage: nobody works, nothing waits, and something was removed since it last did (C-36)."""

from typing import Any

from . import events
from .store import Transaction

SUBJECT = ("repository", "garbage")


def is_due(tx: Transaction) -> bool:
    """Whether all is at rest and worktrees have been removed since the last time."""
    return bool(
        tx.value(
            "SELECT NOT EXISTS (SELECT 1 FROM agent_lifecycle WHERE status IN ('starting', 'running')) "
            "AND NOT EXISTS (SELECT 1 FROM git_worktree_tracker WHERE status <> 'cleaned') "
            "AND NOT EXISTS (SELECT 1 FROM merge_request WHERE status IN ('queued', 'checking')) "
            "AND NOT EXISTS (SELECT 1 FROM orchestrator_task WHERE status IN ('assigned', 'running', 'completed')) "
            "AND NOT EXISTS (SELECT 1 FROM specs_task t JOIN dispatch_task USING (task_id) "
            "JOIN dispatch d USING (dispatch_id) WHERE t.status = 'ready' AND d.status = 'active') "
            "AND (SELECT max(cleaned_at) FROM git_worktree_tracker) > coalesce((SELECT max(at) FROM event "
            "WHERE subject_type = ? AND subject_id = ?), '')",
            SUBJECT,
        )
    )


def begin(tx: Transaction, *, now: str, actor: str) -> None:
    """Written down first: one that is cut off is not begun again before something else was removed."""
    _record(tx, "garbage_looked_at", now=now, actor=actor)


def collected(tx: Transaction, seconds: float, *, now: str, actor: str) -> None:
    _record(tx, "garbage_collected", now=now, actor=actor, seconds=round(seconds, 1))


def failed(tx: Transaction, words: str, *, now: str, actor: str) -> None:
    _record(tx, "garbage_failed", now=now, actor=actor, why=words)


def _record(tx: Transaction, kind: str, *, now: str, actor: str, **facts: Any) -> None:
    subject_type, subject_id = SUBJECT
    events.record(tx, now=now, actor=actor, subject_type=subject_type, subject_id=subject_id, kind=kind, **facts)
