"""The message queue's units of work: to whom, in which order, by one reader only; acknowledged once."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crewyard.server import clock, message_types, messages, recipients
from crewyard.server.errors import (
    InvalidInput,
    MessageHeld,
    MessageNotFound,
    NotAuthorized,
    QueueFull,
    UnknownRecipient,
)
from crewyard.server.store import Row, Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"
TYPES = ("architect", "builder")


def send(store: Store, target: str = "lead", *, sender: str = "lead", now: str = NOW, **draft: Any) -> messages.Sent:
    values = {"target": target, "message_type": "question", "content": "x"} | draft
    return store.run(messages.send, messages.Draft(**values), sender=sender, agent_types=TYPES, max_queue=1000, now=now)


def claim(store: Store, now: str, box: str = "lead", *, reader: str = "", limit: int = 10) -> list[Any]:
    return store.run(messages.claim, [box], reader=reader or box, limit=limit, lease_seconds=60, now=now)


def acknowledge(store: Store, message_id: str, *, reader: str, now: str) -> int:
    """As an agent of type builder."""
    return store.run(messages.acknowledge, [message_id], [reader, "builder"], reader=reader, now=now)


def insert_agents(store: Store, *rows: tuple[str, str, str | None], task: str = "in_progress") -> None:
    """Agents of type builder on task A: id, status and when they ended."""

    def seed(tx: Transaction) -> None:
        done = NOW if task == "completed" else None
        tx.run(
            "INSERT INTO specs_task (task_id, title, status, created_at, updated_at, completed_at) "
            "VALUES ('A', 't', ?, ?, ?, ?)",
            (task, NOW, NOW, done),
        )
        for agent_id, status, ended in rows:
            tx.run(
                "INSERT INTO agent_lifecycle (agent_id, agent_type, kind, task_id, status, workspace, run_dir, term, "
                "created_at, pid, started_at, completed_at) VALUES (?, 'builder', 'command', 'A', ?, '/w', '/r', 1, "
                "?, 1, ?, ?)",
                (agent_id, status, NOW, NOW, ended),
            )

    store.run(seed)


def row(store: Store, message_id: str) -> Any:
    return store.read(messages.get, message_id)


def test_two_readers_never_get_the_same_message(database: Path) -> None:
    store = Store(database)
    ids = {send(store, "builder").message_ids[0] for _ in range(200)}
    got: list[str] = []

    def read() -> None:
        mine = Store(database)
        while rows := claim(mine, NOW, "builder", limit=7):
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


def test_agents_that_fill_the_queue_do_not_shut_the_lead_out(store: Store) -> None:
    def send_one(sender: str) -> None:
        draft = messages.Draft("builder", "question", "x")
        store.run(messages.send, draft, sender=sender, agent_types=TYPES, max_queue=20, now=NOW)

    for _ in range(20):
        send_one("architect")
    with pytest.raises(QueueFull, match="20 is the limit for architect"):
        send_one("architect")
    send_one("lead")
    send_one("lead")
    with pytest.raises(QueueFull, match="22 messages wait already; 22 is the limit for lead"):
        send_one("lead")


def test_what_is_ours_or_has_ended_takes_no_room(store: Store) -> None:
    for _ in range(3):
        store.run(messages.notify, "lead", "alert", {}, priority=5, now=NOW)
    done = send(store).message_ids
    store.run(messages.acknowledge, done, ["lead"], reader="lead", now=NOW)
    draft = messages.Draft("lead", "question", "x")
    store.run(messages.send, draft, sender="builder", agent_types=TYPES, max_queue=1, now=NOW)


def test_how_many_wait_is_counted_in_an_index_of_them(store: Store) -> None:
    plan = store.read(
        lambda tx: tx.all(
            "EXPLAIN QUERY PLAN SELECT count(*) FROM agent_message WHERE expires_at IS NOT NULL AND from_agent <> 'x'"
        )
    )
    assert "COVERING INDEX agent_message_open" in plan[0]["detail"]


def test_one_wrong_id_leaves_the_whole_batch_as_it_was(store: Store) -> None:
    first, second = send(store).message_ids[0], send(store).message_ids[0]
    claim(store, NOW)
    with pytest.raises(MessageNotFound, match="no message 'nope'"):
        store.run(messages.acknowledge, [first, "nope", second], ["lead"], reader="lead", now=NOW)
    assert row(store, first)["status"] == row(store, second)["status"] == "delivered"


def test_an_id_that_is_given_twice_counts_once(store: Store) -> None:
    name = send(store).message_ids[0]
    claim(store, NOW)
    assert store.run(messages.acknowledge, [name, name], ["lead"], reader="lead", now=NOW) == 1


def test_what_another_reader_holds_is_not_acknowledged(store: Store) -> None:
    name = send(store, "builder").message_ids[0]
    claim(store, NOW, "builder", reader="b-1")
    with pytest.raises(MessageHeld, match=r"with b-1, who has until 2026-01-01T00:01:00\.000Z"):
        acknowledge(store, name, reader="b-2", now=NOW)
    assert row(store, name)["status"] == "delivered"


def test_who_acknowledges_late_does_so_unless_another_has_taken_it_since(store: Store) -> None:
    first, second = (send(store, "builder").message_ids[0] for _ in range(2))
    claim(store, NOW, "builder", reader="b-1")
    late = clock.plus(NOW, 60)
    assert acknowledge(store, first, reader="b-1", now=late) == 1
    later = clock.plus(NOW, 90)
    assert [each["message_id"] for each in claim(store, later, "builder", reader="b-2")] == [second]
    with pytest.raises(MessageHeld, match="with b-2"):
        acknowledge(store, second, reader="b-1", now=later)
    assert acknowledge(store, second, reader="b-2", now=later) == 1
    assert acknowledge(store, second, reader="b-1", now=later) == 0


def test_what_nobody_holds_any_more_is_acknowledged_by_whoever_reads_that_mailbox(store: Store) -> None:
    name = send(store, "builder").message_ids[0]
    claim(store, NOW, "builder", reader="b-1")
    assert acknowledge(store, name, reader="b-2", now=clock.plus(NOW, 60)) == 1


def test_the_lead_settles_of_others_mail_what_it_has_taken_and_nothing_else(store: Store) -> None:
    taken, other = (send(store, "builder").message_ids[0] for _ in range(2))
    claim(store, NOW, "builder", reader="lead", limit=1)
    late = clock.plus(NOW, 100)
    store.run(messages.sweep, now=late)
    assert store.run(messages.acknowledge, [taken], ["lead"], reader="lead", now=late) == 1
    with pytest.raises(NotAuthorized, match="is for builder, not for lead"):
        store.run(messages.acknowledge, [other], ["lead"], reader="lead", now=late)


def test_a_senders_messages_arrive_in_the_order_of_sending_whoever_reads_them(database: Path) -> None:
    """Four threads send while four poll, each over connections of its own, as processes do."""
    store = Store(database)
    senders = [f"s-{n}" for n in range(4)]

    def write(sender: str) -> None:
        mine = Store(database)
        for number in range(50):
            send(mine, "builder", sender=sender, content={"n": number})
        mine.close()
        written.append(sender)

    def read(reader: str) -> None:
        mine = Store(database)
        while (rows := claim(mine, NOW, "builder", reader=reader, limit=3)) or len(written) < len(senders):
            in_order(rows)
        mine.close()

    def in_order(rows: Sequence[Row]) -> None:
        for sender in senders:
            numbers = [json.loads(each["content"])["n"] for each in rows if each["from_agent"] == sender]
            disorder.extend([] if numbers == sorted(numbers) else [numbers])

    disorder: list[list[int]] = []
    written: list[str] = []
    threads = [threading.Thread(target=write, args=(sender,)) for sender in senders]
    threads += [threading.Thread(target=read, args=(f"r-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    in_order(delivered := store.read(first_deliveries))
    store.close()
    assert (len(delivered), disorder) == (200, [])


def first_deliveries(tx: Transaction) -> list[Row]:
    return tx.all(
        "SELECT m.from_agent, m.content FROM event e JOIN agent_message m ON m.message_id = e.subject_id "
        "WHERE e.kind = 'message_delivered' ORDER BY e.event_id"
    )


def test_mail_to_an_agent_and_to_its_type_comes_in_one_order(store: Store) -> None:
    insert_agents(store, ("b-1", "running", None))
    for target, priority in (("builder", 5), ("b-1", 5), ("builder", 1), ("b-1", 5), ("builder", 5)):
        send(store, target, content=f"{target} {priority}", priority=priority)
    rows = store.run(messages.claim, ["b-1", "builder"], reader="b-1", limit=4, lease_seconds=60, now=NOW)
    assert [(each["id"], each["priority"]) for each in rows] == [(3, 1), (1, 5), (2, 5), (4, 5)]


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


def test_a_restarted_agent_reads_its_predecessors_mail(store: Store) -> None:
    insert_agents(store, ("b-1", "failed", NOW), ("b-2", "starting", None))
    assert store.read(recipients.mailboxes, "b-2") == ["b-2", "builder", "b-1"]
    assert store.read(recipients.mailboxes, "lead") == ["lead"]


def test_an_agent_that_may_get_a_successor_can_be_written_to(store: Store) -> None:
    insert_agents(store, ("b-1", "failed", NOW))
    assert send(store, "b-1").recipients == ["b-1"]


def test_an_agent_that_ended_with_its_task_done_is_refused_with_who_reads_instead(store: Store) -> None:
    insert_agents(store, ("b-1", "completed", NOW), task="completed")
    with pytest.raises(UnknownRecipient, match="Agent b-1 has ended, and its task A is done") as refused:
        send(store, "b-1")
    assert "'builder'" in refused.value.hint


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
