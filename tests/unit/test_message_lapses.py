"""What becomes of messages that nobody acknowledges: delivered again, failed, expired; and how long they are kept."""

import json
from typing import Any

import pytest

from crewyard.server import clock, due_times, lapses, messages
from crewyard.server.errors import IllegalTransition
from crewyard.server.sections import Messages
from crewyard.server.store import Row, Store, Transaction

NOW = "2026-01-01T00:00:00.000Z"
HOUR = 3600
DAY = 24 * HOUR


def after(seconds: float) -> str:
    return clock.plus(NOW, seconds)


def send(store: Store, target: str = "builder", *, sender: str = "architect", **options: Any) -> str:
    draft = messages.Draft(target, "question", "x")
    types = ("architect", "builder")
    sent = store.run(messages.send, draft, sender=sender, agent_types=types, max_queue=99, now=NOW, **options)
    return sent.message_ids[0]


def claim(store: Store, seconds: float, box: str = "builder", **options: Any) -> list[Row]:
    terms = {"limit": 10, "lease_seconds": 60} | options
    return store.run(messages.claim, [box], reader=box, now=after(seconds), **terms)


def row(store: Store, message_id: str) -> Row:
    return store.read(messages.get, message_id)


def told(store: Store, box: str, seconds: float) -> list[dict[str, Any]]:
    """What Crewyard wrote to this mailbox."""
    rows = [each for each in claim(store, seconds, box) if each["from_agent"] == "crewyard"]
    assert {each["message_type"] for each in rows} <= {"error_report"}
    return [json.loads(each["content"]) for each in rows]


def test_r146_r188_what_is_not_acknowledged_comes_again_30_60_and_120_s_after_its_lease(store: Store) -> None:
    name = send(store)
    begun = 0
    for wait in (30, 60, 120):
        assert [each["message_id"] for each in claim(store, begun)] == [name]
        due = begun + 60 + wait
        assert claim(store, due - 1) == []
        assert store.read(messages.unread, ["builder"], now=after(due - 1)) == 0
        assert store.read(messages.seconds_to_visible, ["builder"], now=after(due - 1)) == 1
        assert store.read(messages.unread, ["builder"], now=after(due)) == 1
        begun = due
    assert claim(store, begun)[0]["delivery_count"] == 4
    assert claim(store, begun + 60) == []
    assert (row(store, name)["status"], row(store, name)["retry_count"]) == ("failed", 3)


def test_a_look_that_comes_late_does_not_lengthen_the_wait(store: Store) -> None:
    send(store)
    claim(store, 0)
    store.run(messages.sweep, now=after(89))
    assert len(claim(store, 90)) == 1


@pytest.mark.parametrize(("lease", "waits", "due"), [(2, None, 3), (2, [10.0], 12), (60, [0.0], 60), (60, [], 60)])
def test_the_wait_follows_the_lease_or_the_setting(store: Store, lease: float, waits: Any, due: float) -> None:
    send(store)
    claim(store, 0, lease_seconds=lease, redelivery_seconds=waits)
    assert claim(store, due - 0.001) == []
    assert len(claim(store, due)) == 1


def test_the_first_attempt_counts_where_that_is_wanted() -> None:
    assert (Messages().max_retries, Messages(count_first_attempt=True).max_retries) == (3, 2)
    assert Messages(redelivery_seconds=[1.0]).max_retries == 1
    assert Messages(redelivery_seconds=[], count_first_attempt=True).max_retries == 0


def test_without_redeliveries_it_fails_with_its_first_lease(store: Store) -> None:
    name = send(store, terms=messages.Terms(max_retries=0))
    claim(store, 0)
    assert store.read(messages.seconds_to_visible, ["builder"], now=after(1)) is None
    assert claim(store, 60) == []
    assert row(store, name)["status"] == "failed"


