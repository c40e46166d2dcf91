"""The resources: what is read by URI, and what an unknown one answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio


async def read(call: Any, uri: str) -> Any:
    content = (await call.client.read_resource(uri)).contents[0]
    return json.loads(content.text) if content.mime_type == "application/json" else content


async def test_all_of_them_are_listed(call: Any) -> None:
    listed = await call.client.list_resources()
    templates = await call.client.list_resource_templates()
    assert {str(each.uri) for each in listed.resources} == {
        "crewyard://status",
        "crewyard://agents",
        "crewyard://graph",
        "crewyard://graph.mmd",
        "crewyard://merges",
        "crewyard://plan",
        "crewyard://summary.md",
    }
    assert {each.uri_template for each in templates.resource_templates} == {
        "crewyard://agents/{agent_id}",
        "crewyard://agents/{agent_id}/log",
        "crewyard://tasks/{task_id}",
        "crewyard://events{?after,limit}",
        "crewyard://messages/{message_id}",
    }


async def test_status_shows_the_yard_at_a_glance(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    agent_id = bench.add_agent("A")
    await call("assign", task_ids=["B"])
    status = await read(call, "crewyard://status")
    assert (status["tasks"]["in_progress"], status["tasks"]["assigned"]) == (1, 1)
    assert status["agents"][0]["agent_id"] == agent_id
    assert status["dispatches"][0]["agents_at_work"] == 0, "B's has not begun"
    assert set(status) == {
        "at", "tasks", "in_review", "agents", "merges", "dispatches", "messages", "supervisor", "holds",
    }  # fmt: skip


async def test_agents_one_agent_and_its_log(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A", token="a secret")
    assert (await read(call, "crewyard://agents"))["agents"][0]["agent_id"] == agent_id
    one = await read(call, f"crewyard://agents/{agent_id}")
    assert one["task_id"] == "A"
    assert "token_hash" not in one
    folder = Path(one["run_dir"])
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("hello\n")
    log = await read(call, f"crewyard://agents/{agent_id}/log")
    assert (log.text, log.mime_type) == ("hello", "text/plain")


async def test_the_graph_as_data_and_as_a_picture(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    graph = await read(call, "crewyard://graph")
    assert [task["task_id"] for task in graph["tasks"]] == ["A", "B"]
    assert graph["critical_path"] == ["A", "B"]
    assert (await read(call, "crewyard://graph.mmd")).text.startswith("flowchart")
    assert len((await read(call, "crewyard://plan"))["tasks"]) == 2


async def test_one_task_with_its_edges_and_history(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    agent_id = bench.add_agent("A")
    task = await read(call, "crewyard://tasks/A")
    assert [edge["task_id"] for edge in task["blocks"]] == ["B"]
    assert [agent["agent_id"] for agent in task["agents"]] == [agent_id]
    assert [event["to_state"] for event in task["history"]] == ["assigned", "in_progress"]


async def test_events_are_read_on_from_the_last(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    first = await read(call, "crewyard://events?after=0&limit=2")
    assert len(first["events"]) == 2
    rest = await read(call, f"crewyard://events?after={first['next_after']}")
    assert rest["events"][0]["event_id"] == first["next_after"] + 1
    assert await read(call, f"crewyard://events?after={rest['next_after']}") == {
        "events": [],
        "next_after": rest["next_after"],
    }
    newest = await read(call, "crewyard://events?limit=2")
    assert newest == {"events": rest["events"][-2:], "next_after": rest["next_after"]}


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("crewyard://tasks/nope", "task_not_found"),
        ("crewyard://agents/nope", "agent_not_found"),
        ("crewyard://agents/nope/log", "agent_not_found"),
        ("crewyard://messages/nope", "message_not_found"),
        ("crewyard://nothing", "Unknown resource"),
    ],
)
@pytest.mark.parametrize("call", ["auto"], indirect=True)  # an error is made before the eras differ
async def test_an_unknown_one_is_a_clear_error(call: Any, uri: str, code: str) -> None:
    with pytest.raises(MCPError, match=code):
        await call.client.read_resource(uri)


async def test_a_worker_reads_the_plan_and_its_own_mail_only(bench: Any, call: Any, worker: Any) -> None:
    sent = await call("route", target="architect", content="x")
    mine = await call("route", target="builder", content={"a": 1})
    bench.add_tasks("A")
    async with worker("A") as of_a:
        assert (await read(of_a, "crewyard://tasks/A"))["task_id"] == "A"
        assert (await read(of_a, f"crewyard://messages/{mine['message_id']}"))["content"] == {"a": 1}
        for uri in ("crewyard://agents", f"crewyard://messages/{sent['message_id']}"):
            with pytest.raises(MCPError):
                await of_a.client.read_resource(uri)
