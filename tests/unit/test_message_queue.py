"""``from crewyard import MessageQueue``: document 004's calls, on the queue that ``route`` works on."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import crewyard
from crewyard import MessageQueue
from crewyard.server import clock, messages
from crewyard.server.errors import (
    IllegalTransition,
    InvalidInput,
    MessageHeld,
    MessageNotFound,
    NotAuthorized,
    UnknownRecipient,
)
from crewyard.server.store import Store

SPEC = {"spec_id": "SPEC-1", "priority": "PRIORITY 1"}


@pytest.fixture
def queue(database: Path) -> Iterator[MessageQueue]:
    with MessageQueue(database) as opened:
        yield opened


def test_the_calls_of_the_document(queue: MessageQueue) -> None:
    sent = queue.send(sender="architect", recipient="code_developer", type="spec_created", content=SPEC, priority=2)
    [message] = queue.get_messages(recipient="code_developer", status="pending")
    assert message.pop("created_at") <= clock.now()
    assert message == {
        "id": sent,
        "sender": "architect",
        "recipient": "code_developer",
        "type": "spec_ready",
        "content": SPEC,
        "priority": 2,
        "completed_at": None,
        "status": "pending",
    }
    assert queue.mark_completed(sent) is True
    assert queue.mark_completed(sent) is False
    assert queue.get_messages(recipient="code_developer", status="pending") == []
    assert queue.get_messages(recipient="code_developer", status="completed")[0]["completed_at"] is not None


@pytest.mark.parametrize(
    ("sender", "recipient", "kind", "content"),
    [
        ("architect", "code_developer", "spec_created", SPEC),
        ("code_developer", "project_manager", "task_completed", {"verify": True}),
        ("assistant", "project_manager", "bug_found", {"severity": "high"}),
        ("project_manager", "code_developer", "implement_priority", {"priority": 3}),
        ("project_manager", "ALL", "pr_merged", "update your branch"),
        ("user_listener", "orchestrator", "shutdown", "now"),
    ],
)
def test_the_patterns_of_the_document(
    queue: MessageQueue, sender: str, recipient: str, kind: str, content: Any
) -> None:
    queue.send(sender, recipient, kind, content)
    [message] = queue.get_messages("code_developer" if recipient == "ALL" else recipient)
    assert (message["sender"], message["content"], message["priority"]) == (sender, content, 5)


def test_a_broadcast_reaches_every_role_but_the_sender(queue: MessageQueue) -> None:
    queue.send("project_manager", "ALL", "pr_merged", "x")
    assert queue.get_messages("project_manager") == []
    for role in ("lead", "architect", "assistant", "code_searcher", "ux_design_expert"):
        assert len(queue.get_messages(role)) == 1


def test_messages_come_by_priority_then_age(queue: MessageQueue) -> None:
    ids = [queue.send("architect", "assistant", "note", "x", priority) for priority in (5, 2, 5, 1)]
    assert [message["id"] for message in queue.get_messages("assistant")] == [ids[3], ids[1], ids[0], ids[2]]
    assert [message["id"] for message in queue.get_messages("assistant", limit=1)] == [ids[3]]


def test_messages_survive_their_program(database: Path) -> None:
    with MessageQueue(database) as queue:
        sent = queue.send("architect", "assistant", "note", "x")
    with MessageQueue(database) as queue:
        assert [message["id"] for message in queue.get_messages("assistant")] == [sent]


def test_the_default_is_the_database_of_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    MessageQueue().close()
    assert (tmp_path / "data" / "orchestrator.db").exists()


def test_two_programs_never_claim_the_same_message_nor_complete_each_others(database: Path) -> None:
    with MessageQueue(database) as one, MessageQueue(database) as other:
        sent = one.send("architect", "assistant", "note", {"a": 1})
        [taken] = one.claim("assistant")
        assert (taken["id"], taken["status"], taken["content"]) == (sent, "in_progress", {"a": 1})
        assert other.claim("assistant") == []
        assert [each["id"] for each in other.get_messages("assistant", "running")] == [sent]
        with pytest.raises(MessageHeld):
            other.mark_completed(sent)
        with pytest.raises(MessageHeld):
            other.mark_failed(sent)
        assert one.mark_completed(sent)


def test_what_has_failed_is_told_to_its_sender_once(queue: MessageQueue) -> None:
    sent = queue.send("architect", "assistant", "note", "x")
    assert queue.mark_failed(sent, "no browser here") is True
    assert queue.mark_failed(sent, "no browser here") is False
    [told] = queue.get_messages("architect")
    assert told["content"]["error"] == "Your message to assistant has failed: no browser here."
    with pytest.raises(IllegalTransition):
        queue.mark_completed(sent)


def test_an_agent_that_polls_gets_what_a_program_sent(queue: MessageQueue, store: Store) -> None:
    queue.send("architect", "assistant", "note", "x")
    rows = store.run(messages.claim, ["assistant"], reader="assistant-1", limit=1, lease_seconds=60, now=clock.now())
    assert json.loads(rows[0]["content"]) == "x"


def test_mail_whose_time_is_over_is_not_given_as_pending(queue: MessageQueue, store: Store) -> None:
    sent = queue.send("architect", "assistant", "note", "x")
    store.run(lambda tx: tx.run("UPDATE agent_message SET expires_at = ?", (clock.now(),)))
    assert queue.get_messages("assistant") == []
    assert [each["id"] for each in queue.get_messages("assistant", "failed")] == [sent]


def test_names_and_bounds_of_the_configuration_count(tmp_path: Path) -> None:
    (tmp_path / "crewyard.toml").write_text(
        "[agents.painter]\nkind = 'command'\ncommand = ['x']\n[messages]\nmax_queue = 1\n"
    )
    with MessageQueue(tmp_path / "data" / "orchestrator.db", agent_types=["poet"]) as queue:
        queue.send("painter", "poet", "note", "x")
        with pytest.raises(crewyard.server.errors.QueueFull):
            queue.send("painter", "poet", "note", "x")


def test_everyone_is_who_is_configured(tmp_path: Path) -> None:
    (tmp_path / "crewyard.toml").write_text('[agents.builder]\ncommand = ["true"]\n')
    with MessageQueue(tmp_path / "data" / "orchestrator.db", agent_types=["my_ci"]) as queue:
        queue.send("architect", "ALL", "pr_merged", "x")
        assert len(queue.get_messages("builder")) == len(queue.get_messages("my_ci")) == 1
        assert queue.get_messages("user_listener") == []


def test_an_agents_shell_cannot_write_as_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWYARD_AGENT_TOKEN", "secret")
    monkeypatch.setenv("CREWYARD_REPOSITORY", str(tmp_path))
    with pytest.raises(NotAuthorized):
        MessageQueue(tmp_path / "data" / "orchestrator.db")
    assert not (tmp_path / "data").exists()
    monkeypatch.setenv("CREWYARD_REPOSITORY", str(tmp_path / "elsewhere"))
    MessageQueue(tmp_path / "data" / "orchestrator.db").close()


@pytest.mark.parametrize("name", ["crewyard", "architekt", "", "ALL"])
def test_nobody_unknown_speaks(queue: MessageQueue, name: str) -> None:
    with pytest.raises(UnknownRecipient):
        queue.send(name, "assistant", "note", "x")


def test_wrong_arguments_are_named(queue: MessageQueue) -> None:
    with pytest.raises(UnknownRecipient, match="asistant") as refused:
        queue.get_messages("asistant")
    assert "'assistant'" in refused.value.hint
    with pytest.raises(InvalidInput, match="done"):
        queue.get_messages("assistant", "done")
    with pytest.raises(MessageNotFound):
        queue.mark_completed(99)
    with pytest.raises(MessageNotFound):
        queue.mark_failed(99)


def test_durations_by_type_and_by_agent(queue: MessageQueue, store: Store, insert: Any) -> None:
    old = clock.plus(clock.now(), -8 * 86400)

    def seed(tx: Any) -> None:
        for number in range(1, 101):
            agent, kind = ("architect", "spec") if number <= 60 else ("assistant", "demo")
            insert(tx, "metrics", agent=agent, task_type=kind, duration_ms=number, timestamp=clock.now())
        insert(tx, "metrics", agent="assistant", task_type="old", duration_ms=9_999, timestamp=old)

    assert queue.percentiles() == {}
    store.run(seed)
    assert queue.percentiles() == {50: 50, 95: 95, 99: 99}
    assert [each["duration_ms"] for each in queue.slowest()] == list(range(100, 90, -1))
    assert queue.slowest(days=9, limit=1)[0]["task_type"] == "old"
    assert queue.average_by_type() == [
        {"task_type": "demo", "count": 40, "average_ms": 80.5},
        {"task_type": "spec", "count": 60, "average_ms": 30.5},
    ]
    assert queue.average_by_agent() == [
        {"agent": "architect", "count": 60, "average_ms": 30.5},
        {"agent": "assistant", "count": 40, "average_ms": 80.5},
    ]


def test_a_completed_message_leaves_its_duration(queue: MessageQueue, store: Store) -> None:
    sent = queue.send("architect", "assistant", "demo", "x")
    queue.claim("assistant")
    taken = clock.plus(clock.now(), -5)
    store.run(lambda tx: tx.run("UPDATE agent_message SET delivered_at = ?", (taken,)))
    queue.mark_completed(sent)
    [slowest] = queue.slowest()
    assert (slowest["agent"], slowest["task_type"]) == ("assistant", "demo")
    assert 5_000 <= slowest["duration_ms"] < 60_000


def test_what_is_older_than_30_days_is_cleaned_up(queue: MessageQueue, store: Store) -> None:
    old, young = (queue.send("architect", "assistant", "note", "x") for _ in range(2))
    for number in (old, young):
        queue.mark_completed(number)
    then = clock.plus(clock.now(), -31 * 86400)
    store.run(lambda tx: tx.run("UPDATE agent_message SET ended_at = ? WHERE id = ?", (then, old)))
    store.run(lambda tx: tx.run("UPDATE metrics SET timestamp = ? WHERE id = 1", (then,)))
    assert queue.clean_up() == 1
    assert [each["id"] for each in queue.get_messages("assistant", None)] == [young]
    assert len(queue.slowest(days=60)) == 1


def test_importing_crewyard_loads_nothing_of_the_queue() -> None:
    code = (
        "import sys, crewyard; print([m for m in ('sqlite3', 'pydantic') if m in sys.modules]); crewyard.MessageQueue"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_crewyard_does_not_offer_is_an_error() -> None:
    with pytest.raises(AttributeError, match="MessageQeue"):
        _ = crewyard.MessageQeue
