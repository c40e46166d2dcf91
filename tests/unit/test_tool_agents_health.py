"""``agents(action='health')``: measured now, judged by the settings, and nothing is written by it."""

from typing import Any

import pytest

from crewyard.server import agents, checkups, clock, reports
from crewyard.server.health import Measured

pytestmark = pytest.mark.anyio


def silence(bench: Any, agent_id: str, seconds: float) -> None:
    """Its last sign of life came so long ago."""
    at = clock.plus(clock.now(), -seconds)
    sql = "UPDATE agent_lifecycle SET last_heartbeat = ? WHERE agent_id = ?"
    bench.store.run(lambda tx: tx.run(sql, (at, agent_id)))


def everything(bench: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in bench.store.read(lambda tx: tx.all("SELECT * FROM agent_lifecycle"))]


async def test_r166_it_counts_the_agents_by_their_health_and_shows_the_worst_first(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B", "C", "D")
    well, slow, stalled, asks = (bench.add_agent(task) for task in "ABCD")
    silence(bench, slow, 130)
    for name in (stalled, asks):
        silence(bench, name, 400)
    bench.store.run(reports.record, asks, "question", "which colour?", now=clock.now())
    silence(bench, asks, 400)
    before = everything(bench)
    seen = await call("agents", action="health")
    assert seen["health_status"] == "critical"
    counts = {name: value for name, value in seen.items() if name.startswith("agents_")}
    assert counts == {
        "agents_checked": 4, "agents_healthy": 1, "agents_warning": 2, "agents_stalled": 1, "agents_dead": 0,
        "agents_restarted": 0, "agents_killed": 0,
    }  # fmt: skip
    assert [(each["agent_id"], each["health"]) for each in seen["agents"]] == [
        (stalled, "stalled"), (slow, "warning"), (asks, "warning"), (well, "healthy"),
    ]  # fmt: skip
    last = seen["agents"][-1]
    assert (last["process_alive"], last["cpu_percent"], last["memory_mb"]) == (True, 3.0, 22.0)
    assert last["seconds_since_heartbeat"] < 60
    assert any(reason.startswith("no sign of life for 40") for reason in seen["agents"][0]["reasons"])
    assert everything(bench) == before, "a look is no heartbeat (R-110)"


async def test_r164_one_agent_or_one_type_is_looked_at_alone(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B")
    builder, architect = bench.add_agent("A"), bench.add_agent("B", agent_type="architect")
    silence(bench, builder, 400)
    seen = await call("agents", action="health", agent_type="architect")
    assert (seen["health_status"], [each["agent_id"] for each in seen["agents"]]) == ("healthy", [architect])
    seen = await call("agents", action="health", agent_id=builder)
    assert (seen["health_status"], seen["agents_checked"]) == ("critical", 1)


@pytest.mark.parametrize(
    ("status", "health", "crew"), [("completed", "completed", "healthy"), ("timeout", "failed", "degraded")]
)
@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_an_agent_that_has_ended_is_completed_or_failed(
    bench: Any, call: Any, status: str, health: str, crew: str
) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.end_agent(agent_id, status, message="out of time")
    bench.operations.measured = Measured(process_alive=False, runner_alive=False)
    seen = await call("agents", action="health", agent_id=agent_id)
    assert (seen["agents"][0]["health"], seen["health_status"]) == (health, crew)
    assert (await call("agents", action="health"))["agents_checked"] == 0, "only the live ones without an id"


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_dead_is_what_neither_runs_nor_is_kept(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    bench.operations.measured = Measured(process_alive=False, runner_alive=True)
    seen = await call("agents", action="health")
    assert (seen["agents"][0]["health"], seen["agents"][0]["process_alive"]) == ("healthy", False), "it is just ending"
    bench.operations.measured = Measured(process_alive=False, runner_alive=False)
    seen = await call("agents", action="health")
    assert (seen["agents_dead"], seen["health_status"]) == (1, "critical")


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_what_it_uses_now_is_judged(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    bench.add_agent("A")
    bench.operations.measured = Measured(process_alive=True, runner_alive=True, cpu_percent=96.0, memory_mb=300.0)
    seen = await call("agents", action="health")
    assert (seen["health_status"], seen["agents_warning"]) == ("critical", 1)
    assert seen["agents"][0]["reasons"] == ["it uses 96 % of the CPU", "it uses 300 MiB of memory"]


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_restarts_and_kills_of_the_last_hour_are_counted(bench: Any, call: Any) -> None:
    bench.add_tasks("A", "B", "C")
    bench.finish(bench.add_agent("A"), "failed", code=1)
    bench.add_agent("A")
    killed = bench.add_agent("B", agent_type="architect")
    bench.finish(killed, "killed")
    long_ago = clock.plus(clock.now(), -4000)
    bench.finish(bench.add_agent("C", at=long_ago), "killed", at=long_ago)
    seen = await call("agents", action="health")
    assert (seen["agents_restarted"], seen["agents_killed"]) == (1, 1)
    seen = await call("agents", action="health", agent_type="architect")
    assert (seen["agents_restarted"], seen["agents_killed"]) == (0, 1)


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_a_large_crew_comes_in_pages(bench: Any, call: Any) -> None:
    for n in range(90):
        bench.add_tasks(f"T{n:03d}")
        silence(bench, bench.add_agent(f"T{n:03d}"), 400 if n % 3 else 0)
    seen, cursor = [], ""
    while True:
        page = await call("agents", action="health", limit=500, cursor=cursor)
        assert page["agents_checked"] == 90
        seen += [(each["health"], each["agent_id"]) for each in page["agents"]]
        cursor = page.get("next_cursor", "")
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 90
    assert [health for health, _ in seen] == ["stalled"] * 60 + ["healthy"] * 30


@pytest.mark.parametrize("call", ["auto"], indirect=True)
async def test_an_agent_that_is_only_starting_is_not_dead(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    agent_id = bench.add_agent("A")
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET status = 'starting', last_heartbeat = NULL"))
    bench.operations.measured = Measured(process_alive=False, runner_alive=False)
    assert (await call("agents", action="health", agent_id=agent_id))["agents"][0]["health"] == "healthy"
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET created_at = ?", (clock.plus(clock.now(), -60),)))
    assert (await call("agents", action="health", agent_id=agent_id))["agents"][0]["health"] == "dead"


async def test_a_check_records_nothing(bench: Any, call: Any) -> None:
    bench.add_tasks("A")
    silence(bench, bench.add_agent("A"), 400)
    events = bench.value("SELECT count(*) FROM event")
    await call("agents", action="health")
    assert bench.value("SELECT count(*) FROM event") == events
    assert bench.store.read(agents.live)[0]["health"] is None


def test_who_gives_a_sign_of_life_after_it_was_looked_at_is_not_ended(bench: Any) -> None:
    bench.add_tasks("A", "B")
    names = [bench.add_agent(task) for task in "AB"]
    for name in names:
        silence(bench, name, 400)
    found = bench.store.read(checkups.subjects, None, None)
    measured = dict.fromkeys(names, bench.operations.measured)
    checked, _ = checkups.all_of(found, measured, bench.yard.settings.health, now=clock.now())
    bench.store.run(agents.heartbeat, names[0], now=clock.now())
    ended = bench.store.run(checkups.end_stalled, checked, grace_seconds=1, now=clock.now(), actor="lead")
    assert [each.row["agent_id"] for each in ended] == [names[1]]
    assert bench.row("agent_lifecycle", agent_id=names[0])["kill_requested_at"] is None
