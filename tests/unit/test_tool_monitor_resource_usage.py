"""``monitor_resource_usage``, the tool, over a real database; what it measures has its tests beside it."""

from dataclasses import replace
from typing import Any

import pytest

from crewyard.server import clock, holds, samples, shortages
from crewyard.server.gates import Refusal
from crewyard.server.health import Measured
from crewyard.server.yard import Room

from .conftest import MACHINE

pytestmark = pytest.mark.anyio


async def test_r151_check_tells_how_full_each_resource_is(call: Any) -> None:
    seen = await call("monitor_resource_usage")
    assert seen["cpu"] == {
        "overall_percent": 12.5, "per_core": [10.0, 15.0], "load_average": [1.0, 0.5, 0.25], "status": "normal",
    }  # fmt: skip
    assert seen["memory"]["virtual"] == {
        "total": 8000.0, "available": 6000.0, "used": 2000.0, "percent": 25.0, "status": "normal",
    }  # fmt: skip
    assert set(seen["memory"]["swap"]) == {"total", "available", "used", "percent", "status"}
    assert set(seen["disk"]) == {"total", "used", "free", "percent", "status"}
    assert (seen["can_spawn_agents"], seen["reasons"], seen["critical"]) == (True, [], [])
    assert seen["overall_status"] == "normal"


async def test_r149_the_worst_resource_gives_the_overall_status(bench: Any, call: Any) -> None:
    full = replace(MACHINE, disk=replace(MACHINE.disk, percent=85.0), cpu_percent=72.0)
    bench.operations.room_now = Room(full, [], [])
    seen = await call("monitor_resource_usage")
    assert (seen["cpu"]["status"], seen["disk"]["status"]) == ("warning", "critical")
    assert seen["overall_status"] == "critical"


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_r152_what_is_critical_comes_with_the_action_taken(bench: Any, call: Any) -> None:
    short = shortages.Shortage("memory", 97.0, "97 % of memory is used", shortages.ACTIONS["memory"])
    bench.operations.room_now = Room(MACHINE, [Refusal("memory", short.message)], [short])
    seen = await call("monitor_resource_usage")
    assert (seen["can_spawn_agents"], seen["reasons"]) == (False, ["97 % of memory is used"])
    assert seen["critical"] == [
        {
            "code": "resource_critical", "resource": "memory", "message": "97 % of memory is used",
            "action_taken": "No agent is launched until there is room again.",
        }
    ]  # fmt: skip
    assert (await call("assign", action="find"))["resource_available"] is False, "one decision, wherever it is asked"


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_r148_agents_cannot_be_spawned_while_a_person_holds_them(bench: Any, call: Any) -> None:
    bench.store.run(holds.stop, now=clock.now(), actor="lead")
    seen = await call("monitor_resource_usage")
    assert seen["can_spawn_agents"] is False
    assert "crewyard stop" in seen["reasons"][0]
    at = clock.plus(clock.now(), -10)
    bench.store.run(holds.lift_stop, now=clock.now(), actor="lead")
    bench.store.run(holds.hold, "*", "cpu", "busy then", until=clock.plus(at, 60), now=at, actor="supervisor")
    seen = await call("monitor_resource_usage")
    assert seen["can_spawn_agents"] is True, "the machine is measured now, not remembered"


async def test_r151_per_agent_tells_what_each_uses_and_the_totals(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    names = {bench.add_agent(task) for task in "AB"}
    bench.operations.measured = Measured(
        process_alive=True, runner_alive=True, cpu_percent=12.34, memory_mb=100.04, processes=3, threads=7
    )
    seen = await call("monitor_resource_usage", action="per_agent")
    assert {each["agent_id"] for each in seen["agents"]} == names
    assert seen["agents"][0] == {
        "agent_id": seen["agents"][0]["agent_id"], "pid": 4242, "cpu_percent": 12.3, "memory_mb": 100.0,
        "processes": 3, "threads": 7, "status": "normal",
    }  # fmt: skip
    assert seen["totals"] == {"agents": 2, "cpu_percent": 24.6, "memory_mb": 200.0, "processes": 6, "threads": 14}
    assert seen["overall_status"] == "normal"


@pytest.mark.parametrize(
    ("cpu", "memory", "limit", "status"),
    [
        (79.9, 256.0, None, "normal"), (80.0, 1.0, None, "warning"), (95.0, 1.0, None, "critical"),
        (1.0, 256.1, None, "warning"), (1.0, 2048.1, None, "critical"),
        (1.0, 800.0, 1000, "normal"), (1.0, 800.1, 1000, "warning"), (1.0, 3000.1, 3000, "critical"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_r151_an_agents_status_goes_by_its_own_limits(
    bench: Any, call: Any, cpu: float, memory: float, limit: int | None, status: str
) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET memory_limit_mb = ?", (limit,)))
    bench.operations.measured = Measured(process_alive=True, runner_alive=True, cpu_percent=cpu, memory_mb=memory)
    seen = await call("monitor_resource_usage", action="per_agent")
    assert (seen["agents"][0]["status"], seen["overall_status"]) == (status, status)


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_a_large_crew_fits_and_counts_in_the_totals(bench: Any, call: Any) -> None:
    for n in range(100):
        bench.add_tasks(f"T{n:03d}")
        bench.add_agent(f"T{n:03d}")
    seen = await call("monitor_resource_usage", action="per_agent")
    shown = len(seen["agents"])
    assert 40 < shown < 100
    assert seen["totals"]["agents"] == 100
    assert seen["note"].startswith(f"{100 - shown} more agents")


@pytest.mark.parametrize("minutes", [1, 60, 24 * 60, 40 * 24 * 60])
async def test_r151_history_fits_whatever_its_range(bench: Any, call: Any, minutes: int) -> None:
    now = clock.now()
    for n in range(200):
        at = clock.plus(now, -60 * minutes * (n + 0.5) / 200)
        bench.store.note(samples.record, MACHINE, {"a": (1.0, 2.0)}, now=at)
    seen = await call("monitor_resource_usage", action="history", time_range_minutes=minutes)
    assert seen["samples"]
    assert seen["samples"][-1]["active_agents"] == 1.0
    assert set(seen["trends"].values()) == {"stable"}


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_an_hour_is_shown_where_no_range_is_given(bench: Any, call: Any) -> None:
    for minutes in (30, 90):
        bench.store.note(samples.record, MACHINE, {}, now=clock.plus(clock.now(), -60 * minutes))
    assert len((await call("monitor_resource_usage", action="history"))["samples"]) == 1


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_wrong_arguments_are_refused(call: Any) -> None:
    assert (await call.fails("monitor_resource_usage", action="check", time_range_minutes=5))["code"] == "invalid_input"
    assert (await call.fails("monitor_resource_usage", action="history", time_range_minutes=0))["code"] == (
        "invalid_input"
    )
