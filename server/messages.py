"""Messages between agents: rows that are claimed, acknowledged or delivered again, never lost (design 7).

``poll`` claims with one statement and a lease. A lease that runs out makes the message visible again; after
``max_retries`` such redeliveries it has failed and its sender is told. Nothing expires for want of a reader: an agent
that is not running keeps its mail.
"""

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from . import clock, events, message_types, recipients, states
from .errors import InvalidInput, MessageNotFound, NotAuthorized, QueueFull
from .store import Row, Transaction

MAX_CONTENT_BYTES = 64 * 1024
# The first term is the condition of the index agent_message_inbox; SQLite uses the index only where it stands.
VISIBLE = (
    "status IN ('pending', 'delivered') AND ((status = 'pending' AND coalesce(visible_at, '') <= :now) "
    "OR (status = 'delivered' AND lease_until <= :now AND retry_count < max_retries))"
)


@dataclass(frozen=True)
class Sent:
    """What was put into the queue: one row a recipient, in the same order."""

    message_ids: list[str]
    recipients: list[str]
    message_type: str
    broadcast_id: str | None


@dataclass(frozen=True)
class Draft:
    """A message as its sender gives it."""

    target: str
    message_type: str
    content: Any
    priority: int | str = 5


def get(tx: Transaction, message_id: str) -> Row:
    """The message's row. Raises MessageNotFound."""
    row = tx.one("SELECT * FROM agent_message WHERE message_id = ?", (message_id,))
    if row is None:
        raise MessageNotFound(
            f"There is no message {message_id!r}.",
            hint="route(action='status') counts the messages there are.",
            message_id=message_id,
        )
    return row


def send(tx: Transaction, draft: Draft, *, sender: str, agent_types: Collection[str], max_queue: int, now: str) -> Sent:
    """Put a message into the queue. Raises UnknownRecipient, QueueFull, InvalidInput."""
    content = _checked_content(draft.content)
    kind = message_types.canonical(draft.message_type)
    priority = message_types.priority(draft.priority)
    if not draft.target:
        raise InvalidInput("A message needs a recipient.", hint="Give target_agent: an agent id or type, lead, or ALL.")
    to = recipients.resolve(tx, draft.target, sender=sender, agent_types=agent_types)
    waiting = int(
        tx.value(
            "SELECT count(*) FROM agent_message WHERE status IN ('pending', 'delivered') AND from_agent <> ?",
            (recipients.SYSTEM,),
        )
    )
    if waiting + len(to) > max_queue:
        raise QueueFull(
            f"{waiting} messages wait already; {max_queue} is the limit.",
            hint="Let the recipients poll and acknowledge, then send again.",
            waiting=waiting,
            max_queue=max_queue,
        )
    broadcast = str(uuid.uuid4()) if draft.target.upper() == recipients.EVERYONE else None
    ids = [_insert(tx, sender, box, kind, content, priority, broadcast, now) for box in to]
    return Sent(ids, to, kind, broadcast)


def notify(tx: Transaction, box: str, kind: str, content: dict[str, Any], *, priority: int, now: str) -> str:
    """Tell a mailbox something of our own; no full queue stands in its way. Returns the message's id."""
    return _insert(tx, recipients.SYSTEM, box, kind, json.dumps(content), priority, None, now)


def claim(
    tx: Transaction, mailboxes: Sequence[str], *, reader: str, limit: int, lease_seconds: float, now: str
) -> list[Row]:
    """Take up to ``limit`` visible messages, the most urgent and oldest first, for ``lease_seconds``."""
    sweep(tx, now=now)
    rows = tx.all(
        "UPDATE agent_message SET status = 'delivered', claimed_by = :reader, lease_until = :until, "
        "delivery_count = delivery_count + 1, delivered_at = coalesce(delivered_at, :now) "
        f"WHERE id IN (SELECT id FROM agent_message WHERE to_agent IN (SELECT value FROM json_each(:boxes)) "
        f"AND status = 'pending' AND {VISIBLE} ORDER BY priority, id LIMIT :limit) RETURNING *",
        {
            "reader": reader,
            "until": clock.plus(now, lease_seconds),
            "now": now,
            "boxes": json.dumps(list(mailboxes)),
            "limit": limit,
        },
    )
    for row in rows:
        _record(tx, row, "delivered", actor=reader, now=now, before="pending")
    return sorted(rows, key=lambda row: (row["priority"], row["id"]))


def sweep(tx: Transaction, *, now: str) -> int:
    """Make messages whose lease has run out visible again, or fail them; returns how many were handled."""
    late = tx.all("SELECT * FROM agent_message WHERE status = 'delivered' AND lease_until <= ?", (now,))
    for row in late:
        if row["retry_count"] < row["max_retries"]:
            _offer_again(tx, row, now)
        else:
            _fail(tx, row, now)
    return len(late)


def acknowledge(tx: Transaction, message_ids: Sequence[str], mailboxes: Sequence[str], *, reader: str, now: str) -> int:
    """Settle messages for good; returns how many were not settled before.

    Raises MessageNotFound, NotAuthorized where it is somebody else's, IllegalTransition where it has failed.
    """
    settled = 0
    for message_id in message_ids:
        row = get(tx, message_id)
        if row["to_agent"] not in mailboxes and row["claimed_by"] != reader:
            raise NotAuthorized(
                f"Message {message_id} is for {row['to_agent']}, not for {reader}.",
                hint="route(action='poll') gives your own.",
                message_id=message_id,
            )
        if row["status"] == "acknowledged":
            continue
        if row["status"] == "pending":  # its lease ran out, or it was never polled: the reader has it all the same
            row = events.transition(
                tx, states.MESSAGE, message_id, "delivered", now=now, actor=reader, claimed_by=reader, lease_until=now,
                delivery_count=max(1, row["delivery_count"]), delivered_at=row["delivered_at"] or now,
            )  # fmt: skip
        events.transition(tx, states.MESSAGE, message_id, "acknowledged", now=now, actor=reader, acknowledged_at=now)
        settled += 1
    return settled


