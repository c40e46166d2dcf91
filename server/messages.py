"""Messages between agents: rows that are claimed, acknowledged or delivered again, never lost (design 7).

``poll`` claims in one transaction, with a lease. What is not acknowledged is delivered again, and fails or expires at
last (``lapses``); its sender is told. An agent that is not running keeps its mail meanwhile.

Messages of one sender to one mailbox at equal priority are first delivered in the order in which they were sent: ids
grow with each commit, and a claim takes the lowest first.
"""

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from . import clock, events, lapses, message_types, recipients, states
from .errors import InvalidInput, MessageHeld, MessageNotFound, NotAuthorized, QueueFull
from .store import Row, Transaction

# The first term is the condition of the index agent_message_inbox; SQLite uses the index only where it stands.
_WAITS = (
    "status IN ('pending', 'delivered') AND (status = 'pending' OR retry_count < max_retries) "
    "AND (expires_at IS NULL OR expires_at > :now)"
)
VISIBLE = f"{_WAITS} AND (visible_at IS NULL OR visible_at <= :now)"
# What acknowledging one asks for: all its columns take twice as long.
_STANDING = "message_id, to_agent, status, claimed_by, lease_until, delivery_count, delivered_at"


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


@dataclass(frozen=True)
class Terms:
    """How long a message waits for its reader, and how often it is delivered again."""

    expire_after_hours: float = 24.0
    lead_keeps_days: float = 7.0
    max_retries: int = 3

    def expiry(self, box: str, now: str) -> str:
        hours = 24 * self.lead_keeps_days if box == recipients.LEAD else self.expire_after_hours
        return clock.plus(now, 3600 * hours)


USUAL = Terms()


def get(tx: Transaction, message_id: str, columns: str = "*") -> Row:
    """The message's row. Raises MessageNotFound."""
    row = tx.one(f"SELECT {columns} FROM agent_message WHERE message_id = ?", (message_id,))
    if row is None:
        raise MessageNotFound(
            f"There is no message {message_id!r}.",
            hint="route(action='poll') gives the ids of yours.",
            message_id=message_id,
        )
    return row


def send(
    tx: Transaction,
    draft: Draft,
    *,
    sender: str,
    agent_types: Collection[str],
    max_queue: int,
    now: str,
    terms: Terms = USUAL,
) -> Sent:
    """Put a message into the queue. Raises UnknownRecipient, QueueFull, InvalidInput."""
    content = message_types.content(draft.content)
    kind = message_types.canonical(draft.message_type)
    priority = message_types.priority(draft.priority)
    if not draft.target:
        raise InvalidInput("A message needs a recipient.", hint="Give target_agent: an agent id or type, lead, or ALL.")
    to = recipients.resolve(tx, draft.target, sender=sender, agent_types=agent_types)
    _require_room(tx, len(to), sender, max_queue)
    broadcast = str(uuid.uuid4()) if draft.target.upper() == recipients.EVERYONE else None
    ids = [_insert(tx, sender, box, kind, content, priority, broadcast, now, terms) for box in to]
    return Sent(ids, to, kind, broadcast)


def notify(tx: Transaction, box: str, kind: str, content: dict[str, Any], *, priority: int, now: str) -> str:
    """Tell a mailbox something of our own; no full queue stands in its way. Returns the message's id."""
    return _insert(tx, recipients.SYSTEM, box, kind, json.dumps(content), priority, None, now, USUAL)


def claim(
    tx: Transaction,
    mailboxes: Sequence[str],
    *,
    reader: str,
    limit: int,
    lease_seconds: float,
    now: str,
    redelivery_seconds: Sequence[float] | None = None,
) -> list[Row]:
    """Take up to ``limit`` visible messages, the most urgent and oldest first, for ``lease_seconds``.

    What is not acknowledged by then is visible again after the wait for that redelivery: 30, 60 and 120 s at a lease of
    60 s where ``redelivery_seconds`` names no others (R-146).
    """
    sweep(tx, now=now)
    if redelivery_seconds is None:
        redelivery_seconds = (lease_seconds / 2, lease_seconds, lease_seconds * 2)
    waits = [*redelivery_seconds] or [0.0]
    rows = _visible(tx, mailboxes, limit, now)
    until = clock.plus(now, lease_seconds)
    again = {n: clock.plus(until, waits[min(n, len(waits) - 1)]) for n in {row["retry_count"] for row in rows}}
    return [deliver(tx, row, reader, until=until, again=again[row["retry_count"]], now=now) for row in rows]


def deliver(tx: Transaction, row: Row, reader: str, *, until: str, again: str, now: str) -> Row:
    """A pending message is its reader's ``until`` then, and visible ``again`` after that."""
    return events.transition(
        tx,
        states.MESSAGE,
        row["message_id"],
        "delivered",
        have="pending",
        now=now,
        actor=reader,
        claimed_by=reader,
        lease_until=until,
        visible_at=again,
        delivery_count=row["delivery_count"] + 1,
        delivered_at=row["delivered_at"] or now,
    )


def sweep(tx: Transaction, *, now: str) -> list[lapses.Lapse]:
    """Offer again, fail or expire what nobody acknowledged in time; tells the senders of what ended, and returns it."""
    ended = lapses.settle(tx, now=now) if lapses.is_due(tx, now=now) else []
    for lapse in ended:
        tell_sender(tx, lapse, now=now)
    return ended


