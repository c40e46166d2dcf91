"""``workers``: who is there and how they are, restarts, more and fewer (R-210 to R-214)."""

from typing import Any

import pytest

from crewyard.server import agents, assignments, clock, launches, restarting
from crewyard.server.gates import Refusal
from crewyard.server.health import Measured
from crewyard.server.store import Transaction
from crewyard.server.workflow_sections import Workflows
from crewyard.server.workflows import workers
from crewyard.server.yard import Room

from .conftest import MACHINE
from .workflows.line import SETTINGS, Line

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("call", ["auto"], indirect=True)]


@pytest.fixture
def line(bench: Any) -> Line:
    settings = bench.yard.settings
    crew = settings.crew.model_copy(update={"grace_period_seconds": 0.0})
    bench.yard.settings = settings.model_copy(update={"crew": crew, "workflows": Workflows.model_validate(SETTINGS)})
    return Line(bench.store, now=clock.now())


def at_work(bench: Any, line: Line) -> str:
    """genesis-01 works on a project by a live agent, whose id is returned."""
    name = line.dispatch()
    line.distribute()
    task_id = line.item(name)["task_id"]

    def unit(tx: Transaction, *, now: str, actor: str) -> str:
        work = assignments.of_task(tx, task_id)
        assert work is not None
        order = launches.LaunchOrder(
            "builder", "command", task_id, work["orchestrator_task_id"], "/w", "/runs", 60.0, None,
            agents.hash_token(task_id), 1,
        )  # fmt: skip
        agent_id = str(launches.plan_launch(tx, order, now=now, actor=actor)["agent_id"])
        launches.runner_started(tx, agent_id, pid=2, start_time="1", boot_id="b")
        launches.started(tx, agent_id, pid=3, start_time="1", boot_id="b", at=now, actor=actor)
        assignments.started(tx, work["orchestrator_task_id"], agent_id, now=now, actor=actor)
        return agent_id

    return str(line.run(unit))


async def test_r210_everyone_is_listed_with_what_they_have(bench: Any, line: Line, call: Any) -> None:
    agent_id = at_work(bench, line)
    seen = await call("workers")
    shown = {each["worker_id"]: each for each in seen["workers"]}
    assert list(shown) == ["content-01", "development-01", "development-02", "genesis-01", "genesis-02"]
    busy = shown["genesis-01"]
    assert (busy["status"], busy["project_id"], busy["agent_id"]) == ("busy", "P-1", agent_id)
    assert "health" not in busy
    crowd = next(each for each in seen["workflows"] if each["workflow"] == "genesis")
    assert (crowd["workers"], crowd["busy"], crowd["idle"], crowd["min_workers"], crowd["max_workers"]) == (
        2,
        1,
        1,
        2,
        3,
    )
    seen = await call("workers", action="list", workflow="content")
    assert [each["worker_id"] for each in seen["workers"]] == ["content-01"]


async def test_r211_health_comes_from_the_age_of_the_last_sign_of_life(bench: Any, line: Line, call: Any) -> None:
    agent_id = at_work(bench, line)
    seen = await call("workers", action="health", worker_id="Genesis-01")
    assert (seen["health_status"], seen["workers"][0]["health"]) == ("healthy", "healthy")
    at = clock.plus(clock.now(), -400)
    bench.store.run(lambda tx: tx.run("UPDATE agent_lifecycle SET last_heartbeat = ?", (at,)))
    seen = await call("workers", action="health")
    assert seen["health_status"] == "critical"
    worst = seen["workers"][0]
    assert (worst["worker_id"], worst["agent_id"], worst["health"]) == ("genesis-01", agent_id, "stalled")
    assert 400 <= worst["seconds_since_heartbeat"] < 430
    bench.operations.measured = Measured(process_alive=False, runner_alive=False)
    seen = await call("workers", action="health", workflow="genesis")
    assert seen["workers"][0]["health"] == "dead"


async def test_r227_everyone_is_looked_at_the_worst_first(line: Line, call: Any) -> None:
    line.run(workers.offline, "genesis-02", why="silent")
    seen = await call("workers", action="health", workflow="all")
    assert [each["worker_id"] for each in seen["workers"]] == [
        "genesis-02", "content-01", "development-01", "development-02", "genesis-01",
    ]  # fmt: skip
    assert seen["health_status"] == "critical"