def test_the_sender_of_what_failed_is_told_once(store: Store) -> None:
    name = send(store, terms=messages.Terms(max_retries=0))
    claim(store, 0)
    store.run(messages.sweep, now=after(60))
    store.run(messages.sweep, now=after(61))
    [report] = told(store, "architect", 61)
    assert (report["message_id"], report["code"]) == (name, "max_retries_exceeded")
    assert report["error"] == "Your message to builder has failed: delivered 1 times, never acknowledged."


def test_r189_mail_that_nobody_takes_for_a_day_expires_and_its_sender_is_told(store: Store) -> None:
    name = send(store)
    store.run(messages.sweep, now=after(DAY - 1))
    assert row(store, name)["status"] == "pending"
    assert store.read(messages.unread, ["builder"], now=after(DAY)) == 0
    assert store.read(messages.seconds_to_visible, ["builder"], now=after(DAY)) is None
    assert claim(store, DAY) == []
    assert (row(store, name)["status"], row(store, name)["ended_at"]) == ("expired", after(DAY))
    [report] = told(store, "architect", DAY)
    assert (report["message_id"], report["code"]) == (name, "message_expired")
    assert report["error"] == f"Your message to builder has expired: not taken by {after(DAY)}."
    with pytest.raises(IllegalTransition, match="expired"):
        store.run(messages.acknowledge, [name], ["builder"], reader="builder", now=after(DAY))


def test_what_was_delivered_and_not_acknowledged_expires_when_its_lease_is_over(store: Store) -> None:
    name = send(store)
    claim(store, DAY - 10)
    store.run(messages.sweep, now=after(DAY + 49))
    assert row(store, name)["status"] == "delivered"
    store.run(messages.sweep, now=after(DAY + 50))
    assert row(store, name)["status"] == "expired"
    assert "delivered 1 times" in told(store, "architect", DAY + 50)[0]["error"]


def test_mail_to_the_lead_waits_a_week(store: Store) -> None:
    send(store, "lead", sender="builder")
    store.run(messages.sweep, now=after(7 * DAY - 1))
    assert len(claim(store, 7 * DAY - 1, "lead")) == 1


def test_how_long_mail_waits_is_a_setting(store: Store) -> None:
    terms = messages.Terms(expire_after_hours=2, lead_keeps_days=1)
    short, long = send(store, terms=terms), send(store, "lead", terms=terms)
    store.run(messages.sweep, now=after(2 * HOUR))
    assert (row(store, short)["status"], row(store, long)["status"]) == ("expired", "pending")
    store.run(messages.sweep, now=after(DAY))
    assert row(store, long)["status"] == "expired"


def test_our_own_mail_that_nobody_takes_ends_without_a_word(store: Store) -> None:
    store.run(messages.notify, "builder", "alert", {}, priority=5, now=NOW)
    store.run(messages.notify, "builder", "alert", {}, priority=1, now=NOW)
    for begun in (0, 90, 210, 390):
        assert claim(store, begun, limit=1)[0]["priority"] == 1
    store.run(messages.sweep, now=after(2 * DAY))
    states = store.read(lambda tx: [each["status"] for each in tx.all("SELECT status FROM agent_message")])
    assert sorted(states) == ["expired", "failed"]


def test_a_sender_that_is_gone_for_good_is_told_nothing(store: Store, insert: Any) -> None:
    def seed(tx: Any) -> None:
        insert(
            tx, "specs_task", task_id="A", title="t", status="completed", created_at=NOW, updated_at=NOW,
            completed_at=NOW,
        )  # fmt: skip
        insert(
            tx, "agent_lifecycle", agent_id="b-1", agent_type="builder", kind="command", task_id="A",
            status="completed", workspace="/w", run_dir="/r", term=1, created_at=NOW, completed_at=NOW,
        )  # fmt: skip

    store.run(seed)
    send(store, "architect", sender="b-1")
    store.run(messages.sweep, now=after(DAY))
    assert store.read(lambda tx: tx.value("SELECT count(*) FROM agent_message")) == 1


