"""``assign``: begin a dispatch, find what can start, pause, resume, cancel."""

from typing import Any

import pytest

from crewyard.server.errors import DirtyWorkingDirectory

pytestmark = pytest.mark.anyio


async def test_r175_r178_r179_a_dispatch_hands_out_what_is_ready(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B", "C")
    bench.add_edge("A", "C")
    done = await call("assign", task_ids=["A", "B", "C"], max_parallel=4)
    assert (done["tasks_assigned"], done["blocked_tasks"], done["status"]) == (2, 1, "success")
    assert {each["task_id"] for each in done["assignments"]} == {"A", "B"}
    assert set(done["assignments"][0]) == {"task_id", "agent_type", "orchestrator_task_id"}
    assert bench.value("SELECT count(*) FROM orchestrator_task WHERE dispatch_id = ?", done["dispatch_id"]) == 2
    assert ("require_fit", {"agent_types": {"builder"}}) in bench.operations.calls


async def test_without_ids_every_open_task_is_worked_off_within_the_limits(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B", "C")
    bench.add_tasks("D", "E", agent_type="architect")
    done = await call("assign")
    types = [each["agent_type"] for each in done["assignments"]]
    assert len(types) == 4
    assert types.count("architect") == 1


async def test_r176_a_priority_is_a_scope(bench: Any, call: Any) -> None:
    bench.store.run(lambda tx: tx.run("INSERT INTO roadmap_priority (id) VALUES ('P1')"))
    bench.add_tasks("A", priority_id="P1")
    bench.add_tasks("B")
    assert [each["task_id"] for each in (await call("assign", priority_id="P1"))["assignments"]] == ["A"]
    assert (await call.fails("assign", priority_id="P2"))["code"] == "not_found"


async def test_the_same_tasks_join_their_dispatch(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    first = await call("assign", task_ids=["A", "B"], max_parallel=1)
    bench.store.run(lambda tx: tx.run("UPDATE specs_task SET status = 'ready' WHERE task_id = 'A'"))
    assert first["dispatch_id"] == (await call("assign", task_ids=["B", "A"], max_parallel=1))["dispatch_id"]


async def test_r177_force_starts_what_is_blocked(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    bench.add_edge("A", "B")
    assert (await call.fails("assign", task_ids=["B"], follow=False))["code"] == "no_available_work"
    done = await call("assign", task_ids=["B"], force=True)
    assert [each["task_id"] for each in done["assignments"]] == ["B"]
    assert bench.value("SELECT count(*) FROM event WHERE kind = 'dependencies_overridden'") == 1


async def test_r180_find_tells_what_can_start_and_what_waits(bench: Any, call: Any) -> None:
    bench.add_tasks("A", priority=1)
    bench.add_tasks("B", "C", priority=9)
    bench.add_edge("A", "C")
    found = await call("assign", action="find")
    assert [task["task_id"] for task in found["available_tasks"]] == ["A", "B"]
    assert (found["total_available"], found["blocked_tasks"], found["resource_available"]) == (2, 1, True)
    assert found["blocked"] == [{"task_id": "C", "waits_for": ["A"]}]
    urgent = await call("assign", action="find", priority_filter="high")
    assert [task["task_id"] for task in urgent["available_tasks"]] == ["A"]
    assert len((await call("assign", action="find", max_parallel=1))["available_tasks"]) == 1


async def test_find_keeps_to_the_size_of_a_result(bench: Any, call: Any) -> None:
    bench.add_tasks(*(f"T{n:03d}" for n in range(300)), title="é" * 300)
    assert (await call("assign", action="find", max_parallel=300))["total_available"] == 300


async def test_a_dispatch_is_paused_resumed_and_cancelled(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    dispatch = (await call("assign", task_ids=["A", "B"], max_parallel=1))["dispatch_id"]
    for action, state in (("pause", "paused"), ("resume", "active"), ("cancel", "cancelled")):
        done = await call("assign", action=action, dispatch_id=dispatch)
        assert [(each["dispatch_id"], each["status"]) for each in done["dispatches"]] == [(dispatch, state)]
    assert bench.value("SELECT group_concat(status) FROM specs_task") == "ready,ready"
    assert (await call.fails("assign", action="resume", dispatch_id=dispatch))["code"] == "illegal_transition"
    assert (await call("assign", action="pause"))["dispatches"] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, "no_available_work"),
        ({"task_ids": ["nope"]}, "task_not_found"),
        ({"max_parallel": 0}, "invalid_input"),
        ({"action": "find", "priority_filter": "soon"}, "invalid_input"),
        ({"action": "cancel"}, "invalid_input"),
        ({"action": "pause", "dispatch_id": "nope"}, "dispatch_not_found"),
        ({"action": "stop"}, "invalid_input"),
        ({"task_id": "A"}, "invalid_input"),
        ({"task_ids": "A"}, "invalid_input"),
        ({"follow": "perhaps"}, "invalid_input"),
    ],
)
@pytest.mark.parametrize("call", ["auto"], indirect=True)  # an error is made before the eras differ
async def test_r181_errors(bench: Any, call: Any, arguments: Any, code: str) -> None:
    assert (await call.fails("assign", **arguments))["code"] == code
    assert bench.value("SELECT count(*) FROM dispatch") == 0


async def test_r182_a_repository_that_is_not_fit_is_refused_before_anything_is_assigned(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    bench.operations.refuse = DirtyWorkingDirectory("changes", hint="Commit them.")
    error = await call.fails("assign")
    assert (error["code"], error["retryable"]) == ("dirty_working_directory", True)
    assert bench.value("SELECT count(*) FROM dispatch") == 0