async def test_l30_of_one_without_a_process_no_heartbeat_is_made_up(line: Line, call: Any) -> None:
    line.dispatch()
    line.distribute()
    line.run(workers.offline, "genesis-02", why="silent")
    seen = {each["worker_id"]: each for each in (await call("workers", action="health"))["workers"]}
    assert [seen[name]["health"] for name in ("genesis-01", "genesis-02", "content-01")] == [
        "waiting", "offline", "healthy",
    ]  # fmt: skip
    assert not any("seconds_since_heartbeat" in each for each in seen.values())
    assert seen["content-01"]["reasons"] == ["it is idle and has no process"]


async def test_r212_the_agent_of_a_worker_at_work_is_started_anew(
    bench: Any, line: Line, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_id = at_work(bench, line)
    monkeypatch.setattr(restarting, "START_SECONDS", 0.0)
    seen = await call("workers", action="restart", worker_id="genesis-01")
    assert seen["status"] == "partial", "no supervisor acts here"
    assert bench.row("agent_lifecycle", agent_id=agent_id)["kill_outcome"] == "restart"


async def test_r212_one_that_is_offline_gets_work_again_and_an_idle_one_is_refused(line: Line, call: Any) -> None:
    line.run(workers.offline, "genesis-01", why="silent")
    seen = await call("workers", action="restart", worker_id="genesis-01")
    assert (seen["status"], seen["workers"][0]["status"]) == ("success", "idle")
    refused = await call.fails("workers", action="restart", worker_id="genesis-01")
    assert refused["code"] == "invalid_input"
    assert refused["hint"] == "workers(action='health', worker_id='genesis-01') tells how it is."


async def test_a_worker_that_waits_for_its_first_agent_cannot_be_restarted(line: Line, call: Any) -> None:
    line.dispatch()
    line.distribute()
    refused = await call.fails("workers", action="restart", worker_id="genesis-01")
    assert "waits for its agent to start" in refused["message"]


async def test_r228_all_that_failed_are_restarted_at_once(line: Line, call: Any) -> None:
    line.run(workers.offline, "genesis-01", why="silent")
    seen = await call("workers", action="restart_failed")
    assert ([each["worker_id"] for each in seen["workers"]], seen["health_status"]) == (["genesis-01"], "healthy")
    assert (await call("workers", action="restart_failed"))["message"] == "No worker has failed."


async def test_r213_r214_more_and_fewer(line: Line, call: Any) -> None:
    seen = await call("workers", action="scale_up", workflow="all")
    assert [each["workers"] for each in seen["changed"]] == [["genesis-03"], ["development-03"], ["content-02"]]
    refused = await call.fails("workers", action="scale_down", workflow="genesis")
    assert "rests for 360 s" in refused["message"]
    seen = await call("workers", action="scale_up", workflow="genesis", emergency=True)
    assert seen["message"] == "3 workers came."


async def test_c42_a_full_machine_refuses_more(bench: Any, line: Line, call: Any) -> None:
    bench.operations.room_now = Room(MACHINE, [Refusal("memory", "10 MiB of memory are free")], [])
    refused = await call.fails("workers", action="scale_up", workflow="genesis")
    assert (refused["code"], refused["retryable"]) == ("resource_exhaustion", True)
    assert "10 MiB of memory are free" in refused["message"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"action": "health", "worker_id": "genesis-09"}, "genesis-0"),
        ({"action": "scale_up", "workflow": "genesys"}, "genesis"),
        ({"action": "list", "worker_id": "genesis-01"}, "worker_id belongs to health, restart"),
        ({"action": "restart"}, "workers(action='list')"),
        ({"action": "scale_down", "emergency": True}, "emergency belongs to scale_up"),
    ],
)
async def test_what_is_not_there_or_not_taken_is_refused(line: Line, call: Any, given: Any, says: str) -> None:
    refused = await call.fails("workers", **given)
    assert says in refused["hint"]