def test_a_clock_that_is_set_neither_expires_nor_hurries_mail(store: Store) -> None:
    name = send(store)
    claim(store, 0)
    store.run(due_times.shift, 2.0 * DAY, now=after(2 * DAY), actor="test")
    store.run(messages.sweep, now=after(2 * DAY + 89))
    assert row(store, name)["status"] == "pending"
    assert claim(store, 2 * DAY + 89) == []
    assert len(claim(store, 2 * DAY + 90)) == 1


def test_only_what_ended_long_ago_is_deleted_and_an_event_says_so(store: Store) -> None:
    weeks = messages.Terms(expire_after_hours=24 * 30, max_retries=0)
    acknowledged, failed, waiting = (send(store, terms=weeks) for _ in range(3))
    store.run(messages.acknowledge, [acknowledged], ["builder"], reader="builder", now=after(DAY))
    claim(store, DAY, limit=1)
    store.run(lapses.settle, now=after(DAY + 60))
    assert row(store, failed)["status"] == "failed"
    keep = {"older_than_days": 7.0}
    assert store.read(lapses.old_ids, now=after(8 * DAY - 1), **keep) == []
    assert store.run(lapses.clear_old, actor="lead", now=after(8 * DAY - 1), **keep) == 0
    assert store.read(lapses.old_ids, now=after(8 * DAY), **keep) == [row(store, acknowledged)["id"]]
    assert store.run(lapses.clear_old, actor="lead", now=after(8 * DAY), **keep) == 1
    assert store.run(lapses.clear_old, actor="lead", now=after(8 * DAY + 60), **keep) == 1
    assert row(store, waiting)["status"] == "pending"
    cleared = store.read(lambda tx: tx.all("SELECT actor, data FROM event WHERE kind = 'messages_cleared'"))
    assert [(each["actor"], json.loads(each["data"])) for each in cleared] == [("lead", {"deleted": 1})] * 2


def test_what_is_old_is_deleted_in_portions_the_oldest_first(store: Store) -> None:
    def fill(tx: Transaction) -> None:
        ended = (NOW, NOW, NOW)
        tx.many(
            "INSERT INTO agent_message (message_id, from_agent, to_agent, message_type, status, created_at, "
            "acknowledged_at, ended_at) VALUES (?, 'lead', 'builder', 'note', 'acknowledged', ?, ?, ?)",
            [(str(n), *ended) for n in range(lapses.CLEARED_AT_ONCE + 2)],
        )

    store.run(fill)
    waiting = send(store)
    found = []
    while ids := store.read(lapses.old_ids, older_than_days=7.0, now=after(8 * DAY)):
        found.append(store.run(lapses.clear, ids, now=after(8 * DAY), actor="supervisor"))
        assert store.read(lambda tx: tx.value("SELECT min(id) FROM agent_message")) > ids[-1]
    assert found == [lapses.CLEARED_AT_ONCE, 2]
    assert [each["message_id"] for each in store.read(lambda tx: tx.all("SELECT * FROM agent_message"))] == [waiting]
    cleared = store.read(lambda tx: tx.all("SELECT data FROM event WHERE kind = 'messages_cleared'"))
    assert [json.loads(each["data"])["deleted"] for each in cleared] == found


def test_an_id_is_never_given_again(store: Store) -> None:
    for name in [send(store), send(store)]:
        store.run(messages.acknowledge, [name], ["builder"], reader="builder", now=NOW)
    newest = store.read(lambda tx: tx.value("SELECT max(id) FROM agent_message"))
    assert store.run(lapses.clear_old, older_than_days=0, actor="lead", now=after(1)) == 1
    assert store.read(lapses.old_ids, older_than_days=0, now=after(1)) == []
    assert row(store, send(store))["id"] > newest


@pytest.mark.parametrize(
    "due", ["status = 'delivered' AND lease_until <= 'x'", "status = 'pending' AND expires_at <= 'x'"]
)
def test_what_is_due_is_found_by_an_index(store: Store, due: str) -> None:
    plan = store.read(lambda tx: tx.all(f"EXPLAIN QUERY PLAN SELECT * FROM agent_message WHERE {due}"))
    assert "SEARCH agent_message USING INDEX" in plan[0]["detail"]
