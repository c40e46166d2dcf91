"""route-inter-agent-messages: one test a requirement (R-142 to R-147)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crewyard import ClaudeAgentInvoker
from crewyard.server import clock, messages
from crewyard.server.store import Store

Invoke = Callable[..., dict[str, Any]]
ROUTE = "route-inter-agent-messages"


@pytest.fixture
def database(git_repo: Path) -> Path:
    return git_repo / "data" / "orchestrator.db"


@pytest.fixture
def route(git_repo: Path, store: Store) -> Invoke:
    (git_repo / "crewyard.toml").write_text('[agents.builder]\nkind = "command"\ncommand = ["true"]\n')

    def call(action: str, **parameters: Any) -> dict[str, Any]:
        return ClaudeAgentInvoker(repo=git_repo).invoke_command(ROUTE, {"ACTION": action, **parameters})

    return call


def to_lead(store: Store, text: str = "hello", **how: Any) -> str:
    draft = messages.Draft("lead", "status_update", text)
    sent = store.run(
        messages.send, draft, sender="builder", agent_types=["builder"], max_queue=9, **{"now": clock.now(), **how}
    )
    return sent.message_ids[0]


def statuses(store: Store) -> list[str]:
    return [row[0] for row in store.read(lambda tx: tx.all("SELECT status FROM agent_message ORDER BY id"))]


def test_r142_messages_to_a_type_wait_are_delivered_settled_and_cleared(route: Invoke, store: Store) -> None:
    to_lead(store)
    assert route("poll")["messages_pending"] == 1
    assert statuses(store) == ["pending"], "a look claims nothing"
    [message] = route("deliver")["messages"]
    assert statuses(store) == ["delivered"]
    assert route("poll")["messages_pending"] == 0, "it is with its reader"
    assert route("acknowledge", MESSAGE_IDS=message["message_id"])["messages_acknowledged"] == 1
    to_lead(store)
    store.run(lambda tx: tx.run("UPDATE agent_message SET ended_at = '2020-01-01T00:00:00.000Z' WHERE id = 1"))
    assert route("clear_old")["messages_deleted"] == 1
    assert statuses(store) == ["pending"]


@pytest.mark.parametrize(
    "kind", ["task_assignment", "task_complete", "spec_ready", "error_report", "dependency_unblocked"]
)
def test_r143_r147_each_documented_type_reaches_its_recipient(route: Invoke, kind: str) -> None:
    assert route("send", SENDER="orchestrator", RECIPIENT="builder", MESSAGE_TYPE=kind, PAYLOAD='{"a": 1}')["success"]
    [message] = route("poll", RECIPIENT="builder")["messages"]
    assert (message["message_type"], message["payload"], message["sender"]) == (kind, {"a": 1}, "lead")


def test_r147_nobody_writes_in_anothers_name(route: Invoke, store: Store) -> None:
    answer = route("send", SENDER="builder", RECIPIENT="lead", PAYLOAD="done")
    assert answer["error"] == "not_authorized"
    assert statuses(store) == []


def test_r144_batches_and_timeouts_are_as_asked_for(route: Invoke, store: Store) -> None:
    for number in range(3):
        to_lead(store, str(number))
    assert [each["payload"] for each in route("poll", BATCH_SIZE="2")["messages"]] == ["0", "1"]
    before = clock.now()
    route("deliver", BATCH_SIZE="1", DELIVERY_TIMEOUT_SECONDS="300")
    until = store.read(lambda tx: tx.value("SELECT lease_until FROM agent_message WHERE status = 'delivered'"))
    assert 295 < clock.seconds_between(before, until) < 310
    assert route("send", PAYLOAD="x")["parameter"] == "RECIPIENT"


def test_r145_each_action_answers_with_its_fields(route: Invoke, store: Store) -> None:
    sent = route("send", RECIPIENT="builder", PAYLOAD="x")
    assert sent["status"] == "pending"
    assert sent["created_at"] == store.read(lambda tx: tx.value("SELECT created_at FROM agent_message"))
    to_lead(store)
    delivered = route("deliver")
    assert (delivered["messages_delivered"], delivered["messages_failed"]) == (1, 0)
    assert delivered["delivery_summary"]["builder"]["pending"] == 1
    assert delivered["delivery_summary"]["lead"]["delivered"] == 1
    store.run(
        lambda tx: tx.run(
            "UPDATE agent_message SET status = 'expired', expires_at = NULL, ended_at = '2020-01-01T00:00:00.000Z' "
            "WHERE to_agent = 'builder'"
        )
    )
    cleared = route("clear_old", OLDER_THAN_DAYS="7")
    assert (cleared["messages_deleted"], cleared["deleted_statuses"]) == (1, {"expired": 1})
    assert cleared["disk_space_freed_mb"] >= 0


def test_r146_what_nobody_acknowledges_is_offered_again_and_then_told_as_a_timeout(route: Invoke, store: Store) -> None:
    to_lead(store)
    route("deliver")
    assert route("deliver")["messages_delivered"] == 0, "not twice within its time"
    expire = "UPDATE agent_message SET lease_until = '2020-01-01T00:00:00.000Z', visible_at = NULL"
    for retry in (1, 2, 3):
        store.run(lambda tx: tx.run(expire))
        [again] = route("deliver")["messages"]
        assert (again["retry_count"], again["delivery_count"]) == (retry, retry + 1)
    store.run(lambda tx: tx.run(expire))
    answer = route("deliver")
    [failed] = answer["failed"]
    assert (answer["messages_failed"], failed["error"], failed["retry_count"]) == (1, "delivery_timeout", 3)
