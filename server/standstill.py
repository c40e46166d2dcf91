"""A merge queue that stands still: an alert, and no new agents on a base that goes stale (R-137)."""

from dataclasses import dataclass

from . import alerts, clock, holds
from .store import Transaction

REASON = "merges_wait"
TASKS_NAMED = 10


@dataclass(frozen=True)
class Standstill:
    """Merges into ``target`` that have waited since ``since``; ``unapproved`` of them for an approval."""

    target: str
    since: str
    task_ids: list[str]
    unapproved: int

    def __str__(self) -> str:
        named = ", ".join(self.task_ids[:TASKS_NAMED]) + (", …" if len(self.task_ids) > TASKS_NAMED else "")
        cause = f"{self.unapproved} of them for an approval" if self.unapproved else "and the merger does not react"
        return f"merges into {self.target} ({named}) have waited since {self.since}, {cause}"


def find(tx: Transaction, seconds: float, *, auto_approve: bool, merging_since: str, now: str) -> Standstill | None:
    """A queue in which something has waited, and nothing was at work or ended, for ``seconds``.

    What needs no approval waits for a merger, and so only since there is one: ``merging_since``.
    """
    rows = tx.all(
        "SELECT *, max(asked, moved, iif(unapproved, '', :merging)) AS since FROM ("
        "SELECT q.merge_id, q.target_branch, q.task_id, NOT :auto AND q.approved_by IS NULL AS unapproved, "
        "max(q.created_at, coalesce(q.approved_at, '')) AS asked, coalesce((SELECT max(m.ended_at) "
        "FROM merge_request m WHERE m.target_branch = q.target_branch), '') AS moved FROM merge_request q "
        "WHERE q.status = 'queued' AND NOT EXISTS (SELECT 1 FROM merge_request c "
        "WHERE c.target_branch = q.target_branch AND c.status = 'checking')) ORDER BY target_branch, merge_id",
        {"auto": int(auto_approve), "merging": merging_since},
    )
    late = [row for row in rows if row["since"] <= clock.plus(now, -seconds)]
    if not late:
        return None
    target = late[0]["target_branch"]
    waiting = [row for row in late if row["target_branch"] == target]
    since = min(row["since"] for row in waiting)
    return Standstill(target, since, [row["task_id"] for row in waiting], sum(row["unapproved"] for row in waiting))


def is_held(tx: Transaction) -> bool:
    return holds.get(tx, holds.EVERYONE, REASON) is not None


def settle(tx: Transaction, found: Standstill | None, *, now: str, actor: str) -> None:
    """Hold launches and alert once while the queue stands still; lift the hold when it moves."""
    if found is None:
        holds.lift(tx, holds.EVERYONE, REASON, now=now, actor=actor)
        return
    if is_held(tx):
        return
    holds.hold(tx, holds.EVERYONE, REASON, str(found), until=None, now=now, actor=actor)
    then = "worktrees(action='queue') shows them; " + (
        "worktrees(action='merge', task_id=…, approve=true) approves one."
        if found.unapproved
        else f"why(subject='{found.task_ids[0]}') tells what the first waits for."
    )
    message = f"{str(found)[0].upper()}{str(found)[1:]}. No new agents are started until one ends."
    alerts.alert(tx, "high", "Merges wait", message, now=now, task_ids=found.task_ids[:TASKS_NAMED], next=then)
