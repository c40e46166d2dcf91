"""``route``: messages between the lead and the agents."""

import json
import select
import time
from typing import Any

import anyio
import pytest

from crewyard.server import clock
from crewyard.server.wakeup import Bell

pytestmark = pytest.mark.anyio


async def test_r183_r188_a_message_to_a_type_is_kept_until_an_agent_of_it_polls(
    bench: Any, call: Any, worker: Any
) -> None:
    sent = await call("route", target_agent="builder", message_type="question", content={"a": 1}, priority="high")
    assert sent["delivery_status"] == "pending"
    assert bench.value("SELECT status FROM agent_message WHERE message_id = ?", sent["message_id"]) == "pending"
    bench.add_tasks("A")
    async with worker("A") as of_a:
        got = await of_a("route", action="poll")
        assert got["messages_processed"] == 1
        message = got["messages"][0]
        assert message["content"] == {"a": 1}
        assert (message["sender"], message["recipient"], message["priority"]) == ("lead", "builder", 2)
        assert message["delivery_count"] == 1
        done = await of_a("route", action="acknowledge", message_id=message["message_id"])
        assert done["messages_processed"] == 1
        again = await of_a("route", action="acknowledge", message_ids=[message["message_id"]])
        assert again["messages_processed"] == 0
    assert bench.value("SELECT status FROM agent_message") == "acknowledged"
    kinds = bench.store.read(
        lambda tx: [r["kind"] for r in tx.all("SELECT kind FROM event WHERE subject_id = ?", (sent["message_id"],))]
    )
    assert kinds == ["message_pending", "message_delivered", "message_acknowledged"]


async def test_r189_the_most_urgent_and_oldest_come_first(call: Any) -> None:
    for priority in (5, 1, 10, 1):
        await call("route", target="lead", content=f"p{priority}", priority=priority)
    got = await call("route", action="poll", limit=3)
    assert [m["priority"] for m in got["messages"]] == [1, 1, 5]
    assert got["unread"] == 1


async def test_r184_all_reaches_everyone_but_the_sender(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    ids = [bench.add_agent("A"), bench.add_agent("B")]
    sent = await call("route", target_agent="ALL", content="hello")
    assert sorted(sent["recipients"]) == sorted([*ids, "architect"])
    assert bench.value("SELECT count(DISTINCT broadcast_id) FROM agent_message") == 1
    assert bench.value("SELECT count(*) FROM agent_message") == 3


async def test_r185_a_long_poll_wakes_when_a_message_comes(bench: Any, call: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as of_a, anyio.create_task_group() as tasks:
        woke: dict[str, Any] = {}

        async def wait() -> None:
            woke.update(await call("route", action="poll", wait_seconds=30))

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        begun = time.monotonic()
        await of_a("route", target_agent="lead", content="done")
        with anyio.fail_after(5):
            while not woke:
                await anyio.sleep(0.005)
        assert woke["messages"][0]["content"] == "done"
        assert time.monotonic() - begun < 2


async def test_r187_a_poll_of_an_empty_mailbox_answers_at_once(call: Any) -> None:
    got = await call("route", action="poll")
    assert got["messages"] == []
    assert got["messages_processed"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"target_agent": "bilder", "content": "x"}, "unknown_recipient", "builder"),
        ({"target_agent": "lead"}, "invalid_input", "content"),
        ({"content": "x"}, "invalid_input", "target_agent"),
        ({"target_agent": "lead", "target": "builder", "content": "x"}, "invalid_input", "one"),
        ({"target_agent": "lead", "content": "x", "priority": 11}, "invalid_input", "10"),
        ({"target_agent": "lead", "content": "x", "priority": "soon"}, "invalid_input", "urgent"),
        ({"target_agent": "lead", "content": "x", "message_type": " "}, "invalid_input", "task_complete"),
        ({"target_agent": "lead", "content": "x" * 70_000}, "invalid_input", "file"),
        ({"target_agent": "lead", "content": ["x"]}, "invalid_input", "content"),
        ({"action": "acknowledge"}, "invalid_input", "poll"),
        ({"action": "acknowledge", "message_id": "nope"}, "message_not_found", "poll"),
        ({"action": "poll", "limit": 0}, "invalid_input", "limit"),
        ({"action": "poll", "wait_seconds": 51}, "invalid_input", "wait_seconds"),
        ({"action": "clear_old", "older_than_days": -1}, "invalid_input", "older_than_days"),
        ({"action": "sned"}, "invalid_input", "send"),
        ({"target_agnet": "lead", "content": "x"}, "invalid_input", "target_agent"),
    ],
)
@pytest.mark.parametrize("call", ["auto"], indirect=True)  # an error is made before the eras differ
async def test_what_cannot_be_sent_changes_nothing(bench: Any, call: Any, arguments: Any, code: str, says: str) -> None:
    error = await call.fails("route", **arguments)
    assert error["code"] == code
    assert says in error["message"] + error["hint"]
    assert bench.value("SELECT count(*) FROM agent_message") == 0


async def test_an_unknown_type_is_delivered_and_flagged(call: Any) -> None:
    assert "greeting" in (await call("route", target="lead", message_type="greeting", content="x"))["note"]
    await call("route", target="lead", message_type="spec_created", content="x")
    first, second = (await call("route", action="poll"))["messages"]
    assert first["unknown_type"] is True
    assert second["message_type"] == "spec_ready"
    assert "unknown_type" not in second


