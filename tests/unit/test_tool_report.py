"""``report``, and what a worker may call at all."""

from typing import Any

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("action", ["progress", "complete", "failed", "blocked", "question"])
async def test_a_report_is_kept_and_counts_as_a_heartbeat(bench: Any, worker: Any, action: str) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        done = await call("report", action=action, summary="as it is", no_change=action == "complete")
    row = bench.store.read(lambda tx: tx.only("SELECT * FROM agent_report"))
    assert (row["agent_id"], row["kind"], row["summary"]) == (done["agent_id"], action, "as it is")
    assert row["no_change"] == int(action == "complete")
    assert bench.value("SELECT last_heartbeat FROM agent_lifecycle") == row["at"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "blocked"},
        {"action": "finished"},
        {"summary": "x" * 9_000},
        {"no_change": True},
        {"summery": "x"},
        {"summary": 3},
    ],
)
async def test_a_report_that_says_nothing_usable_is_refused(bench: Any, worker: Any, arguments: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        assert (await call.fails("report", **arguments))["code"] == "invalid_input"
    assert bench.value("SELECT count(*) FROM agent_report") == 0


async def test_a_worker_sees_four_tools_and_may_not_lead(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        tools = await call.client.list_tools()
        assert {tool.name for tool in tools.tools} == {"report", "route", "agents", "plan"}
        for tool, action in (
            ("assign", "find"),
            ("worktrees", "list"),
            ("why", None),
            ("plan", "import"),
            ("plan", "update"),
            ("agents", "spawn"),
        ):
            arguments = {} if action is None else {"action": action}
            assert (await call.fails(tool, **arguments))["code"] == "not_authorized"
        assert (await call("plan", task_id="A"))["tasks"][0]["status"] == "in_progress"


async def test_the_token_of_an_agent_that_has_ended_opens_nothing(bench: Any, worker: Any) -> None:
    bench.add_tasks("A")
    async with worker("A") as call:
        bench.end_agent(bench.value("SELECT agent_id FROM agent_lifecycle"))
        assert (await call.fails("report", summary="x"))["code"] == "not_authorized"


async def test_the_lead_has_no_report(call: Any) -> None:
    assert (await call.fails("report", summary="x"))["code"] == "invalid_input"
