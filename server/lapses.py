"""What becomes of messages whose time is over: offered again, failed, expired, deleted (R-142, R-189).

A lease that ran out makes the message visible again, after the wait that was set when it was claimed, so that a late
look does not lengthen it. After ``max_retries`` of them it has failed. What nobody takes expires.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import clock, events, recipients, states
from .store import Row, Transaction

CLEARED_AT_ONCE = 2_000  # in some 20 ms


@dataclass(frozen=True)
class Lapse:
    """A message that ended without being acknowledged, and why."""

    message: Row
    state: str
    code: str
    reason: str


def end(tx: Transaction, message: Row, want: str, *, now: str, actor: str, why: str = "", **columns: Any) -> None:
    """The message is ``want`` for good: it waits no more, and nothing of it expires."""
    events.change(
        tx, states.MESSAGE, message["message_id"], want, have=message["status"], now=now, actor=actor, why=why,
        ended_at=now, expires_at=None, **columns,
    )  # fmt: skip


def settle(tx: Transaction, *, now: str) -> list[Lapse]:
    """Handle each message whose lease or lifetime is over; returns those that have ended by it."""
    ended = []
    for row in tx.all("SELECT * FROM agent_message WHERE status = 'delivered' AND lease_until <= ?", (now,)):
        if row["retry_count"] >= row["max_retries"]:
            ended.append(_failed(tx, row, now))
        else:
            _offer_again(tx, row, now)
    unread = tx.all("SELECT * FROM agent_message WHERE status = 'pending' AND expires_at <= ?", (now,))
    return ended + [_expired(tx, row, now) for row in unread]


def is_due(tx: Transaction, *, now: str) -> bool:
    """Whether there is anything to settle."""
    return bool(
        tx.value(
            "SELECT EXISTS (SELECT 1 FROM agent_message WHERE status = 'delivered' AND lease_until <= :now) "
            "OR EXISTS (SELECT 1 FROM agent_message WHERE status = 'pending' AND expires_at <= :now)",
            {"now": now},
        )
    )


def given_up(tx: Transaction, row: Row, reason: str, *, now: str, actor: str) -> Lapse:
    """Its reader says that nothing will come of it."""
    return _ended(tx, row, "failed", "given_up", reason, now, actor)


def old_ids(tx: Transaction, *, older_than_days: float, now: str) -> list[int]:
    """The first messages that ``clear_old`` would delete, as many as ``clear`` takes at once."""
    rows = tx.all(
        "SELECT id FROM agent_message WHERE ended_at <= ? AND id < (SELECT max(id) FROM agent_message) "
        "ORDER BY id LIMIT ?",
        (clock.plus(now, -86400 * older_than_days), CLEARED_AT_ONCE),
    )
    return [row["id"] for row in rows]


def clear(tx: Transaction, ids: Sequence[int], *, now: str, actor: str) -> int:
    """Delete what ``old_ids`` has found, so that a hundred thousand of them keep no other writer waiting."""
    tx.many("DELETE FROM agent_message WHERE id = ?", [(each,) for each in ids])
    return _cleared(tx, len(ids), now=now, actor=actor)


def old(tx: Transaction, *, older_than_days: float, now: str) -> dict[str, int]:
    """What ``clear_old`` would delete: how many of each state."""
    rows = tx.all(
        "SELECT status, count(*) FROM agent_message WHERE ended_at <= ? AND id < (SELECT max(id) FROM agent_message) "
        "GROUP BY status ORDER BY status",
        (clock.plus(now, -86400 * older_than_days),),
    )
    return {row[0]: row[1] for row in rows}


def size(tx: Transaction) -> int:
    """Bytes of what the messages say; a database file keeps the room for the next ones."""
    return int(tx.value("SELECT coalesce(sum(length(CAST(content AS BLOB))), 0) FROM agent_message"))


def clear_old(tx: Transaction, *, older_than_days: float, now: str, actor: str) -> int:
    """Delete messages that ended longer ago than that; open ones stay. Returns how many (R-142)."""
    deleted = tx.run(
        # The newest stays: its id would be given again, and ids say what was sent before what.
        "DELETE FROM agent_message WHERE ended_at <= ? AND id < (SELECT max(id) FROM agent_message)",
        (clock.plus(now, -86400 * older_than_days),),
    )
    return _cleared(tx, deleted, now=now, actor=actor)


def _cleared(tx: Transaction, deleted: int, *, now: str, actor: str) -> int:
    if deleted:
        events.record(
            tx, now=now, actor=actor, subject_type="message", subject_id="*", kind="messages_cleared", deleted=deleted
        )
    return deleted


def _offer_again(tx: Transaction, row: Row, now: str) -> None:
    events.change(
        tx,
        states.MESSAGE,
        row["message_id"],
        "pending",
        have="delivered",
        now=now,
        actor=recipients.SYSTEM,
        why=f"{row['claimed_by']} did not acknowledge it by {row['lease_until']}",
        lease_until=None,
        retry_count=row["retry_count"] + 1,
        last_retry_at=now,
    )


def _expired(tx: Transaction, row: Row, now: str) -> Lapse:
    took = f"delivered {row['delivery_count']} times, not acknowledged" if row["delivery_count"] else "not taken"
    return _ended(tx, row, "expired", "message_expired", f"{took} by {row['expires_at']}", now, recipients.SYSTEM)


def _failed(tx: Transaction, row: Row, now: str) -> Lapse:
    reason = f"delivered {row['delivery_count']} times, never acknowledged"
    return _ended(tx, row, "failed", "max_retries_exceeded", reason, now, recipients.SYSTEM)


def _ended(tx: Transaction, row: Row, want: str, code: str, reason: str, now: str, actor: str) -> Lapse:
    end(tx, row, want, now=now, actor=actor, why=reason, error_message=reason)
    return Lapse(row, want, code, reason)
