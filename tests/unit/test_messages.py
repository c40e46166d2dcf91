"""The message queue's units of work: claimed by one statement, leased, delivered again, failed, never lost."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import agents, clock, message_types, messages, recipients
from crewyard.server.errors import InvalidInput, QueueFull, UnknownRecipient
from crewyard.server.store import Store

NOW = "2026-01-01T00:00:00.000Z"
TYPES = ("architect", "builder")


def send(store: Store, target: str = "lead", *, sender: str = "lead", now: str = NOW, **draft: Any) -> messages.Sent:
    values = {"target": target, "message_type": "question", "content": "x"} | draft
    return store.run(messages.send, messages.Draft(**values), sender=sender, agent_types=TYPES, max_queue=1000, now=now)


def claim(store: Store, now: str, *, reader: str = "lead", limit: int = 10) -> list[Any]:
    return store.run(messages.claim, [reader], reader=reader, limit=limit, lease_seconds=60, now=now)


def row(store: Store, message_id: str) -> Any:
    return store.read(messages.get, message_id)


def test_a_claimed_message_is_hidden_until_its_lease_runs_out(store: Store) -> None:
    send(store)
    assert len(claim(store, NOW)) == 1
    assert claim(store, clock.plus(NOW, 59)) == []
    assert store.read(messages.unread, ["lead"], now=clock.plus(NOW, 60)) == 1
    again = claim(store, clock.plus(NOW, 60))
    assert (again[0]["delivery_count"], again[0]["retry_count"]) == (2, 1)


def test_after_three_redeliveries_it_has_failed_and_its_sender_is_told(store: Store) -> None:
    message_id = send(store, "builder", sender="architect").message_ids[0]
    now = NOW
    for _ in range(4):
        assert [r["message_id"] for r in claim(store, now, reader="builder")] == [message_id]
        now = clock.plus(now, 61)
    assert claim(store, now, reader="builder") == []
    assert row(store, message_id)["status"] == "failed"
    told = claim(store, now, reader="architect")
    assert (told[0]["from_agent"], told[0]["message_type"]) == ("crewyard", "error_report")
    assert json.loads(told[0]["content"])["message_id"] == message_id


def test_our_own_error_report_that_nobody_reads_is_reported_to_nobody(store: Store) -> None:
    send(store, "builder", sender="crewyard")
    now = NOW
    for _ in range(6):
        claim(store, now, reader="builder")
        now = clock.plus(now, 61)
    assert store.read(lambda tx: tx.value("SELECT count(*) FROM agent_message")) == 1


def test_what_is_acknowledged_late_is_acknowledged_all_the_same(store: Store) -> None:
    message_id = send(store).message_ids[0]
    claim(store, NOW)
    late = clock.plus(NOW, 100)
    store.run(messages.sweep, now=late)
    assert row(store, message_id)["status"] == "pending"
    assert store.run(messages.acknowledge, [message_id], ["lead"], reader="lead", now=late) == 1
    assert claim(store, clock.plus(NOW, 200)) == []


def test_two_readers_never_get_the_same_message(database: Path) -> None:
    store = Store(database)
    ids = {send(store, "builder").message_ids[0] for _ in range(200)}
    got: list[str] = []

    def read() -> None:
        mine = Store(database)
        while rows := claim(mine, NOW, reader="builder", limit=7):
            got.extend(r["message_id"] for r in rows)
        mine.close()

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    store.close()
    assert sorted(got) == sorted(ids)


def test_a_full_queue_refuses_and_takes_nothing(store: Store) -> None:
    draft = messages.Draft("ALL", "question", "x")
    with pytest.raises(QueueFull):
        store.run(messages.send, draft, sender="lead", agent_types=TYPES, max_queue=1, now=NOW)
    assert store.read(lambda tx: tx.value("SELECT count(*) FROM agent_message")) == 0


def test_broadcast_rows_share_an_id_and_leave_the_sender_out(store: Store) -> None:
    sent = send(store, "all", sender="architect")
    assert sent.recipients == ["lead", "builder"]
    assert len(set(sent.message_ids)) == 2
    assert {row(store, i)["broadcast_id"] for i in sent.message_ids} == {sent.broadcast_id}


def test_nobody_else_to_write_to_is_an_error(store: Store) -> None:
    with pytest.raises(UnknownRecipient):
        store.run(recipients.resolve, "ALL", sender="lead", agent_types=[])


@pytest.mark.parametrize(
    ("target", "box"), [("lead", "lead"), ("orchestrator", "lead"), ("builder", "builder"), ("builder-1", None)]
)
def test_recipients_by_name(store: Store, target: str, box: str | None) -> None:
    if box is None:
        with pytest.raises(UnknownRecipient) as refused:
            store.run(recipients.resolve, target, sender="lead", agent_types=TYPES)
        assert "builder" in refused.value.hint
    else:
        assert store.run(recipients.resolve, target, sender="lead", agent_types=TYPES) == [box]


def test_a_restarted_agent_reads_its_predecessors_mail(store: Store, insert: Any) -> None:
    def seed(tx: Any) -> None:
        insert(tx, "specs_task", task_id="A", title="t", created_at=NOW, updated_at=NOW)
        for agent_id, status, done in (("b-1", "failed", NOW), ("b-2", "starting", None)):
            insert(
                tx, "agent_lifecycle", agent_id=agent_id, agent_type="builder", kind="command", task_id="A",
                status=status, workspace="/w", run_dir="/r", term=1, created_at=NOW, completed_at=done,
            )  # fmt: skip

    store.run(seed)
    assert store.read(recipients.mailboxes, "b-2") == ["b-2", "builder", "b-1"]
    assert store.read(recipients.mailboxes, "lead") == ["lead"]
    assert agents.hash_token("x") != "x"


def test_clearing_deletes_what_has_ended_long_ago_only(store: Store) -> None:
    old, open_ = send(store).message_ids[0], send(store, "builder").message_ids[0]
    claim(store, NOW)
    store.run(messages.acknowledge, [old], ["lead"], reader="lead", now=NOW)
    clear = {"older_than_days": 7, "actor": "lead"}
    assert store.run(messages.clear_old, **clear, now=clock.plus(NOW, 6 * 86400)) == 0
    assert store.run(messages.clear_old, **clear, now=clock.plus(NOW, 8 * 86400)) == 1
    assert row(store, open_)["status"] == "pending"


@pytest.mark.parametrize(
    ("given", "number"), [(1, 1), ("10", 10), ("Urgent", 1), ("high", 2), ("normal", 5), ("low", 8)]
)
def test_priorities_by_number_and_name(given: Any, number: int) -> None:
    assert message_types.priority(given) == number


@pytest.mark.parametrize("given", [0, 11, -1, "soon", "", True, 1.5, "１"])
def test_what_is_no_priority(given: Any) -> None:
    with pytest.raises(InvalidInput):
        message_types.priority(given)


def test_aliases_of_types() -> None:
    assert message_types.canonical("spec_created") == "spec_ready"
    assert message_types.canonical("greeting") == "greeting"
    assert set(message_types.ALIASES.values()) <= message_types.KNOWN


@pytest.mark.parametrize("content", [None, 3, ["x"], "\ud800", "x" * 70_000, {"a": float("nan")}])
def test_content_that_cannot_be_kept_is_refused(store: Store, content: Any) -> None:
    with pytest.raises(InvalidInput):
        send(store, content=content)


def test_the_inbox_is_read_by_its_index(store: Store) -> None:
    plan = store.read(
        lambda tx: tx.all(
            f"EXPLAIN QUERY PLAN SELECT id FROM agent_message WHERE to_agent = 'x' AND {messages.VISIBLE}",
            {"now": NOW},
        )
    )
    assert "agent_message_inbox" in plan[0]["detail"]