def tell_sender(tx: Transaction, lapse: lapses.Lapse, *, now: str) -> None:
    """Say that a message ended without being acknowledged; not to ourselves, nor to an agent that is gone."""
    message = lapse.message
    if message["from_agent"] == recipients.SYSTEM or recipients.is_gone(tx, message["from_agent"]):
        return
    content = {
        "message_id": message["message_id"],
        "recipient": message["to_agent"],
        "message_type": message["message_type"],
        "code": lapse.code,
        "error": f"Your message to {message['to_agent']} has {lapse.state}: {lapse.reason}.",
    }
    notify(tx, message["from_agent"], "error_report", content, priority=2, now=now)


def acknowledge(tx: Transaction, message_ids: Sequence[str], mailboxes: Sequence[str], *, reader: str, now: str) -> int:
    """Settle messages for good; returns how many were not settled before.

    All or none: raises MessageNotFound, NotAuthorized where one is somebody else's, MessageHeld where another reader
    has it, IllegalTransition where it has failed or expired.
    """
    settled = 0
    for message_id in message_ids:
        row = get(tx, message_id, _STANDING)
        _require_own(row, mailboxes, reader, now)
        if row["status"] == "acknowledged":
            continue
        if row["status"] == "pending":  # its lease ran out, or it was never polled: the reader has it all the same
            row = events.transition(
                tx, states.MESSAGE, message_id, "delivered", have="pending", now=now, actor=reader, claimed_by=reader,
                lease_until=now, delivery_count=max(1, row["delivery_count"]), delivered_at=row["delivered_at"] or now,
            )  # fmt: skip
        lapses.end(tx, row, "acknowledged", now=now, actor=reader, acknowledged_at=now)
        settled += 1
    return settled


def give_up(tx: Transaction, message_id: str, reason: str, *, reader: str, now: str) -> bool:
    """The message has failed, and its sender is told; False where it had before.

    Raises MessageNotFound, MessageHeld where another reader has it, IllegalTransition.
    """
    row = get(tx, message_id)
    if row["status"] == "failed":
        return False
    _require_own(row, [row["to_agent"]], reader, now)
    tell_sender(tx, lapses.given_up(tx, row, reason, now=now, actor=reader), now=now)
    return True


def visible(tx: Transaction, mailboxes: Sequence[str], limit: int, *, now: str) -> list[Row]:
    """What a poll of these mailboxes would find now, in its order; nothing is claimed."""
    found = [row["message_id"] for row in _visible(tx, mailboxes, limit, now)]
    return [get(tx, message_id) for message_id in found]


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
        "SELECT min(coalesce(visible_at, :now)) FROM agent_message "
        f"WHERE to_agent IN (SELECT value FROM json_each(:boxes)) AND {_WAITS}",
        {"boxes": json.dumps(list(mailboxes)), "now": now},
    )
    return None if due is None else clock.seconds_between(now, due)


def _require_room(tx: Transaction, wanted: int, sender: str, max_queue: int) -> None:
    """Raises QueueFull. What the agents send does not shut the lead out: it may go beyond the limit by a tenth."""
    limit = max_queue + (max_queue // 10 if sender == recipients.LEAD else 0)
    waiting = int(
        tx.value(
            "SELECT count(*) FROM agent_message WHERE expires_at IS NOT NULL AND from_agent <> ?",
            (recipients.SYSTEM,),
        )
    )
    if waiting + wanted > limit:
        raise QueueFull(
            f"{waiting} messages wait already; {limit} is the limit for {sender}.",
            hint="Let the recipients poll and acknowledge, then send again.",
            waiting=waiting,
            max_queue=limit,
        )


def _require_own(row: Row, mailboxes: Sequence[str], reader: str, now: str) -> None:
    name, holder = row["message_id"], row["claimed_by"]
    if row["to_agent"] not in mailboxes and holder != reader:
        raise NotAuthorized(
            f"Message {name} is for {row['to_agent']}, not for {reader}.",
            hint="route(action='poll') gives your own.",
            message_id=name,
        )
    if row["status"] == "delivered" and holder != reader and row["lease_until"] > now:
        raise MessageHeld(
            f"Message {name} is with {holder}, who has until {row['lease_until']} to acknowledge it.",
            hint="Leave it to them; route(action='poll') gives what is free.",
            message_id=name,
            held_by=holder,
        )


def _visible(tx: Transaction, mailboxes: Sequence[str], limit: int, now: str) -> list[Row]:
    boxes = {f"box_{number}": box for number, box in enumerate(mailboxes)}
    return tx.all(_firsts(len(boxes)), {**boxes, "limit": limit, "now": now})


@cache
def _firsts(mailboxes: int) -> str:
    """Of each mailbox the first in the order of its index, so that what is not taken is not looked at."""
    each = [
        "SELECT id, priority, message_id, retry_count, delivery_count, delivered_at FROM agent_message "
        f"WHERE to_agent = :box_{number} AND {VISIBLE} ORDER BY priority, id LIMIT :limit"
        for number in range(mailboxes)
    ]
    if mailboxes == 1:  # its index has them in order, which SQLite does not see from outside
        return each[0]
    return f"{' UNION ALL '.join(f'SELECT * FROM ({firsts})' for firsts in each)} ORDER BY priority, id LIMIT :limit"


def _insert(
    tx: Transaction,
    sender: str,
    box: str,
    kind: str,
    content: str,
    priority: int,
    broadcast: str | None,
    now: str,
    terms: Terms,
) -> str:
    name = str(uuid.uuid4())
    tx.run(
        "INSERT INTO agent_message (message_id, from_agent, to_agent, message_type, content, priority, broadcast_id, "
        "created_at, expires_at, max_retries) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (name, sender, box, kind, content, priority, broadcast, now, terms.expiry(box, now), terms.max_retries),
    )
    events.record(
        tx,
        now=now,
        actor=sender,
        subject_type="message",
        subject_id=name,
        kind="message_pending",
        to_state="pending",
        recipient=box,
        message_type=kind,
    )
    return name