def unread(tx: Transaction, mailboxes: Sequence[str], *, now: str) -> int:
    """Messages that a poll of these mailboxes would find now."""
    return int(
        tx.value(
            f"SELECT count(*) FROM agent_message WHERE to_agent IN (SELECT value FROM json_each(:boxes)) AND {VISIBLE}",
            {"boxes": json.dumps(list(mailboxes)), "now": now},
        )
    )


def seconds_to_visible(tx: Transaction, mailboxes: Sequence[str], *, now: str) -> float | None:
    """In how many seconds a poll of these mailboxes may find what it does not find now; None where nothing waits."""
    due = tx.value(
        "SELECT min(coalesce(CASE status WHEN 'delivered' THEN lease_until ELSE visible_at END, :now)) "
        "FROM agent_message WHERE to_agent IN (SELECT value FROM json_each(:boxes)) "
        "AND status IN ('pending', 'delivered')",
        {"boxes": json.dumps(list(mailboxes)), "now": now},
    )
    return None if due is None else clock.seconds_between(now, due)


def counts(tx: Transaction) -> dict[str, int]:
    """Number of messages in each state."""
    have = {row[0]: row[1] for row in tx.all("SELECT status, count(*) FROM agent_message GROUP BY status")}
    return {state: have.get(state, 0) for state in states.MESSAGE.moves}


def counts_by_recipient(tx: Transaction, *, after: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """Per mailbox the number of messages in each state, by name."""
    rows = tx.all(
        "SELECT to_agent AS recipient, sum(status = 'pending') AS pending, sum(status = 'delivered') AS delivered, "
        "sum(status = 'acknowledged') AS acknowledged, sum(status IN ('failed', 'expired')) AS failed "
        "FROM agent_message WHERE to_agent > ? GROUP BY to_agent ORDER BY to_agent LIMIT ?",
        (after, limit),
    )
    return [dict(row) for row in rows]


def clear_old(tx: Transaction, *, older_than_days: float, now: str, actor: str) -> int:
    """Delete messages that ended longer ago than that; open ones stay. Returns how many (R-142)."""
    deleted = tx.run(
        "DELETE FROM agent_message WHERE status IN ('acknowledged', 'failed', 'expired') "
        "AND coalesce(acknowledged_at, last_retry_at, created_at) <= ?",
        (clock.plus(now, -86400 * older_than_days),),
    )
    if deleted:
        events.record(
            tx, now=now, actor=actor, subject_type="message", subject_id="*", kind="messages_cleared", deleted=deleted
        )
    return deleted


def _checked_content(content: Any) -> str:
    if content is None or not isinstance(content, dict | str):
        raise InvalidInput("A message needs content: an object or text.", hint="Give content={…}.")
    try:
        size = len(json.dumps(content, ensure_ascii=False, allow_nan=False).encode())
    except (UnicodeEncodeError, ValueError, RecursionError) as error:
        raise InvalidInput("The content is no valid text or JSON object.", hint="Send plain UTF-8.") from error
    if size > MAX_CONTENT_BYTES:
        raise InvalidInput(
            f"The content has {size} bytes; {MAX_CONTENT_BYTES} is the limit.",
            hint="Write it into a file of the repository and send its path.",
            bytes=size,
        )
    return json.dumps(content)


def _insert(
    tx: Transaction, sender: str, box: str, kind: str, content: str, priority: int, broadcast: str | None, now: str
) -> str:
    row = tx.only(
        "INSERT INTO agent_message (message_id, from_agent, to_agent, message_type, content, priority, broadcast_id, "
        "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (str(uuid.uuid4()), sender, box, kind, content, priority, broadcast, now),
    )
    _record(tx, row, "pending", actor=sender, now=now, before=None)
    return str(row["message_id"])


def _offer_again(tx: Transaction, row: Row, now: str) -> None:
    events.transition(
        tx,
        states.MESSAGE,
        row["message_id"],
        "pending",
        now=now,
        actor=recipients.SYSTEM,
        why=f"{row['claimed_by']} did not acknowledge it by {row['lease_until']}",
        claimed_by=None,
        lease_until=None,
        retry_count=row["retry_count"] + 1,
        last_retry_at=now,
    )


def _fail(tx: Transaction, row: Row, now: str) -> None:
    reason = f"delivered {row['delivery_count']} times, never acknowledged"
    events.transition(
        tx, states.MESSAGE, row["message_id"], "failed", now=now, actor=recipients.SYSTEM, why=reason,
        error_message=reason, last_retry_at=now,
    )  # fmt: skip
    if row["from_agent"] == recipients.SYSTEM:
        return
    content = {
        "message_id": row["message_id"],
        "recipient": row["to_agent"],
        "message_type": row["message_type"],
        "error": f"Your message to {row['to_agent']} was {reason}.",
    }
    _insert(tx, recipients.SYSTEM, row["from_agent"], "error_report", json.dumps(content), 2, None, now)


def _record(tx: Transaction, row: Row, state: str, *, actor: str, now: str, before: str | None) -> None:
    events.record(
        tx,
        now=now,
        actor=actor,
        subject_type="message",
        subject_id=row["message_id"],
        kind=f"message_{state}",
        from_state=before,
        to_state=state,
        recipient=row["to_agent"],
        message_type=row["message_type"],
    )
