"""Mail that is put into an agent's prompt: for programs that cannot poll, and from ended agents of the same task.

A message belongs to the launch from the transaction that plans it on. With the agent's start it is acknowledged; where
the launch is given up it waits again, for the next one. So each is in the prompt of one agent that was started.
"""

import json
from collections.abc import Sequence

from . import clock, events, lapses, messages, recipients, states
from .store import Row, Transaction

MOST = 20
CHARACTERS = 16_000  # beyond which no other message is added
EARLIER = MOST
# No other reader may have it meanwhile, however long nobody supervises: the launch's fate decides.
HELD_SECONDS = 366 * 86400.0


def put_in(tx: Transaction, agent: Row, *, can_poll: bool, now: str) -> list[Row]:
    """Take what waits for the agent that is to be launched, as much of it as a prompt has room for.

    What came for itself or its type an agent that ``can_poll`` fetches; what came for those before it on its task, the
    answer to a question say, nobody else would fetch.
    """
    messages.sweep(tx, now=now)
    own, of_type, *before = recipients.mailboxes(tx, agent["agent_id"])
    boxes = before if can_poll else [of_type, *before]
    if not boxes:
        return []
    taken = _as_many_as_fit(messages.visible(tx, boxes, MOST, now=now))
    until = clock.plus(now, HELD_SECONDS)
    rows = [messages.deliver(tx, row, own, until=until, again=until, now=now) for row in taken]
    ids = json.dumps([row["message_id"] for row in rows])
    tx.run("UPDATE agent_lifecycle SET metadata = json_set(metadata, '$.mail', json(?)) WHERE agent_id = ?", (ids, own))
    return rows


def settle(tx: Transaction, agent: Row, *, now: str) -> None:
    """The agent was started with its prompt: what is in that has been delivered."""
    for row in _held(tx, agent):
        lapses.end(tx, row, "acknowledged", now=now, actor=agent["agent_id"], acknowledged_at=now)


def put_back(tx: Transaction, agent: Row, *, now: str, actor: str) -> None:
    """The agent was never started: its prompt has reached nobody."""
    for row in _held(tx, agent):
        times = row["delivery_count"] - 1
        events.change(
            tx,
            states.MESSAGE,
            row["message_id"],
            "pending",
            have="delivered",
            now=now,
            actor=actor,
            why=f"{agent['agent_id']} was never started",
            claimed_by=None,
            lease_until=None,
            visible_at=None,
            delivery_count=times,
            delivered_at=row["delivered_at"] if times else None,
        )


def is_in_prompt(tx: Transaction, message: Row) -> bool:
    """Whether it was taken for a launch that is planned and neither made nor given up."""
    sql = (
        "SELECT 1 FROM agent_lifecycle WHERE agent_id = ? AND status = 'starting' "
        "AND ? IN (SELECT value FROM json_each(metadata, '$.mail'))"
    )
    return tx.one(sql, (message["claimed_by"], message["message_id"])) is not None


def was_in_prompt(tx: Transaction, message: Row) -> bool:
    """Whether the agent that has it was started with it, and so never had to read it of its own accord."""
    sql = "SELECT 1 FROM agent_lifecycle WHERE agent_id = ? AND ? IN (SELECT value FROM json_each(metadata, '$.mail'))"
    return tx.one(sql, (message["claimed_by"], message["message_id"])) is not None


def earlier(tx: Transaction, agent: Row) -> list[Row]:
    """What agents before it on its task were told by others of the crew and have settled, oldest first."""
    rows = tx.all(
        "SELECT m.* FROM agent_message m JOIN agent_lifecycle a ON a.agent_id = m.claimed_by "
        "WHERE a.task_id = ? AND a.agent_id <> ? AND m.status = 'acknowledged' AND m.from_agent <> ? "
        "ORDER BY m.id DESC LIMIT ?",
        (agent["task_id"], agent["agent_id"], recipients.SYSTEM, EARLIER),
    )
    return _as_many_as_fit(rows)[::-1]


def _as_many_as_fit(rows: Sequence[Row]) -> list[Row]:
    """The first of them; one at least, however long it is."""
    room = CHARACTERS
    taken: list[Row] = []
    for row in rows:
        room -= len(row["content"])
        if taken and room < 0:
            break
        taken.append(row)
    return taken


def _held(tx: Transaction, agent: Row) -> list[Row]:
    return tx.all(
        "SELECT * FROM agent_message WHERE message_id IN (SELECT value FROM json_each(?, '$.mail')) "
        "AND status = 'delivered' AND claimed_by = ? ORDER BY id",
        (agent["metadata"], agent["agent_id"]),
    )
