"""``queues``: status, assign, rebalance, priority, triage, review; and the resource."""

import json
from typing import Any

import pytest

from crewyard.server.workflows import assignment

from .line import REPOSITORY, Line

pytestmark = pytest.mark.anyio


@pytest.fixture
def line(bench: Any) -> Line:
    return Line(bench.store)


async def test_r204_r205_status_shows_depth_state_and_waits_of_each_queue(line: Line, call: Any) -> None:
    working, waits = line.dispatch(), line.dispatch(priority=1)
    line.run(assignment.by_hand, line.pipeline, "genesis", working, "genesis-01")
    shown = await call("queues")

    assert [each["workflow"] for each in shown["queues"]] == ["genesis", "development", "content"]
    genesis, development, _ = shown["queues"]
    assert {key: genesis[key] for key in ("waiting", "working", "held", "review", "idle", "busy", "offline")} == {
        "waiting": 1, "working": 1, "held": 0, "review": 0, "idle": 1, "busy": 1, "offline": 0,
    }  # fmt: skip
    assert genesis["average_wait_seconds"] == genesis["longest_wait_seconds"] > 0
    assert "average_wait_seconds" not in development, "nothing waits there"
    [item] = shown["items"]
    assert (item["project_id"], item["level"], shown["total"]) == (waits, "urgent", 1)


async def test_r204_the_review_queue_shows_errors(line: Line, call: Any) -> None:
    name = line.dispatch()
    line.distribute()
    line.fail(name, "check_failed", "Two tests fail.")
    shown = await call("queues", workflow="review")

    [item] = shown["items"]
    assert (item["project_id"], item["error"]) == (name, "check_failed: Two tests fail.")


async def test_r205_a_long_backlog_comes_in_pages_in_its_order(line: Line, call: Any) -> None:
    names = [line.dispatch(f"{n} " + "x" * 100) for n in range(100)]
    seen, cursor = [], ""
    while True:
        shown = await call("queues", workflow="genesis", cursor=cursor, limit=500)
        seen += [each["project_id"] for each in shown["items"]]
        cursor = shown.get("next_cursor", "")
        if not cursor:
            break
    assert seen == names
    assert shown["total"] == 100


async def test_r206_a_project_is_assigned_to_a_worker(line: Line, call: Any) -> None:
    first, second = line.dispatch(), line.dispatch()
    done = await call("queues", action="assign", workflow="genesis", project_id=first, worker_id="Genesis-02")
    assert (done["items"][0]["worker_id"], done["note"]) == ("genesis-02", "genesis-02 has it.")
    done = await call("queues", action="assign", workflow="genesis", project_id=second, worker_id="genesis-02")
    assert done["note"] == "It waits for genesis-02, which is busy."
    done = await call("queues", action="rebalance")
    assert (done["changed"], "1 were given" in done["note"]) == (1, True)


async def test_r208_a_raised_project_goes_to_the_front(line: Line, call: Any) -> None:
    names = [line.dispatch() for _ in range(3)]
    done = await call("queues", action="priority", project_id=names[2], level="urgent")
    assert (done["changed"], done["items"][0]["level"]) == (1, "urgent")
    assert (await call("queues"))["items"][0]["project_id"] == names[2]


async def test_r225_a_triage_tells_who_goes_first(line: Line, call: Any) -> None:
    line.dispatch()
    assert "Nothing that waits is urgent" in (await call("queues", action="triage"))["note"]
    urgent = line.dispatch(priority=1)
    done = await call("queues", action="triage", level="urgent")
    assert ([each["project_id"] for each in done["items"]], done["changed"]) == ([urgent], 1)


async def test_a_review_is_decided(line: Line, call: Any) -> None:
    name = line.dispatch()
    line.distribute()
    line.fail(name)
    refused = await call.fails("queues", action="review", project_id=name, exit="reject")
    assert "needs a why" in refused["message"]
    done = await call("queues", action="review", project_id=name, exit="retry")
    assert (done["note"], done["items"][0]["rework_count"]) == ("Project P-1 is active.", 1)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"action": "assign", "workflow": "genesis"}, "invalid_input", "needs a project_id"),
        ({"action": "assign", "project_id": "P-1", "worker_id": "x"}, "invalid_input", "needs a workflow"),
        (
            {"action": "assign", "workflow": "genesys", "project_id": "P-1", "worker_id": "genesis-01"},
            "workflow_not_found",
            "genesis",
        ),
        (
            {"action": "assign", "workflow": "genesis", "project_id": "P-1", "worker_id": "gensis-01"},
            "worker_not_found",
            "genesis-01",
        ),
        ({"action": "priority", "project_id": "P-1"}, "invalid_input", "needs a level"),
        ({"action": "priority", "project_id": "P-1", "level": "urgnt"}, "invalid_input", "urgent"),
        ({"action": "triage", "level": "lowest"}, "invalid_input", "low"),
        ({"action": "rebalance", "workflow": "contnt"}, "workflow_not_found", "content"),
        ({"action": "review", "project_id": "P-1", "exit": "retry"}, "no_available_work", "does not wait"),
        ({"action": "review", "project_id": "P-1"}, "invalid_input", "needs an exit"),
        ({"action": "status", "cursor": "x"}, "invalid_input", "no cursor"),
        ({"action": "status", "project_id": "P-1"}, "invalid_input", "takes no project_id"),
        ({"workflow": "reviews"}, "workflow_not_found", "genesis"),
    ],
)
async def test_what_is_wrong_is_refused_and_changes_nothing(
    line: Line, call: Any, arguments: dict[str, Any], code: str, says: str
) -> None:
    name = line.dispatch()
    before = line.read(lambda tx: tx.value("SELECT max(event_id) FROM event"))
    refused = await call.fails("queues", **arguments)
    assert refused["code"] == code
    assert says in refused["message"] + refused["hint"]
    assert line.read(lambda tx: tx.value("SELECT max(event_id) FROM event")) == before
    assert line.item(name)["wanted_worker"] is None


async def test_the_resource_shows_all_queues_whole(line: Line, call: Any) -> None:
    name = line.dispatch()
    line.distribute()
    line.finish(name, REPOSITORY)
    shown = json.loads((await call.client.read_resource("crewyard://queues")).contents[0].text)
    assert shown["projects"] == {"active": 1}
    assert [(each["workflow"], len(each["items"])) for each in shown["queues"]] == [
        ("genesis", 0), ("development", 1), ("content", 0),
    ]  # fmt: skip


async def test_the_tools_of_workflows_cost_little(call: Any) -> None:
    listed = [each for each in (await call.client.list_tools()).tools if each.name in ("projects", "queues")]
    texts = [each.model_dump_json(by_alias=True, exclude_none=True) for each in listed]
    assert sum(map(len, texts)) / 4 < 900
