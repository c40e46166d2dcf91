"""``plan``: show, import, add, update, export."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.anyio
PLAN = {"tasks": [{"task_id": "A", "title": "First"}, {"task_id": "B", "title": "Second", "depends_on": ["A"]}]}


@pytest.mark.parametrize("by", ["path", "text"])
async def test_a_plan_comes_in_and_again_changes_nothing(bench: Any, call: Any, by: str) -> None:
    (bench.yard.root / "plan.json").write_text(json.dumps(PLAN))
    given = {"path": "plan.json"} if by == "path" else {"text": json.dumps(PLAN)}
    done = await call("plan", action="import", **given)
    assert (done["tasks_added"], done["dependencies_added"], done["warnings"]) == (2, 1, [])
    again = await call("plan", action="import", **given)
    assert (again["tasks_added"], again["tasks_updated"], again["tasks_unchanged"]) == (0, 0, 2)
    assert bench.value("SELECT status FROM specs_task WHERE task_id = 'B'") == "pending"


async def test_tasks_are_added_to_what_is_there(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    done = await call("plan", action="add", tasks=[{"task_id": "B", "title": "Second", "depends_on": ["A"]}])
    assert (done["tasks_added"], done["dependencies_added"]) == (1, 1)


async def test_show_lists_tasks_in_pages_and_one_whole(bench: Any, call: Any) -> None:
    bench.add_tasks(*(f"T{n:03d}" for n in range(120)), title="x" * 200)
    bench.add_tasks("Z", description='"\n' * 20_000)
    bench.add_edge("T000", "Z")
    seen, cursor = [], ""
    while True:
        shown = await call("plan", limit=500, cursor=cursor)
        seen += [task["task_id"] for task in shown["tasks"]]
        cursor = shown.get("next_cursor", "")
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 121
    assert shown["counts"]["ready"] == 120
    one = await call("plan", task_id="Z")
    assert one["tasks"][0]["depends_on"] == ["T000"]
    assert one["uri"] == "crewyard://tasks/Z"
    assert (await call("plan", new_status="pending"))["total"] == 1


async def test_a_status_set_by_hand_frees_what_waits(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    done = await call("plan", action="update", task_id="A", new_status="completed")
    assert (done["dependencies_resolved"], done["dependent_tasks_unblocked"]) == (1, ["B"])
    assert bench.value("SELECT status FROM specs_task WHERE task_id = 'B'") == "ready"


async def test_an_export_comes_in_again_unchanged(bench: Any, call: Any) -> None:
    await call("plan", action="import", text=json.dumps(PLAN))
    plan = (await call("plan", action="export"))["plan"]
    again = await call("plan", action="import", text=json.dumps(plan))
    assert (again["tasks_added"], again["tasks_updated"], again["tasks_unchanged"]) == (0, 0, 2)
    bench.add_tasks(*(f"T{n:03d}" for n in range(300)), description="x" * 100)
    part = await call("plan", action="export", limit=500)
    assert part["next_cursor"]
    assert part["uri"] == "crewyard://plan"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"action": "import"}, "invalid_input", "path"),
        ({"action": "import", "path": "a", "text": "b"}, "invalid_input", "both"),
        ({"action": "import", "path": "missing.json"}, "invalid_input", "missing.json"),
        ({"action": "import", "path": "."}, "invalid_input", "folder"),
        ({"action": "import", "text": "{"}, "invalid_input", "line"),
        ({"action": "import", "text": "{}", "format": "xml"}, "invalid_input", "yaml"),
        ({"action": "import", "text": '{"tasks": [{"task_id": "../x", "title": "t"}]}'}, "invalid_input", "../x"),
        (
            {"action": "import", "text": '{"tasks": [{"task_id": "A", "title": "t", "depends_on": ["Q"]}]}'},
            "invalid_input",
            "Q",
        ),
        (
            {
                "action": "add",
                "tasks": [
                    {"task_id": "A", "title": "t", "depends_on": ["B"]},
                    {"task_id": "B", "title": "t", "depends_on": ["A"]},
                ],
            },
            "dependency_cycle",
            "A",
        ),
        ({"action": "add"}, "invalid_input", "tasks"),
        ({"action": "add", "tasks": "A"}, "invalid_input", "tasks"),
        ({"action": "update", "task_id": "A"}, "invalid_input", "new_status"),
        ({"action": "update", "task_id": "nope", "new_status": "ready"}, "task_not_found", "nope"),
        ({"task_id": "nope"}, "task_not_found", "nope"),
        ({"new_status": "nope"}, "invalid_input", "in_progress"),
        ({"action": "shwo"}, "invalid_input", "show"),
        ({"pth": "x"}, "invalid_input", "path"),
        ({"limit": "many"}, "invalid_input", "limit"),
    ],
)
@pytest.mark.parametrize("call", ["auto"], indirect=True)  # an error is made before the eras differ
async def test_a_refused_plan_changes_nothing(bench: Any, call: Any, arguments: Any, code: str, says: str) -> None:
    error = await call.fails("plan", **arguments)
    assert error["code"] == code
    assert says in error["message"] + error["hint"]
    assert bench.value("SELECT count(*) FROM specs_task") == 0


async def test_a_state_that_only_the_dispatcher_sets_is_refused(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    assert (await call.fails("plan", action="update", task_id="A", new_status="assigned"))["code"] == "invalid_input"
    await call("plan", action="update", task_id="A", new_status="completed")
    error = await call.fails("plan", action="update", task_id="A", new_status="ready")
    assert (error["code"], error["details"]["have"]) == ("illegal_transition", "completed")


@pytest.mark.parametrize("status", ["completed", "cancelled", "ready"])
async def test_a_task_that_an_agent_has_is_not_set_by_hand(bench: Any, call: Any, status: str) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    error = await call.fails("plan", action="update", task_id="A", new_status=status)
    assert "kill" in error["hint"]
    assert bench.value("SELECT status FROM specs_task") == "in_progress"


async def test_a_file_that_may_not_be_read_is_named(bench: Any, call: Any, tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\x00\xff" * 100)
    assert (await call.fails("plan", action="import", path="binary.json"))["code"] == "invalid_input"
    assert bench.value("SELECT count(*) FROM specs_task") == 0


@pytest.mark.parametrize("path", ["a\x00b", "~nobody-of-that-name/x", "pipe", "/dev/zero"])
async def test_a_path_that_names_no_file_is_refused_and_not_waited_for(bench: Any, call: Any, path: str) -> None:
    os.mkfifo(bench.yard.root / "pipe")
    assert (await call.fails("plan", action="import", path=path))["code"] == "invalid_input"


@pytest.mark.parametrize("new_status", ["cancelled", "completed"])
async def test_r093_a_task_that_waits_for_its_next_attempt_can_be_ended_by_hand(
    bench: Any, call: Any, new_status: str
) -> None:
    bench.add_tasks("A")
    bench.finish(bench.add_agent("A"), "failed", message="It ended with 1.")
    await call("plan", action="update", task_id="A", new_status=new_status)
    assert bench.row("specs_task", task_id="A")["status"] == new_status
    assert bench.row("orchestrator_task", task_id="A")["status"] == "cancelled"
    assert {row["status"] for row in bench.store.read(lambda tx: tx.all("SELECT status FROM error_events"))} == {
        "resolved"
    }


async def test_r093_a_task_whose_agent_is_at_work_cannot(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    refused = await call.fails("plan", action="update", task_id="A", new_status="cancelled")
    assert refused["code"] == "invalid_input"
    assert bench.row("orchestrator_task", task_id="A")["status"] == "running"