async def test_large_contents_are_cut_and_whole_at_their_uri(call: Any) -> None:
    for _ in range(20):
        await call("route", target="lead", content="é\x00" * 5_000)
    got = await call("route", action="poll", limit=500)
    assert got["messages_processed"] == 20
    whole = await call.client.read_resource(got["messages"][0]["uri"])
    assert json.loads(whole.contents[0].text)["content"] == "é\x00" * 5_000


async def test_counts_and_clearing(bench: Any, call: Any) -> None:
    sent = await call("route", target="lead", content="x")
    await call("route", target="builder", content="x")
    await call("route", action="poll")
    await call("route", action="acknowledge", message_id=sent["message_id"])
    status = await call("route", action="status")
    assert status["counts"]["acknowledged"] == 1
    assert [box["recipient"] for box in status["mailboxes"]] == ["builder", "lead"]
    assert (await call("route", action="clear_old"))["messages_deleted"] == 0
    assert (await call("route", action="clear_old", older_than_days=0))["messages_deleted"] == 1
    assert bench.value("SELECT count(*) FROM agent_message") == 1


async def test_a_worker_reads_and_clears_nothing_of_others(bench: Any, call: Any, worker: Any) -> None:
    sent = await call("route", target="architect", content="x")
    bench.add_tasks("A")
    async with worker("A") as of_a:
        for arguments in (
            {"action": "poll", "target_agent": "architect"},
            {"action": "acknowledge", "message_id": sent["message_id"]},
            {"action": "clear_old"},
        ):
            assert (await of_a.fails("route", **arguments))["code"] == "not_authorized"
    assert bench.value("SELECT status FROM agent_message") == "pending"


async def test_a_poll_for_more_than_it_gives_says_so(call: Any) -> None:
    for _ in range(21):
        await call("route", target="lead", content="x")
    first = await call("route", action="poll", limit=21)
    assert (first["messages_processed"], first["unread"]) == (20, 1)
    assert first["note"] == "A poll gives 20 messages at most; poll again."
    assert "note" not in await call("route", action="poll", limit=21)


async def test_r184_r186_what_was_acknowledged_before_is_told_apart_from_what_is_given_twice(call: Any) -> None:
    done, fresh = [(await call("route", target="lead", content="x"))["message_id"] for _ in range(2)]
    assert "note" not in await call("route", action="acknowledge", message_ids=[done, done])
    again = await call("route", action="acknowledge", message_ids=[done, fresh, fresh])
    assert (again["messages_processed"], again["note"]) == (1, "1 had been acknowledged before.")


async def test_what_an_agent_of_the_type_holds_is_no_other_agents_to_acknowledge(
    bench: Any, call: Any, worker: Any
) -> None:
    bench.add_tasks("A", "B")
    await call("route", target="builder", content="x")
    async with worker("A") as of_a, worker("B") as of_b:
        [message] = (await of_a("route", action="poll"))["messages"]
        error = await of_b.fails("route", action="acknowledge", message_id=message["message_id"])
        assert (error["code"], error["retryable"]) == ("lease_lost", False)
        assert error["details"]["held_by"] == bench.value("SELECT claimed_by FROM agent_message")
        await of_a("route", action="acknowledge", message_id=message["message_id"])


async def test_the_settings_bound_how_long_mail_waits_and_how_often_it_comes(bench: Any, call: Any) -> None:
    conf = bench.yard.settings.messages.model_copy(
        update={"redelivery_seconds": [5.0], "expire_after_hours": 2.0, "lease_seconds": 30.0}
    )
    bench.yard.settings = bench.yard.settings.model_copy(update={"messages": conf})
    await call("route", target="builder", content="x")
    await call("route", action="poll", target_agent="builder")
    row = bench.row("agent_message")
    assert row["max_retries"] == 1
    assert clock.seconds_between(row["created_at"], row["expires_at"]) == 7200
    assert clock.seconds_between(row["lease_until"], row["visible_at"]) == 5


async def test_the_lead_polls_one_mailbox_and_not_everybodys(bench: Any, call: Any) -> None:
    await call("route", target_agent="builder", content="for a builder")
    assert (await call.fails("route", action="poll", target_agent="ALL"))["code"] == "unknown_recipient"
    assert (await call("route", action="poll", target_agent="builder"))["messages_processed"] == 1


async def test_so_many_ids_are_acknowledged_at_once_and_no_more(call: Any) -> None:
    error = await call.fails("route", action="acknowledge", message_ids=["x"] * 501)
    assert (error["code"], "500" in error["message"]) == ("invalid_input", True)


async def test_mail_wakes_no_supervisor_and_a_task_does(call: Any, bench: Any) -> None:
    bell = Bell(bench.yard.paths.bell)
    listening = bell.listen()
    bench.add_tasks("A")
    await call("plan", action="show")
    bell.drain()

    await call("route", action="send", target_agent="builder", content={"text": "hello"})
    assert (await call("route", action="poll"))["messages_processed"] == 0
    assert select.select([listening], [], [], 0)[0] == []
    await call("plan", action="add", tasks=[{"task_id": "B", "title": "B"}])
    assert select.select([listening], [], [], 0)[0] == [listening]
    bell.close()
