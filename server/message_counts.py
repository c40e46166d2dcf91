"""How many messages there are, of each state and for each mailbox: among a million at once."""

from collections.abc import Iterator
from typing import Any

from . import states
from .store import Row, Transaction


def by_state(tx: Transaction) -> dict[str, int]:
    """Number of messages in each state."""
    have: dict[str, int] = {}
    for _, status, number in _others(tx, "", None):
        have[status] = have.get(status, 0) + number
    have["acknowledged"] = int(tx.value("SELECT count(*) FROM agent_message")) - sum(have.values())
    return {state: have.get(state, 0) for state in states.MESSAGE.moves}


def by_recipient(tx: Transaction, *, after: str = "", limit: int = 100) -> list[dict[str, Any]]:
    """Per mailbox the number of messages in each state, by name."""
    rows = tx.all(
        "SELECT to_agent, count(*) FROM agent_message WHERE to_agent > ? GROUP BY to_agent ORDER BY to_agent LIMIT ?",
        (after, limit),
    )
    if not rows:
        return []
    others: dict[str, dict[str, int]] = {}
    for recipient, status, number in _others(tx, after, rows[-1][0]):
        others.setdefault(recipient, {})[status] = number
    return [_count(recipient, everything, others.get(recipient, {})) for recipient, everything in rows]


def _count(recipient: str, everything: int, others: dict[str, int]) -> dict[str, Any]:
    return {
        "recipient": recipient,
        "pending": others.get("pending", 0),
        "delivered": others.get("delivered", 0),
        "acknowledged": everything - sum(others.values()),
        "failed": others.get("failed", 0) + others.get("expired", 0),
    }


def _others(tx: Transaction, after: str, last: str | None) -> Iterator[Row]:
    """Mailbox, state and number of what was not acknowledged.

    Nearly all are: those are what the others leave of all, and only these are looked at.
    """
    for some in ("'pending', 'delivered'", "'failed', 'expired'"):
        yield from tx.all(
            f"SELECT to_agent, status, count(*) FROM agent_message WHERE status IN ({some}) AND to_agent > :after "
            "AND (:last IS NULL OR to_agent <= :last) GROUP BY to_agent, status",
            {"after": after, "last": last},
        )
