"""What a client is told of the tools, and what it pays for it; and how the boundary treats the unforeseen."""

import logging
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from mcp import Client

from crewyard.server import message_counts
from crewyard.server.compose import INSTRUCTIONS, WORKER_INSTRUCTIONS, build_app
from crewyard.server.workflow_sections import Workflows

pytestmark = pytest.mark.anyio


def tokens(listed: Any) -> float:
    return len(listed.model_dump_json(by_alias=True, exclude_none=True)) / 4


async def test_the_leads_tools_cost_little(call: Any) -> None:
    listed = await call.client.list_tools()
    assert {tool.name for tool in listed.tools} == {
        "plan", "assign", "agents", "worktrees", "route", "why", "detect_deadlocks", "generate_activity_summary",
        "handle_agent_errors", "monitor_resource_usage",
    }  # fmt: skip
    assert tokens(listed) < 4_000


async def test_a_workers_tools_cost_little(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        listed = await call.client.list_tools()
        assert tokens(listed) < 1_500
        actions = {tool.name: tool.input_schema["properties"].get("action", {}).get("enum") for tool in listed.tools}
        assert actions == {
            "report": ["progress", "complete", "failed", "blocked", "question"],
            "route": ["send", "poll", "acknowledge", "status", "clear_old"],
            "agents": ["heartbeat", "list"],
            "plan": None,
        }


async def test_a_workers_tools_never_hide_behind_a_search_and_the_leads_may(bench: Any, call: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as of_a:
        listed = (await of_a.client.list_tools()).tools
    assert [tool.meta for tool in listed] == [{"anthropic/alwaysLoad": True}] * 4
    assert all(tool.meta is None for tool in (await call.client.list_tools()).tools)


async def test_an_error_fits_what_a_client_holds_results_to(call: Any) -> None:
    for tool in (await call.client.list_tools()).tools:
        refused = await call.client.call_tool(tool.name, {"no_such_argument": 1})
        assert refused.is_error
        jsonschema.validate(refused.structured_content, tool.output_schema)


async def test_every_tool_is_typed_described_and_annotated(call: Any) -> None:
    for tool in (await call.client.list_tools()).tools:
        assert tool.description.endswith(".")
        assert tool.input_schema["additionalProperties"] is False
        assert {"action", "status", "timestamp", "unread"} <= set(tool.output_schema["properties"])
        hints = tool.annotations
        assert (hints.read_only_hint, hints.idempotent_hint) != (None, None)
        assert hints.read_only_hint or hints.destructive_hint is not None


def test_the_instructions_are_short() -> None:
    assert len(INSTRUCTIONS.split()) < 200
    assert len(WORKER_INSTRUCTIONS.split()) < 100


async def test_every_result_tells_action_status_time_and_unread_mail(call: Any) -> None:
    await call("route", target="lead", content="x")
    shown = await call("plan")
    assert (shown["action"], shown["status"], shown["unread"]) == ("show", "success", 1)
    assert shown["timestamp"].endswith("Z")
    assert len(shown["timestamp"]) == 24


async def test_an_unknown_tool_is_named_with_the_nearest(call: Any) -> None:
    error = await call.fails("asign")
    assert (error["code"], error["hint"]) == ("invalid_input", "Did you mean 'assign'?")


async def test_null_means_not_given(call: Any) -> None:
    assert (await call("plan", task_id=None, limit=None))["tasks"] == []


async def test_what_nobody_foresaw_is_logged_and_not_told(
    call: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(message_counts, "by_state", broken)
    with caplog.at_level(logging.ERROR):
        error = await call.fails("route", action="status")
    assert error["code"] == "internal_error"
    assert "secret" not in str(error)
    assert "the secret of the house" in caplog.text


async def test_the_tools_of_workflows_are_there_where_they_are_on_and_cost_little(bench: Any) -> None:
    stages = {"genesis": {"agent": "builder"}}
    settings = bench.yard.settings.model_copy(update={"workflows": Workflows.model_validate({"stages": stages})})
    async with Client(build_app(replace(bench.yard, settings=settings))) as client:
        listed = await client.list_tools()
    listed.tools = [tool for tool in listed.tools if tool.name in ("projects", "queues", "workers", "analytics")]
    assert len(listed.tools) == 4
    assert tokens(listed) < 1_600
