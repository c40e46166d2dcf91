"""What is asked all the time looks at nothing that only grows: messages that have ended, and events."""

import re
from typing import Any

import pytest

from crewyard.server import attention, message_counts, plans, reports, status
from crewyard.server.store import Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"


def plan_of(store: Store, unit: Any, *given: Any, **arguments: Any) -> str:
    """How SQLite does what the unit reads."""
    executed: list[str] = []
    store._reader.set_trace_callback(executed.append)
    store.read(unit, *given, **arguments)
    store._reader.set_trace_callback(None)

    def explained(tx: Transaction) -> str:
        queries = [sql for sql in executed if sql.startswith("SELECT")]
        return "; ".join(row["detail"] for sql in queries for row in tx.all(f"EXPLAIN QUERY PLAN {sql}"))

    return store.read(explained)


@pytest.mark.parametrize(
    ("unit", "arguments", "index"),
    [
        (attention.unread, {}, "agent_message_inbox"),
        (reports.is_answered, {"agent_id": "A"}, "agent_message_inbox"),
        (plans.last_imported, {}, "event_subject"),
    ],
)
def test_what_is_looked_for_is_found_by_an_index(
    store: Store, unit: Any, arguments: dict[str, str], index: str
) -> None:
    assert index in plan_of(store, unit, **arguments)


def test_the_status_at_a_terminal_looks_through_no_messages_or_events(store: Store) -> None:
    done = plan_of(store, status._rows, NOW, auto_approve=True, with_messages=False)
    assert "agent_message_inbox" in done
    assert not re.search(r"SCAN (agent_message|event)\b", done)


def test_messages_are_counted_by_indexes(store: Store) -> None:
    done = plan_of(store, message_counts.by_state)
    assert all(index in done for index in ("agent_message_inbox", "agent_message_unread"))
    assert not re.search(r"SCAN agent_message(;|$)", done), "each row is as long as its message"
